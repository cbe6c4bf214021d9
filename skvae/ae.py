"""The plain, the regularised and the sparse autoencoder: one shell, three losses."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from ._base import BaseAutoencoder
from ._data.moments import column_moments
from ._evaluation.density import draw_codes, fit_density
from ._evaluation.sparsity import near_zero_share
from ._objectives.penalties import DECODER_PENALTIES
from ._training.deterministic import Deterministic, Sparse
from ._training.parameters import documented
from ._utils.seeds import private_generator
from ._utils.validation import checked_n_samples
from ._utils.warn import warn_user


class _PenalisedAutoencoder(BaseAutoencoder):
    """Squared error plus a penalty of the code and one of the decoder.

    The public classes set what they have no parameter for.
    """

    _strategy_type = Deterministic

    def __init__(
        self,
        latent_dim,
        *,
        hidden_dims,
        activation,
        dropout_rate,
        use_batch_norm,
        code_penalty,
        reg_weight,
        decoder_penalty,
        decoder_penalty_weight,
        linear_path,
        lr,
        weight_decay,
        batch_size,
        max_epochs,
        gradient_clip_val,
        lr_schedule,
        early_stopping,
        validation_fraction,
        n_iter_no_change,
        tol,
        warm_start,
        callbacks,
        device,
        precision,
        random_state,
        verbose,
    ):
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

    def score(self, X, y=None):
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


@documented
class AETransformer(_PenalisedAutoencoder):
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
        latent_dim=10,
        *,
        hidden_dims=(256, 128),
        activation="gelu",
        dropout_rate=0.0,
        use_batch_norm=True,
        linear_path="pca",
        lr=2e-3,
        weight_decay=0.0,
        batch_size=128,
        max_epochs=60,
        gradient_clip_val=1.0,
        lr_schedule="cosine",
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=15,
        tol=0.01,
        warm_start=False,
        callbacks=None,
        device="auto",
        precision="float32",
        random_state=None,
        verbose=0,
    ):
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


@documented
class RAETransformer(_PenalisedAutoencoder):
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

    _parameter_constraints: dict = {
        **_PenalisedAutoencoder._parameter_constraints,
        "reg_weight": [Interval(Real, 0, None, closed="left")],
        "decoder_penalty": [StrOptions(set(DECODER_PENALTIES)), None],
        "decoder_penalty_weight": [Interval(Real, 0, None, closed="left")],
        "density_components": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        latent_dim=10,
        *,
        hidden_dims=(256, 128),
        activation="gelu",
        dropout_rate=0.0,
        use_batch_norm=True,
        reg_weight=1e-4,
        decoder_penalty=None,
        decoder_penalty_weight=1e-4,
        density_components=10,
        linear_path="pca",
        lr=2e-3,
        weight_decay=0.0,
        batch_size=128,
        max_epochs=60,
        gradient_clip_val=1.0,
        lr_schedule="cosine",
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=15,
        tol=0.01,
        warm_start=False,
        callbacks=None,
        device="auto",
        precision="float32",
        random_state=None,
        verbose=0,
    ):
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

    def sample(self, n_samples=1, random_state=None):
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


@documented
class SAETransformer(_PenalisedAutoencoder):
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

    _parameter_constraints: dict = {
        **_PenalisedAutoencoder._parameter_constraints,
        "code_penalty": [StrOptions({"soft_threshold", "l1"})],
        "reg_weight": [Interval(Real, 0, None, closed="left"), StrOptions({"scale"})],
    }

    _strategy_type = Sparse

    def __init__(
        self,
        latent_dim=10,
        *,
        hidden_dims=(256, 128),
        activation="gelu",
        dropout_rate=0.0,
        use_batch_norm=True,
        code_penalty="soft_threshold",
        reg_weight="scale",
        linear_path="pca",
        lr=2e-3,
        weight_decay=0.0,
        batch_size=128,
        max_epochs=60,
        gradient_clip_val=1.0,
        lr_schedule="cosine",
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=15,
        tol=0.01,
        warm_start=False,
        callbacks=None,
        device="auto",
        precision="float32",
        random_state=None,
        verbose=0,
    ):
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
