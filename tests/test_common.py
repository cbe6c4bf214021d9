"""scikit-learn's own checks, over the parameter sets that change the path."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skvae import (
    AETransformer,
    RAETransformer,
    SAETransformer,
    VAEImputer,
    VAEOutlierDetector,
    VAETransformer,
)

QUICK = {"max_epochs": 3, "hidden_dims": (8,), "latent_dim": 2}

# Each takes a path of its own: the defaults, the other kind of block, a fixed weight
# without a start, no normalisation, a warm start, and the three other objectives.
FIRST = [
    VAETransformer(),
    VAETransformer(**QUICK, activation="swiglu", dropout_rate=0.2),
    VAETransformer(**QUICK, kld_weight=0.0, linear_path=None),
    VAETransformer(**QUICK, use_batch_norm=False, gradient_clip_val=None),
    # Checks fit one estimator twice and expect the same: going on must not help here.
    VAETransformer(**QUICK, warm_start=True, tol=1e9),
    AETransformer(max_epochs=10),
    RAETransformer(**QUICK, decoder_penalty="gradient"),
    SAETransformer(max_epochs=10),
    VAETransformer(**QUICK, likelihood="mixed"),
    VAEImputer(VAETransformer(**QUICK)),
    VAEOutlierDetector(VAETransformer(**QUICK)),
]
OTHERS = [
    VAETransformer(**QUICK, activation="silu"),
    VAETransformer(**QUICK, activation="ReLU", dropout_rate=0.2),
    VAETransformer(**QUICK, activation="LeakyReLU"),
    VAETransformer(**QUICK, activation="swiglu", use_batch_norm=False),
    VAETransformer(**{**QUICK, "hidden_dims": ()}),
    VAETransformer(**QUICK, kld_weight=1e-3),
    VAETransformer(**QUICK, beta=2.0, background_weight=0.0),
    VAETransformer(**QUICK, linear_path=None),
    VAETransformer(**QUICK, early_stopping=False, lr_schedule="constant"),
    VAETransformer(**QUICK, early_stopping=True, n_iter_no_change=1, tol=1.0),
    VAETransformer(**QUICK, batch_size=1),
    VAETransformer(**QUICK, batch_size=10_000),
    VAETransformer(**QUICK, whiten=True, weight_decay=0.1),
    VAETransformer(**{**QUICK, "latent_dim": 50}),
    VAETransformer(**QUICK, kld_schedule="linear"),
    VAETransformer(**QUICK, precision="bf16"),
    VAETransformer(**QUICK, kld_schedule="cyclical", free_bits=0.1),
    VAETransformer(**QUICK, n_importance_samples=3),
    VAETransformer(**QUICK, missing_values="marginalize"),
    VAEImputer(VAETransformer(**QUICK, likelihood="mixed"), add_indicator=True),
    VAEOutlierDetector(VAETransformer(**QUICK), contamination=0.1, trim=0.1),
    AETransformer(**QUICK, linear_path=None),
    RAETransformer(max_epochs=10),
    RAETransformer(**QUICK, decoder_penalty="l2", early_stopping=False),
    RAETransformer(**QUICK, decoder_penalty="spectral", activation="swiglu"),
    RAETransformer(**QUICK, decoder_penalty="gradient", precision="bf16"),
    SAETransformer(**QUICK, reg_weight=0.01, linear_path=None),
    SAETransformer(**QUICK, reg_weight=0.1, precision="bf16"),
    SAETransformer(**QUICK, code_penalty="l1"),
]
pytestmark = [
    pytest.mark.filterwarnings("ignore:Column .* of X has:UserWarning"),
    # Three epochs from random weights, on noise: there is nothing to code.
    pytest.mark.filterwarnings("ignore::skvae.exceptions.PosteriorCollapseWarning"),
]


@parametrize_with_checks(FIRST)
def test_sklearn_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(OTHERS)
def test_sklearn_checks_of_other_parameters(estimator, check):
    check(estimator)
