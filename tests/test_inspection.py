import dataclasses
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer
from skvae.inspection import diagnose, suggest_kld_weights
from skvae.metrics import ACTIVE_VARIANCE, active_units, kl_per_unit

# Weights are tried that leave no unit active.
pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.exceptions.PosteriorCollapseWarning"
)

TABLES = [("breast_cancer", 8), ("wine", 4), ("digits", 6)]


def exact_eigenvalues(X):
    return np.linalg.eigvalsh(np.cov(X.T, bias=True))[::-1]


def predicted_units(X, latent_dim, weights):
    noise = weights * X.shape[1] / 2
    return [int((exact_eigenvalues(X)[:latent_dim] > s).sum()) for s in noise]


# -- suggest_kld_weights -----------------------------------------------------------


@pytest.mark.parametrize(("data", "latent_dim"), TABLES)
def test_weights_run_from_all_units_to_one(request, data, latent_dim):
    X = request.getfixturevalue(data)
    weights = suggest_kld_weights(X, latent_dim)
    assert weights.shape == (4,)
    assert weights.dtype == np.float64
    assert (np.diff(weights) > 0).all()
    units = predicted_units(X, latent_dim, weights)
    assert units[0] == units[1] == latent_dim
    assert latent_dim > units[2] > units[3] == 1


@pytest.mark.parametrize(
    ("data", "latent_dim", "max_epochs"),
    # Digits' first two eigenvalues are alike, and training is slow between them.
    [("breast_cancer", 8, 400), ("wine", 4, 400), ("digits", 6, 700)],
)
def test_a_linear_vae_has_the_predicted_units(request, data, latent_dim, max_epochs):
    """Trained from random weights, at every suggested weight.

    Counted are directions of the codes, for units take far longer to turn onto the
    eigenvectors than to find their span.
    """
    X = request.getfixturevalue(data)
    weights = suggest_kld_weights(X, latent_dim)
    units = []
    for weight in weights:
        codes = VAETransformer(
            latent_dim,
            kld_weight=weight,
            hidden_dims=(),
            linear_path=None,
            whiten=True,
            early_stopping=False,
            batch_size=len(X),
            max_epochs=max_epochs,
            lr=0.1,
            gradient_clip_val=None,
            random_state=0,
        ).fit_transform(X)
        units.append(int((exact_eigenvalues(codes) > ACTIVE_VARIANCE).sum()))
    assert units == predicted_units(X, latent_dim, weights)


def test_sparse_torch_and_float32_rows(digits):
    dense = suggest_kld_weights(digits, 10, random_state=0)
    for X in (sparse.csr_matrix(digits), sparse.coo_array(digits)):
        np.testing.assert_allclose(
            suggest_kld_weights(X, 10, random_state=0), dense, rtol=1e-4
        )
    for X in (torch.tensor(digits), torch.tensor(digits).float(), digits.tolist()):
        np.testing.assert_allclose(
            suggest_kld_weights(X, 10, random_state=0), dense, rtol=1e-4
        )


def test_the_units_of_x_square(digits):
    np.testing.assert_allclose(
        suggest_kld_weights(16 * digits, 10), 256 * suggest_kld_weights(digits, 10)
    )


def test_more_units_than_features_or_rows(digits):
    weights = suggest_kld_weights(digits[:4], 20, n=5)
    assert (np.diff(weights) > 0).all()
    assert predicted_units(digits[:4], 20, weights)[-1] == 1
    assert suggest_kld_weights(digits[:, 20:21], 20, n=3).shape == (3,)


def test_large_wide_tables_are_decomposed_at_random_but_reproducibly():
    X = sparse.random(600, 1500, 0.01, format="csr", random_state=0)
    first = suggest_kld_weights(X, 5, random_state=3)
    np.testing.assert_array_equal(first, suggest_kld_weights(X, 5, random_state=3))
    before = np.random.get_state()[1].copy()
    suggest_kld_weights(X, 5)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"latent_dim": 0}, "latent_dim"),
        ({"latent_dim": 2.5}, "latent_dim"),
        ({"n": 0}, "'n' parameter"),
        ({"n": "4"}, "'n' parameter"),
        ({"random_state": "seed"}, "random_state"),
        ({"X": np.full((9, 3), 0.1)}, "X is constant"),
        ({"X": np.array([[0.0, np.nan], [1.0, 2.0]])}, "NaN"),
        ({"X": np.ones((1, 4))}, "minimum of 2"),
        ({"X": np.ones(4)}, "2D array"),
        ({"X": [["a", "b"], ["c", "d"]]}, "could not convert|dtype"),
    ],
)
def test_bad_input(digits, args, message):
    with pytest.raises(ValueError, match=message):
        suggest_kld_weights(**{"X": digits, "latent_dim": 4, **args})


