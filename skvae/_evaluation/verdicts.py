"""The rules: numbers of a fit -> a verdict, and what to change.

Pure functions, so that ``fit`` and ``diagnose`` judge alike. Weights are values of
``kld_weight``, in squared units of X per nat.
"""

import math
from typing import NamedTuple

DIVERGED = "diverged"
COLLAPSED = "collapsed"
UNTRAINED = "untrained"
NEARLY_DETERMINISTIC = "nearly deterministic"
BELOW_LINEAR = "worse than linear"
TOO_FEW_UNITS = "too few units"
TOO_MANY_UNITS = "too many units"
HEALTHY = "healthy"
VERDICTS = (
    DIVERGED,
    COLLAPSED,
    UNTRAINED,
    NEARLY_DETERMINISTIC,
    BELOW_LINEAR,
    TOO_FEW_UNITS,
    TOO_MANY_UNITS,
    HEALTHY,
)

# Burda et al. (2016): a unit is active if its posterior mean varies over rows.
ACTIVE_VARIANCE = 0.01
# Nats per row; less is what a code can be worth by chance.
USELESS_CODES = 0.1
# Share of the rate that exchanged codes must cost, at least: less than they are paid
# for means that they are random numbers, as those of an untrained network are.
WORTH_OF_RATE = 0.1
# Share of a linear model's rate; with less, training is not done.
UNTRAINED_RATE = 0.5
# How far a weight can have moved: Adam moves none by more than lr in a step. Initial
# weights are about that large, so with less a network is nearly what it was.
LITTLE_TRAVEL = 0.1
# The same, beyond which a network that is still worse than PCA needs no more steps.
ENOUGH_TRAVEL = 5.0
# A weight at half of where a linear model has its first active unit is near it: what a
# unit would carry there is little.
NEAR_THRESHOLD = 0.5
# A tenth of maximum likelihood's weight: posteriors are then so narrow that the KL has
# about one more nat for every active unit than the data justify.
TOO_LITTLE_BETA = 0.1
# A factor from 1, either way, that the advice mentions.
FAR_BETA = 1.5
# Share of the variance of X; less is rounding in float32.
NO_NOISE = 1e-6
# Nats of the weakest unit: in a linear model its eigenvalue is e times the noise. With
# 2 to 20 units on seven tables of benchmarks/defaults.py, 15 of the 18 models above it
# gained on held-out rows when their units were doubled.
SATURATED = 0.5
# Share of the units that must be active.
ENOUGH_ACTIVE = 0.5
# Nats per row below the linear model's ELBO, and standard errors of that difference,
# from which on a fit is worse.
CLEARLY_WORSE = 1.0
STANDARD_ERRORS = 2.0


class Training(NamedTuple):
    """What a fit was trained with, and how it ended.

    ``first_weight`` is the one below which a linear model of the rows has an active
    unit, 0 if they are all the same, infinite where no theory says; ``fitted`` says
    that the weight follows that of maximum likelihood, and ``beta`` is the weight over
    it; ``free_nats`` are those of the KL that cost nothing. ``held_out`` says that an
    epoch was chosen by held-out rows, ``own_scales`` that every feature has a noise of
    its own; ``linear_start`` names the linear model that training could begin at and
    did not.
    """

    kld_weight: float
    first_weight: float
    lr: float
    n_steps: int
    fitted: bool = False
    beta: float = 1.0
    stopped_early: bool = False
    diverged: bool = False
    free_nats: float = 0.0
    held_out: bool = True
    own_scales: bool = False
    linear_start: str = ""

    @property
    def travel(self) -> float:
        """The most that a weight can have moved by."""
        return self.lr * self.n_steps

    @property
    def far_below_threshold(self) -> bool:
        """Whether a linear model clearly has active units at this weight."""
        return self.kld_weight < NEAR_THRESHOLD * self.first_weight

    @property
    def balanced_weight(self) -> float:
        """The weight that is maximum likelihood: beta = 1."""
        return self.kld_weight / self.beta

    @property
    def allows_units(self) -> bool:
        """Whether the weight is not what silences codes.

        Without theory, no more than maximum likelihood's is taken to allow them.
        """
        if self.first_weight == math.inf:
            return self.beta <= FAR_BETA
        return self.far_below_threshold


