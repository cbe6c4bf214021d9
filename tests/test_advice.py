import inspect
import re
import warnings

import pytest
from scipy.linalg import LinAlgWarning

from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer
from skvae._evaluation.advice import advise, collapse_advice, divergence_advice
from skvae._evaluation.verdicts import VERDICTS, Measured, Training
from skvae.exceptions import DivergenceWarning, PosteriorCollapseWarning
from skvae.inspection import diagnose

MEASURED = Measured(
    active_units=4,
    latent_dim=10,
    n_features=64,
    shuffle_loss=50.0,
    rate=20.0,
    expected_rate=25.0,
    beta=1.0,
    noise_share=0.3,
    weakest_kl=0.7,
    balanced_weight=0.005,
    gain=-20.0,
    gain_error=1.0,
)
TRAINING = Training(kld_weight=0.02, first_weight=0.03, lr=2e-3, n_steps=600)


@pytest.mark.parametrize(
    ("verdict", "beta", "parts"),
    [
        ("diverged", 1.0, ["Lower lr from 0.002 to a tenth"]),
        ("collapsed", 1.0, ["lower kld_weight from 0.02", "kld_schedule", "free_bits"]),
        ("untrained", 1.0, ["600 steps at lr=0.002 are too few", "max_epochs"]),
        ("nearly deterministic", 0.05, ["Raise kld_weight from 0.02 towards 0.005"]),
        ("nearly deterministic", 1.0, ["Lower latent_dim from 10", "raise kld_weight"]),
        ("worse than linear", 3.0, ["20 nats below", "by the weight: beta is 3"]),
        (
            "worse than linear",
            1.0,
            ["600 steps at lr=0.002 are too few", "lr"],
        ),
        ("too few units", 1.0, ["Raise latent_dim from 10, to 20"]),
        (
            "too many units",
            2.0,
            ["Lower latent_dim to 5", "lower kld_weight from 0.02"],
        ),
        ("healthy", 2.0, ["Nothing has to change", "lower kld_weight from 0.02"]),
        ("healthy", 0.5, ["raise kld_weight from 0.02"]),
    ],
)
def test_advice_names_what_to_change(verdict, beta, parts):
    advice = advise(verdict, MEASURED._replace(beta=beta), TRAINING)
    for part in parts:
        assert part in advice


def test_what_keeps_a_fit_below_pca_is_named():
    def advice(**training):
        return advise("worse than linear", MEASURED, TRAINING._replace(**training))

    assert "by the learning rate: lower lr from 0.3" in advice(lr=0.3)
    assert "n_iter_no_change" in advice(stopped_early=True)
    assert "more training will not mend that" in advice(n_steps=10_000)
    # A rate that is not theory's yet: the weight is not to blame.
    few = MEASURED._replace(beta=3.0, rate=5.0)
    assert "too few" in advise("worse than linear", few, TRAINING)


@pytest.mark.parametrize("verdict", ["too many units", "healthy"])
def test_no_word_of_the_weight_at_maximum_likelihood(verdict):
    assert "kld_weight" not in advise(verdict, MEASURED, TRAINING)


def test_a_rate_below_a_linear_model_s_asks_for_training():
    few = MEASURED._replace(rate=5.0)
    assert advise("healthy", few, TRAINING).startswith("The rate is 5 nats, where")
    wide = advise("too many units", few, TRAINING)
    assert wide.index("Lower latent_dim") < wide.index("train for longer")


def test_collapse_by_weight_by_training_and_of_rows_that_are_the_same():
    def advice(verdict, **training):
        return collapse_advice(verdict, TRAINING._replace(**training))

    untrained = advice("untrained", kld_weight=0.0)
    assert "max_epochs" in untrained
    assert "Lowering kld_weight would not help" in untrained
    assert "all the same" in advice("collapsed", first_weight=0.0)
    # Theory has units at this weight: the weight is the last thing to change.
    far = advice("collapsed", kld_weight=0.01, first_weight=0.5)
    assert far.index("warm up") < far.index("lower kld_weight")
    assert "at 0.5," in advice("collapsed", kld_weight=0.4, first_weight=0.5)


