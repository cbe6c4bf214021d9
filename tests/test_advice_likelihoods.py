"""What users are told of fits with every likelihood: provoked, not made up."""

import math
import warnings

import numpy as np
import pytest
from _kinds import NAMES, rows_for

from skvae import AETransformer, VAETransformer
from skvae._evaluation.advice import advise, collapse_advice, divergence_advice
from skvae._evaluation.verdicts import Measured, Training, judge_collapse
from skvae._likelihoods.registry import likelihood_named
from skvae.inspection import diagnose

QUICK = {
    "latent_dim": 3,
    "hidden_dims": (16,),
    "batch_size": 32,
    "max_epochs": 8,
    "random_state": 0,
}
PLAIN = {"linear_path": None, "early_stopping": False}
PROVOKED = {
    "few steps": {"max_epochs": 2, "lr": 1e-4},
    "few steps, all rows": {"max_epochs": 2, "lr": 1e-4, **PLAIN},
    "weight": {"kld_weight": 50.0},
    "beta": {"beta": 200.0},
    "no weight": {"kld_weight": 1e-7, "max_epochs": 40},
    "learning rate": {"lr": 1.0, **PLAIN},
    "divergence": {"lr": 100.0, **PLAIN},
    "free bits": {"kld_weight": 50.0, "free_bits": 0.2},
}
WITHOUT_LINEAR = [n for n in NAMES if not likelihood_named(n).has_linear_model]
TRAINING = Training(kld_weight=0.1, first_weight=math.inf, lr=2e-3, n_steps=600)


def told(name, params, X=None):
    """The fit, its warnings and the advice on its rows."""
    X = rows_for(name, n=200) if X is None else X
    model = VAETransformer(**{**QUICK, **params}, likelihood=name)
    with warnings.catch_warnings(record=True) as got:
        warnings.simplefilter("always")
        model.fit(X)
    sentences = [str(warning.message) for warning in got]
    return model, [*sentences, diagnose(model, X).advice]


@pytest.mark.parametrize("provoked", PROVOKED)
@pytest.mark.parametrize("name", WITHOUT_LINEAR)
def test_no_word_of_linear_models_where_there_is_none(name, provoked):
    _, sentences = told(name, PROVOKED[provoked])
    for sentence in sentences:
        for word in ("linear_path", "PCA", "linear model", "StandardScaler", "noise"):
            assert word not in sentence


@pytest.mark.parametrize("provoked", PROVOKED)
@pytest.mark.parametrize("name", ["gaussian", "gaussian_diag", "student_t"])
def test_the_linear_start_is_named_where_it_was_not_taken(name, provoked):
    params = PROVOKED[provoked]
    _, sentences = told(name, params)
    own = "PCA" if name == "gaussian" else "factor analysis"
    for sentence in sentences:
        assert ("linear_path" in sentence) == (f"start as {own}" in sentence)
        assert "linear_path" in params or "linear_path" not in sentence


@pytest.mark.parametrize("name", WITHOUT_LINEAR)
@pytest.mark.parametrize(
    ("provoked", "cause"),
    [
        ("few steps", "steps at lr=0.0001 are too few"),
        ("weight", "lower kld_weight from 50 towards 0.11 (beta = 1)"),
        ("beta", "lower beta from 2e+02 towards 1."),
    ],
)
def test_silent_codes_are_told_their_cause(name, provoked, cause):
    _, sentences = told(name, PROVOKED[provoked])
    assert len(sentences) == 2
    assert all(cause in sentence for sentence in sentences)


def test_a_learning_rate_that_silences_codes_is_named_without_theory():
    _, sentences = told("multinomial", {"lr": 1.0})
    assert len(sentences) == 2
    for sentence in sentences:
        assert sentence.endswith(": lower lr from 1 to the default, 0.002, say.")


LONGER = {"max_epochs": 120, "n_iter_no_change": 60, "lr": 8e-3}


