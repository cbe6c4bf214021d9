import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.model_selection import KFold, cross_val_score

from skvae import VAETransformer
from skvae._runs import RunError, read_run
from skvae._search import (
    default_weights,
    format_results,
    pca_score,
    results,
    search,
    write_runs,
)


@pytest.fixture(scope="module")
def grid(digits):
    return search(
        digits[:150],
        weights=[1e-4, 1e-2],
        dims=[2, 3],
        scale=False,
        folds=2,
        n_jobs=1,
        params={"max_epochs": 3, "hidden_dims": (16,), "random_state": 0},
    )


def test_results_add_up(grid, digits):
    rows = results(grid, digits[:150])
    assert [(r["kld_weight"], r["latent_dim"]) for r in rows] == [
        (1e-4, 2),
        (1e-4, 3),
        (1e-2, 2),
        (1e-2, 3),
    ]
    for row in rows:
        assert row["elbo"] == pytest.approx(-row["rate"] - row["distortion"])
    best = max(rows, key=lambda r: r["elbo"])
    assert [r["best"] for r in rows] == [r is best for r in rows]
    cv = KFold(2, shuffle=True, random_state=0)
    expected = cross_val_score(PCA(2), digits[:150], cv=cv).mean()
    assert rows[0]["pca"] == pytest.approx(expected, rel=1e-6)


def test_table_marks_the_winner(grid, digits):
    text = format_results(results(grid, digits[:150]))
    assert len(text.splitlines()) == 6
    assert text.count("<- best") == 1


def test_default_weights_are_shares_of_the_variance():
    X = np.random.RandomState(0).randn(500, 10) * 7 + 3
    weights = default_weights(X, scale=True)
    np.testing.assert_allclose(weights, [0.002, 0.006, 0.02, 0.06])
    unscaled = default_weights(X, scale=False)
    np.testing.assert_allclose(unscaled, np.array(weights) * X.var(), rtol=0.05)
    of_sparse = default_weights(sparse.csr_matrix(X), scale=False)
    np.testing.assert_allclose(of_sparse, unscaled, rtol=0.01)


def test_there_is_no_pca_score_where_there_is_no_pca(digits):
    assert np.isnan(pca_score(digits[:20], 16, "passthrough", KFold(2)))
    assert np.isnan(pca_score(sparse.csr_matrix(digits), 2, "passthrough", KFold(2)))


def test_a_candidate_that_fails_does_not_stop_the_others(
    grid, digits, tmp_path, monkeypatch
):
    fit = VAETransformer.fit

    def fails_at_two(self, X, y=None):
        if self.latent_dim == 2:
            raise FloatingPointError("the loss became nan")
        return fit(self, X, y)

    monkeypatch.setattr(VAETransformer, "fit", fails_at_two)
    failed = write_runs(str(tmp_path), grid, digits[:150], quiet=True)
    names = [f"kld_weight={w},latent_dim={k}" for w in (0.0001, 0.01) for k in (2, 3)]
    assert failed == [names[0], names[2]]
    assert read_run(tmp_path / names[1]).metrics["latent_dim"] == 3
    with pytest.raises(RunError, match=r"training failed: .* became nan"):
        read_run(tmp_path / names[0])