def test_all_that_advice_names_is_there():
    names = set(inspect.signature(VAETransformer).parameters)
    texts = [advise(v, MEASURED, TRAINING) for v in VERDICTS]
    for text in [*texts, divergence_advice(1.0)]:
        for word in re.findall(r"[a-z]+(?:_[a-z]+)+", text):
            assert word in names, word


@pytest.mark.parametrize(
    ("params", "line"),
    [
        ({"lr": 1e-12}, "PCA was kept: no epoch was better on the held-out rows"),
        ({"tol": 0.0, "linear_path": None}, "epoch 3 of 3 was kept"),
        ({"lr": 1e-12, "linear_path": None}, "the untrained network was kept"),
    ],
)
def test_verbose_says_which_epoch_was_kept(params, line, digits, quick, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PosteriorCollapseWarning)
        VAETransformer(**{**quick, **params}, verbose=1, likelihood="gaussian").fit(
            digits
        )
    assert line in capsys.readouterr().out.splitlines()[-1]


def test_verbose_says_that_the_last_fit_was_kept(digits, quick, capsys):
    vae = VAETransformer(**quick, warm_start=True, likelihood="gaussian").fit(digits)
    vae.set_params(verbose=1, tol=1e9).fit(digits)
    assert "the last fit was kept" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    "Estimator", [AETransformer, RAETransformer, SAETransformer, VAETransformer]
)
def test_divergence_is_no_secret(Estimator, digits, quick):
    """Where PCA is all that is left of it, and where nothing is."""
    for params in ({}, {"linear_path": None, "early_stopping": False}):
        model = Estimator(**quick, lr=100.0, **params)
        with pytest.warns(DivergenceWarning, match="Lower lr from 1e"):
            model.fit(digits)


def test_pca_that_is_best_is_no_divergence(wine, quick, recwarn):
    vae = VAETransformer(**{**quick, "max_epochs": 20}, likelihood="gaussian").fit(wine)
    assert vae.best_epoch_ == 0
    assert not recwarn.list


@pytest.mark.parametrize(
    "Estimator", [AETransformer, RAETransformer, SAETransformer, VAETransformer]
)
def test_divergence_on_a_chunk_is_no_secret_and_does_not_stick(
    Estimator, digits, quick
):
    model = Estimator(**quick, lr=100.0, linear_path=None)
    with warnings.catch_warnings():  # of a mixture of such codes
        warnings.simplefilter("ignore", LinAlgWarning)
        with pytest.warns(DivergenceWarning, match="Lower lr from 1e"):
            model.partial_fit(digits[:600])
    assert model._fitted.state.record.diverged
    model = Estimator(**quick, lr=100.0)
    with pytest.warns(DivergenceWarning):
        model.fit(digits[:600])
    model.set_params(lr=1e-3).partial_fit(digits[:600])
    assert not model._fitted.state.record.diverged


def test_rows_that_have_moved_are_no_divergence(digits, quick, recwarn):
    """A warm start and a chunk far from the rows before: others are as far away."""
    vae = VAETransformer(**quick, warm_start=True, likelihood="gaussian").fit(digits)
    vae.fit(digits + 5.0)
    vae.partial_fit(digits - 7.0)
    assert DivergenceWarning not in [warning.category for warning in recwarn.list]


def test_a_learning_rate_that_silences_codes_is_named(digits, quick):
    params = {**quick, "max_epochs": 30, "lr": 1.0, "linear_path": None}
    vae = VAETransformer(**params, likelihood="gaussian")
    with pytest.warns((PosteriorCollapseWarning, DivergenceWarning), match="ower lr"):
        vae.fit(digits[:600])
    vae.set_params(lr=2e-3, max_epochs=60).fit(digits[:600])
    assert vae._fitted.state.codes.shuffle_loss > 1.0


def test_what_training_was_is_not_what_parameters_say_now(digits, quick):
    vae = VAETransformer(
        **{**quick, "max_epochs": 8}, warm_start=True, likelihood="gaussian"
    ).fit(digits)
    before = repr(diagnose(vae, digits[:300]))
    steps = vae._training(1.0).n_steps
    vae.set_params(lr=100.0, free_bits=50.0, max_epochs=500)
    assert repr(diagnose(vae, digits[:300])) == before
    vae.set_params(lr=2e-3, free_bits=0.0, max_epochs=8).fit(digits)
    assert vae._training(1.0).n_steps == 2 * steps
    assert not vae._training(1.0).stopped_early
