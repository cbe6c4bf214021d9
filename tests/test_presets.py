import numpy as np
import pytest
from sklearn.model_selection import ParameterGrid

import skvae
from skvae.presets import ESTIMATORS, PRESETS, SWEEP

# Networks without a start are not trained in a few epochs, and say so.
pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.exceptions.PosteriorCollapseWarning"
)

TABLE = {
    "standard": ((2048, 1024, 512), 64, 0.1, "gelu"),
    "beta": ((4096, 2048, 1024, 512), 128, 0.15, "gelu"),
    "lightweight": ((1024, 512), 32, 0.05, "leaky_relu"),
}
WEIGHTS = {"standard": 1e-5, "beta": 1e-3, "lightweight": 1e-5}


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_are_those_of_the_table(name):
    model = getattr(skvae, ESTIMATORS[name]).from_preset(name)
    widths, latent_dim, dropout, activation = TABLE.get(name, TABLE["standard"])
    params = model.get_params()
    expected = {
        "hidden_dims": widths,
        "latent_dim": latent_dim,
        "dropout_rate": dropout,
        "activation": activation,
        "lr": 1e-4,
        "weight_decay": 1e-5,
        "use_batch_norm": True,
        "gradient_clip_val": 1.0,
        "linear_path": None,
    }
    if name in WEIGHTS:
        expected["kld_weight"] = WEIGHTS[name]
    elif name != "vanilla":
        expected["reg_weight"] = 1e-4
    if name == "sae":
        expected["code_penalty"] = "l1"
    assert {key: params[key] for key in expected} == expected
    assert PRESETS[name] == expected


def test_presets_fit(digits):
    vae = skvae.VAETransformer.from_preset(
        "lightweight", hidden_dims=(32,), max_epochs=2, random_state=0
    )
    assert vae.latent_dim == 32
    assert np.isfinite(vae.fit(digits[:100]).score(digits))
    assert PRESETS["lightweight"]["hidden_dims"] == (1024, 512)


def test_sweep_is_a_param_grid():
    assert len(ParameterGrid(SWEEP)) == 16
    skvae.VAETransformer().set_params(**ParameterGrid(SWEEP)[0])


@pytest.mark.parametrize(
    ("kind", "name", "overrides", "message"),
    [
        ("VAETransformer", ["beta"], {}, "no preset"),
        ("VAETransformer", "large", {}, "no preset.*'standard', 'beta', 'lightweight'"),
        (
            "AETransformer",
            "beta",
            {},
            r"VAETransformer.from_preset\('beta'\).*'vanilla'",
        ),
        ("AETransformer", "vanilla", {"free_bits": 1}, "no parameter 'free_bits'"),
    ],
)
def test_bad_presets_are_clear_errors(kind, name, overrides, message):
    with pytest.raises(ValueError, match=message):
        getattr(skvae, kind).from_preset(name, **overrides)


def test_weights_of_presets_are_of_the_squared_error():
    make = skvae.VAETransformer.from_preset
    assert make("standard").kld_weight == 1e-5
    assert make("standard", likelihood="gaussian").kld_weight == 1e-5
    assert make("standard", likelihood="poisson").kld_weight == "auto"
    assert make("standard", likelihood="poisson", kld_weight=0.1).kld_weight == 0.1
    make_plain = skvae.AETransformer.from_preset
    assert "kld_weight" not in make_plain("vanilla").get_params()
