"""VAETransformer: the variational autoencoder, its likelihood and its samples."""

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from ._data.mixed_table import listed, parts_of
from ._evaluation.advice import collapse_advice
from ._evaluation.verdicts import Training, is_collapsed, judge_collapse
from ._imputing import Imputing
from ._likelihoods.base import Likelihood
from ._likelihoods.mixed import BALANCES, Mixed
from ._likelihoods.parts import PARTS
from ._likelihoods.registry import AUTO, LIKELIHOODS, likelihood_named
from ._objectives.schedules import make_schedule
from ._training.parameters import documented
from ._training.variational import Variational
from ._utils.typing import RandomState
from ._utils.warn import warn_user
from .exceptions import PosteriorCollapseWarning

# Rows that a warning asks linear theory of.
THEORY_ROWS = 2048


@documented
class VAETransformer(Imputing):
    """Variational autoencoder.

    A drop-in for :class:`sklearn.decomposition.PCA` where linear is not enough: an
    encoder gives every row a Gaussian posterior over ``latent_dim`` units, a decoder
    turns codes back into rows, and both are trained on

    ``mean over elements of (x - xhat)^2 + kld_weight * (KL summed over units)``,

    averaged over rows [1]_, [2]_. With D features and a decoder variance s2 that is a
    beta-VAE with ``beta = kld_weight * D / (2 * s2)``. With ``kld_weight="auto"`` the
    noise is fitted, one variance a feature, and the loss is the negative evidence lower
    bound: ``beta = 1``, maximum likelihood [3]_. Counts, bits and categories have
    likelihoods of their own.

    Beside the network runs a linear path that starts as the likelihood's linear model,
    factor analysis or probabilistic PCA [4]_. Epoch 0 scores what that scores, and the
    best epoch on held-out rows is kept.

    Parameters
    ----------
    latent_dim : int, default=10
        Number of latent units. More than the features or the data need stay inactive.
    %(network)s
    kld_weight : float or "auto", default="auto"
        Weight of the KL term. Larger: fewer and coarser units. If the KL is near 0
        (posterior collapse), **lower** it; if the KL is very large the model is almost
        a plain autoencoder: raise it. With "gaussian" it weighs against the squared
        error, and is in squared units of X per nat; with any other likelihood against
        the mean over elements of the negative log-likelihood in nats, so that
        ``beta = kld_weight * n_features``. "auto" is ``beta`` times the weight that is
        maximum likelihood.
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
    n_importance_samples : int, default=1
        Posterior draws a row that training weighs. With more than 1 it maximises the
        importance-weighted bound [7]_, tighter than the ELBO the more draws there are,
        so that posteriors need not be Gaussian, and posterior means explain rows less
        well; an epoch takes about as many times as long as the decoder does. Only with
        ``kld_weight="auto"``, ``beta=1``, a constant schedule and no free bits:
        anything else is no bound.
    likelihood : str, default="auto"
        What p(x | z) is, independent over features. "auto" is "gaussian_diag" where
        ``kld_weight`` is "auto", and "gaussian", the squared error, where it is a
        number; ``likelihood_`` says which it was.

        - "gaussian": one variance for all features, in the units of X.
        - "gaussian_diag": one variance a feature, and columns standardised inside.
        - "student_t": one scale and one number of degrees of freedom a feature. A much
          higher density where columns have heavy tails or values that repeat, at a cost
          in codes where most entries are 0.
        - "bernoulli": bits, or pixels from 0 to 1.
        - "poisson", "negative_binomial", "zinb" (with zero inflation): counts, sparse
          or dense, as they are, with a ``size_factor``.
        - "multinomial": counts whose row totals are given, as of words.
        - "categorical": codes 0, 1, ..., K - 1 of categories in every column.
        - "ordinal": few levels that have an order, as of grades.
        - "log_normal": positive numbers with a long tail.
        - "mixed": a table, every column with a likelihood of its own; words, truths
          and gaps as they are.
    column_likelihoods : list of (name, likelihood, columns) or None, default=None
        Of "mixed", which columns have which likelihood: a name of the group, one of
        the likelihoods above but "gaussian", "multinomial" and "mixed", and columns as
        :class:`~sklearn.compose.ColumnTransformer` takes them (names, numbers, a slice,
        a mask or a function of X). Columns that no entry has, and all with None, get
        what their values ask for: truths "bernoulli"; words "categorical", or "ordinal"
        where their type has an order; whole numbers of few different values (10, or
        200 of 20 rows each) "ordinal"; other whole numbers from 0 "negative_binomial";
        positive numbers whose logarithms are closer to a Gaussian "log_normal"; all
        others "gaussian_diag". ``column_likelihoods_`` says what they were.
    balance : {"nats", "columns"}, default="nats"
        What the loss of "mixed" weighs alike: nats, which is maximum likelihood, or
        columns: the gradients of every column then have the same length where nothing
        is known of a row, so that a rare flag, whose nats are few, is not learnt last
        [8]_. Scores are in nats whatever it is.
    max_categories : int or None, default=None
        Categories that a column of "mixed" is coded in, that of all rare ones included,
        which are those that came up least. None is all of them. Categories that the
        training rows had not are coded as rare ones.
    missing_values : {"auto", "error", "marginalize"}, default="auto"
        What NaN (of frames also NA and None) in X is. An error, or a gap: the
        likelihood is of what was observed, and the encoder sees what a factor analysis
        of its inputs expects in place of the gap, with a note that it is one (see
        :meth:`impute`). "auto" is "marginalize" with "mixed".
    size_factor : {"row_sum"} or None, default="row_sum"
        What the rate of a row of counts is multiplied with: its sum, nothing, or what
        ``fit`` is given for every row.
    encode_conditions : bool, default=False
        Whether the encoder is given the conditions of ``fit``, as the decoder is.
    linear_path : {"pca", None}, default="pca"
        A linear map beside the encoder and the decoder, started as the closed-form
        optimum of the linear VAE, where the likelihood has one (the continuous ones);
        None is the plain network.
    background_weight : float, default=0.01
        Prior probability, in [0, 1), that a row is not one of the network's but of the
        linear model that fitting began at: a second component of the density that is
        scored, which bounds what a single odd row can cost. 0 is none. Of training,
        only which epoch is kept depends on it, and only with a noise a feature.
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
        One row an epoch: ``train_loss``, ``train_recon_loss`` (mean over elements, of
        squared errors in squared units of X, or of nats), ``train_kl_loss`` (nats per
        row), ``valid_elbo`` (nats per row), ``kld_weight`` (that of the last step),
        ``epoch_time`` (seconds); with early stopping the losses also for ``valid_``,
        ``valid_loss`` at the full weight; with free bits ``train_free_bits_loss``, the
        KL that is paid for; with importance samples ``train_iw_bound`` and
        ``valid_iw_bound``, the bound (nats per row), and ``train_loss`` is minus that
        in model units, times the weight.
    kld_weight_ : float
        Weight of the KL term, as given or as fitted.
    beta_ : float
        Of the evidence lower bound that ``kld_weight_`` stands for: that times
        ``n_features``, and with "gaussian" over ``2 * noise_variance_``.
    likelihood_ : str
        The likelihood: as given, or as "auto" chose it.
    noise_variance_ : float or ndarray of shape (n_features,)
        Variance of the calibrated decoder, in squared units of X: with "gaussian" the
        mean squared error of a posterior draw on the held-out rows, or on the training
        rows without early stopping; with a noise a feature, that of every feature.
        Discrete likelihoods have none.
    code_scale_ : ndarray of shape (latent_dim,)
        Gain of the decoder, in units of X per unit of code; of "mixed", in standard
        deviations of numbers, and as Fisher's information has it for all others.
    column_likelihoods_ : list of (name, likelihood, columns)
        Of "mixed": what every column has, as given or as its values asked for.
    %(fitted)s

    See Also
    --------
    skvae.metrics.pca_scorer : The likelihood of the linear model, a scikit-learn PCA.
    sklearn.decomposition.FactorAnalysis : That of one noise variance a feature.
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
    .. [7] Burda, Grosse and Salakhutdinov (2016). Importance Weighted Autoencoders.
       ICLR.
    .. [8] Javaloy and Valera (2020). Lipschitz Standardization for Multivariate
       Learning. arXiv:2002.11369.

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

    kld_weight_: float
    beta_: float
    likelihood_: str
    noise_variance_: float | np.ndarray
    code_scale_: np.ndarray
    column_likelihoods_: list[tuple[str, str, list[Any]]]

    _parameter_constraints: dict = {
        **Imputing._parameter_constraints,
        "likelihood": [StrOptions({"auto", *LIKELIHOODS})],
        "column_likelihoods": ["array-like", None],
        "balance": [StrOptions(set(BALANCES))],
        "max_categories": [Interval(Integral, 2, None, closed="left"), None],
        "missing_values": [StrOptions({"auto", "error", "marginalize"})],
        "size_factor": [StrOptions({"row_sum"}), None],
        "encode_conditions": ["boolean"],
        "kld_weight": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "beta": [Interval(Real, 1e-6, 1e6, closed="both")],
        "background_weight": [Interval(Real, 0, 1, closed="left")],
        "kld_schedule": [StrOptions({"constant", "linear", "cyclical"}), callable],
        "kld_warmup": [Interval(Real, 0, 1, closed="neither")],
        "free_bits": [Interval(Real, 0, 1e6, closed="both")],
        "n_importance_samples": [Interval(Integral, 1, None, closed="left")],
        "whiten": ["boolean"],
    }

    def __init__(
        self,
        latent_dim: int = 10,
        *,
        hidden_dims: Sequence[int] = (256, 128),
        activation: str = "gelu",
        dropout_rate: float = 0.0,
        use_batch_norm: bool = True,
        kld_weight: float | str = "auto",
        beta: float = 1.0,
        kld_schedule: str | Callable[[float], float] = "constant",
        kld_warmup: float = 0.3,
        free_bits: float = 0.0,
        n_importance_samples: int = 1,
        likelihood: str = "auto",
        column_likelihoods: Sequence[tuple[str, str, Any]] | None = None,
        balance: str = "nats",
        max_categories: int | None = None,
        missing_values: str = "auto",
        size_factor: str | None = "row_sum",
        encode_conditions: bool = False,
        linear_path: str | None = "pca",
        background_weight: float = 0.01,
        whiten: bool = False,
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
        self.n_importance_samples = n_importance_samples
        self.likelihood = likelihood
        self.column_likelihoods = column_likelihoods
        self.balance = balance
        self.max_categories = max_categories
        self.missing_values = missing_values
        self.size_factor = size_factor
        self.encode_conditions = encode_conditions
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
    _warns_of_collapse = True

    def _likelihood_type(self) -> type[Likelihood]:
        if self.likelihood != "auto":
            return likelihood_named(self.likelihood)
        # What a weight of one's own means is the Gaussian's.
        return likelihood_named(AUTO if self.kld_weight == "auto" else "gaussian")

    def _column_likelihoods(self) -> Sequence[str]:
        return tuple(PARTS) if self._likelihood_type() is Mixed else ()

    def _marginalizes(self) -> bool:
        if self.missing_values == "auto":
            return self._likelihood_type() is Mixed
        return self.missing_values == "marginalize"

    def _likelihood_params(self) -> dict[str, Any]:
        if self._likelihood_type() is not Mixed:
            return {}
        assert self._table is not None
        return {"parts": parts_of(self._table), "balance": self.balance}

    def __sklearn_clone__(self) -> Any:
        """A copy that knows whether what it was made of is a density.

        A search clones its estimator for every candidate, and then sets the parameters:
        scorers see whether a candidate is of another kind (see ``elbo_scorer``).
        """
        copy = super().__sklearn_clone__()
        name = AUTO if self.likelihood == "auto" else self.likelihood
        if isinstance(name, str) and name in LIKELIHOODS:
            copy._cloned_is_discrete = LIKELIHOODS[name].is_discrete
        return copy

    def _strategy(self) -> Variational:
        schedule, settled_at = make_schedule(self.kld_schedule, self.kld_warmup)
        weight = None if self.kld_weight == "auto" else float(self.kld_weight)
        if weight is not None and self.beta != 1.0:
            raise ValueError(
                f"beta={self.beta!r} multiplies the weight that kld_weight='auto' "
                f"fits, and kld_weight={self.kld_weight!r} is a weight of its own; set "
                "one of the two."
            )
        self._check_bound()
        return Variational(
            kld_weight=weight,
            beta=float(self.beta),
            background_weight=float(self.background_weight),
            schedule=schedule,
            settled_at=settled_at,
            free_bits=float(self.free_bits),
            n_importance_samples=int(self.n_importance_samples),
        )

    def _check_bound(self) -> None:
        """Refuse what is no bound with importance samples."""
        if self.n_importance_samples == 1:
            return
        only = {
            "kld_weight": "auto",
            "beta": 1.0,
            "kld_schedule": "constant",
            "free_bits": 0.0,
        }
        for name, value in only.items():
            given = getattr(self, name)
            if given != value:
                raise ValueError(
                    f"n_importance_samples={self.n_importance_samples!r} maximises a "
                    f"bound of the log-likelihood, and with {name}={given!r} there is "
                    f"none: leave it at {value!r}, or set n_importance_samples=1."
                )

    def _commit(self, fit, dtype):
        super()._commit(fit, dtype)
        likelihood = fit.state.likelihood
        self.likelihood_ = likelihood.name
        self.code_scale_ = fit.state.code_scale
        self.__dict__.pop("column_likelihoods_", None)
        if self._table is not None:
            self.column_likelihoods_ = listed(self._table)
        unit = likelihood.calibrated_weight()
        weight = self._strategy().kld_weight
        self.kld_weight_ = self.beta * unit if weight is None else weight
        self.beta_ = self.kld_weight_ / unit
        noise = likelihood.noise_in_units_of_X()
        self.__dict__.pop("noise_variance_", None)  # of an earlier fit with another one
        if noise is not None:
            self.noise_variance_ = noise

    def _training(self, first_weight: float) -> Training:
        """What this was trained with; ``first_weight`` as :class:`Training` has it."""
        state, likelihood = self._fitted.state, self._likelihood_
        record, split = state.record, state.split
        return Training(
            kld_weight=float(self.kld_weight_),
            first_weight=first_weight,
            lr=record.lr,
            n_steps=record.n_steps,
            fitted=record.fitted,
            # As it was set, where it was: the quotient is rounded.
            beta=record.beta if record.fitted else float(self.beta_),
            stopped_early=record.stopped_early,
            diverged=record.diverged,
            free_nats=record.free_bits * self.module_.latent_dim,
            held_out=split is None or len(split.held_out) > 0,
            own_scales=likelihood.has_own_scales,
            linear_start="" if state.began_linear else likelihood.linear_start,
        )

    def _advise(self, rows):
        super()._advise(rows)
        state = self._fitted.state
        free = float(self.free_bits) * self.latent_dim
        if state.codes is None or state.record.diverged or not self._warns_of_collapse:
            return
        # Theory takes a decomposition: ask it where the codes look odd, of some rows.
        if not is_collapsed(*state.codes, free, 0):
            return
        some = np.linspace(0, len(rows) - 1, min(len(rows), THEORY_ROWS))
        rows, weight = rows[some.round().astype(int)], float(self.kld_weight_)
        given = rows.covariates.conditions
        first_weight = self._likelihood_.theory(rows.X, 1, weight, given).first_weight
        training = self._training(first_weight)
        n_expected = int(self.kld_weight_ < first_weight)
        if first_weight > 0.0 and is_collapsed(*state.codes, free, n_expected):
            advice = collapse_advice(judge_collapse(training), training)
            warn_user(advice, PosteriorCollapseWarning)

    def _code_units(self, dtype):
        if self.whiten:
            return np.ones(self.module_.latent_dim, dtype)
        return super()._code_units(dtype)
