import numpy as np
import pytest

from skvae import VAETransformer
from skvae._linear.components import Components
from skvae._objectives.elbo import noise_of_weight
from skvae._training.variational import Variational


def test_weights_are_in_units_of_X():
    fixed = Variational(kld_weight=0.5)
    assert fixed.criterion_params(10, 2.0)["kld_weight"] == 0.125
    assert Variational(None).criterion_params(10, 2.0)["kld_weight"] is None


def test_linear_model_is_that_of_the_weight_or_of_the_data():
    components = Components(np.array([4.0, 1.0]), np.eye(2, 5), 6.5)
    fitted = Variational(None).linear_model(components, 1.0)
    assert fitted.noise_variance == pytest.approx((6.5 - 5.0) / 3)
    given = Variational(0.8).linear_model(components, 1.0)
    assert given.noise_variance == pytest.approx(noise_of_weight(0.8, 5))
    assert Variational(0.8).n_active(given) == 1


def test_the_start_is_kept_where_training_left_it(digits, quick):
    vae = VAETransformer(**{**quick, "max_epochs": 8}).fit(digits)
    assert vae.best_epoch_ > 0
    start = vae._model.start
    assert start.encode.shape == (3, 64)
    streamed = VAETransformer(**quick).partial_fit(digits)
    first = streamed._model.start
    assert streamed.partial_fit(digits[:50])._model.start is first
