from types import SimpleNamespace

import numpy as np
import pytest

from skvae._linear.components import Components
from skvae._nn.thresholds import ThresholdedAutoencoder
from skvae._objectives.criteria import PenalisedError
from skvae._training.deterministic import Deterministic, Sparse


@pytest.mark.parametrize(
    ("code_penalty", "expected"), [("l2", 0.5), ("l1", 0.25), (None, 0.25)]
)
def test_weights_are_in_units_of_X(code_penalty, expected):
    strategy = Deterministic(code_penalty, 0.5, "l2", 1.0)
    params = strategy.criterion_params(10, 2.0)
    assert params["reg_weight"] == expected
    assert params["decoder_penalty_weight"] == 0.25
    criterion = PenalisedError(**params)
    net = SimpleNamespace(criterion_=criterion)
    Deterministic(code_penalty, 1.0, "l2", 2.0).update_hyperparameters(net, 2.0)
    assert criterion.reg_weight == 2 * expected
    assert criterion.decoder_penalty_weight == 0.5


def test_linear_model_is_the_projection():
    eigenvectors = np.eye(2, 5)
    start = Deterministic().linear_model(Components(np.ones(2), eigenvectors, 6.5), 1.0)
    np.testing.assert_array_equal(start.encode, eigenvectors)
    np.testing.assert_array_equal(start.decode, eigenvectors.T)
    assert Deterministic().n_active(start) == 2


@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_a_relative_weight_is_a_threshold_relative_to_the_codes(scale):
    n_features, latent_dim = 90, 10
    strategy = Sparse("soft_threshold", 1.0, latent_dim=latent_dim, relative=True)
    params = strategy.criterion_params(n_features, scale)
    net = SimpleNamespace(
        criterion_=PenalisedError(**params),
        module_=ThresholdedAutoencoder(n_features, latent_dim),
    )
    strategy.update_hyperparameters(net, scale)
    # ten codes hold the variance of ninety scaled features: three each
    assert net.module_.threshold.item() == pytest.approx(0.25 * 3.0)
    weight = strategy.weight_in_units_of_X(n_features, scale)
    assert weight == pytest.approx(scale / (2 * np.sqrt(n_features * latent_dim)))
    same = Sparse("soft_threshold", weight, latent_dim=latent_dim)
    assert same.criterion_params(n_features, scale) == pytest.approx(params)
    Sparse("l1", weight, latent_dim=latent_dim).update_hyperparameters(net, scale)
    assert net.module_.threshold.item() == 0.0
