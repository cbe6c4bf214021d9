"""RAETransformer: the regularised autoencoder, and its samples."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from ._evaluation.density import draw_codes, fit_density
from ._objectives.penalties import DECODER_PENALTIES
from ._penalised import PenalisedAutoencoder
from ._training.parameters import documented
from ._utils.seeds import private_generator
from ._utils.typing import RandomState
from ._utils.validation import checked_n_samples


@documented
class RAETransformer(PenalisedAutoencoder):
    """Regularised autoencoder: short codes and a smooth decoder instead of noise.

    The loss is

    ``mean over elements of (x - xhat)^2 + reg_weight * |z|^2
    + decoder_penalty_weight * R(decoder)``,

    averaged over rows, with the code z and all else in units of X [1]_. Since a decoder
    can undo whatever the encoder shrinks, the penalty on the code means most together
    with one on the decoder. Samples come from a Gaussian mixture that is fitted to the
    codes afterwards, :meth:`sample`.

    Parameters
    ----------
    latent_dim : int, default=10
        Number of latent units.
    %(network)s
    reg_weight : float, default=1e-4
        Weight of the squared length of the code: sum over units, mean over rows.
    decoder_penalty : {"l2", "gradient", "spectral"} or None, default=None
        R: the sum of the squares of the decoder's weights; the squared Frobenius norm
        of its Jacobian at the codes, mean over rows (an unbiased estimate from one draw
        a row); or the sum of the squares of its matrices' largest singular values [2]_
        (where [1]_ divides the matrices by them instead, which has no weight).
    decoder_penalty_weight : float, default=1e-4
        Weight of R, in squared units of X.
    density_components : int, default=10
        Components of the mixture that :meth:`sample` draws codes from.
    linear_path : {"pca", None}, default="pca"
        A linear map beside the encoder and the decoder, started as PCA; None is the
        plain network.
    %(training)s

    Attributes
    ----------
    %(module)s
    history_ : list of dict
        One row an epoch: ``train_loss``, ``train_recon_loss`` (mean over elements, in
        squared units of X), ``train_reg_loss`` (squared units of X),
        ``train_decoder_loss`` if there is a decoder penalty, ``epoch_time`` (seconds),
        and with early stopping the losses also for ``valid_``.
    density_ : sklearn.mixture.GaussianMixture
        Density of the training rows' codes; after ``partial_fit``, of the last chunk's,
        since codes of earlier ones are no longer what they were.
    %(fitted)s

    See Also
    --------
    AETransformer : Without a penalty.
    SAETransformer : With the absolute value in place of the square.
    VAETransformer : With a likelihood, to choose models by.

    References
    ----------
    .. [1] Ghosh, Sajjadi, Vergari, Black and Schoelkopf (2020). From Variational to
       Deterministic Autoencoders. ICLR.
    .. [2] Yoshida and Miyato (2017). Spectral Norm Regularization for Improving the
       Generalizability of Deep Learning. arXiv:1705.10941.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvae import RAETransformer
    >>> X, _ = load_digits(return_X_y=True)
    >>> rae = RAETransformer(8, decoder_penalty="l2", max_epochs=5, random_state=0)
    >>> rae.fit(X).sample(3, random_state=0).shape
    (3, 64)
    """

    density_: Any  # a sklearn.mixture.GaussianMixture

    _parameter_constraints: dict = {
        **PenalisedAutoencoder._parameter_constraints,
        "reg_weight": [Interval(Real, 0, None, closed="left")],
        "decoder_penalty": [StrOptions(set(DECODER_PENALTIES)), None],
        "decoder_penalty_weight": [Interval(Real, 0, None, closed="left")],
        "density_components": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        latent_dim: int = 10,
        *,
        hidden_dims: Sequence[int] = (256, 128),
        activation: str = "gelu",
        dropout_rate: float = 0.0,
        use_batch_norm: bool = True,
        reg_weight: float | str = 1e-4,
        decoder_penalty: str | None = None,
        decoder_penalty_weight: float = 1e-4,
        density_components: int = 10,
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
            reg_weight=reg_weight,
            decoder_penalty=decoder_penalty,
            decoder_penalty_weight=decoder_penalty_weight,
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
            code_penalty="l2",
        )
        self.density_components = density_components

    def _measure(self, rows, seeds) -> np.ndarray:
        codes = self._transformed(rows)
        if len(codes) < 2:  # a chunk of partial_fit: the last density has to do
            return codes
        self.density_ = fit_density(
            codes, int(self.density_components), self.scale_, seeds.density
        )
        return codes

    def sample(
        self, n_samples: int = 1, random_state: RandomState = None
    ) -> np.ndarray:
        """Draw rows: codes from ``density_``, decoded.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows to draw.
        random_state : int, RandomState instance or None, default=None
            Seed of the draws.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Drawn rows, in the units and the dtype of the training data.
        """
        check_is_fitted(self)
        n_samples = checked_n_samples(n_samples)
        generator = private_generator(random_state)
        codes = draw_codes(self.density_, n_samples, self.scale_, generator)
        return self.inverse_transform(codes.astype(self._dtype))
