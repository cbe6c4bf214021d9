"""RAETransformer: the regularised autoencoder, and samples from a density of codes."""

import copy
import warnings
from numbers import Integral, Real

import numpy as np
from scipy import linalg
from scipy.cluster.vq import kmeans2
from sklearn.cluster import kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from ._objectives.penalties import DECODER_PENALTIES
from ._training.deterministic import Deterministic
from ._utils.seeds import private_generator
from ._utils.validation import checked_n_samples
from .ae import AETransformer

# Codes that the density is fitted to.
MAX_CODES = 10_000


def fit_density(
    codes: np.ndarray, n_components: int, scale: float, random_state
) -> GaussianMixture:
    """Gaussian mixture of codes (n, latent_dim).

    A full covariance takes more rows than units: there are fewer components where there
    are too few rows for them.
    """
    n_rows, n_units = codes.shape
    kept = np.linspace(0, n_rows - 1, min(n_rows, MAX_CODES)).round().astype(int)
    codes = codes[kept].astype(np.float64)
    n_components = max(1, min(n_components, n_rows // (n_units + 1)))
    floor = 1e-6 * scale**2
    with warnings.catch_warnings():
        # A mixture that could still be improved is a density all the same, and so is
        # one with a component that no code is next to.
        warnings.simplefilter("ignore", (ConvergenceWarning, UserWarning))
        weights, means, precisions = _clusters(codes, n_components, floor, random_state)
        mixture = GaussianMixture(
            n_components,
            reg_covar=floor,
            # The default would fit a public KMeans.
            init_params="random_from_data",
            weights_init=weights,
            means_init=means,
            precisions_init=precisions,
            random_state=random_state,
        )
        # The method of the base class, since whatever watches estimators (autologging,
        # profilers) replaces that of GaussianMixture, and would take the mixture for
        # the user's model.
        super(GaussianMixture, mixture).fit_predict(codes)
    return mixture.set_params(weights_init=None, means_init=None, precisions_init=None)


def _clusters(codes: np.ndarray, n: int, floor: float, random_state):
    """Weights (n,), means (n, k) and precisions (n, k, k) of clusters of codes."""
    centres, _ = kmeans_plusplus(codes, n, random_state=random_state)
    centres, labels = kmeans2(codes, centres, iter=30, minit="matrix")
    # A cluster that lost all its codes keeps its centre, and a trace of weight.
    sizes = np.bincount(labels, minlength=n) + 1e-3
    precisions = []
    for label, centre in enumerate(centres):
        off = codes[labels == label] - centre
        covariance = off.T @ off / sizes[label] + floor * np.eye(codes.shape[1])
        precision = linalg.inv(covariance)
        precisions.append((precision + precision.T) / 2.0)
    return sizes / sizes.sum(), centres, np.stack(precisions)


def draw_codes(density: GaussianMixture, n_samples: int, scale: float, generator):
    """Codes (n_samples, latent_dim) from a mixture, in random order.

    Drawn in units of ``scale``, since numpy checks covariances to absolute tolerances.
    """
    unitless = copy.copy(density).set_params(random_state=generator)
    unitless.means_ = density.means_ / scale
    unitless.covariances_ = density.covariances_ / scale**2
    codes, _ = unitless.sample(n_samples)
    # The mixture gives its components one after the other.
    return scale * generator.permutation(codes)


class RAETransformer(AETransformer):
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
    hidden_dims : tuple of int, default=(256, 128)
        Widths of the encoder's layers; the decoder mirrors them. ``()`` is linear.
    activation : str, default="gelu"
        "gelu", "silu", "relu", "leaky_relu" or "swiglu"; upper and lower case and
        underscores do not matter.
    dropout_rate : float, default=0.0
        Share of a hidden layer's units that training drops, in [0, 1).
    use_batch_norm : bool, default=True
        Normalise hidden layers: over the batch, or over the layer for "swiglu".
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
        squared units of X), ``train_reg_loss`` (squared units of X),
        ``train_decoder_loss`` if there is a decoder penalty, ``epoch_time`` (seconds),
        and with early stopping the losses also for ``valid_``.
    n_iter_ : int
        Number of epochs trained.
    best_epoch_ : int
        Epoch whose weights were kept. 0 is the state before training: no epoch was
        better on the held-out rows. With a linear path that is PCA of all rows.
    density_ : sklearn.mixture.GaussianMixture
        Density of the training rows' codes; after ``partial_fit``, of the last chunk's,
        since codes of earlier ones are no longer what they were.
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
        **AETransformer._parameter_constraints,
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
        self.latent_dim = latent_dim
        self.hidden_dims = hidden_dims
        self.activation = activation
        self.dropout_rate = dropout_rate
        self.use_batch_norm = use_batch_norm
        self.reg_weight = reg_weight
        self.decoder_penalty = decoder_penalty
        self.decoder_penalty_weight = decoder_penalty_weight
        self.density_components = density_components
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
            code_penalty="l2",
            reg_weight=float(self.reg_weight),
            decoder_penalty=self.decoder_penalty,
            decoder_penalty_weight=float(self.decoder_penalty_weight),
        )

    def _measure(self, X, seeds) -> np.ndarray:
        codes = self._transformed(X)
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
