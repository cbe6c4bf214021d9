import numpy as np
import pytest
from scipy import sparse
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skvae import VAETransformer
from skvae.cli.runs import RunError, read_run
from skvae.cli.search import (
    N_SUGGESTED,
    N_WEIGHTS,
    default_dims,
    default_jobs,
    default_weights,
    differs,
    edges,
    format_results,
    pca_scores,
    results,
    search,
    write_runs,
)
from skvae.inspection import suggest_kld_weights


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


def test_the_winner_is_fitted_on_all_rows(grid, digits):
    assert grid.best_score_ == max(grid.cv_results_["mean_test_elbo"])
    assert grid.cv_results_["params"][grid.best_index_] == grid.best_params_
    again = clone(grid.best_estimator_).fit(digits[:150])
    assert grid.score(digits[:150]) == again.score(digits[:150])
    assert grid.best_params_["vae__latent_dim"] == again[-1].latent_dim


def test_table_marks_the_winner(grid, digits):
    text = format_results(results(grid, digits[:150]))
    assert len(text.splitlines()) == 7
    assert text.count("<- best") == 1


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix])
def test_default_weights_are_those_that_are_suggested(digits, scale, container):
    X = container(digits)
    weights = default_weights(X, scale, [4, 8])
    scaled = StandardScaler(with_mean=container is np.asarray).fit_transform(X)
    seen = scaled if scale else X
    suggested = suggest_kld_weights(seen, 8, N_SUGGESTED, random_state=0)
    np.testing.assert_allclose(weights, suggested[:N_WEIGHTS], rtol=0.05)


def test_default_dims_are_fewer_than_columns():
    assert default_dims(64) == [4, 8, 16, 32]
    assert default_dims(20) == [4, 8, 16]
    assert default_dims(6) == [1, 3]
    assert default_dims(1) == [1]
    assert default_dims(2000, preset_dim=64) == [32, 64, 128]


def test_jobs_are_the_cores_of_a_cpu(monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    assert default_jobs("cpu", 48) == 8
    assert default_jobs("cpu", 3) == 3
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert default_jobs("cuda", 48) == 1


def test_there_is_no_pca_score_where_there_is_no_pca(digits):
    before = Pipeline([("scale", "passthrough")])
    assert np.isnan(pca_scores(digits[:20], 16, before, KFold(2))["pca"])
    rows = np.repeat(digits[:3], 10, axis=0)  # of rank 2: nothing is left for noise
    assert np.isnan(pca_scores(rows, 5, before, KFold(2))["pca"])


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix])
def test_pca_of_wide_tables_is_the_probabilistic_one(container):
    # Three factors and noise of variance 1 in 300 columns of 60 rows.
    random = np.random.RandomState(0)
    X = random.randn(60, 3) @ random.randn(3, 300) * 2 + random.randn(60, 300)
    cv = KFold(2, shuffle=True, random_state=0)
    before = Pipeline([("scale", FunctionTransformer(accept_sparse=True))])
    found = pca_scores(container(X), 3, before, cv)
    expected = []
    for train, test in cv.split(X):
        # The closed form of Tipping and Bishop, from the whole covariance.
        values, vectors = np.linalg.eigh(np.cov(X[train].T, bias=True))
        noise = values[:-3].mean()
        spikes = (vectors[:, -3:] * (values[-3:] - noise)) @ vectors[:, -3:].T
        density = multivariate_normal(
            X[train].mean(axis=0), spikes + noise * np.eye(300)
        )
        expected.append(density.logpdf(X[test]).mean())
    # PCA's eigenvalues are divided by n - 1, not n.
    assert found["pca"] == pytest.approx(np.mean(expected), rel=0.01)
    if container is np.asarray:
        its_own = cross_val_score(PCA(3), X, cv=cv).mean()
        assert found["pca_sklearn"] == pytest.approx(its_own)
        assert differs(**found)
    else:
        assert np.isnan(found["pca_sklearn"])
        assert not differs(**found)


def row(weight, dim, *, best=False, pca=-1.0, pca_sklearn=-1.0):
    measures = dict.fromkeys(("elbo", "elbo_std", "rate", "distortion", "active"), 1.0)
    at = {"kld_weight": weight, "latent_dim": dim, "best": best}
    return {**at, **measures, "pca": pca, "pca_sklearn": pca_sklearn}


def test_the_other_pca_is_shown_where_it_differs():
    same = format_results([row(0.1, 2), row(0.1, 3, best=True)])
    assert "PCA.score" not in same
    assert "-7.50" not in same
    both = format_results([row(0.1, 2), row(0.1, 3, best=True, pca_sklearn=-7.5)])
    assert "PCA.score" in both.splitlines()[0]
    assert "-1.00" in both
    assert "-7.50" in both
    assert "compare with PCA." in both
    neither = format_results([row(0.1, 2, pca=np.nan, pca_sklearn=np.nan)])
    assert "PCA.score" not in neither


@pytest.mark.parametrize(
    ("weight", "dim", "n_features", "beyond"),
    [
        (0.01, 8, 64, None),
        (0.001, 8, 64, ["--kld-weights below 0.001"]),
        (0.1, 16, 64, ["--kld-weights above 0.1", "--latent-dims above 16"]),
        (0.01, 16, 17, None),  # as many units as can mean anything
        (0.01, 4, 64, ["--latent-dims below 4"]),
    ],
)
def test_a_winner_on_the_edge_is_told(weight, dim, n_features, beyond):
    grid = [(w, k) for w in (0.001, 0.01, 0.1) for k in (4, 8, 16)]
    rows = [row(w, k, best=(w, k) == (weight, dim)) for w, k in grid]
    told = edges(rows, n_features)
    if beyond is None:
        assert told is None
    else:
        assert told.endswith(f"try {' and '.join(beyond)}.")


def test_a_single_value_and_a_weight_of_zero_have_no_edge():
    assert edges([row(0.01, 4, best=True)], 64) is None
    rows = [row(w, k, best=(w, k) == (0.0, 1)) for w in (0.0, 1.0) for k in (1, 2)]
    assert edges(rows, 64) is None


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
