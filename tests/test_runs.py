import json

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skvae
from skvae import VAETransformer
from skvae.cli.runs import (
    RunError,
    evaluate,
    find_runs,
    read_run,
    recorded_run,
    start_run,
    write_failure,
    write_run,
)
from skvae.metrics import (
    active_units,
    elbo_scorer,
    log_likelihood_scorer,
    rate,
    reconstruction_scorer,
)


class PlainAutoencoder:
    """A linear autoencoder with the interface, and without a likelihood."""

    latent_dim = 3
    n_iter_ = 2
    best_epoch_ = 1
    history_ = [{"epoch": 1, "train_loss": 0.5}, {"epoch": 2, "valid_loss": 0.25}]

    def fit(self, X):
        self.pca = PCA(3).fit(X)
        return self

    def transform(self, X):
        return self.pca.transform(X)

    def reconstruct(self, X):
        return self.pca.inverse_transform(self.pca.transform(X))


@pytest.fixture(scope="module")
def labels():
    return load_digits().target


@pytest.fixture
def run(tmp_path, digits, labels, quick):
    """A finished run of a pipeline, its model and its metrics."""
    model = make_pipeline(StandardScaler(), VAETransformer(**quick)).fit(digits[:300])
    metrics = write_run(
        tmp_path / "run",
        model,
        digits[300:400],
        labels[300:400],
        X_train=digits[:300],
        y_train=labels[:300],
        config={"hidden_dims": (16,), "rate": np.float32(0.5), "callback": print},
        seconds=1.5,
    )
    return tmp_path / "run", model, metrics


def test_metrics_are_those_of_the_held_out_rows(run, digits, labels):
    directory, model, _ = run
    metrics, X = read_run(directory).metrics, digits[300:400]
    assert metrics["elbo"] == pytest.approx(elbo_scorer(model, X))
    assert metrics["iw_bound"] == pytest.approx(log_likelihood_scorer(model, X))
    assert metrics["rate"] == pytest.approx(rate(model, X).mean())
    assert metrics["active_units"] == active_units(model, X)
    assert metrics["mse"] == pytest.approx(-reconstruction_scorer(model, X))
    assert metrics["seconds"] == 1.5
    assert metrics["estimator"] == "VAETransformer"
    vae = model[-1]
    assert metrics["beta"] == pytest.approx(vae.beta_)
    assert metrics["kld_weight"] == pytest.approx(vae.kld_weight_)
    assert metrics["noise_variance"] == pytest.approx(np.mean(vae.noise_variance_))
    assert (metrics["latent_dim"], metrics["n_iter"]) == (3, vae.n_iter_)
    codes = model.transform(digits[:300])
    neighbours = KNeighborsClassifier(15).fit(codes, labels[:300])
    expected = neighbours.score(model.transform(X), labels[300:400])
    assert metrics["knn_accuracy"] == pytest.approx(expected)


