"""VAETransformer: the variational autoencoder, its likelihood and its samples."""

from numbers import Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ._base import BaseAutoencoder
from ._data.dataset import Minibatch
from ._evaluation.advice import collapse_advice
from ._evaluation.evaluator import Evaluation
from ._evaluation.verdicts import Training, is_collapsed, judge_collapse
from ._kernels.surroundings import public
from ._linear.spectrum import spectrum, weight_of_noise
from ._nn.autoencoder import VAE
from ._objectives.schedules import make_schedule
from ._training.parameters import documented
from ._training.variational import Variational
from ._utils.seeds import private_generator
from ._utils.validation import checked_finite, checked_n_samples
from ._utils.warn import warn_user
from .exceptions import PosteriorCollapseWarning

# Rows that a warning asks linear theory of.
THEORY_ROWS = 2048


@documented
class VAETransformer(BaseAutoencoder):
    """Variational autoencoder.

    A drop-in for :class:`sklearn.decomposition.PCA` where linear is not enough: an
    encoder gives every row a Gaussian posterior over ``latent_dim`` units, a decoder
    turns codes back into rows, and both are trained on

    ``mean over elements of (x - xhat)^2 + kld_weight * (KL summed over units)``,

    averaged over rows [1]_, [2]_. With D features and a decoder variance s2 that is a
    beta-VAE with ``beta = kld_weight * D / (2 * s2)``; ``kld_weight="auto"`` fits s2,
    which is ``beta = 1``, maximum likelihood [3]_.

    Beside the network runs a linear path that starts as probabilistic PCA [4]_. Epoch 0
    scores what PCA scores, and the best epoch on held-out rows is kept.

    Parameters
    ----------
    latent_dim : int, default=10
        Number of latent units. More than the features or the data need stay inactive.
    %(network)s
    kld_weight : float or "auto", default="auto"
        Weight of the KL term, in squared units of X per nat. Larger: fewer and coarser
        units. If the KL is near 0 (posterior collapse), **lower** it; if the KL is very
        large the model is almost a plain autoencoder: raise it. "auto" fits the noise
        variance: ``beta`` times the weight that is maximum likelihood.
    beta : float, default=1.0
        What the weight that ``kld_weight="auto"`` fits is multiplied with: the same
        trade on every table, where ``kld_weight`` is in the units of one. 1 is maximum
        likelihood; more gives fewer and more independent units, less gives sharper
        reconstructions. Only with "auto".
    kld_schedule : {"constant", "linear", "cyclical"} or callable, default="constant"
        Share of the weight that a training step has, as a function of progress, which
        goes from 0 to 1 over ``max_epochs``: always 1; up to 1 during the first
        ``kld_warmup`` of training; four cycles, each a ramp of half its length [5]_; or
        a function of yours (one that pickles, if the fit is to). Early stopping keeps,
        and counts, epochs only from where the schedule stays at its final value, and
        compares them at the full weight. ``partial_fit`` has the full weight
        throughout.
    kld_warmup : float, default=0.3
        Share of training that "linear" takes to the full weight, in (0, 1).
    free_bits : float, default=0.0
        Nats of every unit's KL, averaged over a minibatch, that cost nothing [6]_; a
        cure for collapse. They change what is trained, not what is scored.
    linear_path : {"pca", None}, default="pca"
        A linear map beside the encoder and the decoder, started as the closed-form
        optimum of the linear VAE; None is the plain network.
    background_weight : float, default=0.01
        Prior probability, in [0, 1), that a row is not one of the network's but of the
        linear model that fitting began at: a second component of the density that is
        scored, which bounds what a single odd row can cost. 0 is none. Nothing in
        training depends on it.
    whiten : bool, default=False
        Whether codes are in the units of the prior, where every active unit has a
        variance near 1. By default each unit is multiplied by its gain (how far the
        reconstruction moves per unit of code), so that distances between codes are
        distances between reconstructions: what neighbours and clusters need. The same
        choice as ``whiten`` of PCA. It takes effect at once, on a fitted estimator too.
    %(training)s

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The fitted net.
    module_ : torch.nn.Module
        The fitted module, with ``encode``, ``decode`` and ``forward``. It works on
        ``(X - mean_) / scale_``.
    history_ : list of dict
        One row an epoch: ``train_loss``, ``train_recon_loss`` (mean over elements, in
        squared units of X), ``train_kl_loss`` (nats per row), ``valid_elbo`` (nats per
        row), ``kld_weight`` (that of the last step), ``epoch_time`` (seconds); with
        early stopping the losses also for ``valid_``, ``valid_loss`` at the full
        weight; with free bits ``train_free_bits_loss``, the KL that is paid for.
    kld_weight_ : float
        Weight of the KL term, as given or as fitted.
    beta_ : float
        ``kld_weight_ * n_features / (2 * noise_variance_)``.
    noise_variance_ : float
        Variance of the calibrated decoder, in squared units of X: the mean squared
        error of a posterior draw on the held-out rows, or on the training rows without
        early stopping.
    code_scale_ : ndarray of shape (latent_dim,)
        Gain of the decoder, in units of X per unit of code.
    %(fitted)s

    See Also
    --------
    skvae.metrics.pca_scorer : The likelihood of the linear model, a scikit-learn PCA.
    skvae.metrics.elbo_scorer : The scorer for a search.
    skvae.inspection.diagnose : What a fit made of its units, and what to change.

    Notes
    -----
    ``fit`` issues a :class:`~skvae.exceptions.PosteriorCollapseWarning` if no unit is
    left active: :func:`skvae.inspection.diagnose` has the numbers, and
    :func:`skvae.inspection.suggest_kld_weights` weights that suit X.

    A skorch callback's ``on_epoch_*`` and ``on_train_*`` methods are called as ever;
    ``on_batch_*`` once an epoch for the training rows and once for the held-out rows,
    since each are handed over at once; ``on_grad_computed`` once a minibatch.
    ``batch[0]`` and the datasets are ``TableDataset`` objects, which index like a
    tensor of centred and scaled rows. Scoring callbacks do not cache predictions: they
    predict. A callback ends training, and leaves a fitted estimator, by raising
    ``KeyboardInterrupt``, as in skorch; Ctrl-C itself propagates. ``on_train_end`` sees
    the weights that are kept; a callback that leaves others there
    (``Checkpoint(load_best=True)``) has the last word, and ``best_epoch_`` is then the
    last epoch. ``callbacks__NAME__PARAM`` is a parameter of the estimator, by the names
    that skorch gives callbacks.

    ``net_.predict``, ``predict_proba`` and ``forward`` take an array in the module's
    units, ``(X - mean_) / scale_``, and return reconstructions in them. The net does
    not train by itself, so ``skorch.helper.SkorchDoctor`` cannot watch it, and no
    callback may replace its module, criterion or optimiser. The module knows the number
    of features: ``InputShapeSetter(param_name="n_features")`` has nothing to set.

    A linear unit of gain g, trained for an eigenvalue l of the covariance of X, leaves
    the noise variance out: ``g^2 = l - s`` with ``s = kld_weight_ * n_features / 2``
    [4]_, and its posteriors have, over the rows, the variance 1 of the prior.
    ``explained_variance_`` adds s to the share of an active unit, and so is l. A unit
    whose code hardly varies explains only what the reconstruction has of it. With
    ``whiten=True`` rows of ``components_`` are ``code_scale_`` times as long.

    References
    ----------
    .. [1] Kingma and Welling (2014). Auto-Encoding Variational Bayes. ICLR.
    .. [2] Higgins et al. (2017). beta-VAE. ICLR.
    .. [3] Rybkin, Daniilidis and Levine (2021). Simple and Effective VAE Training with
       Calibrated Decoders. ICML.
    .. [4] Lucas, Tucker, Grosse and Norouzi (2019). Don't Blame the ELBO! A Linear VAE
       Perspective on Posterior Collapse. NeurIPS.
    .. [5] Fu et al. (2019). Cyclical Annealing Schedule: A Simple Approach to
       Mitigating KL Vanishing. NAACL.
    .. [6] Kingma et al. (2016). Improved Variational Inference with Inverse
       Autoregressive Flow. NeurIPS.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvae import VAETransformer
    >>> X, _ = load_digits(return_X_y=True)
    >>> vae = VAETransformer(latent_dim=8, max_epochs=5, random_state=0)
    >>> codes = vae.fit_transform(X)
    >>> codes.shape
    (1797, 8)
    >>> vae.inverse_transform(codes).shape
    (1797, 64)
    """

    _parameter_constraints: dict = {
        **BaseAutoencoder._parameter_constraints,
        "kld_weight": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "beta": [Interval(Real, 1e-6, 1e6, closed="both")],
        "background_weight": [Interval(Real, 0, 1, closed="left")],
        "kld_schedule": [StrOptions({"constant", "linear", "cyclical"}), callable],
        "kld_warmup": [Interval(Real, 0, 1, closed="neither")],
        "free_bits": [Interval(Real, 0, 1e6, closed="both")],
        "whiten": ["boolean"],
    }

    def __init__(
        self,
        latent_dim=10,
        *,
        hidden_dims=(256, 128),
        activation="gelu",
        dropout_rate=0.0,
        use_batch_norm=True,
        kld_weight="auto",
        beta=1.0,
        kld_schedule="constant",
        kld_warmup=0.3,
        free_bits=0.0,
        linear_path="pca",
        background_weight=0.01,
        whiten=False,
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
        self.kld_weight = kld_weight
        self.beta = beta
        self.kld_schedule = kld_schedule
        self.kld_warmup = kld_warmup
        self.free_bits = free_bits
        self.linear_path = linear_path
        self.background_weight = background_weight
        self.whiten = whiten
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

    _strategy_type = Variational

    def _strategy(self) -> Variational:
        schedule, settled_at = make_schedule(self.kld_schedule, self.kld_warmup)
        weight = None if self.kld_weight == "auto" else float(self.kld_weight)
        if weight is not None and self.beta != 1.0:
            raise ValueError(
                f"beta={self.beta!r} multiplies the weight that kld_weight='auto' "
                f"fits, and kld_weight={self.kld_weight!r} is a weight of its own; set "
                "one of the two."
            )
        return Variational(
            kld_weight=weight,
            beta=float(self.beta),
            background_weight=float(self.background_weight),
            schedule=schedule,
            settled_at=settled_at,
            free_bits=float(self.free_bits),
        )

    def _commit(self, fit, dtype):
        super()._commit(fit, dtype)
        likelihood = fit.state.likelihood
        self.code_scale_ = fit.state.code_scale
        unit = likelihood.calibrated_weight()
        weight = self._strategy().kld_weight
        self.kld_weight_ = self.beta * unit if weight is None else weight
        self.beta_ = self.kld_weight_ / unit
        noise = likelihood.noise_in_units_of_X()
        if noise is not None:
            self.noise_variance_ = noise

    def _training(self, first_weight: float) -> Training:
        """What this was trained with; ``first_weight`` as :class:`Training` has it."""
        record = self._fitted.state.record
        return Training(
            kld_weight=float(self.kld_weight_),
            first_weight=first_weight,
            lr=record.lr,
            n_steps=record.n_steps,
            fitted=record.fitted,
            beta=record.beta,
            stopped_early=record.stopped_early,
            diverged=record.diverged,
            free_nats=record.free_bits * self.module_.latent_dim,
        )

    def _advise(self, X):
        super()._advise(X)
        state, free = self._fitted.state, float(self.free_bits) * self.latent_dim
        if state.codes is None or state.record.diverged:
            return
        # Theory takes a decomposition: ask it where the codes look odd, of some rows.
        if not is_collapsed(*state.codes, free, 0):
            return
        n_rows = X.shape[0]
        some = np.linspace(0, n_rows - 1, min(n_rows, THEORY_ROWS)).round().astype(int)
        found = spectrum(X[some], 1, np.random.RandomState(0))
        largest = found.eigenvalues.max(initial=0.0)
        training = self._training(weight_of_noise(largest, self.n_features_in_))
        n_expected = int(self.kld_weight_ < training.first_weight)
        if largest > 0.0 and is_collapsed(*state.codes, free, n_expected):
            advice = collapse_advice(judge_collapse(training), training)
            warn_user(advice, PosteriorCollapseWarning)

    def _code_units(self, dtype):
        if self.whiten:
            return np.ones(self.module_.latent_dim, dtype)
        return super()._code_units(dtype)

    @public
    def transform(self, X, return_std=False):
        """Code X.

        Deterministic: no draw (a posterior's mean), no dropout, running statistics.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            Rows to code.
        return_std : bool, default=False
            Whether to return the posterior's standard deviation, too.

        Returns
        -------
        X_new : ndarray of shape (n_samples, latent_dim)
            Codes, in the units of X unless the estimator whitens them; float64 if X is
            float64, else float32.
        X_std : ndarray of shape (n_samples, latent_dim)
            Standard deviation of the posterior of every unit, in the units and the
            dtype of the codes; only with ``return_std``. An ndarray whatever
            ``set_output`` asks for the codes.
        """
        check_is_fitted(self)
        X, network = self._validated(X, reset=False), self.module_
        if not return_std:
            return self._transformed(X)
        assert isinstance(network, VAE)

        def moments(batch: Minibatch) -> Tensor:
            mean, log_var = network.encode(batch.inputs)
            return torch.cat([mean, (0.5 * log_var).exp()], dim=1)

        found = self._over_chunks(X, moments)
        parts = np.hsplit(found, 2)
        with np.errstate(over="ignore"):
            parts = [part * self._code_units(found.dtype) for part in parts]
        return tuple(checked_finite(part, X.dtype) for part in parts)

    @public
    def sample(self, n_samples=1, random_state=None, *, noise=False):
        """Draw rows from the model: codes from the prior, decoded.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows to draw.
        random_state : int, RandomState instance or None, default=None
            Seed of the draws.
        noise : bool, default=False
            Whether to draw from the density that :meth:`score` measures: with the
            decoder's noise, of variance ``noise_variance_``, and a row with the
            probability ``background_weight`` from the background. Without it, the mean
            of the network's decoder.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Drawn rows, in the units and the dtype of the training data.
        """
        check_is_fitted(self)
        n_samples = checked_n_samples(n_samples)
        generator = private_generator(random_state)
        Z = generator.standard_normal((n_samples, self.module_.latent_dim))
        Z = Z.astype(self._dtype)
        if not noise:
            return self._decode(Z)
        likelihood, state = self._likelihood_, self._fitted.state
        X = self._decode(Z, lambda raw: likelihood.sample(raw, generator))
        if state.background is None:
            return X
        odd = generator.uniform(size=n_samples) < state.record.background_weight
        drawn = state.background.sample(int(odd.sum()), generator)
        X[odd] = likelihood.to_units_of_X(drawn).numpy()
        return X

    @public
    def score_samples(self, X):
        """Evidence lower bound of every row.

        ``E_q ln p(x | z) - KL(q(z | x) || p(z))`` with the calibrated decoder and
        beta = 1: a lower bound of the log-likelihood, comparable across ``kld_weight``,
        ``beta``, ``latent_dim``, architectures and with probabilistic PCA
        (:func:`skvae.metrics.pca_scorer`).

        The expectation is a cubature of 32 to 128 antithetic points, the same for every
        row: deterministic. Up to 64 units it is exact where the decoder is linear, and
        the mean over 100 digits was within 0.02 nats of 2,000 draws a row; with 128
        and 256 units it was off by 0.2 and 0.4 nats.

        Where fitting began at a linear model and left it, the density is a mixture of
        the network, at ``1 - background_weight``, and of that model, the background: an
        odd row, far from all that the network was trained on, is explained by the
        linear model (see :meth:`background_responsibility`). With
        ``kld_weight="auto"`` that is probabilistic PCA, so at the default of 0.01 no
        row scores more than 4.6 nats below it; other rows lose 0.01 nats.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        elbo : ndarray of shape (n_samples,)
            Nats per row, float64.
        """
        return self._evaluate(X).elbo

    def score(self, X, y=None):
        """Mean evidence lower bound, in nats per row.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            Rows to score.
        y : Ignored
            Not used, present for API consistency.

        Returns
        -------
        elbo : float
            Mean of :meth:`score_samples`.
        """
        return float(self.score_samples(X).mean())

    def background_responsibility(self, X):
        """The background's share in the explanation of every row.

        The density that :meth:`score_samples` bounds is a mixture of the network and,
        at ``background_weight``, of the linear model that fitting began at. This is the
        posterior probability of the latter: near 0 for what the network was trained on,
        near 1 for an outlier, which the score of the mixture would hide.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        responsibility : ndarray of shape (n_samples,)
            In [0, 1], float64; 0 where there is no background: ``background_weight=0``,
            ``linear_path=None``, or a fit that kept the linear model itself
            (``best_epoch_`` 0).
        """
        return self._evaluate(X).background

    @public
    def _evaluate(self, X) -> Evaluation:
        """One pass of rows through the density: all that is scored and measured."""
        check_is_fitted(self)
        return self._evaluate_rows(self._validated(X, reset=False))

    def _evaluate_rows(self, X) -> Evaluation:
        """The same of validated rows."""
        density = self._fitted.state.density()
        columns = self._over_chunks(X, density.evaluate())
        return density.evaluation(columns)

    @public
    def _posterior_means(self, X) -> np.ndarray:
        """Means of the posteriors (n, latent_dim), in units of the prior."""
        check_is_fitted(self)
        network = self.module_
        return self._over_chunks(
            self._validated(X, reset=False), lambda batch: network.code(batch.inputs)
        )

    @public
    def _importance_weighted_bound(self, X, n_samples: int) -> np.ndarray:
        """Importance-weighted bound per row in nats, from draws of a fixed seed."""
        check_is_fitted(self)
        generator = torch.Generator().manual_seed(0)
        measure = self._fitted.state.density().log_likelihood(n_samples, generator)
        return self._over_chunks(self._validated(X, reset=False), measure)
