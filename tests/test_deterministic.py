import numpy as np
import pytest
from _make import Covariance, gaussian

from skvae._linear.components import Components
from skvae._nn.autoencoder import Autoencoder
from skvae._nn.thresholds import ThresholdedAutoencoder
from skvae._objectives.penalised_error import PenalisedError
from skvae._training.deterministic import Deterministic, Sparse


def scaled(n_features, scale):
    likelihood = gaussian(n_features)
    likelihood.fit_inputs(np.zeros(n_features), np.full(n_features, scale**2))
    return likelihood


@pytest.mark.parametrize(
    ("code_penalty", "expected"), [("l2", 0.5), ("l1", 0.25), (None, 0.25)]
)
def test_weights_are_in_units_of_X(code_penalty, expected):
    strategy = Deterministic(code_penalty, 0.5, "l2", 1.0)
    likelihood = scaled(10, 2.0)
    params = strategy.criterion_params(likelihood)
    assert params["reg_weight"] == expected
    assert params["decoder_penalty_weight"] == 0.25
    criterion = PenalisedError(likelihood, **params)
    changed = Deterministic(code_penalty, 1.0, "l2", 2.0)
    changed.update_hyperparameters(Autoencoder(10, 2), criterion)
    assert criterion.reg_weight == 2 * expected
    assert criterion.decoder_penalty_weight == 0.5


def test_linear_model_is_the_projection():
    eigenvectors = np.eye(2, 5)
    components = Components(np.ones(2), eigenvectors, 6.5)
    start = Deterministic().pca_init(Covariance(components), gaussian(5), 2, None)
    np.testing.assert_array_equal(start.encode, eigenvectors)
    np.testing.assert_array_equal(start.decode, eigenvectors.T)
    assert Deterministic().n_active(start) == 2


@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_a_relative_weight_is_a_threshold_relative_to_the_codes(scale):
    n_features, latent_dim = 90, 10
    strategy = Sparse("soft_threshold", 1.0, latent_dim=latent_dim, relative=True)
    likelihood = scaled(n_features, scale)
    params = strategy.criterion_params(likelihood)
    criterion = PenalisedError(likelihood, **params)
    network = ThresholdedAutoencoder(n_features, latent_dim)
    strategy.update_hyperparameters(network, criterion)
    # ten codes hold the variance of ninety scaled features: three each
    assert network.threshold.item() == pytest.approx(0.25 * 3.0)
    weight = strategy.weight_in_units_of_X(n_features, scale)
    assert weight == pytest.approx(scale / (2 * np.sqrt(n_features * latent_dim)))
    same = Sparse("soft_threshold", weight, latent_dim=latent_dim)
    assert same.criterion_params(likelihood) == pytest.approx(params)
    plain = Sparse("l1", weight, latent_dim=latent_dim)
    plain.update_hyperparameters(network, criterion)
    assert network.threshold.item() == 0.0