def test_correlations_and_moments_are_those_of_numpy(run, digits):
    directory, model, metrics = run
    x = model[:-1].transform(digits[300:400])
    xhat = model[-1].reconstruct(x)
    by_row = [np.corrcoef(a, b)[0, 1] for a, b in zip(x, xhat, strict=True)]
    assert metrics["pearson_rows"] == pytest.approx(np.mean(by_row))
    of_means = np.corrcoef(x.mean(axis=0), xhat.mean(axis=0))[0, 1]
    assert metrics["pearson_features"] == pytest.approx(of_means)
    arrays = read_run(directory).arrays
    np.testing.assert_allclose(arrays["mean"], x.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(arrays["variance"], x.var(axis=0), atol=1e-12)
    rebuilt = arrays["reconstructed_variance"]
    np.testing.assert_allclose(rebuilt, xhat.var(axis=0), atol=1e-9)


def test_a_run_reads_back(run, digits, labels):
    directory, model, metrics = run
    read = read_run(directory)
    assert read.metrics == metrics
    assert read.config["hidden_dims"] == [16]
    assert read.config["rate"] == 0.5
    assert "print" in read.config["callback"]
    history = [{k: float(v) for k, v in r.items()} for r in model[-1].history_]
    assert read.history == history
    assert list(read.arrays["labels"]) == [str(y) for y in labels[300:400]]
    codes = model.transform(digits[300:400])
    expected = PCA(2).fit_transform(codes)
    shown = np.abs(read.arrays["codes"])
    np.testing.assert_allclose(shown, np.abs(expected), atol=1e-6)
    loaded = skvae.load(directory / "model.safetensors")
    np.testing.assert_array_equal(loaded.transform(digits[300:400]), codes)
    assert not [path for path in directory.iterdir() if path.name.startswith(".")]


def test_chunks_of_rows_change_nothing(fitted, digits, monkeypatch):
    whole = evaluate(fitted, digits[1200:1300])
    monkeypatch.setattr("skvae.cli.runs.chunk_rows", lambda n: 7)
    metrics, arrays = evaluate(fitted, digits[1200:1300])
    for name in ("mse", "pearson_rows", "pearson_features"):
        assert metrics[name] == pytest.approx(whole[0][name])
    for name, array in whole[1].items():
        np.testing.assert_allclose(arrays[name], array, atol=1e-10)


def test_sparse_rows_are_as_dense_ones(fitted, digits):
    dense, _ = evaluate(fitted, digits[1200:1260])
    of_sparse, _ = evaluate(fitted, sparse.csr_matrix(digits[1200:1260]))
    assert of_sparse == pytest.approx(dense)


def test_two_units_are_drawn_as_they_are_and_at_most_2000(digits, quick, monkeypatch):
    model = VAETransformer(**quick | {"latent_dim": 2}).fit(digits[:90])
    monkeypatch.setattr("skvae.cli.runs.MAX_POINTS", 30)
    _, arrays = evaluate(model, digits[:90], np.arange(90))
    chosen = arrays["labels"].astype(int)
    assert len(chosen) == len(set(chosen)) == 30
    np.testing.assert_allclose(arrays["codes"], model.transform(digits[:90])[chosen])


def test_a_model_without_likelihood_has_no_elbo(tmp_path, digits):
    model = PlainAutoencoder().fit(digits[:90])
    write_run(tmp_path, model, digits[90:150], config={}, seconds=1.0)
    run = read_run(tmp_path)
    empty = ("elbo", "iw_bound", "rate", "active_units", "beta", "knn_accuracy")
    assert [run.metrics[name] for name in empty] == [None] * len(empty)
    assert run.metrics["estimator"] == "PlainAutoencoder"
    error = np.square(digits[90:150] - model.reconstruct(digits[90:150])).mean()
    assert run.metrics["mse"] == pytest.approx(error)
    assert run.history == [
        {"epoch": 1.0, "train_loss": 0.5},
        {"epoch": 2.0, "valid_loss": 0.25},
    ]


def test_rows_without_spread_have_no_correlation(digits):
    model = PlainAutoencoder().fit(digits[:90])
    X = digits[90:100].copy()
    expected = evaluate(model, X)[0]["pearson_rows"]
    flat = np.vstack([X, np.full((2, 64), 0.1)])
    assert evaluate(model, flat)[0]["pearson_rows"] == pytest.approx(expected)
    assert evaluate(model, flat[-2:])[0]["pearson_rows"] is None


def test_labels_that_are_no_classes_have_no_neighbours(fitted, digits):
    rows, y = digits[:60], np.arange(60.0)
    metrics, _ = evaluate(fitted, rows, y, X_train=rows, y_train=y)
    assert metrics["knn_accuracy"] is None


def test_a_measure_that_is_not_finite_is_a_failure(digits, monkeypatch):
    model = PlainAutoencoder().fit(digits[:90])
    monkeypatch.setattr(PlainAutoencoder, "reconstruct", lambda self, X: X * np.nan)
    with pytest.raises(RunError, match="reconstructions are not finite"):
        evaluate(model, digits[90:100])


def test_one_held_out_row_is_an_error(fitted, digits):
    with pytest.raises(RunError, match="two held-out rows"):
        evaluate(fitted, digits[:1])


def test_a_failure_is_written_with_its_reason(tmp_path):
    def fail():
        with recorded_run(tmp_path / "run", {"lr": 1e30}):
            raise FloatingPointError("the loss\nbecame nan")

    with pytest.raises(FloatingPointError):
        fail()
    with pytest.raises(RunError) as caught:
        read_run(tmp_path / "run")
    reason = "training failed: FloatingPointError: the loss became nan"
    assert str(caught.value) == reason
    assert "Traceback" in (tmp_path / "run" / "error.txt").read_text()
    assert json.loads((tmp_path / "run" / "config.json").read_text()) == {"lr": 1e30}


def test_a_finished_run_is_never_overwritten(run):
    directory, model, metrics = run
    with pytest.raises(RunError, match="already holds a finished run"):
        start_run(directory, {})
    with pytest.raises(RunError, match="already holds a finished run"):
        write_run(directory, model, None, config={}, seconds=0.0)
    assert read_run(directory).metrics == metrics


def test_a_failed_run_makes_way(tmp_path, fitted, digits):
    write_failure(tmp_path, {}, ValueError("no"))
    write_run(tmp_path, fitted, digits[:40], config={}, seconds=1.0)
    assert not (tmp_path / "error.txt").exists()
    assert read_run(tmp_path).metrics["latent_dim"] == 6


def test_metrics_are_written_last(tmp_path, fitted, digits, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("skvae.cli.runs.np.savez_compressed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_run(tmp_path, fitted, digits[:40], config={}, seconds=1.0)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"config.json", "model.safetensors", "history.csv"}
    with pytest.raises(RunError, match=r"half-written: no metrics\.json"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("metrics.json", "{", "metrics.json is not JSON"),
        ("metrics.json", "[]", "metrics.json holds no object"),
        ("metrics.json", "{}", "metrics.json has no estimator"),
        ("metrics.json", None, "half-written: no metrics.json"),
        ("config.json", None, "no config.json"),
        ("config.json", "\xff", "config.json is not JSON"),
        ("model.safetensors", None, "no model.safetensors"),
        ("history.csv", "epoch\none\n", "history.csv is no table of numbers"),
        ("history.csv", "epoch\n1,2\n", "history.csv is no table of numbers"),
        ("arrays.npz", "PK", "arrays.npz cannot be read"),
    ],
)
def test_a_broken_directory_is_an_error_of_one_line(run, name, content, reason):
    path = run[0] / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(RunError) as caught:
        read_run(run[0])
    assert str(caught.value).startswith(reason)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["much", None, float("nan")])
def test_an_error_that_is_no_number_is_an_error(run, value):
    path = run[0] / "metrics.json"
    path.write_text(json.dumps(run[2] | {"mse": value}))
    with pytest.raises(RunError, match=r"metrics\.json: mse is .*, not a number"):
        read_run(run[0])


def test_missing_arrays_are_named(run):
    np.savez(run[0] / "arrays.npz", mean=np.ones(3))
    with pytest.raises(RunError, match="has no variance, reconstructed_mean"):
        read_run(run[0])


def test_runs_are_found_wherever_they_are(run, tmp_path):
    write_failure(tmp_path / "deep" / "er", {}, ValueError("no"))
    (tmp_path / "deep" / "other").mkdir()
    (tmp_path / "deep" / "other" / "notes.txt").write_text("not a run")
    (tmp_path / "no_config").mkdir()
    (tmp_path / "no_config" / "metrics.json").write_text("{}")
    names = [path.relative_to(tmp_path).as_posix() for path in find_runs(tmp_path)]
    assert names == ["deep/er", "no_config", "run"]
    with pytest.raises(RunError, match="no such directory"):
        read_run(tmp_path / "nowhere")
