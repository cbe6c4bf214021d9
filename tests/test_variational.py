import numpy as np
import pytest
from _make import Covariance, gaussian

from skvae import VAETransformer
from skvae._linear.components import Components
from skvae._linear.spectrum import noise_of_weight
from skvae._training.variational import Variational

COMPONENTS = Components(np.array([4.0, 1.0]), np.eye(2, 5), 6.5)


def test_weights_are_in_units_of_X():
    likelihood = gaussian(10)
    likelihood.fit_inputs(np.zeros(10), np.full(10, 4.0))
    params = Variational(kld_weight=0.5).criterion_params(likelihood)
    assert params["kld_weight"] == 0.125
    assert Variational(None).criterion_params(likelihood)["kld_weight"] is None


def test_training_begins_at_the_linear_model_of_the_weight_or_of_the_data():
    likelihood = gaussian(5)
    fitted = Variational(None).pca_init(Covariance(COMPONENTS), likelihood, 2, None)
    assert fitted.init_noise == pytest.approx((6.5 - 5.0) / 3)
    given = Variational(0.8).pca_init(Covariance(COMPONENTS), likelihood, 2, None)
    assert given.init_noise == pytest.approx(noise_of_weight(0.8, 5))
    assert Variational(0.8).n_active(given) == 1


def test_the_background_is_kept_where_training_left_it(digits, quick):
    vae = VAETransformer(**{**quick, "max_epochs": 8}).fit(digits)
    assert vae.best_epoch_ > 0
    background = vae._fitted.state.background
    assert background.maps()[0].shape == (3, 64)
    streamed = VAETransformer(**quick).partial_fit(digits)
    first = streamed._fitted.state.background
    assert streamed.partial_fit(digits[:50])._fitted.state.background is first
