"""VAEOutlierDetector: scores, thresholds, reasons."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skvae
from skvae import VAEOutlierDetector, VAETransformer

pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.exceptions.PosteriorCollapseWarning"
)
VAE = VAETransformer(2, beta=30.0, max_epochs=8, hidden_dims=(16,))


@pytest.fixture(scope="module")
def rows():
    """A plane in 8 columns, and 5 % that are off it in one column, or all."""
    rng = np.random.RandomState(0)
    X = rng.randn(600, 2) @ rng.randn(2, 8) + 0.3 * rng.randn(600, 8)
    y = np.zeros(600, dtype=int)
    y[:30] = 1
    X[:15, 3] += 4.0 * rng.choice([-1.0, 1.0], 15)
    X[15:30] = 1.5 * rng.randn(15, 8)
    order = rng.permutation(600)
    return X[order], y[order]


@pytest.fixture(scope="module")
def fitted(rows):
    return VAEOutlierDetector(VAE, random_state=0).fit(rows[0])


def test_outliers_score_low(rows, fitted):
    X, y = rows
    assert roc_auc_score(y, -fitted.score_samples(X)) > 0.95
    default = VAEOutlierDetector(random_state=0).fit(X)
    assert default.estimator_.beta == 30.0
    of_pca = roc_auc_score(y, -PCA(2).fit(X).score_samples(X))
    assert roc_auc_score(y, -default.score_samples(X)) > of_pca - 0.02


def test_the_score_is_of_both_densities(rows, fitted):
    X, _ = rows
    vae = fitted.estimator_
    expected = 0.5 * (vae.score_samples(X) + vae._linear_log_likelihood(X))
    np.testing.assert_array_equal(fitted.score_samples(X), expected)
    counts = np.random.RandomState(0).poisson(3.0, (80, 5)).astype(float)
    of_counts = VAEOutlierDetector(
        VAETransformer(2, likelihood="poisson", max_epochs=3)
    )
    of_counts.fit(counts)
    np.testing.assert_array_equal(
        of_counts.score_samples(counts), of_counts.estimator_.score_samples(counts)
    )


@pytest.mark.parametrize("contamination", [0.01, 0.05, 0.3])
def test_contamination_is_the_share_of_the_training_rows(rows, contamination):
    detector = VAEOutlierDetector(VAE, contamination=contamination, random_state=0)
    found = detector.fit_predict(rows[0])
    assert set(found) == {-1, 1}
    assert (found == -1).mean() == pytest.approx(contamination, abs=0.004)
    scores = detector.score_samples(rows[0])
    decision = detector.decision_function(rows[0])
    np.testing.assert_allclose(decision, scores - detector.offset_)
    np.testing.assert_array_equal(found == -1, decision < 0.0)


def test_auto_takes_those_beyond_the_fence(rows, fitted):
    X, y = rows
    found = fitted.predict(X) == -1
    assert 0.01 < found.mean() < 0.1
    assert y[found].mean() > 0.5


def test_trimming_leaves_a_crowd_of_outliers_out():
    rng = np.random.RandomState(1)
    X = rng.randn(500, 3) @ rng.randn(3, 20) + 0.5 * rng.randn(500, 20)
    X[:40] = 3.0 * rng.randn(20) + 0.3 * rng.randn(40, 20)
    y = np.arange(500) < 40
    plain, trimmed = (
        VAEOutlierDetector(VAE, trim=trim, random_state=0).fit(X)
        for trim in (0.0, 0.15)
    )
    found = [roc_auc_score(y, -d.score_samples(X)) for d in (plain, trimmed)]
    assert found[1] > 0.99
    assert found[1] > found[0] - 1e-9
    gap = [
        d.score_samples(X)[~y].mean() - d.score_samples(X)[y].mean()
        for d in (plain, trimmed)
    ]
    assert gap[1] > 2.0 * gap[0]


def test_reasons_name_the_column(rows, fitted):
    X, _ = rows
    odd = X[fitted.predict(X) == 1][:5].copy()
    odd[:, 5] += 12.0
    nats = fitted.reasons(odd)
    assert nats.shape == (5, 8)
    np.testing.assert_array_equal(nats.argmax(axis=1), 5)
    assert (nats[:, 5] > 10.0).all()
    np.testing.assert_allclose(fitted.reasons(X).mean(axis=0), 0.0, atol=1e-6)


def test_tables_of_words_and_gaps(rows):
    X, _ = rows
    frame = pd.DataFrame(X[:, :3].copy(), columns=list("abc"))
    frame["side"] = np.where(X[:, 0] > 0.0, "left", "right")
    frame.loc[::7, "b"] = np.nan
    vae = VAETransformer(2, likelihood="mixed", max_epochs=20, random_state=0)
    detector = VAEOutlierDetector(vae, contamination=0.1).fit(frame)
    assert (detector.predict(frame) == -1).mean() == pytest.approx(0.1, abs=0.01)
    wrong = frame[:8].assign(
        side=np.where(X[:8, 0] > 0.0, "right", "left"), a=3.0 * X[:8, 0]
    )
    nats = detector.reasons(frame)
    assert list(nats.columns) == list(frame.columns)
    assert list(nats.index) == list(frame.index)
    gaps = nats["b"][::7] + detector._usual_nats[1]
    assert (gaps == 0.0).all()
    assert detector.reasons(wrong)["side"].mean() > nats["side"][:8].mean()


def test_it_pipes_searches_and_is_kept(rows, fitted, tmp_path):
    X, y = rows
    pipe = make_pipeline(StandardScaler(), VAEOutlierDetector(VAE, random_state=0))
    grid = {"vaeoutlierdetector__estimator__latent_dim": [1, 2]}

    def auc(estimator, X, y):
        return roc_auc_score(y, -estimator.score_samples(X))

    search = GridSearchCV(pipe, grid, cv=2, scoring=auc, error_score="raise").fit(X, y)
    assert search.best_score_ > 0.8
    skvae.save(fitted, tmp_path / "detector.safetensors")
    loaded = skvae.load(tmp_path / "detector.safetensors")
    np.testing.assert_array_equal(loaded.predict(X), fitted.predict(X))
    np.testing.assert_array_equal(loaded.reasons(X), fitted.reasons(X))
    csr = sparse.csr_array(np.where(np.abs(X) > 1.0, X, 0.0))
    assert VAEOutlierDetector(VAE, random_state=0).fit(csr).predict(csr).shape == (600,)


def test_bad_input_is_refused(rows):
    for params in ({"contamination": 0.7}, {"trim": 0.5}, {"estimator": "vae"}):
        with pytest.raises(ValueError, match=f"{next(iter(params))!r} parameter"):
            VAEOutlierDetector(**params).fit(rows[0])
    with pytest.raises(ValueError, match="contains NaN"):
        VAEOutlierDetector(VAE).fit(np.full((9, 2), np.nan))


def test_words_are_taken_by_default():
    words = np.array(["a", "b"] * 40)
    frame = pd.DataFrame({"w": words, "x": np.where(words == "a", 1.0, -1.0)})
    detector = VAEOutlierDetector(random_state=0).fit(frame)
    assert detector.estimator_.likelihood == "mixed"
    objects = np.array([["a", 1.0], ["b", 2.0]] * 30, dtype=object)
    assert VAEOutlierDetector(random_state=0).fit(objects).predict(objects).shape == (
        60,
    )
