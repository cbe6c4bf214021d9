"""SAETransformer: the sparse autoencoder."""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from ._data.moments import column_moments
from ._evaluation.sparsity import near_zero_share
from ._training.deterministic import Sparse
from ._utils.warn import warn_user
from .ae import AETransformer


class SAETransformer(AETransformer):
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
    hidden_dims : tuple of int, default=(256, 128)
        Widths of the encoder's layers; the decoder mirrors them. ``()`` is linear.
    activation : str, default="gelu"
        "gelu", "silu", "relu", "leaky_relu" or "swiglu"; upper and lower case and
        underscores do not matter.
    dropout_rate : float, default=0.0
        Share of a hidden layer's units that training drops, in [0, 1).
    use_batch_norm : bool, default=True
        Normalise hidden layers: over the batch, or over the layer for "swiglu".
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
    lr : float, default=2e-3
        Learning rate of AdamW.
    weight_decay : float, default=0.0
        Decoupled weight decay of AdamW.
    batch_size : int, default=128
        Largest number of rows in a minibatch. Minibatches are of equal size; with batch
        normalisation they have two rows or more.
    max_epochs : int, default=60
        Largest number of passes over the training rows.
    gradient_clip_val : float or None, default=1.0
        Largest norm of the gradient, with X in units of its own standard deviation.
    lr_schedule : {"constant", "cosine"}, default="cosine"
        Learning rate over the ``max_epochs`` epochs: constant, or to 0 along a cosine.
    early_stopping : bool, default=True
        Hold out rows, keep the epoch that is best on them, and stop when
        ``n_iter_no_change`` epochs brought no improvement.
    validation_fraction : float, default=0.1
        Share of the rows to hold out, in (0, 1).
    n_iter_no_change : int, default=15
        Epochs without improvement to wait for.
    tol : float, default=0.01
        An improvement is more than this, in nats per row: D / 2 times the difference in
        the logarithm of the loss.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the weights of the last fit.
    callbacks : list of skorch callbacks or None, default=None
        Passed on to the net as they are; a skorch "batch" is one epoch here, as the
        Notes of :class:`VAETransformer` say.
    device : str, default="auto"
        "cpu", "cuda", "cuda:1", "mps", or "auto": CUDA, then Metal, then the CPU.
    precision : {"float32", "bf16"}, default="float32"
        Precision of the matrix products in a training step. "bf16" runs the step under
        torch's automatic mixed precision, in bfloat16: for large networks on a GPU; not
        on "mps", and on a CPU usually slower. Weights, gradients and the loss stay
        float32, and so does all else: validation, calibration, scores and codes.
        Rounding adds about 1e-5 of the variance of X to the squared error of a step.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, order of rows, dropout and held-out rows. The global generators
        of NumPy and torch are neither read nor moved.
    verbose : int, default=0
        Whether to print a line an epoch, and which epoch was kept.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The fitted net.
    module_ : torch.nn.Module
        The fitted module, with ``code``, ``decode`` and ``forward``. It works on
        ``(X - mean_) / scale_``, and its codes are those of ``transform`` divided by
        ``scale_``.
    history_ : list of dict
        One row an epoch: ``train_loss``, ``train_recon_loss`` (mean over elements, in
        squared units of X, of noisy codes), ``train_reg_loss`` (units of X),
        ``epoch_time`` (seconds), and with early stopping the losses also for
        ``valid_``, without noise.
    n_iter_ : int
        Number of epochs trained.
    best_epoch_ : int
        Epoch whose weights were kept. 0 is the state before training: no epoch was
        better on the held-out rows. With a linear path that is PCA of all rows.
    reg_weight_ : float
        The weight, in units of X.
    sparsity_ : float
        Share of zero and near-zero codes of the training rows (after ``partial_fit``,
        of the last chunk), as :func:`skvae.metrics.code_sparsity` counts them.
    mean_ : ndarray of shape (n_features,)
        Mean of every feature.
    scale_ : float
        Root of the mean variance of the features.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had any.

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
        **AETransformer._parameter_constraints,
        "code_penalty": [StrOptions({"soft_threshold", "l1"})],
        "reg_weight": [Interval(Real, 0, None, closed="left"), StrOptions({"scale"})],
    }

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
        self.latent_dim = latent_dim
        self.hidden_dims = hidden_dims
        self.activation = activation
        self.dropout_rate = dropout_rate
        self.use_batch_norm = use_batch_norm
        self.code_penalty = code_penalty
        self.reg_weight = reg_weight
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

    _strategy_type = Sparse

    def _strategy(self) -> Sparse:
        relative = isinstance(self.reg_weight, str)
        return Sparse(
            code_penalty=self.code_penalty,
            reg_weight=1.0 if relative else float(self.reg_weight),
            latent_dim=int(self.latent_dim),
            relative=relative,
        )

    def _measure(self, X, seeds) -> np.ndarray:
        weight = self._strategy().weight_in_units_of_X(self.n_features_in_, self.scale_)
        self.reg_weight_ = weight
        codes = self._transformed(X)
        self.sparsity_ = near_zero_share(codes)
        self._all_zero = not codes.any()
        return codes

    def _advise(self, X) -> None:
        super()._advise(X)
        if self._all_zero and self.code_penalty != "l1" and column_moments(X)[1].any():
            warn_user(
                f"Every code is zero: reg_weight={self.reg_weight_:.2g} is too large "
                "for these rows, or for so little training. Try a tenth of it."
            )
