"""AETransformer: the plain autoencoder."""

from ._base import BaseAutoencoder
from ._training.deterministic import Deterministic


class AETransformer(BaseAutoencoder):
    """Plain autoencoder: the least squared error, and no penalty.

    Beside the network runs a linear path that starts as PCA, so epoch 0 reconstructs
    what PCA does, and the best epoch on held-out rows is kept. Codes are in units of X,
    at the start those of PCA; nothing keeps them there, nor makes them a density.

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
        squared units of X), ``epoch_time`` (seconds), and with early stopping the
        losses also for ``valid_``.
    n_iter_ : int
        Number of epochs trained.
    best_epoch_ : int
        Epoch whose weights were kept. 0 is the state before training: no epoch was
        better on the held-out rows. With a linear path that is PCA of all rows.
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
        self.latent_dim = latent_dim
        self.hidden_dims = hidden_dims
        self.activation = activation
        self.dropout_rate = dropout_rate
        self.use_batch_norm = use_batch_norm
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

    _strategy_type = Deterministic

    def _strategy(self) -> Deterministic:
        return Deterministic()

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
