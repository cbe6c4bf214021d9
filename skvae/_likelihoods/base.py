"""The protocol of p(x | z): all that training, scores and samples know of the noise.

A decoder gives ``raw`` outputs, (n, n_outputs), and a likelihood says what they mean.
It also owns the way from rows of X to what the network sees, since one decides on the
other. Three sets of units appear:

- *X*: what the user has, of any float dtype;
- *model units*: the ``target``, (n, n_features), which ``raw`` is compared to;
- *inputs*: what the encoder sees, (n, n_inputs).

A new likelihood is a class with :meth:`Likelihood.nll`, :meth:`Likelihood.mean` and
:meth:`Likelihood.sample`; whatever else it overrides makes it faster or better.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from .._data.covariates import NONE, Covariates
from .._data.dataset import Minibatch
from .._data.moments import column_moments
from .._linear.covariance import Covariance
from .._linear.gaps import FactorCovariance
from .._nn.autoencoder import Decoder, Posterior
from .._utils.device import in_float64
from .linear_model import Affine, LinearModel
from .units import Units

# Squared error over the variance of the rows: an untrained network, which draws codes
# for nothing, has less than 2.
DIVERGED = 4.0
# How often every point of a cubature comes up among rows that take them in turns.
TURNS = 8


class Theory(NamedTuple):
    """What linear theory expects of codes: nothing, where there is no such theory.

    Attributes
    ----------
    n_active : int or None
        Number of active units.
    rate : float
        Nats per row.
    first_weight : float
        Weight of the KL, in units of X, below which there is an active unit: 0 where
        all rows are the same, infinite where it is not known.
    """

    n_active: int | None = None
    rate: float = float("nan")
    first_weight: float = float("inf")


class ExpectedNLL(Protocol):
    """``-E_q ln p(x | z)`` of rows with these posteriors, in nats: (n,), float64."""

    def __call__(self, posterior: Posterior, batch: Minibatch) -> Tensor: ...


class Likelihood(Units, ABC):
    """p(x | z), independent over features.

    Parameters
    ----------
    n_features : int
        D, the number of columns of X.

    Attributes
    ----------
    name : str
        What estimators call it.
    is_discrete : bool
        Whether it is a probability mass: scores of a mass and of a density do not rank
        together.
    is_drawn : bool
        Whether samples have noise where nobody has said so: means of discrete columns
        are no rows.
    is_nonnegative, is_whole : bool
        Whether X has to be so: what scikit-learn's tags say.
    takes_size : bool
        Whether it is of counts, whose rate has a size factor a row.
    is_given_total : bool
        Whether it is of rows whose total is known, so that they need one.
    has_linear_model : bool
        Whether :meth:`linear_model` gives one. Otherwise networks have no linear path.
    baseline : str
        What fits are judged by: its linear model, or its model with no code.
    has_own_scales : bool
        Whether every feature has a noise of its own, so that none dwarfs the others.
    inputs_are_rows : bool
        Whether the encoder sees the target itself.
    loss_exponent : int
        The power of ``scale`` that :meth:`loss` is in.
    mean_is_affine : bool
        Whether :meth:`mean` is ``scale * raw`` and a constant: changes of it then go
        through the decoder's last map once, where they are otherwise decoded.
    """

    name: ClassVar[str] = ""
    is_discrete: ClassVar[bool] = False
    is_drawn: ClassVar[bool] = False
    is_nonnegative: ClassVar[bool] = False
    is_whole: ClassVar[bool] = False
    takes_size: ClassVar[bool] = False
    is_given_total: ClassVar[bool] = False
    has_linear_model: ClassVar[bool] = False
    baseline: ClassVar[str] = "the model with no code"
    has_own_scales: ClassVar[bool] = False
    inputs_are_rows: ClassVar[bool] = True
    loss_exponent: ClassVar[int] = 0
    mean_is_affine: ClassVar[bool] = False

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features)

    @classmethod
    def of_rows(cls, X) -> Self:
        """One of the shapes that training rows ask for, if they pass :meth:`check`."""
        return cls(X.shape[1])

    @property
    def params(self) -> dict[str, Any]:
        """Plain numbers that make one of the same shapes: arguments of the class."""
        return {"n_features": self.n_features}

    @property
    def linear_start(self) -> str:
        """What networks can begin as: the linear model's name, "" without one."""
        name = self.baseline if self.has_linear_model else ""
        return name.removeprefix("probabilistic ")

    @property
    def n_inputs(self) -> int:
        """Number of columns that the encoder sees."""
        return self.n_features

    @property
    def n_outputs(self) -> int:
        """Number of raw outputs of the decoder."""
        return self.n_features

    # -- data --------------------------------------------------------------------------

    def check(self, X, feature_names=None) -> None:
        """Refuse rows, finite numbers as they are, that it cannot explain.

        Raises
        ------
        ValueError
            Names a column, and a likelihood that would take it.
        """

    def fit_inputs(
        self,
        mean: np.ndarray,
        variance: np.ndarray,
        X=None,
        size: np.ndarray | None = None,
    ) -> None:
        """Take the moments of the columns, (D,) each, float64, as units.

        Of the training rows X, whose ``size`` (n,) is there where it takes one.
        """

    def encode_target(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """Rows (n, D) of X, in their own precision, in model units.

        ``x`` may be written to where it is ``out``, too.
        """
        return x

    def encode_inputs(
        self,
        target: Tensor,
        mask: Tensor | None = None,
        covariates: Covariates = NONE,
    ) -> Tensor:
        """What the encoder sees of rows in model units, (n, n_inputs)."""
        return target

    def encode_sparse(self, X, size: np.ndarray | None):
        """What becomes of the nonzeros of CSR rows before :meth:`input_affine`."""
        return X

    def input_affine(self) -> Affine | None:
        """How inputs come from what :meth:`encode_sparse` gives.

        If it is so simple that sparse rows can stay sparse. The default is right for a
        likelihood that leaves rows as they are.
        """
        return Affine(None, 1.0)

    # -- the density -------------------------------------------------------------------

    @abstractmethod
    def nll(self, raw: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """``-ln p(target | z)`` per row in nats with all constants.

        Parameters
        ----------
        raw : tensor of shape (n, n_outputs)
        target : tensor of shape (n, D)
        mask : bool tensor of shape (n, D), optional
            Where the target was observed; None is everywhere.

        Returns
        -------
        nll : tensor of shape (n,)
        """

    def nll_of_code(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """:meth:`nll` less :meth:`nll_constant`."""
        return self.nll(raw, target, mask)

    def nll_per_feature(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """:meth:`nll` of every column by itself, (n, D), in the order and units of X.

        0 where nothing was observed. By default a pass over the rows for each.
        """
        if mask is None:
            mask = torch.ones(target.shape, dtype=torch.bool, device=target.device)
        alone = torch.zeros_like(mask)
        found = []
        for j in range(self.n_features):
            alone[:, j] = mask[:, j]
            found.append(self.nll(raw, target, alone))
            alone[:, j] = False
        nats = torch.stack(found, dim=1).to(raw)
        entries = self.entry_log_dets(target)
        if entries is not None:
            nats -= entries
        log_dets = torch.from_numpy(self.feature_log_dets()).to(raw)
        return (self.decode_mask(nats) - log_dets) * self.decode_mask(mask)

    def nll_constant(
        self, target: Tensor, mask: Tensor | None = None
    ) -> Tensor | float:
        """The part of :meth:`nll` that no code changes, (n,), computed once a row."""
        return 0.0

    @abstractmethod
    def mean(self, raw: Tensor, covariates: Covariates = NONE) -> Tensor:
        """E[x | z] in units of X, (n, D); ``raw`` may be overwritten."""

    @abstractmethod
    def sample(
        self,
        raw: Tensor,
        random_state: np.random.RandomState,
        covariates: Covariates = NONE,
    ) -> Tensor:
        """A draw from p(x | z) in units of X, (n, D); ``raw`` may be overwritten."""

    def response(self, raw: Tensor, covariates: Covariates = NONE) -> Tensor:
        """What units explain the variance of, (n, D); ``raw`` may be overwritten.

        By default :meth:`mean`.
        """
        return self.mean(raw, covariates)

    def response_variance(self, variance: np.ndarray) -> float:
        """Variance of that over rows whose columns have a variance (D,), summed up."""
        return float(variance.sum())

    @property
    def n_predictive(self) -> int:
        """Number of columns of :meth:`predictive`."""
        return self.n_features

    def predictive(self, raw: Tensor, covariates: Covariates = NONE) -> Tensor:
        """What is averaged over draws of codes, (n, n_predictive).

        By default :meth:`mean`; ``raw`` may be overwritten.
        """
        return self.mean(raw, covariates)

    def point(self, predictive: Tensor) -> Tensor:
        """The best guess of a row (n, D), in units of X, from that average."""
        return predictive

    def deviance(self, raw: Tensor, target: Tensor) -> Tensor:
        """Error of every element, (n, D), in the power ``loss_exponent`` of the units.

        By default the squared difference of target and mean; ``raw`` may be
        overwritten.
        """
        return self.mean(raw).sub(target).square_()

    # -- training ----------------------------------------------------------------------

    def loss(self, raw: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """What training minimises beside the KL: the mean over elements, a scalar.

        Over those that were observed. ``kld_weight`` is relative to it. By default the
        negative log-likelihood over D.
        """
        nll = self.nll(raw, target, mask)
        loss = nll.mean() / self.n_features
        if mask is not None:
            loss = nll.sum() / n_observed(mask)
        return loss.to(target.dtype)

    def held_out_loss(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """:meth:`loss` as epochs are compared by it: without weights of columns."""
        return self.loss(raw, target, mask)

    def loss_and_grad(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """:meth:`loss` and its gradient by ``raw``, which may be overwritten.

        Gradients of the likelihood's own parameters are written to their ``grad``. By
        default autograd at this leaf; a closed form is faster.
        """
        own = list(self.parameters())
        with torch.enable_grad():
            leaf = raw.detach().requires_grad_()
            loss = self.loss(leaf, target, mask)
            grad, *others = torch.autograd.grad(loss, [leaf, *own])
        for parameter, gradient in zip(own, others, strict=True):
            assert parameter.grad is not None
            parameter.grad.copy_(gradient)
        return loss.detach(), grad

    def nll_in_training(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """:meth:`nll_of_code`, differentiable, at the shared parameters of today.

        By default those are where :meth:`nll_of_code` finds them.
        """
        return self.nll_of_code(raw, target, mask)

    def unit_weight(self) -> Tensor:
        """Weight of the KL at which the loss is the negative ELBO: beta = 1.

        While training, at the shared parameters of today.
        """
        return self._inverse_width

    def nats_of_loss(self, loss: float) -> float:
        """Nats per row that a mean loss stands for, at its best shared parameters."""
        return loss * self.width

    def loss_of_nats(self, nll: float) -> float:
        """The mean loss that a mean :meth:`nll` stands for, at the calibrated ones."""
        return nll / self.width

    def diverged_loss(
        self, mean: np.ndarray | None = None, variance: np.ndarray | None = None
    ) -> float:
        """Loss, in units of X, from which on training has diverged.

        That of squared errors ``DIVERGED`` times those of the training rows' mean, for
        the training rows, or for rows with these moments (D,). Infinite where that
        cannot be said.
        """
        return float("inf")

    def update_running_stats(self, loss: Tensor) -> None:
        """Follow a step's loss with shared parameters that are no weights.

        One that needs more of the minibatch notes it in :meth:`loss_and_grad` and
        :meth:`loss`.
        """

    # -- the fitted model --------------------------------------------------------------

    def calibrated_weight(self) -> float:
        """:meth:`unit_weight` at the calibrated shared parameters, in units of X."""
        return 1.0 / self.width

    def theory(
        self,
        X,
        n_units: int,
        weight: float,
        conditions: np.ndarray | None = None,
    ) -> Theory:
        """What a linear model of rows X does at a weight, in units of X.

        Of what conditions (n, n_conditions) leave of them.

        By default no more than that no unit has anything to say where all rows are the
        same.
        """
        varies = column_moments(X)[1].any()
        return Theory(first_weight=float("inf") if varies else 0.0)

    def no_code(self) -> np.ndarray | None:
        """Raw outputs (n_outputs,) of the best model without a code.

        At a size of 1; None where its linear model is what a fit is judged by.
        """
        return None

    @property
    def usual_size(self) -> float:
        """Size factor of the median training row, where rows have one."""
        return 1.0

    def draw_sizes(self, n: int, random_state: np.random.RandomState) -> np.ndarray:
        """Size factors (n,) of rows like the training rows."""
        return np.full(n, self.usual_size)

    def keep_running_stats(self) -> None:
        """Take what training left as the calibrated shared parameters."""

    def calibrate(
        self,
        decoder: Decoder,
        posterior: Posterior,
        batch: Minibatch,
        points: Tensor,
    ) -> None:
        """Set shared parameters by maximum likelihood of these rows.

        ``points`` (n_pairs, k) are for every row, or (n_pairs, n, k) one a row; each is
        used with both signs.
        """

    def expected_nll(self, decoder: Decoder, points: Tensor) -> ExpectedNLL:
        """``-E_q ln p(x | z)`` by a cubature of ``points`` (n_pairs, k) and mirrors."""

        def mean_over_points(posterior: Posterior, batch: Minibatch) -> Tensor:
            constant = self.nll_constant(batch.target, batch.mask)
            target, mask = batch.target, batch.mask
            total: Tensor | float = 0.0
            for z in draws(posterior, points):
                raw = decoder(z, batch.covariates)
                total = total + in_float64(self.nll_of_code(raw, target, mask))
            nll = total / (2 * len(points)) + constant
            assert isinstance(nll, Tensor)
            return nll

        return mean_over_points

    def output_metric(self, raw: Tensor) -> Tensor | None:
        """Weights (n, n_outputs) of squared changes of ``raw`` in the gain of codes.

        Or (n_outputs,), where they are every row's. None is 1 for all: the Euclidean
        length, which a decoder's last map gives.
        """
        return None

    def init_output_bias(self, mean: np.ndarray) -> np.ndarray | None:
        """Bias (n_outputs,) that training begins with; None leaves what is drawn.

        By default that of the model with no code.
        """
        return self.no_code()

    def without_code(self) -> Tensor | None:
        """Become the best model with no code; returns its output bias (n_outputs,).

        Where there is no linear model, that is what epochs have to be better than. None
        is without: the untrained network is.
        """
        bias = self.no_code()
        return None if bias is None else torch.from_numpy(bias)

    def linear_model(
        self,
        covariance: Covariance | FactorCovariance,
        n_units: int,
        random_state: np.random.RandomState,
        weight: float | None,
        beta: float = 1.0,
    ) -> LinearModel:
        """The optimum of a linear network, from the covariance of rows of X.

        At a ``weight`` of the KL, in model units, or, if None, with shared parameters
        at their own optimum and ``beta`` times :meth:`unit_weight`.
        """
        raise NotImplementedError

    def start_from(self, model: LinearModel) -> None:
        """Take what training begins with from the model that it begins at."""

    def calibrate_as(self, model: LinearModel) -> None:
        """Take its shared parameters as the calibrated ones: it is what was kept."""

    def empty_linear_model(self, n_units: int) -> LinearModel:
        """One of this size, for a ``state_dict`` to be loaded into."""
        raise NotImplementedError


def n_observed(mask: Tensor) -> Tensor:
    """Number of entries of a mask that are true, at least 1: it is divided by."""
    return mask.sum().clamp(min=1)


def draws(posterior: Posterior, points: Tensor) -> Iterator[Tensor]:
    """Codes (n, k) of every point and its mirror."""
    spread = (0.5 * posterior.log_var).exp()
    for point in points:
        for noise in (point, -point):
            yield torch.addcmul(posterior.mean, spread, noise)


def in_turns(points: Tensor, n_rows: int) -> Tensor:
    """Points (n_pairs, k) of all rows as (m, n_rows, k), m a row.

    Over the rows every point comes up ``TURNS`` times or more, and nearly as often as
    the others: one point alone is longer or shorter than draws are.
    """
    n_pairs = len(points)
    n_each = min(n_pairs, -(-TURNS * n_pairs // n_rows))
    turns = torch.arange(n_each * n_rows, device=points.device) % n_pairs
    return points[turns.view(n_rows, n_each).T]