# -- diagnose ----------------------------------------------------------------------


# Fits that earn each verdict; digits' first eigenvalue stands for a weight of 0.023.
EARNED = {
    "collapsed": {"kld_weight": 0.1},
    "collapsed without a linear path": {"kld_weight": 0.1, "linear_path": None},
    "nearly deterministic": {"kld_weight": 1e-6},
    "nearly deterministic at no weight": {"kld_weight": 0.0},
    "nearly deterministic as wide as X": {"latent_dim": 64},
    "starved": {"latent_dim": 3},
    "over-wide": {"latent_dim": 32, "kld_weight": 0.005},
    "healthy": {"kld_weight": 0.003},
}


@pytest.fixture(scope="module")
def diagnoses(digits):
    found = {}
    for name, params in EARNED.items():
        vae = VAETransformer(
            **{"hidden_dims": (32,), "max_epochs": 8, "random_state": 0, **params}
        ).fit(digits[:1200])
        found[name] = diagnose(vae, digits[1200:])
    return found


@pytest.mark.parametrize("name", EARNED)
def test_every_verdict_is_earned(diagnoses, name):
    assert name.startswith(diagnoses[name].verdict)


def test_advice(diagnoses):
    assert "lower kld_weight from 0.1" in diagnoses["collapsed"].advice
    assert "Raise kld_weight from 1e-06" in diagnoses["nearly deterministic"].advice
    wide = diagnoses["nearly deterministic as wide as X"].advice
    assert "Lower latent_dim from 64" in wide
    assert "Raise latent_dim from 3" in diagnoses["starved"].advice
    assert "of 32 units are active" in diagnoses["over-wide"].advice
    assert "lower kld_weight from 0.005" in diagnoses["over-wide"].advice
    assert "Nothing has to change. beta is 2.9" in diagnoses["healthy"].advice


def test_the_advice_is_good(diagnoses, digits):
    """Following it is rewarded by a higher ELBO on held-out rows."""
    better = {
        "collapsed": {"kld_weight": 0.002},
        "nearly deterministic": {"kld_weight": 0.00055},
        "starved": {"latent_dim": 6},
        "over-wide": {"latent_dim": 32, "kld_weight": 0.0014},
    }
    for name, params in better.items():
        vae = VAETransformer(
            hidden_dims=(32,), max_epochs=8, random_state=0, **params
        ).fit(digits[:1200])
        assert vae.score(digits[1200:]) > diagnoses[name].elbo + 1.0


def test_numbers_agree_with_the_metrics(fitted, digits):
    X = digits[1200:]
    found = diagnose(fitted, X)
    assert (found.n_rows, found.n_features, found.latent_dim) == (597, 64, 6)
    assert found.elbo == pytest.approx(fitted.score(X))
    np.testing.assert_allclose(found.kl_per_unit, kl_per_unit(fitted, X), rtol=1e-5)
    assert found.rate == pytest.approx(found.kl_per_unit.sum())
    assert found.active_units == active_units(fitted, X) == 6
    assert found.distortion > fitted.reconstruction_error(X).mean()
    assert found.distortion == pytest.approx(fitted.noise_variance_, rel=0.3)
    assert found.beta == fitted.beta_ == pytest.approx(1.0)
    assert (found.kld_weight, found.noise_variance) == (
        fitted.kld_weight_,
        fitted.noise_variance_,
    )
    assert 3.0 < found.mutual_information <= np.log(597) + 1e-9
    assert found.mutual_information < found.rate
    assert found.shuffle_loss > 10.0


def test_a_linear_model_is_what_linear_theory_says(breast_cancer):
    X = breast_cancer
    vae = VAETransformer(
        8,
        kld_weight=0.05,
        hidden_dims=(),
        lr=1e-12,
        max_epochs=1,
        early_stopping=False,
        random_state=0,
    ).fit(X)
    found = diagnose(vae, X)
    assert found.rate == pytest.approx(found.expected_rate, rel=1e-3)
    assert found.active_units == found.expected_active_units == 6
    # Its posteriors are not exactly a Gaussian mixture's, whose I(x; z) is the rate.
    assert 0.7 * found.rate < found.mutual_information < found.rate


def test_no_finite_rate_without_a_weight(diagnoses):
    found = diagnoses["nearly deterministic at no weight"]
    assert found.expected_rate == np.inf
    assert "inf" in repr(found)


