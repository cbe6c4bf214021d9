"""What conditions explain, of every likelihood's linear model."""

import numpy as np
import pytest
import torch

from skvae._data.covariates import Covariates
from skvae._data.dataset import Minibatch
from skvae._likelihoods.linear_model import Affine, LinearModel
from skvae._linear.covariance import Regression

WEIGHTS = np.array([[1.0, 2.0, 3.0], [0.0, -4.0, 6.0]])
MEAN = np.array([0.5, 10.0])
CONDITIONS = torch.tensor([[0.5, 10.0], [1.5, 11.0]], dtype=torch.float64)
TARGET = torch.tensor([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])


def model_of(scale):
    model = LinearModel()
    model.take_regression(Regression(WEIGHTS, MEAN), Affine(None, scale), 3)
    return model


def batch_of(conditions):
    return Minibatch(TARGET, TARGET, None, Covariates(conditions))


@pytest.mark.parametrize("scale", [2.0, np.array([2.0, 1.0, 3.0])])
def test_what_conditions_explain_is_in_model_units(scale):
    given = model_of(scale).given(CONDITIONS)
    expected = np.array([[0.0, 0.0, 0.0], [1.0, -2.0, 9.0]]) / scale
    np.testing.assert_allclose(given, expected)


def test_residuals_keep_the_precision_of_the_target():
    residual = model_of(1.0).residual(batch_of(CONDITIONS))
    assert residual.dtype == torch.float32
    np.testing.assert_allclose(residual, [[1.0, 1.0, 1.0], [1.0, 4.0, -7.0]])


def test_without_conditions_nothing_is_left_out():
    without = LinearModel()
    assert without.regression() is None
    without.take_regression(None, Affine(None, 1.0), 3)
    assert without.regression() is None
    for model, given in ((without, CONDITIONS), (model_of(1.0), None)):
        assert model.residual(batch_of(given)) is TARGET


def test_the_regression_is_part_of_the_state():
    """Under the names that a saved model has."""
    state = model_of(2.0).state_dict()
    np.testing.assert_allclose(state["given_weights"], WEIGHTS / 2.0)
    np.testing.assert_allclose(state["given_mean"], MEAN)
    weights, mean = model_of(2.0).regression()
    assert (weights.shape, mean.shape) == ((2, 3), (2,))
