"""SAETransformer: the sparse autoencoder."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from ._data.moments import column_moments
from ._evaluation.sparsity import near_zero_share
from ._penalised import PenalisedAutoencoder
from ._training.deterministic import Sparse
from ._training.parameters import documented
from ._utils.typing import RandomState
from ._utils.warn import warn_user


@documented
class SAETransformer(PenalisedAutoencoder):
    """Sparse autoencoder: codes most of whose entries can be zero.

    The loss is

    ``mean over elements of (x - xhat)^2 + reg_weight * |z|_1``,

    averaged over rows, with the code z in units of X. Descent along that loss alone
    leaves hardly any code at zero, and the decoder undoes what shrinks all codes alike:
    the weight shortens codes and does not thin them out. So codes pass a soft threshold

    ``z = sign(a) * max(|a| - t, 0)``, ``t = reg_weight * n_features / 2``,

    with a what the encoder says; in training the decoder sees what is not zero of it
    with noise of standard deviation t. That t is the lasso's: for a decoder with
    orthonormal columns, as PCA's, z is the code of least loss [1]_. Noise that does not
    shrink with the codes adds t^2 times the squared gain of the decoder to the error
    [2]_, and so there is one best length of codes, which no decoder can undo.
    ``transform`` gives exact zeros, and no noise.

    Parameters
    ----------
    latent_dim : int, default=10
        Number of latent units.
    %(network)s
    code_penalty : {"soft_threshold", "l1"}, default="soft_threshold"
        "l1" is the loss alone, without threshold and noise, as in older guides: codes
        are then shortened rather than sparse.
    reg_weight : float or "scale", default="scale"
        Weight of the absolute code, sum over units and mean over rows, in units of X.
        The larger, the more zeros. "scale" is ``scale_ / (2 * sqrt(n_features *
        latent_dim))``: t is then a quarter of the root mean square that codes have
        when they hold all variance of X. ``reg_weight_`` is the number to start a
        search from.
    linear_path : {"pca", None}, default="pca"
        A linear map beside the encoder and the decoder, started as PCA; None is the
        plain network.
    %(training)s

    Attributes
    ----------
    %(module)s
    history_ : list of dict
        One row an epoch: ``train_loss``, ``train_recon_loss`` (mean over elements, in
        squared units of X, of noisy codes), ``train_reg_loss`` (units of X),
        ``epoch_time`` (seconds), and with early stopping the losses also for
        ``valid_``, without noise.
    reg_weight_ : float
        The weight, in units of X.
    sparsity_ : float
        Share of zero and near-zero codes of the training rows (after ``partial_fit``,
        of the last chunk), as :func:`skvae.metrics.code_sparsity` counts them.
    %(fitted)s

    See Also
    --------
    AETransformer : Without a penalty.
    RAETransformer : With the square in place of the absolute value.
    skvae.metrics.code_sparsity : Share of near-zero codes of other rows.
    sklearn.decomposition.DictionaryLearning : Sparse codes of a linear decoder.

    Notes
    -----
    A zero has no gradient, and a unit that is zero for every row would stay so. In
    training a zero code is given what is left of the squared error's gradient when the
    slope of the penalty is taken off: nothing where the lasso, too, would keep the
    zero.

    ``explained_variance_`` is of the codes that the threshold leaves: where they have
    shrunk, so has it.

    References
    ----------
    .. [1] K. Gregor and Y. LeCun (2010), Learning Fast Approximations of Sparse Coding.
    .. [2] C. M. Bishop (1995), Training with Noise is Equivalent to Tikhonov
       Regularization.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvae import SAETransformer
    >>> X, _ = load_digits(return_X_y=True)
    >>> sae = SAETransformer(32, max_epochs=5, random_state=0).fit(X)
    >>> bool((sae.transform(X) == 0.0).mean() > 0.25)
    True
    """

    sparsity_: float

    _parameter_constraints: dict = {
        **PenalisedAutoencoder._parameter_constraints,
        "code_penalty": [StrOptions({"soft_threshold", "l1"})],
        "reg_weight": [Interval(Real, 0, None, closed="left"), StrOptions({"scale"})],
    }

    _strategy_type = Sparse

    def __init__(
        self,
        latent_dim: int = 10,
        *,
        hidden_dims: Sequence[int] = (256, 128),
        activation: str = "gelu",
        dropout_rate: float = 0.0,
        use_batch_norm: bool = True,
        code_penalty: str | None = "soft_threshold",
        reg_weight: float | str = "scale",
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
            code_penalty=code_penalty,
            reg_weight=reg_weight,
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
            decoder_penalty=None,
            decoder_penalty_weight=0.0,
        )

    def _strategy(self) -> Sparse:
        relative = isinstance(self.reg_weight, str)
        return Sparse(
            code_penalty=self.code_penalty,
            reg_weight=1.0 if relative else float(self.reg_weight),
            latent_dim=int(self.latent_dim),
            relative=relative,
        )

    def _measure(self, rows, seeds) -> np.ndarray:
        weight = self._strategy().weight_in_units_of_X(self.n_features_in_, self.scale_)
        self.reg_weight_ = weight
        codes = self._transformed(rows)
        self.sparsity_ = near_zero_share(codes)
        self._all_zero = not codes.any()
        return codes

    def _advise(self, rows) -> None:
        super()._advise(rows)
        if (
            self._all_zero
            and self.code_penalty != "l1"
            and column_moments(rows.X)[1].any()
        ):
            warn_user(
                f"Every code is zero: reg_weight={self.reg_weight_:.2g} is too large "
                "for these rows, or for so little training. Try a tenth of it."
            )
