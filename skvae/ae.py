"""AETransformer: the plain autoencoder."""

from collections.abc import Sequence
from typing import Any

import torch

from ._penalised import PenalisedAutoencoder
from ._training.parameters import documented
from ._utils.typing import RandomState

# Where models of earlier versions look for them.
from .rae import RAETransformer
from .sae import SAETransformer

__all__ = ["AETransformer", "RAETransformer", "SAETransformer"]


@documented
class AETransformer(PenalisedAutoencoder):
    """Plain autoencoder: the least squared error, and no penalty.

    Beside the network runs a linear path that starts as PCA, so epoch 0 reconstructs
    what PCA does, and the best epoch on held-out rows is kept. Codes are in units of X,
    at the start those of PCA; nothing keeps them there, nor makes them a density.

    Parameters
    ----------
    latent_dim : int, default=10
        Number of latent units.
    %(network)s
    linear_path : {"pca", None}, default="pca"
        A linear map beside the encoder and the decoder, started as PCA; None is the
        plain network.
    %(training)s

    Attributes
    ----------
    %(module)s
    history_ : list of dict
        One row an epoch: ``train_loss``, ``train_recon_loss`` (mean over elements, in
        squared units of X), ``epoch_time`` (seconds), and with early stopping the
        losses also for ``valid_``.
    %(fitted)s

    See Also
    --------
    VAETransformer : With a likelihood, to choose models by and to sample from.
    RAETransformer : With a penalty on the code and on the decoder.
    SAETransformer : With sparse codes.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvae import AETransformer
    >>> X, _ = load_digits(return_X_y=True)
    >>> AETransformer(8, max_epochs=5, random_state=0).fit_transform(X).shape
    (1797, 8)
    """

    def __init__(
        self,
        latent_dim: int = 10,
        *,
        hidden_dims: Sequence[int] = (256, 128),
        activation: str = "gelu",
        dropout_rate: float = 0.0,
        use_batch_norm: bool = True,
        linear_path: str | None = "pca",
        lr: float = 2e-3,
        weight_decay: float = 0.0,
        batch_size: int = 128,
        max_epochs: int = 60,
        gradient_clip_val: float | None = 1.0,
        lr_schedule: str = "cosine",
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 15,
        tol: float = 0.01,
        warm_start: bool = False,
        callbacks: Sequence[Any] | None = None,
        device: str | torch.device = "auto",
        precision: str = "float32",
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            latent_dim,
            hidden_dims=hidden_dims,
            activation=activation,
            dropout_rate=dropout_rate,
            use_batch_norm=use_batch_norm,
            linear_path=linear_path,
            lr=lr,
            weight_decay=weight_decay,
            batch_size=batch_size,
            max_epochs=max_epochs,
            gradient_clip_val=gradient_clip_val,
            lr_schedule=lr_schedule,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            warm_start=warm_start,
            callbacks=callbacks,
            device=device,
            precision=precision,
            random_state=random_state,
            verbose=verbose,
            code_penalty=None,
            reg_weight=0.0,
            decoder_penalty=None,
            decoder_penalty_weight=0.0,
        )
