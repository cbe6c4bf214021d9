import dataclasses
import pickle
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse, stats
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skvae import VAETransformer
from skvae._evaluation.verdicts import VERDICTS
from skvae.exceptions import DivergenceWarning, PosteriorCollapseWarning
from skvae.inspection import diagnose, suggest_kld_weights
from skvae.metrics import (
    ACTIVE_VARIANCE,
    active_units,
    distortion,
    kl_per_unit,
    pca_scorer,
    rate,
)

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
    [
        ("breast_cancer", 8, 400),
        ("wine", 4, 400),
        # The first two eigenvalues are alike, and training is slow between them.
        pytest.param("digits", 6, 700, marks=pytest.mark.slow),
    ],
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
            likelihood="gaussian",
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


# Fits that earn each verdict, and what the advice changes of them; digits' first
# eigenvalue stands for a weight of 0.025. "factors" are three and noise, in 30 columns.
PLAIN = {"linear_path": None, "use_batch_norm": False}
LONG = {"max_epochs": 150, "early_stopping": False}
EARNED = {
    "collapsed": ("digits", {"kld_weight": 0.1}, {"kld_weight": "auto"}),
    "collapsed, plain network": (
        "digits",
        {"kld_weight": 0.1, **PLAIN, **LONG},
        {"kld_weight": 0.002},
    ),
    "collapsed behind free bits": (
        "digits",
        {"kld_weight": 1.0, "free_bits": 0.1},
        {"kld_weight": 0.001},
    ),
    "untrained": ("digits", {"lr": 2e-4, "max_epochs": 2, **PLAIN}, {"max_epochs": 99}),
    "untrained at a tiny weight": (
        "digits",
        {"lr": 2e-4, "max_epochs": 2, "kld_weight": 1e-8, **PLAIN},
        {"max_epochs": 99},
    ),
    "untrained at no weight": (
        "digits",
        {"lr": 2e-4, "max_epochs": 2, "kld_weight": 0.0, **PLAIN},
        {"max_epochs": 99},
    ),
    "diverged": ("digits", {"lr": 100.0}, {"lr": 2e-3}),
    "diverged without a start": (
        "digits",
        {"lr": 100.0, "linear_path": None, "early_stopping": False},
        {"lr": 2e-3},
    ),
    "nearly deterministic": ("digits", {"kld_weight": 1e-6}, {"kld_weight": 0.00055}),
    "nearly deterministic at no weight": (
        "digits",
        {"kld_weight": 0.0},
        {"kld_weight": 0.00055},
    ),
    "nearly deterministic as wide as X": (
        "digits",
        {"latent_dim": 64},
        {"latent_dim": 12},
    ),
    "worse than linear by the weight": (
        "digits",
        {"latent_dim": 32, "kld_weight": 0.005},
        {"kld_weight": "auto"},
    ),
    "worse than linear by few steps": (
        "digits",
        {"linear_path": None, "max_epochs": 10, "lr": 4e-3},
        {"max_epochs": 90, "hidden_dims": (128,)},
    ),
    "worse than linear by the learning rate": (
        "digits",
        {"linear_path": None, "max_epochs": 60, "lr": 0.5},
        {"lr": 0.005, "hidden_dims": (128,)},
    ),
    "too few units": ("factors", {"latent_dim": 2}, {"latent_dim": 4}),
    "too many units": ("factors", {"latent_dim": 16}, {"latent_dim": 4}),
    "healthy": ("factors", {"latent_dim": 4}, {}),
}


@pytest.fixture(scope="module")
def tables(digits):
    """Rows to train on and rows to judge by."""
    generator = np.random.RandomState(0)
    factors = generator.randn(900, 3) @ generator.randn(3, 30)
    factors = factors + generator.randn(900, 30)
    return {
        "digits": (digits[:1200], digits[1200:]),
        "factors": (factors[:600], factors[600:]),
    }


@pytest.fixture(scope="module")
def fit(tables):
    def fit(table, params):
        short = {"hidden_dims": (32,), "max_epochs": 8, "random_state": 0}
        # As much weight as the noise of the factors stands for, and half as much again.
        noise = {"kld_weight": 1.4 * 2.0 / 30} if table == "factors" else {}
        vae = VAETransformer(**{**short, **noise, **params}, likelihood="gaussian")
        with warnings.catch_warnings(record=True) as got:
            warnings.simplefilter("always")
            vae.fit(tables[table][0])
        return vae, [warning.category for warning in got]

    return fit