@pytest.mark.parametrize("name", ["bernoulli", "negative_binomial"])
@pytest.mark.parametrize(
    ("params", "cure"),
    [
        ({"max_epochs": 2, "lr": 1e-4}, LONGER),
        ({**LONGER, "kld_weight": 50.0}, {"kld_weight": 1.0 / 9.0}),
        ({**LONGER, "beta": 200.0}, {"beta": 1.0}),
        ({"lr": 30.0}, LONGER),
    ],
)
def test_following_the_advice_makes_codes_speak(name, params, cure):
    model, (_, advice) = told(name, params)
    assert model.best_epoch_ == 0
    assert "The codes say nothing" in advice or "Training diverged" in advice
    cured, (*warned, advice) = told(name, {**params, **cure})
    assert not warned
    assert "The codes say nothing" not in advice
    X = rows_for(name, n=200)
    assert cured.score(X) > model.score(X) + 0.3


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_are_all_the_same_have_nothing_to_say(name):
    """And there is nothing to warn of."""
    X = np.ones((200, 9))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Column .* of X")
        _, sentences = told(name, {"max_epochs": 2}, X)
    assert sentences[-1] == (
        "The codes say nothing about the rows, which are all the same."
    )
    assert not [s for s in sentences[:-1] if "codes" in s]


def test_the_weight_is_to_blame_from_maximum_likelihood_on():
    """Without theory; and no word of a weight that would leave "auto" behind."""
    short = TRAINING._replace(n_steps=10)
    assert judge_collapse(short) == "untrained"
    assert judge_collapse(short._replace(beta=600.0)) == "collapsed"
    assert judge_collapse(short._replace(beta=600.0, fitted=True)) == "collapsed"
    fitted = collapse_advice("collapsed", TRAINING._replace(fitted=True))
    assert "lower beta from 1." in fitted
    assert "kld_weight" not in fitted


def test_the_threshold_of_beta_is_in_its_units():
    """Where the weight is fitted, theory's is a beta, too."""
    training = TRAINING._replace(first_weight=0.02, beta=100.0, fitted=True)
    advice = collapse_advice("collapsed", training)
    assert "lower beta from 1e+02. A linear model" in advice
    assert "first active unit at 20," in advice


@pytest.mark.parametrize("held_out", [True, False])
@pytest.mark.parametrize("start", ["", "factor analysis"])
def test_what_a_trained_fit_below_its_baseline_can_do(held_out, start):
    measured = Measured(
        **{"active_units": 3, "latent_dim": 3, "n_features": 9, "shuffle_loss": 9.0},
        **{"rate": 5.0, "expected_rate": math.nan, "beta": 1.0, "weakest_kl": 1.0},
        **{"noise_share": math.nan, "balanced_weight": 0.1, "gain": -7.0},
        gain_error=0.1,
        baseline="the model with no code",
    )
    training = TRAINING._replace(n_steps=9999, held_out=held_out, linear_start=start)
    advice = advise("worse than linear", measured, training)
    assert advice.startswith("The ELBO is 7 nats below that of the model with no code")
    assert ("early_stopping" in advice) == (not held_out)
    assert ("start as factor analysis (linear_path" in advice) == bool(start)
    assert "make the network smaller" in advice


def test_a_scaler_is_no_cure_where_columns_are_standardised():
    assert "StandardScaler" in divergence_advice(1.0)
    assert "StandardScaler" not in divergence_advice(1.0, own_scales=True)
    _, (warning, advice) = told("gaussian_diag", PROVOKED["divergence"])
    assert warning == advice == divergence_advice(100.0, own_scales=True)


@pytest.mark.parametrize(
    ("params", "held_out", "start"),
    [
        ({}, True, ""),
        ({"linear_path": None}, True, "factor analysis"),
        ({"early_stopping": False}, False, ""),
    ],
)
def test_what_a_fit_could_have_done_is_noted(params, held_out, start):
    model, _ = told("gaussian_diag", params)
    training = model._training(1.0)
    assert training.held_out == held_out
    assert training.linear_start == start


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("gaussian_diag", "factor analysis"),
        *((name, "the model with no code") for name in WITHOUT_LINEAR),
    ],
)
def test_what_competed_as_epoch_0_is_named(name, start, capsys):
    told(name, {"lr": 30.0, "verbose": 1})
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == f"{start} was kept: no epoch was better on the held-out rows"


def test_plain_autoencoders_begin_as_pca(small, quick, capsys):
    AETransformer(**quick, lr=1e-12, verbose=1).fit(small)
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == "PCA was kept: no epoch was better on the held-out rows"