class Measured(NamedTuple):
    """What a fitted model does with rows; nats per row.

    ``noise_share`` is the noise variance over the mean variance of the features,
    ``weakest_kl`` the least KL of a unit, ``gain`` the ELBO beyond a linear model's and
    ``gain_error`` its standard error (NaN where there is no linear model);
    ``baseline`` the name of that model, ``balanced_weight`` the weight that is beta = 1
    at the noise variance of today.
    """

    active_units: int
    latent_dim: int
    n_features: int
    shuffle_loss: float
    rate: float
    expected_rate: float
    beta: float
    noise_share: float
    weakest_kl: float
    balanced_weight: float
    gain: float
    gain_error: float
    baseline: str = "probabilistic PCA"


def is_collapsed(
    active_units: int,
    rate: float = 0.0,
    shuffle_loss: float | None = None,
    free_nats: float = 0.0,
    expected_active_units: int | None = None,
) -> bool:
    """Whether the codes say nothing about the rows.

    Parameters
    ----------
    active_units : int
    rate : float, optional
        Nats per row that the codes cost.
    shuffle_loss : float, optional
        Nats per row that the ELBO falls by when rows exchange their codes.
    free_nats : float, optional
        Nats per row that the codes may cost for nothing (free bits).
    expected_active_units : int, optional
        Those of a linear model at the same weight.
    """
    least = max(USELESS_CODES, WORTH_OF_RATE * rate)
    useless = shuffle_loss is not None and shuffle_loss < least
    # Free bits keep units from the prior, and by no more than they grant.
    granted = expected_active_units == 0 and rate <= 1.5 * free_nats
    return active_units == 0 or useless or granted


def judge_collapse(training: Training) -> str:
    """What silent codes come from: the weight, or too little training."""
    if training.diverged:
        return DIVERGED
    # Where the weight forbids units, more training would bring none; one that is fitted
    # falls with the noise, where theory knows of a noise.
    falls = training.fitted and training.first_weight < math.inf
    allowed = falls or training.allows_units
    if training.first_weight == 0.0:  # rows that are all the same
        return COLLAPSED
    return UNTRAINED if training.travel < LITTLE_TRAVEL and allowed else COLLAPSED


def judge(
    measured: Measured, training: Training, expected_active_units: int | None = None
) -> str:
    """The verdict, one of ``VERDICTS``."""
    if training.diverged:
        return DIVERGED
    m = measured
    silent = is_collapsed(
        m.active_units,
        m.rate,
        m.shuffle_loss,
        training.free_nats,
        expected_active_units,
    )
    if silent:
        return judge_collapse(training)
    worse = m.gain < -max(CLEARLY_WORSE, STANDARD_ERRORS * m.gain_error)
    if worse and training.travel < LITTLE_TRAVEL:
        return UNTRAINED
    if m.beta < TOO_LITTLE_BETA or m.noise_share < NO_NOISE:
        return NEARLY_DETERMINISTIC
    if worse:
        return BELOW_LINEAR
    # As many units as features can hold the rows as they are.
    room = m.latent_dim < m.n_features
    # In a linear model, what the unit would carry at beta = 1: a small weight gives all
    # units more to say than the data do.
    carried = m.weakest_kl + 0.5 * math.log(min(m.beta, 1.0))
    if m.active_units == m.latent_dim and carried > SATURATED and room:
        return TOO_FEW_UNITS
    if m.active_units < ENOUGH_ACTIVE * m.latent_dim:
        return TOO_MANY_UNITS
    return HEALTHY


def guide_verdict(rate: float) -> str:
    """What fixed bounds on the KL, in nats per row, say whatever the data are."""
    if rate < 1.0:
        return COLLAPSED
    if rate < 10.0:
        return f"between {COLLAPSED} and {HEALTHY}"
    if rate <= 100.0:
        return HEALTHY
    if rate <= 500.0:
        return f"between {HEALTHY} and {NEARLY_DETERMINISTIC}"
    return NEARLY_DETERMINISTIC