@pytest.fixture(scope="module")
def diagnosed(fit, tables):
    """Diagnosis and categories of warnings of every fit."""
    found = {}
    for name, (table, params, _) in EARNED.items():
        vae, warned = fit(table, params)
        found[name] = diagnose(vae, tables[table][1]), warned
    return found


@pytest.fixture(scope="module")
def diagnoses(diagnosed):
    return {name: found for name, (found, _) in diagnosed.items()}


@pytest.mark.parametrize("name", EARNED)
def test_every_verdict_is_earned(diagnoses, name):
    verdicts = [v for v in VERDICTS if name.startswith(v)]
    assert [diagnoses[name].verdict] == verdicts


def test_every_verdict_is_there(diagnoses):
    assert {found.verdict for found in diagnoses.values()} == set(VERDICTS)


@pytest.mark.parametrize("name", EARNED)
def test_fit_warns_of_what_diagnose_says(diagnosed, name):
    found, warned = diagnosed[name]
    expected = {
        "collapsed": [PosteriorCollapseWarning],
        "untrained": [PosteriorCollapseWarning],
        "diverged": [DivergenceWarning],
    }
    assert warned == expected.get(found.verdict, [])


@pytest.mark.parametrize("name", [name for name in EARNED if name != "healthy"])
def test_the_advice_is_good(diagnoses, fit, tables, name):
    """Following it changes the verdict, and scores more on held-out rows."""
    table, params, cure = EARNED[name]
    better, _ = fit(table, {**params, **cure})
    cured = diagnose(better, tables[table][1])
    assert cured.verdict != diagnoses[name].verdict
    # Whoever diverged has kept PCA, rounding has no bound, inactive units cost no nats,
    # and a weight near 0 is another fault, which comes to light.
    if name not in (
        "diverged",
        "nearly deterministic as wide as X",
        "too many units",
        "untrained at a tiny weight",
        "untrained at no weight",
    ):
        assert cured.elbo > diagnoses[name].elbo + 1.0


def test_advice(diagnoses):
    def advice(name):
        return diagnoses[name].advice

    assert "lower kld_weight from 0.1" in advice("collapsed")
    assert "Lowering kld_weight would not help" in advice("untrained at no weight")
    assert "Lower lr from 1e+02" in advice("diverged")
    assert "Raise kld_weight from 1e-06" in advice("nearly deterministic")
    assert "Lower latent_dim from 64" in advice("nearly deterministic as wide as X")
    assert "lower kld_weight from 0.005" in advice("worse than linear by the weight")
    assert "too few" in advice("worse than linear by few steps")
    assert "lower lr from 0.5" in advice("worse than linear by the learning rate")
    assert "Raise latent_dim from 2, to 4" in advice("too few units")
    assert "of 16 units are active" in advice("too many units")
    assert advice("healthy") == "Nothing has to change."


def test_the_linear_model_is_one_of_the_training_rows(fit, tables):
    """As many units, its noise over all other directions; scored on the rows given."""
    X, held_out = tables["digits"]
    vae, _ = fit("digits", {"kld_weight": 0.003})
    expected = pca_scorer(PCA(10).fit(X), held_out)
    assert diagnose(vae, held_out).expected_elbo == pytest.approx(expected, rel=1e-2)


def test_without_a_linear_path_the_linear_model_is_cross_fitted(fit, tables):
    _, held_out = tables["digits"]
    vae, _ = fit("digits", {"linear_path": None})
    cv = KFold(5, shuffle=True, random_state=1)
    expected = cross_val_score(PCA(10), held_out, cv=cv, scoring=pca_scorer).mean()
    for rows in (held_out, sparse.csr_array(held_out)):
        found = diagnose(vae, rows).expected_elbo
        assert found == pytest.approx(expected, abs=0.5)
    assert np.isnan(diagnose(vae, held_out[:5]).expected_elbo)