def test_the_guide_misses_what_theory_sees(diagnoses):
    """45 nats are within its bounds, and PCA of 64 pixels at that weight has them."""
    found = diagnoses["nearly deterministic"]
    assert found.guide == "healthy"
    assert found.rate == pytest.approx(found.expected_rate, rel=0.1)


def test_it_prints(diagnoses):
    text = repr(diagnoses["over-wide"])
    assert text.startswith("Diagnosis: over-wide\nOnly ")
    assert max(map(len, text.splitlines())) <= 80
    assert "0.005" in text
    assert "nats, at most 6.39" in text
    html = diagnoses["over-wide"]._repr_html_()
    assert html.count("<tr>") == 15
    assert "<b>over-wide</b>" in html


def test_html_is_escaped(diagnoses):
    odd = dataclasses.replace(diagnoses["healthy"], advice="<script>")
    assert "<script>" not in odd._repr_html_()


def test_frame(diagnoses):
    found = diagnoses["over-wide"]
    frame = found.to_frame()
    assert frame.loc["rate", "value"] == found.rate
    assert frame.loc["rate", "expected"] == found.expected_rate
    assert frame.loc["rate", "unit"] == "nats per row"
    assert frame.loc["kl_of_weakest_unit", "value"] == found.kl_per_unit.min()
    assert frame.loc["verdict", "value"] == "over-wide"
    assert frame.index.is_unique


def test_a_frame_needs_pandas(diagnoses, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ValueError, match=r"skvae\[frames\]"):
        diagnoses["healthy"].to_frame()


def test_a_diagnosis_does_not_change(diagnoses):
    found = diagnoses["healthy"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.rate = 0.0
    with pytest.raises(ValueError, match="read-only"):
        found.kl_per_unit[0] = 0.0


def test_the_same_rows_give_the_same_diagnosis(fitted, digits):
    X = digits[1200:1400]
    assert repr(diagnose(fitted, X)) == repr(diagnose(fitted, X))


def test_sparse_and_torch_rows(fitted, digits):
    X = digits[1200:1300]
    expected = dataclasses.asdict(diagnose(fitted, X))
    for other in (sparse.csr_array(X), torch.tensor(X)):
        found = dataclasses.asdict(diagnose(fitted, other))
        assert found.pop("verdict") == expected["verdict"]
        for name in ("elbo", "rate", "shuffle_loss", "expected_rate"):
            assert found[name] == pytest.approx(expected[name], rel=1e-6)


def test_pipelines_searches_and_named_columns(digits, quick):
    X = pd.DataFrame(digits[:150]).add_prefix("pixel ")
    pipeline = make_pipeline(
        StandardScaler().set_output(transform="pandas"), VAETransformer(**quick)
    ).fit(X)
    inner = diagnose(pipeline[-1], pipeline[:-1].transform(X))
    assert repr(diagnose(pipeline, X)) == repr(inner)
    grid = GridSearchCV(pipeline, {"vaetransformer__latent_dim": [2]}, cv=2).fit(X)
    assert diagnose(grid, X).latent_dim == 2


def test_what_cannot_be_diagnosed(small, quick):
    with pytest.raises(TypeError, match="PCA has no likelihood"):
        diagnose(PCA(2).fit(small), small)
    with pytest.raises(NotFittedError):
        diagnose(VAETransformer(), small)
    vae = VAETransformer(**quick).fit(small)
    with pytest.raises(ValueError, match="minimum of 2"):
        diagnose(vae, small[:1])
    with pytest.raises(ValueError, match="X has 63 features"):
        diagnose(vae, small[:, :63])


def test_rows_that_are_all_the_same(quick):
    X = np.ones((20, 4))
    found = diagnose(VAETransformer(**quick).fit(X), X)
    assert "all the same" in found.advice
    assert found.verdict == "collapsed"
    assert (found.expected_rate, found.expected_active_units) == (0.0, 0)


def test_a_network_that_is_not_trained_is_told_so(digits):
    """Random codes, whatever they cost, are no codes; few of them are too few."""
    preset = VAETransformer.from_preset(
        "standard", hidden_dims=(64,), max_epochs=2, random_state=0
    ).fit(digits[:400])
    assert diagnose(preset, digits[400:800]).verdict == "collapsed"
    short = VAETransformer(
        8, linear_path=None, hidden_dims=(32,), max_epochs=20, random_state=0
    ).fit(digits[:400])
    assert "train for longer" in diagnose(short, digits[400:800]).advice
