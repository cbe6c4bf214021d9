"""The shell of the plain, the regularised and the sparse autoencoder."""

from collections.abc import Sequence
from typing import Any

import torch

from ._base import BaseAutoencoder
from ._training.deterministic import Deterministic
from ._utils.typing import RandomState, Table


class PenalisedAutoencoder(BaseAutoencoder):
    """Squared error plus a penalty of the code and one of the decoder.

    The public classes set what they have no parameter for.
    """

    _strategy_type = Deterministic

    def __init__(
        self,
        latent_dim: int,
        *,
        hidden_dims: Sequence[int],
        activation: str,
        dropout_rate: float,
        use_batch_norm: bool,
        code_penalty: str | None,
        reg_weight: float | str,
        decoder_penalty: str | None,
        decoder_penalty_weight: float,
        linear_path: str | None,
        lr: float,
        weight_decay: float,
        batch_size: int,
        max_epochs: int,
        gradient_clip_val: float | None,
        lr_schedule: str,
        early_stopping: bool,
        validation_fraction: float,
        n_iter_no_change: int,
        tol: float,
        warm_start: bool,
        callbacks: Sequence[Any] | None,
        device: str | torch.device,
        precision: str,
        random_state: RandomState,
        verbose: int,
    ) -> None:
        self.latent_dim = latent_dim
        self.hidden_dims = hidden_dims
        self.activation = activation
        self.dropout_rate = dropout_rate
        self.use_batch_norm = use_batch_norm
        self.code_penalty = code_penalty
        self.reg_weight = reg_weight
        self.decoder_penalty = decoder_penalty
        self.decoder_penalty_weight = decoder_penalty_weight
        self.linear_path = linear_path
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.gradient_clip_val = gradient_clip_val
        self.lr_schedule = lr_schedule
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.callbacks = callbacks
        self.device = device
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    def _strategy(self) -> Deterministic:
        return Deterministic(
            code_penalty=self.code_penalty,
            reg_weight=float(self.reg_weight),
            decoder_penalty=self.decoder_penalty,
            decoder_penalty_weight=float(self.decoder_penalty_weight),
        )

    def score(self, X: Table, y: Any = None) -> float:
        """Minus the mean squared error of the reconstruction.

        It is no likelihood, grows with every unit, and does not compare with the
        ``score`` of a :class:`VAETransformer`, which is in nats; to compare the two,
        use :func:`skvae.metrics.reconstruction_scorer`.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            Rows to score.
        y : Ignored
            Not used, present for API consistency.

        Returns
        -------
        score : float
            Squared units of X, mean over elements, negative.
        """
        return -float(self.reconstruction_error(X).mean())