def test_the_numbers_of_one_fit_add_up(fit, tables):
    """Row by row, with the odd rows that the second component explains."""
    X, held_out = tables["digits"]
    vae, _ = fit("digits", {"max_epochs": 15})
    assert vae._fitted.state.background is not None
    odd = np.vstack([held_out[:50], 3.0 * np.random.RandomState(0).rand(5, 64)])
    elbo, d, r = vae.score_samples(odd), distortion(vae, odd), rate(vae, odd)
    np.testing.assert_allclose(elbo, -(d + r), rtol=1e-12)
    found = diagnose(vae, odd)
    assert found.elbo == pytest.approx(elbo.mean(), rel=1e-12)
    assert found.rate == pytest.approx(r.mean(), rel=1e-12)
    assert found.distortion == pytest.approx(d.mean(), rel=1e-12)
    np.testing.assert_allclose(found.kl_per_unit, kl_per_unit(vae, odd), rtol=1e-12)
    units = found.kl_per_unit.sum()
    assert found.rate == pytest.approx(units + found.kl_of_choice, rel=1e-12)
    # The five are explained by the background: the choice alone costs -ln 0.01 each.
    assert found.kl_of_choice > 5 * 4.0 / 55
    network = VAETransformer(
        hidden_dims=(32,),
        max_epochs=15,
        linear_path=None,
        random_state=0,
        likelihood="gaussian",
    ).fit(X)
    assert diagnose(network, odd).kl_of_choice == 0.0
    pipeline = make_pipeline(FunctionTransformer(), vae)
    np.testing.assert_array_equal(rate(pipeline, odd), r)
    assert repr(diagnose(pipeline, odd)) == repr(found)


def test_numbers_agree_with_the_metrics(fitted, digits):
    X = digits[1200:]
    found = diagnose(fitted, X)
    assert (found.n_rows, found.n_features, found.latent_dim) == (597, 64, 6)
    assert found.elbo == pytest.approx(fitted.score(X))
    np.testing.assert_allclose(found.kl_per_unit, kl_per_unit(fitted, X), rtol=1e-5)
    assert found.rate == pytest.approx(rate(fitted, X).mean())
    assert found.active_units == active_units(fitted, X) == 6
    assert found.squared_error > fitted.reconstruction_error(X).mean()
    assert found.squared_error == pytest.approx(fitted.noise_variance_, rel=0.3)
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
        likelihood="gaussian",
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
    text = repr(diagnoses["too many units"])
    assert text.startswith("Diagnosis: too many units\nOnly ")
    assert max(map(len, text.splitlines())) <= 80
    assert "0.09333" in text
    assert "nats, at most 5.7" in text
    html = diagnoses["too many units"]._repr_html_()
    assert html.count("<tr>") == 16
    assert "<b>too many units</b>" in html


def test_html_is_escaped(diagnoses):
    odd = dataclasses.replace(diagnoses["healthy"], advice="<script>")
    assert "<script>" not in odd._repr_html_()


def test_frame(diagnoses):
    found = diagnoses["too many units"]
    frame = found.to_frame()
    assert frame.loc["rate", "value"] == found.rate
    assert frame.loc["rate", "expected"] == found.expected_rate
    assert frame.loc["rate", "unit"] == "nats per row"
    assert frame.loc["kl_of_weakest_unit", "value"] == found.kl_per_unit.min()
    assert frame.loc["verdict", "value"] == "too many units"
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
        StandardScaler().set_output(transform="pandas"),
        VAETransformer(**quick, likelihood="gaussian"),
    ).fit(X)
    inner = diagnose(pipeline[-1], pipeline[:-1].transform(X))
    assert repr(diagnose(pipeline, X)) == repr(inner)
    grid = GridSearchCV(pipeline, {"vaetransformer__latent_dim": [2]}, cv=2).fit(X)
    assert diagnose(grid, X).latent_dim == 2


def test_what_cannot_be_diagnosed(small, quick):
    with pytest.raises(TypeError, match="PCA has no likelihood"):
        diagnose(PCA(2).fit(small), small)
    with pytest.raises(NotFittedError):
        diagnose(VAETransformer(likelihood="gaussian"), small)
    vae = VAETransformer(**quick, likelihood="gaussian").fit(small)
    with pytest.raises(ValueError, match="minimum of 2"):
        diagnose(vae, small[:1])
    with pytest.raises(ValueError, match="X has 63 features"):
        diagnose(vae, small[:, :63])


def test_rows_that_are_all_the_same(quick):
    X = np.ones((20, 4))
    found = diagnose(VAETransformer(**quick, likelihood="gaussian").fit(X), X)
    assert "all the same" in found.advice
    assert found.verdict == "collapsed"
    assert (found.expected_rate, found.expected_active_units) == (0.0, 0)


