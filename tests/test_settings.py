import pytest
import torch

from skvae import VAETransformer
from skvae._likelihoods.base import Likelihood
from skvae._likelihoods.gaussian import Gaussian
from skvae._training.parameters import SHARED
from skvae._training.settings import settings_of


def of(likelihood=Gaussian, **params):
    vae = VAETransformer(**params)
    return settings_of(vae, 9, vae._strategy(), likelihood)


def test_parameters_are_resolved_by_the_table():
    settings = of(hidden_dims=[7, 5], activation="LeakyReLU", lr=1, device="cpu")
    assert set(SHARED) <= set(vars(settings))
    assert settings.network == {
        "n_features": 9,
        "n_conditions": 0,
        "encode_conditions": False,
        "latent_dim": 10,
        "hidden_dims": (7, 5),
        "activation": "leaky_relu",
        "use_batch_norm": True,
        "dropout_rate": 0.0,
        "linear_path": True,
    }
    assert isinstance(settings.lr, float)
    assert settings.device == torch.device("cpu")


def test_rows_are_held_out_for_early_stopping_alone():
    assert of(validation_fraction=0.2).held_out_fraction == 0.2
    assert of(early_stopping=False).held_out_fraction is None


class Unlike(Gaussian):
    has_linear_model = False


def test_training_begins_linear_where_there_is_a_linear_model():
    assert of().begins_linear
    assert not of(linear_path=None).begins_linear
    assert not of(Unlike).begins_linear
    assert not of(Unlike).network["linear_path"]
    assert not Likelihood.has_linear_model


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"device": "abacus"}, "device='abacus'"),
        ({"activation": "tanh"}, "activation"),
        ({"hidden_dims": (0,)}, "hidden_dims"),
        ({"callbacks": [3]}, "callbacks holds 3"),
    ],
)
def test_what_is_not_there_is_refused(params, message):
    with pytest.raises(ValueError, match=message):
        of(**params)


def test_few_rows_come_in_smaller_minibatches_where_nothing_is_begun_at():
    settings = of(Unlike, batch_size=128)
    assert settings.for_rows(10_000).batch_size == 128
    assert settings.for_rows(800).batch_size == 50
    assert settings.for_rows(30).batch_size == 16
    assert of(Unlike, batch_size=8).for_rows(30).batch_size == 8
    assert of(batch_size=128).for_rows(30).batch_size == 128
    assert settings.batch_size == 128
