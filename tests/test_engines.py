"""Threads, and joblib's engines: the same numbers as one fit after the other."""

import contextlib
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
from distributed import Client, KilledWorker, LocalCluster
from distributed.client import FutureCancelledError
from joblib.externals.loky.process_executor import TerminatedWorkerError
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from skvae import AETransformer, VAETransformer
from skvae.metrics import elbo_scorer

QUICK = {"hidden_dims": (32,), "max_epochs": 4, "batch_size": 64, "random_state": 0}
N_THREADS = 8


@pytest.fixture(scope="module")
def X():
    return load_digits().data[:300]


def used(model, X):
    drawn = model.sample(5, random_state=1) if hasattr(model, "sample") else []
    return model.transform(X), np.array(model.score(X)), np.array(drawn)


@pytest.mark.parametrize("kind", [VAETransformer, AETransformer])
def test_fits_in_threads_are_those_of_one(kind, X):
    def fit(seed):
        return used(kind(3, **{**QUICK, "random_state": seed}).fit(X), X)

    expected = [fit(seed) for seed in range(N_THREADS)]
    with ThreadPoolExecutor(N_THREADS) as pool:
        for found, one in zip(pool.map(fit, range(N_THREADS)), expected, strict=True):
            for part, other in zip(found, one, strict=True):
                np.testing.assert_array_equal(part, other)


@pytest.mark.parametrize("likelihood", ["gaussian_diag", "poisson"])
def test_one_model_in_threads(likelihood, X):
    model = VAETransformer(3, **QUICK, likelihood=likelihood).fit(X)
    expected = used(model, X)
    with ThreadPoolExecutor(N_THREADS) as pool:
        for found in pool.map(lambda _: used(model, X), range(2 * N_THREADS)):
            for part, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(part, other)


def search(X, n_jobs=None):
    grid = {"kld_weight": [1e-3, 1e-1], "latent_dim": [2, 3]}
    model = VAETransformer(**QUICK)
    return GridSearchCV(model, grid, scoring=elbo_scorer, cv=2, n_jobs=n_jobs).fit(X)


@pytest.fixture(scope="module")
def scores(X):
    return search(X).cv_results_["mean_test_score"]


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_joblib_s_own_engines(backend, X, scores):
    with joblib.parallel_config(backend, n_jobs=2):
        found = search(X).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(found, scores)


# Of Dask's own making: a port that is taken, a worker that is closed.
DASK = pytest.mark.filterwarnings("ignore::UserWarning:distributed")


@pytest.fixture(scope="module")
def cluster():
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=50,
        ) as local,
        Client(local) as client,
    ):
        yield client


@DASK
def test_dask(cluster, X, scores):
    with joblib.parallel_config("dask"):
        found = search(X).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(found, scores)


def _kill_worker(client, pids, seen):
    """Kill a worker of Dask once it works."""
    for _ in range(1000):
        busy = [w for w, tasks in client.processing().items() if tasks]
        if busy:
            os.kill(pids[busy[0]], signal.SIGKILL)
            seen.append(pids[busy[0]])
            return
        time.sleep(0.005)


@DASK
def test_a_worker_of_dask_that_dies(cluster, X, scores, tmp_path):
    """Its fits are done by another one, or, if the rows died with it, by the next call.

    joblib sends rows to one worker, and Dask has them from there.
    """
    killed, pids = [], cluster.run(os.getpid)
    killer = threading.Thread(target=_kill_worker, args=(cluster, pids, killed))
    killer.start()
    searched, folder = search(X), str(tmp_path)
    with joblib.parallel_config("dask"):
        with contextlib.suppress(FutureCancelledError, KilledWorker):
            searched.fit(X, checkpoint_dir=folder)
        killer.join()
        assert killed
        searched.fit(X, checkpoint_dir=folder)
    np.testing.assert_array_equal(searched.cv_results_["mean_test_score"], scores)


@DASK
def test_workers_that_restart(cluster, X, scores):
    cluster.wait_for_workers(2, timeout=60)
    cluster.restart(timeout=60)
    with joblib.parallel_config("dask"):
        found = search(X).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(found, scores)


@pytest.mark.filterwarnings("ignore::FutureWarning:ray")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ray(X, scores):
    import ray
    from ray.util.joblib import register_ray

    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        object_store_memory=100_000_000,
    )
    try:
        register_ray()
        with joblib.parallel_config("ray", n_jobs=2):
            found = search(X).cv_results_["mean_test_score"]
    finally:
        ray.shutdown()
    np.testing.assert_array_equal(found, scores)


class DiesOnce:
    """A scorer that kills its process the first time, as a full machine does."""

    def __init__(self, marker):
        self.marker = marker

    def __call__(self, estimator, X, y=None):
        if not os.path.exists(self.marker):
            with open(self.marker, "w"):
                os.kill(os.getpid(), signal.SIGKILL)
        return elbo_scorer(estimator, X)


@pytest.mark.filterwarnings("ignore:A worker stopped while some jobs were given")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_worker_of_loky_that_dies(X, scores, tmp_path):
    """An error that says so; the same call goes on with what was finished."""
    folder = str(tmp_path / "checkpoints")
    searched = search(X).set_params(
        scoring=DiesOnce(str(tmp_path / "died")), n_jobs=2, refit=False
    )
    with pytest.raises(TerminatedWorkerError):
        searched.fit(X, checkpoint_dir=folder)
    assert os.listdir(folder)
    searched.fit(X, checkpoint_dir=folder)
    np.testing.assert_array_equal(searched.cv_results_["mean_test_score"], scores)
    # Beside the half of one that the kill may have left.
    assert len([name for name in os.listdir(folder) if name.startswith("fit-")]) == 8