@pytest.mark.parametrize(
    "kld_weight",
    [1e-5, *(pytest.param(weight, marks=pytest.mark.slow) for weight in (1e-8, 0.0))],
)
def test_a_preset_that_is_not_trained_is_told_so(digits, kld_weight):
    """Whatever the weight, only more training cures it."""
    preset = VAETransformer.from_preset(
        "standard",
        hidden_dims=(64,),
        max_epochs=2,
        kld_weight=kld_weight,
        random_state=0,
    )
    with pytest.warns(PosteriorCollapseWarning, match="6 steps at lr=0.0001"):
        preset.fit(digits[:400])
    found = diagnose(preset, digits[400:800])
    assert found.verdict == "untrained"
    assert "max_epochs" in found.advice
    preset.set_params(max_epochs=500, early_stopping=False).fit(digits[:400])
    assert diagnose(preset, digits[400:800]).verdict != "untrained"


def test_a_preset_that_early_stopping_ended_is_told_so(digits):
    preset = VAETransformer.from_preset(
        "standard", hidden_dims=(64,), max_epochs=100, random_state=0
    )
    with pytest.warns(PosteriorCollapseWarning, match="n_iter_no_change"):
        preset.fit(digits[:400])


@pytest.mark.parametrize("likelihood", ["negative_binomial", "zinb"])
def test_counts_are_compared_with_the_best_model_with_no_code(likelihood, rng):
    # Two kinds of rows: what a code explains is no dispersion, which training lowers.
    rates = np.where(rng.uniform(size=(400, 1)) < 0.5, 1.0, 20.0)
    rates = rates * rng.permutation(np.repeat([1.0, 0.1], 6))
    X = rng.poisson(rates).astype(float)
    vae = VAETransformer(2, likelihood=likelihood, size_factor=None, max_epochs=20)
    found = diagnose(vae.set_params(random_state=0).fit(X), X)

    def log_mass(log_r):
        r = np.exp(log_r)
        return stats.nbinom(r, r / (r + X.mean(axis=0))).logpmf(X)

    grid = np.linspace(-3.0, 8.0, 400)
    totals = [log_mass(log_r).sum(axis=0) for log_r in grid]
    expected = log_mass(grid[np.argmax(totals, axis=0)]).sum(axis=1).mean()
    assert found.expected_elbo == pytest.approx(expected, abs=0.01)
    assert found.elbo > expected + 3.0
    again = pickle.loads(pickle.dumps(vae))
    assert diagnose(again, X).expected_elbo == found.expected_elbo


def rows_of_two_batches(rng):
    """Two factors, and a shift of every column in the second batch."""
    codes, maps = rng.normal(size=(600, 2)), rng.normal(size=(2, 12))
    batch = np.arange(600) % 2
    X = codes @ maps + 8.0 * batch[:, None] * rng.normal(size=12)
    return X + 0.3 * rng.normal(size=X.shape), batch[:, None].astype(str)


@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_diag"])
def test_a_diagnosis_leaves_out_what_conditions_explain(likelihood, rng):
    X, batch = rows_of_two_batches(rng)
    vae = VAETransformer(2, likelihood=likelihood, lr=1e-12, max_epochs=1)
    vae.set_params(encode_conditions=True, random_state=0).fit(X, conditions=batch)
    found = diagnose(vae, X, conditions=batch)
    own = found.expected_elbo
    assert own == pytest.approx(found.elbo, abs=0.1)
    assert found.expected_rate == pytest.approx(found.rate, abs=0.1)
    assert diagnose(vae, X, conditions=batch[::-1]).expected_elbo < own - 10.0
    as_csr = diagnose(vae, sparse.csr_matrix(X), conditions=batch)
    assert as_csr.expected_elbo == pytest.approx(own, rel=1e-6)
    with pytest.raises(ValueError, match="fitted with conditions"):
        diagnose(vae, X)


def test_without_a_linear_path_nothing_is_said_of_linear_models_of_conditions(rng):
    X, batch = rows_of_two_batches(rng)
    vae = VAETransformer(5, likelihood="gaussian", linear_path=None, max_epochs=2)
    found = diagnose(vae.fit(X, conditions=batch), X, conditions=batch)
    assert np.isnan(found.expected_elbo)
