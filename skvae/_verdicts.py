"""The rules: numbers of a fit -> a verdict, and what to change.

Pure functions, so that ``fit`` and ``diagnose`` judge alike. Weights are values of
``kld_weight``, in squared units of X per nat.
"""

import math

COLLAPSED = "collapsed"
NEARLY_DETERMINISTIC = "nearly deterministic"
STARVED = "starved"
OVER_WIDE = "over-wide"
HEALTHY = "healthy"
VERDICTS = (COLLAPSED, NEARLY_DETERMINISTIC, STARVED, OVER_WIDE, HEALTHY)

# Burda et al. (2016): a unit is active if its posterior mean varies over rows.
ACTIVE_VARIANCE = 0.01
# Nats per row; less is what a code can be worth by chance.
USELESS_CODES = 0.1
# Share of the rate that exchanged codes must cost, at least: less than they are paid
# for means that they are random numbers, as those of an untrained network are.
WORTH_OF_RATE = 0.1
# Share of a linear model's rate; with less, training is not done.
UNTRAINED = 0.5
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


def is_collapsed(
    active_units: int, shuffle_loss: float | None = None, rate: float = 0.0
) -> bool:
    """Whether the codes say nothing about the rows.

    Parameters
    ----------
    active_units : int
    shuffle_loss : float, optional
        Nats per row that the ELBO falls by when rows exchange their codes.
    rate : float, optional
        Nats per row that the codes cost.
    """
    least = max(USELESS_CODES, WORTH_OF_RATE * rate)
    useless = shuffle_loss is not None and shuffle_loss < least
    return active_units == 0 or useless


def judge(
    *,
    active_units: int,
    latent_dim: int,
    n_features: int,
    shuffle_loss: float,
    rate: float,
    beta: float,
    noise_share: float,
    weakest_kl: float,
) -> str:
    """The verdict, one of ``VERDICTS``.

    ``noise_share`` is the noise variance over the mean variance of the features,
    ``weakest_kl`` the least KL of a unit.
    """
    if is_collapsed(active_units, shuffle_loss, rate):
        return COLLAPSED
    if beta < TOO_LITTLE_BETA or noise_share < NO_NOISE:
        return NEARLY_DETERMINISTIC
    # As many units as features can hold the rows as they are.
    room = latent_dim < n_features
    # In a linear model, what the unit would carry at beta = 1: a small weight gives all
    # units more to say than the data do.
    carried = weakest_kl + 0.5 * math.log(min(beta, 1.0))
    if active_units == latent_dim and carried > SATURATED and room:
        return STARVED
    if active_units < ENOUGH_ACTIVE * latent_dim:
        return OVER_WIDE
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


def advise(
    verdict: str,
    *,
    active_units: int,
    latent_dim: int,
    beta: float,
    weakest_kl: float,
    kld_weight: float,
    balanced_weight: float,
    first_weight: float,
    rate: float,
    expected_rate: float,
) -> str:
    """What to change after a verdict, by the names of the parameters.

    ``balanced_weight`` is the weight that is beta = 1 at the noise variance of today,
    ``first_weight`` the one below which a linear model has an active unit.
    """
    if verdict == COLLAPSED:
        return collapse_advice(kld_weight, first_weight)
    if verdict == NEARLY_DETERMINISTIC and beta >= TOO_LITTLE_BETA:
        return (
            "The model reproduces rows up to rounding, which leaves the likelihood "
            f"without an upper bound. Lower latent_dim from {latent_dim} to below the "
            f"rank of X, or raise kld_weight from {kld_weight:.2g} to a number that "
            "stands for the noise of the measurement."
        )
    if verdict == NEARLY_DETERMINISTIC:
        return (
            f"The model is an almost plain autoencoder: beta is {beta:.2g}. Raise "
            f"kld_weight from {kld_weight:.2g} towards {balanced_weight:.2g}, which is "
            'beta = 1 at the noise of this fit, or use kld_weight="auto".'
        )
    if verdict == STARVED:
        advice = (
            f"All units are active, and the weakest carries {weakest_kl:.2g} nats. "
            f"Raise latent_dim from {latent_dim}, to {2 * latent_dim} say, as long as "
            "the ELBO of held-out rows rises."
        )
    elif verdict == OVER_WIDE:
        advice = (
            f"Only {active_units} of {latent_dim} units are active. Lower latent_dim "
            f"to {active_units + 1} or so: the others cost time and say nothing."
        )
    else:
        advice = "Nothing has to change."
    if rate < UNTRAINED * expected_rate and verdict != STARVED:
        lead = "" if verdict == HEALTHY else f"{advice} But first: "
        advice = (
            f"{lead}The rate is {rate:.2g} nats, where a linear model of these rows "
            f"has {expected_rate:.2g} at this weight: train for longer (max_epochs), "
            'with a higher lr, or start as PCA (linear_path="pca").'
        )
    return advice + _about_beta(beta, kld_weight, balanced_weight)


def collapse_advice(kld_weight: float, first_weight: float | None = None) -> str:
    """What to do about a collapsed posterior.

    Parameters
    ----------
    kld_weight : float
    first_weight : float, optional
        The weight below which a linear model of these rows has an active unit.
    """
    silent = "The codes say nothing about the rows"
    remedy = 'warm up (kld_schedule="linear") or grant free_bits (0.1 nats per unit)'
    longer = "train for longer (max_epochs, lr)"
    if first_weight == 0.0:
        return f"{silent}, which are all the same."
    if kld_weight == 0.0:
        return f'{silent}, at no weight: {longer}, or start as PCA (linear_path="pca").'
    lower = f"lower kld_weight from {kld_weight:.2g}"
    if first_weight is None:
        return f"{silent}: {lower}, {remedy}, or {longer}."
    # Near the threshold a unit would carry little: training is not to blame.
    if kld_weight >= 0.5 * first_weight:
        return (
            f"{silent}: {lower}. A linear model of these rows has its first active "
            f"unit at {first_weight:.2g}, and more the lower it is. If units stay idle "
            f"all the same, {remedy}."
        )
    return (
        f"{silent}, though a linear model would have active units at this weight: "
        f'{remedy}, start as PCA (linear_path="pca"), {longer}, or {lower}.'
    )


def _about_beta(beta: float, kld_weight: float, balanced_weight: float) -> str:
    """A sentence, where the weight is far from maximum likelihood's."""
    if 1.0 / FAR_BETA <= beta <= FAR_BETA:
        return ""
    verb = "lower" if beta > 1.0 else "raise"
    return (
        f" beta is {beta:.2g}: for maximum likelihood, {verb} kld_weight from "
        f"{kld_weight:.2g} towards {balanced_weight:.2g}, or use "
        'kld_weight="auto".'
    )
