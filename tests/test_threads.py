import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import Event

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits
from torch.utils._python_dispatch import TorchDispatchMode

from skvae import VAETransformer
from skvae._kernels import surroundings as _surroundings
from skvae._kernels.threads import entry_policy, threads_worth, worthwhile_threads
from skvae.inspection import diagnose, suggest_kld_weights
from skvae.metrics import kl_per_unit, log_likelihood_scorer, pca_scorer, rate

SMALL_STEP = 3 * 100_000 * 128
LARGE_STEP = 3 * 60_000_000 * 128


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_small_steps_get_one_thread_and_large_ones_many():
    assert worthwhile_threads(SMALL_STEP) == 1
    assert worthwhile_threads(LARGE_STEP) > 16


def test_the_environment_overrules_the_choice(monkeypatch, small, quick):
    monkeypatch.setenv("SKVAE_NUM_THREADS", "3")
    assert worthwhile_threads(SMALL_STEP) == 3
    assert worthwhile_threads(LARGE_STEP) == 3
    for wrong in ("0", "two", "-1", ""):
        monkeypatch.setenv("SKVAE_NUM_THREADS", wrong)
        vae = VAETransformer(**quick)
        with pytest.raises(ValueError, match="SKVAE_NUM_THREADS"):
            vae.fit(small)
        assert not hasattr(vae, "net_")


@pytest.mark.parametrize("kld_weight", ["auto", 1e-3])
def test_results_do_not_depend_on_the_number_of_threads(
    kld_weight, two_threads, digits, monkeypatch
):
    codes = []
    for n_threads in ("1", "2"):
        monkeypatch.setenv("SKVAE_NUM_THREADS", n_threads)
        vae = VAETransformer(
            4, hidden_dims=(256,), kld_weight=kld_weight, max_epochs=2, random_state=0
        )
        codes.append(vae.fit_transform(digits.astype(np.float32)))
    np.testing.assert_allclose(*codes, rtol=1e-3, atol=1e-3)


def test_threads_are_put_back(two_threads, small, quick):
    with threads_worth(0):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with threads_worth(LARGE_STEP):
        assert torch.get_num_threads() == 2
    with pytest.raises(ValueError, match="hidden"), threads_worth(0):
        raise ValueError("hidden")
    VAETransformer(**quick).fit(small)
    assert torch.get_num_threads() == 2


def test_large_work_inside_an_entry_has_the_threads_of_the_caller(two_threads):
    with entry_policy():
        assert torch.get_num_threads() == 1
        with threads_worth(LARGE_STEP):
            assert torch.get_num_threads() == 2
            with entry_policy():
                assert torch.get_num_threads() == 1
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


@cache
def blas_libraries():
    """Looked for once: that takes milliseconds."""
    found = ThreadpoolController().lib_controllers
    return [library for library in found if library.user_api == "blas"]


def blas_threads():
    return [library.num_threads for library in blas_libraries()]


def test_blas_and_openmp_are_held_to_the_same_and_put_back():
    with threadpool_limits(2):
        before = [lib["num_threads"] for lib in threadpool_info()]
        assert 2 in before, "no library here has two threads"
        with entry_policy():
            assert {lib["num_threads"] for lib in threadpool_info()} == {1}
            with threads_worth(LARGE_STEP):
                assert max(blas_threads()) == min(2, torch.get_num_threads())
        assert [lib["num_threads"] for lib in threadpool_info()] == before


@pytest.mark.parametrize("first_out", [0, 1])
def test_entries_of_several_threads_leave_all_as_it_was(two_threads, first_out):
    """Whichever is out first: the other found what the first one had set."""
    before = [lib["num_threads"] for lib in threadpool_info()]
    inside = [Event(), Event()]
    leave = [Event(), Event()]

    def enter(number):
        with entry_policy():
            inside[number].set()
            assert leave[number].wait(10)

    with ThreadPoolExecutor(2) as pool:
        jobs = []
        for number in (0, 1):
            jobs.append(pool.submit(enter, number))
            assert inside[number].wait(10)
            assert set(blas_threads()) == {1}
        for number in (first_out, 1 - first_out):
            leave[number].set()
            jobs[number].result(10)
    assert [lib["num_threads"] for lib in threadpool_info()] == before


def test_a_limit_of_the_user_s_is_kept():
    with threadpool_limits(1), entry_policy(), threads_worth(LARGE_STEP):
        assert set(blas_threads()) == {1}
    with threadpool_limits(2):
        with entry_policy():
            assert set(blas_threads()) == {1}
        assert 2 in blas_threads()


PUBLIC = {
    "fit": lambda est, X: clone(est).fit(X),
    "partial_fit": lambda est, X: clone(est).partial_fit(X),
    "transform": lambda est, X: est.transform(X),
    "inverse_transform": lambda est, X: est.inverse_transform(est.transform(X)),
    "reconstruct": lambda est, X: est.reconstruct(X),
    "reconstruction_error": lambda est, X: est.reconstruction_error(X),
    "score": lambda est, X: est.score(X),
    "score_samples": lambda est, X: est.score_samples(X),
    "sample": lambda est, X: est.sample(5),
    "bound": lambda est, X: log_likelihood_scorer(est, X),
    "rate": lambda est, X: rate(est, X),
    "kl_per_unit": lambda est, X: kl_per_unit(est, X),
    "diagnose": lambda est, X: diagnose(est, X),
    "suggest_kld_weights": lambda est, X: suggest_kld_weights(X, 3),
    "pca_scorer": lambda est, X: pca_scorer(PCA(3).fit(X), X),
}


@pytest.mark.parametrize("method", PUBLIC)
def test_small_work_of_every_public_method_is_on_one_thread(
    method, two_threads, small, quick
):
    """Every operation of torch in them, and every product of NumPy's."""
    vae = VAETransformer(**quick).fit(small)
    seen = set()

    class Look(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.update([torch.get_num_threads(), *blas_threads()])
            return func(*args, **(kwargs or {}))

    policies = []

    @contextmanager
    def watched():
        with ORIGINAL():
            policies.append(True)
            yield

    ORIGINAL = _surroundings.entry_policy
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_surroundings, "entry_policy", watched)
        with Look():
            PUBLIC[method](vae, small)
    assert policies
    assert seen <= {1}


def test_processes_forked_after_a_fit_can_fit(tmp_path):
    """Torch's OpenMP, once it had two threads, would wait for them for ever."""
    script = tmp_path / "fork.py"
    script.write_text(
        """
import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.base import clone
from skvae import VAETransformer

torch.set_num_threads(2)
X = np.random.RandomState(0).randn(80, 10)
vae = VAETransformer(3, max_epochs=2, random_state=0).fit(X)
vae.score(X)


def child(seed):
    return clone(vae).set_params(random_state=seed).fit(X).score(X)


if __name__ == "__main__":
    scores = Parallel(2, backend="multiprocessing")(delayed(child)(i) for i in (0, 0))
    assert scores[0] == scores[1] == vae.score(X)
"""
    )
    subprocess.run([sys.executable, script], check=True, timeout=120)
