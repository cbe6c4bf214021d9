"""The benchmark of the log-likelihood of MNIST, on rows that are none."""

import joblib
import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.exceptions.PosteriorCollapseWarning"
)


@pytest.fixture
def mnist_nll(benchmarks, monkeypatch, tmp_path, rng):
    import mnist_nll

    monkeypatch.setattr(mnist_nll, "N_TRAIN", 60)
    monkeypatch.setattr(mnist_nll, "N_VALID", 10)
    X = rng.randint(0, 256, size=(70, 784)).astype(np.uint8)
    X[:, 0], X[:, 1] = 0, 255
    np.savez(tmp_path / "mnist.npz", X=X)
    return mnist_nll


def test_pixels_are_drawn_once(mnist_nll, tmp_path):
    train, test = mnist_nll.binarised(tmp_path)
    assert train.shape == (60, 784)
    assert test.shape == (10, 784)
    assert set(np.unique(train)) == {0.0, 1.0}
    assert not train[:, 0].any()
    assert train[:, 1].all()
    np.testing.assert_array_equal(train, mnist_nll.binarised(tmp_path)[0])


def test_it_prints_a_line_a_model(mnist_nll, tmp_path, monkeypatch, capsys):
    saved = tmp_path / "vae.joblib"
    words = f"mnist_nll --data {tmp_path} --epochs 2 --seed 3 --iwae --model {saved}"
    monkeypatch.setattr("sys.argv", words.split())
    mnist_nll.main()
    vae, iwae = capsys.readouterr().out.splitlines()[2:]
    assert vae.startswith("| VAE |")
    assert "89.9 (pythae 89.78)" in vae
    assert iwae.startswith("| IWAE |")
    assert all(
        "all test rows" in line and line.endswith("| 3 |") for line in (vae, iwae)
    )
    model = joblib.load(saved)
    assert len(model._fitted.state.split.held_out) == 10
    assert model.module_.decoder.mlp.widths == [400]
    assert model.n_iter_ == 2


def test_the_learning_rate_falls_at_the_milestones(mnist_nll, tmp_path):
    train, _ = mnist_nll.binarised(tmp_path)
    model = mnist_nll.estimator("VAE", 3, 0, "cpu")
    model.set_params(callbacks=[mnist_nll.stepwise([2], 5)]).fit(train)
    rates = [row["event_lr"] for row in model.history_]
    assert rates == pytest.approx([1e-4, 1e-4, 1e-4 / 10**0.2])


def test_as_many_rows_as_there_is_time_for(mnist_nll, tmp_path):
    train, test = mnist_nll.binarised(tmp_path)
    model = mnist_nll.estimator("VAE", 1, 0, "cpu").fit(train)
    nll, error, n_rows = mnist_nll.negative_log_likelihood(model, test, 5)
    assert n_rows == 10
    assert nll == pytest.approx(-model.log_likelihood(test, 5).mean())
    assert 0.0 < error < nll
    assert mnist_nll.negative_log_likelihood(model, test, 5, limit=1e-9)[2] == 1
