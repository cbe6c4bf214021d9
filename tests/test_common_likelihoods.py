"""scikit-learn's own checks of every likelihood, on data that its tags ask for."""

import pytest
from _kinds import NAMES
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import (
    estimator_checks_generator,
    parametrize_with_checks,
)

from skvae import AETransformer, VAETransformer

QUICK = {"max_epochs": 2, "hidden_dims": (8,), "latent_dim": 2}
# No tag tells the range of bits, or that 0 is no logarithm's.
TAGGED = [name for name in NAMES if name not in ("bernoulli", "log_normal")]
pytestmark = [
    # Two epochs from random weights, on noise: there is nothing to code.
    pytest.mark.filterwarnings("ignore::skvae.exceptions.PosteriorCollapseWarning"),
    pytest.mark.filterwarnings("ignore:X looks like counts:UserWarning"),
]


@parametrize_with_checks([VAETransformer(**QUICK, likelihood=name) for name in TAGGED])
def test_sklearn_checks(estimator, check):
    check(estimator)


# scikit-learn marks these as failing for its own pipelines, which write to ``steps``;
# test_likelihoods has them of the estimator.
PIPELINES_OWN = {"check_estimators_overwrite_params", "check_dont_overwrite_parameters"}
BITS = VAETransformer(**QUICK, likelihood="bernoulli", random_state=0)


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=check.func.__name__)
        for _, check in estimator_checks_generator(
            make_pipeline(MinMaxScaler(clip=True), BITS)
        )
        if check.func.__name__ not in PIPELINES_OWN
    ],
)
def test_sklearn_checks_of_bits(check):
    check(make_pipeline(MinMaxScaler(clip=True), clone(BITS)))


@pytest.mark.parametrize("name", ["auto", "gaussian", *NAMES])
def test_tags_say_what_rows_have_to_be(name):
    tags = get_tags(VAETransformer(likelihood=name)).input_tags
    of_any_sign = ("auto", "gaussian", "gaussian_diag", "student_t", "ordinal")
    assert tags.positive_only is (name not in of_any_sign)
    measured = (*of_any_sign, "bernoulli", "log_normal")
    assert tags.categorical is (name not in measured)
    assert tags.sparse


def test_tags_of_others():
    tags = get_tags(AETransformer()).input_tags
    assert not tags.positive_only
    assert not tags.categorical
    # fit complains; tags, which a pipeline's picture asks for, do not
    for wrong in ("none", None, []):
        tags = get_tags(VAETransformer(likelihood=wrong))
        assert tags.input_tags.sparse
        assert tags.transformer_tags.preserves_dtype == ["float64", "float32"]
