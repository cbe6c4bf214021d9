"""Public names in use, for ``mypy --strict`` and no test runner: it must not complain.

What a user's type checker sees of skvae. That no public name lacks a type is checked by
``.ci/public_types.py``.
"""

from typing import Any, assert_type

import numpy as np

import skvae.anndata
import skvae.onnx
from skvae import (
    AETransformer,
    RAETransformer,
    SAETransformer,
    VAETransformer,
    __version__,
)
from skvae.callbacks import GuideLogger, PruneWithOptuna
from skvae.exceptions import (
    DivergenceWarning,
    ModelFileError,
    PosteriorCollapseWarning,
)
from skvae.inspection import (
    Diagnosis,
    LatentSpaceDisplay,
    diagnose,
    suggest_kld_weights,
)
from skvae.metrics import (
    active_units,
    code_sparsity,
    distortion,
    elbo_scorer,
    kl_per_unit,
    log_likelihood_scorer,
    pca_scorer,
    rate,
    reconstruction_scorer,
)
from skvae.presets import ESTIMATORS, PRESETS, SWEEP


def estimators(X: np.ndarray[Any, Any]) -> None:
    """The four, and what they have in common."""
    vae = VAETransformer(4, kld_weight=0.1, hidden_dims=(32,), random_state=0)
    VAETransformer(kld_schedule=lambda progress: progress, size_factor=None)
    assert_type(vae.latent_dim, int)
    codes = vae.fit(X).transform(X)
    rows: np.ndarray[Any, Any] = vae.inverse_transform(codes)
    rows += vae.reconstruct(X) + vae.sample(3, random_state=0, noise=True)
    nats: float = vae.score(X) + vae.kld_weight_ + vae.beta_
    per_row: np.ndarray[Any, Any] = vae.score_samples(X)
    per_row += vae.log_likelihood(X, 100) + vae.background_responsibility(X)
    per_row += vae.reconstruction_error(X) * nats
    history: list[dict[str, Any]] = vae.partial_fit(X).history_
    print(history[vae.best_epoch_], vae.n_iter_, vae.likelihood_)
    AETransformer(2, device="cpu", callbacks=[]).fit_transform(X)
    RAETransformer(2, decoder_penalty="l2").fit(X).sample(2)
    share: float = SAETransformer(2, reg_weight="scale").fit(X).sparsity_
    print(share, VAETransformer.from_preset("beta", lr=1e-3).get_params()["lr"])


def judging(vae: VAETransformer, X: np.ndarray[Any, Any]) -> None:
    """Scorers, measures, diagnosis."""
    scores: float = elbo_scorer(vae, X) + log_likelihood_scorer(vae, X, n_samples=8)
    scores += reconstruction_scorer(vae, X) + pca_scorer(vae, X)
    scores += code_sparsity(vae, X) + active_units(vae, X)
    nats: np.ndarray[Any, Any] = rate(vae, X) + distortion(vae, X)
    nats = nats + scores
    units: np.ndarray[Any, Any] = kl_per_unit(vae, X)
    found: Diagnosis = diagnose(vae, X)
    print(found.verdict, found.advice, found.elbo, found.to_frame(), units)
    weights: np.ndarray[Any, Any] = suggest_kld_weights(X, 4, n=3)
    print(weights, ESTIMATORS["beta"], PRESETS["beta"], SWEEP["latent_dim"])
    print(__version__, DivergenceWarning, PosteriorCollapseWarning)


def cells(vae: VAETransformer, adata: Any) -> None:
    """On AnnData."""
    skvae.anndata.fit_transform(vae, adata, layer="log1p", obs_conditions=["batch"])
    skvae.anndata.transform(vae, adata, copy=True)


def uses_files_and_pictures(X: np.ndarray) -> None:
    vae = VAETransformer(2).fit(X, checkpoint_dir="checkpoints")
    skvae.save(vae, "vae.safetensors")
    loaded: VAETransformer = skvae.load("vae.safetensors", device="cpu")
    skvae.onnx.export(loaded, "vae.onnx", part="score")
    display = LatentSpaceDisplay.from_estimator(loaded, X)
    assert_type(display, LatentSpaceDisplay)
    assert_type(display.plot(), LatentSpaceDisplay)
    VAETransformer(2, callbacks=[GuideLogger(None), PruneWithOptuna(None)])
    try:
        skvae.load("other")
    except ModelFileError as error:
        print(error)
