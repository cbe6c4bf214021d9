"""benchmarks/sparse_codes.py: what it measures, and a run at a small size."""

import numpy as np
import pytest
import torch
from _make import gaussian, minibatch

from skvae import SAETransformer


@pytest.fixture(scope="module")
def sparse_codes(benchmarks):
    """The script as a module."""
    import sparse_codes

    return sparse_codes


@pytest.fixture
def split(rng):
    X = rng.randn(120, 3) @ rng.randn(3, 8) + 0.1 * rng.randn(120, 8)
    y = (X[:, 0] > 0.0).astype(int)
    return X[:90], X[90:], y[:90], y[90:]


def test_measures_are_of_held_out_codes(sparse_codes, split):
    class Fixed:
        def fit(self, X):
            return self

        def transform(self, X):
            return np.tile([1.0, 0.0, 1e-3, 0.05], (len(X), 1))

    X, test, _, _ = split
    found = sparse_codes.measured(Fixed(), split, lambda Z: test + 1.0)
    shares = [found[key] for key in ("zero", "within 1 %", "within 10 %")]
    assert shares == [0.25, 0.5, 0.75]
    assert found["inactive"] == 1
    variance = np.square(test - X.mean(axis=0)).mean()
    assert found["error"] == pytest.approx(1.0 / variance)


def test_the_design_that_was_taken_is_the_estimator_s(sparse_codes, split):
    """What autograd makes of it is what the estimator does."""
    X = split[0]
    params = {"reg_weight": 0.05, "max_epochs": 3, "random_state": 0}
    names = list(sparse_codes.DESIGNS)
    taken = sparse_codes.make(names[-1], latent_dim=2, **params).fit(X)
    expected = SAETransformer(2, **params).fit(X)
    np.testing.assert_allclose(
        taken.transform(X), expected.transform(X), rtol=1e-3, atol=1e-3
    )


def test_gains_are_columns_of_a_linear_decoder_s_matrix(sparse_codes, split):
    gain, has_threshold = sparse_codes.DESIGNS["code x gain"]
    assert not has_threshold
    X = torch.as_tensor(split[0], dtype=torch.float32)
    sae = SAETransformer(
        2, hidden_dims=(), code_penalty="l1", max_epochs=2, random_state=0
    ).fit(split[0])
    module = sae.module_
    with torch.no_grad():
        matrix = module.decode(torch.eye(2)) - module.decode(torch.zeros(1, 2))
        expected = (module.code(X).abs() @ matrix.norm(dim=1)).mean()
    rows = X.repeat(200, 1)
    _, penalty = gain(gaussian(8)).terms(
        module, minibatch(rows), torch.Generator().manual_seed(0)
    )
    assert penalty.item() == pytest.approx(expected.item(), rel=0.02)


def test_the_report_has_every_model(sparse_codes, split, monkeypatch, capsys):
    monkeypatch.setattr(sparse_codes, "table", lambda name, folder: split)
    for name in ("FACTORS", "FEW_FACTORS"):
        monkeypatch.setattr(sparse_codes, name, (1.0,))
    arguments = ["--latent-dim", "2", "--max-epochs", "2", "--designs", "--slow"]
    assert sparse_codes.main(arguments) == 0
    text = capsys.readouterr().out
    assert "digits, 90 x 8, 2 units" in text
    for name in (
        *("SAE, soft_threshold", "SAE, l1", "PCA", "SparsePCA", "DictionaryLearning"),
        *("MiniBatchSparsePCA", "MiniBatchDictionaryLearning", *sparse_codes.DESIGNS),
    ):
        assert f"| {name} |" in text
    assert text.count("| 1 |") == 2 + len(sparse_codes.DESIGNS) + 2


def test_a_table_that_is_not_there_is_an_error(sparse_codes, capsys):
    with pytest.raises(SystemExit):
        sparse_codes.main(["--only", "mnist"])
    assert "unknown tables, or no --data: mnist" in capsys.readouterr().err
