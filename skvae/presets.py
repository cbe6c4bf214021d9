"""Named parameter sets, as data.

``VAETransformer.from_preset("beta")`` makes an estimator of one. They are the plain
networks (no linear path, normalisation on, gradients clipped) of a code base that
trained autoencoders on single-cell matrices of 28,231 genes; the defaults of the
estimators suit tables of every size, and a likelihood that is never far below that of a
linear model.

======== ==================== ================ ======= ======= ========== ===== =====
preset   of                   hidden_dims      latent  dropout activation lr    decay
======== ==================== ================ ======= ======= ========== ===== =====
standard VAETransformer       2048, 1024, 512  64      0.1     gelu       1e-4  1e-5
beta     VAETransformer       4096, 2048,      128     0.15    gelu       1e-4  1e-5
                              1024, 512
light-   VAETransformer       1024, 512        32      0.05    leaky_relu 1e-4  1e-5
weight
vanilla  AETransformer        as standard
rae      RAETransformer       as standard
sae      SAETransformer       as standard
======== ==================== ================ ======= ======= ========== ===== =====

``kld_weight`` is 1e-5, 1e-3 and 1e-5 for the three VAEs, ``reg_weight`` 1e-4, and
the sparse autoencoder's ``code_penalty`` "l1". These weights are relative to the
squared error: the presets have ``likelihood="gaussian"``, which is "auto" where
``kld_weight`` is a number. Any other likelihood is relative to nats, ``beta =
kld_weight * n_features``, and 1e-5 on 2,000 columns is a beta of 0.02: give
``kld_weight="auto"`` along with it, as in ``VAETransformer.from_preset("standard",
likelihood="negative_binomial", kld_weight="auto")``.
"""

__all__ = ["ESTIMATORS", "PRESETS", "SWEEP"]

_COMMON: dict[str, object] = {
    "use_batch_norm": True,
    "linear_path": None,
    "gradient_clip_val": 1.0,
    "lr": 1e-4,
    "weight_decay": 1e-5,
}
_STANDARD: dict[str, object] = {
    **_COMMON,
    "hidden_dims": (2048, 1024, 512),
    "latent_dim": 64,
    "dropout_rate": 0.1,
    "activation": "gelu",
}

#: Parameters by name of the preset.
PRESETS: dict[str, dict[str, object]] = {
    "standard": {**_STANDARD, "kld_weight": 1e-5},
    "beta": {
        **_COMMON,
        "hidden_dims": (4096, 2048, 1024, 512),
        "latent_dim": 128,
        "dropout_rate": 0.15,
        "activation": "gelu",
        "kld_weight": 1e-3,
    },
    "lightweight": {
        **_COMMON,
        "hidden_dims": (1024, 512),
        "latent_dim": 32,
        "dropout_rate": 0.05,
        "activation": "leaky_relu",
        "kld_weight": 1e-5,
    },
    "vanilla": dict(_STANDARD),
    "rae": {**_STANDARD, "reg_weight": 1e-4},
    "sae": {**_STANDARD, "code_penalty": "l1", "reg_weight": 1e-4},
}

#: Name of the estimator that each preset is for.
ESTIMATORS: dict[str, str] = {
    "standard": "VAETransformer",
    "beta": "VAETransformer",
    "lightweight": "VAETransformer",
    "vanilla": "AETransformer",
    "rae": "RAETransformer",
    "sae": "SAETransformer",
}

#: The sweep of weights and sizes, a ``param_grid`` for ``GridSearchCV``; of the squared
#: error, as the presets' weights are.
SWEEP: dict[str, list[float]] = {
    "kld_weight": [1e-6, 1e-5, 1e-4, 1e-3],
    "latent_dim": [32, 64, 128, 256],
}


def preset_params(
    name: str, estimator: str, likelihood: str | None = None
) -> dict[str, object]:
    """A copy of the parameters of a preset of an estimator.

    Weights are of the squared error; with another ``likelihood`` than that, they are
    "auto".

    Raises
    ------
    ValueError
        If the name is unknown, or names another estimator's preset.
    """
    own = [preset for preset, owner in ESTIMATORS.items() if owner == estimator]
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(
            f"{name!r} is no preset; {estimator} has "
            f"{', '.join(map(repr, own)) or 'none'}."
        )
    if name not in own:
        raise ValueError(
            f"{name!r} is a preset of {ESTIMATORS[name]}: use "
            f"{ESTIMATORS[name]}.from_preset({name!r}). {estimator} has "
            f"{', '.join(map(repr, own)) or 'none'}."
        )
    params = dict(PRESETS[name])
    if "kld_weight" in params and likelihood not in (None, "auto", "gaussian"):
        params["kld_weight"] = "auto"
    return params
