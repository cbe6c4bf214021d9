"""The shell of the plain, the regularised and the sparse autoencoder."""

from ._base import BaseAutoencoder
from ._training.deterministic import Deterministic


class PenalisedAutoencoder(BaseAutoencoder):
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
