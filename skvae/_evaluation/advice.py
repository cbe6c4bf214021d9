"""What to change after a verdict, by the names of the parameters. Pure functions."""

import math

from .verdicts import (
    BELOW_LINEAR,
    COLLAPSED,
    DIVERGED,
    ENOUGH_TRAVEL,
    FAR_BETA,
    HEALTHY,
    NEARLY_DETERMINISTIC,
    TOO_FEW_UNITS,
    TOO_LITTLE_BETA,
    TOO_MANY_UNITS,
    UNTRAINED,
    UNTRAINED_RATE,
    Measured,
    Training,
    is_collapsed,
)

# Learning rates above it are unusual for AdamW.
HIGH_LR = 0.01
DEFAULT_LR = 2e-3


def advise(verdict: str, measured: Measured, training: Training) -> str:
    """What to change after a verdict."""
    if verdict == DIVERGED:
        return divergence_advice(training.lr)
    m = measured
    if verdict == UNTRAINED and not is_collapsed(
        m.active_units, m.rate, m.shuffle_loss
    ):
        of_linear = m.baseline.removeprefix("probabilistic ")
        return (
            f"The ELBO is {-m.gain:.3g} nats below {of_linear}'s: {_too_few(training)}."
        )
    if verdict in (COLLAPSED, UNTRAINED):
        return collapse_advice(verdict, training)
    if verdict == NEARLY_DETERMINISTIC:
        return _nearly_deterministic(measured, training)
    if verdict == BELOW_LINEAR:
        return _below_linear(measured, training)
    if verdict == TOO_FEW_UNITS:
        advice = (
            f"All units are active, and the weakest carries {m.weakest_kl:.2g} nats. "
            f"Raise latent_dim from {m.latent_dim}, to {2 * m.latent_dim} say, as long "
            "as the ELBO of held-out rows rises."
        )
    elif verdict == TOO_MANY_UNITS:
        advice = (
            f"Only {m.active_units} of {m.latent_dim} units are active. Lower "
            f"latent_dim to {m.active_units + 1} or so: the others cost time and say "
            "nothing."
        )
    else:
        advice = "Nothing has to change."
    if m.rate < UNTRAINED_RATE * m.expected_rate and verdict != TOO_FEW_UNITS:
        lead = "" if verdict == HEALTHY else f"{advice} But first: "
        advice = f"{lead}{_low_rate(m)}: {_longer(training)}."
    return advice + _about_beta(measured, training)


def what_was_kept(
    best_epoch: int, n_epochs: int, *, linear_path: bool, goes_on: bool = False
) -> str:
    """Which weights a fit with early stopping left, in a line."""
    if best_epoch > 0:
        return f"epoch {best_epoch} of {n_epochs} was kept"
    start = "PCA" if linear_path else "the untrained network"
    start = "the last fit" if goes_on else start
    return f"{start} was kept: no epoch was better on the held-out rows"


def divergence_advice(lr: float) -> str:
    """What to do about a training that went off."""
    return (
        "Training diverged: it ended farther from the rows than their mean is. "
        f"{_lower_lr(lr).capitalize()}, and keep gradient_clip_val; or put a "
        "StandardScaler in front if features are on very different scales."
    )


def collapse_advice(verdict: str, training: Training) -> str:
    """What to do about silent codes, after ``judge_collapse``."""
    silent = "The codes say nothing about the rows"
    remedy = 'warm up (kld_schedule="linear")'
    if training.free_nats == 0.0:
        remedy += " or grant free_bits (0.1 nats per unit)"
    weight, first = training.kld_weight, training.first_weight
    if training.free_nats > 0.0:
        silent = "The codes say no more about the rows than free_bits grant"
    if first == 0.0:
        return f"{silent}, which are all the same."
    if verdict == UNTRAINED:
        other = "" if first == math.inf else ", though a linear model's would"
        return (
            f"{silent} yet{other}: {_too_few(training)}. Lowering kld_weight would not "
            "help."
        )
    lower = f"lower kld_weight from {weight:.2g}"
    if training.fitted:
        lower = f"set kld_weight to a number below {weight:.2g}"
    if training.beta > 1.0:
        lower = f"lower beta from {training.beta:.2g}"
    if first == math.inf:  # a likelihood without linear theory
        return f"{silent}: {remedy}, {_longer(training)}, or {lower}."
    if training.far_below_threshold and training.lr > HIGH_LR:
        return (
            f"{silent}, though a linear model would have active units at this weight: "
            f'{_lower_lr(training.lr)}, or start as PCA (linear_path="pca").'
        )
    if training.far_below_threshold:
        return (
            f"{silent}, though a linear model would have active units at this weight: "
            f"{remedy}, {_longer(training)}, or {lower}."
        )
    return (
        f"{silent}: {lower}. A linear model of these rows has its first active unit at "
        f"{first:.2g}, and more the lower it is. If units stay inactive all the same, "
        f"{remedy}."
    )


def _nearly_deterministic(measured: Measured, training: Training) -> str:
    weight = training.kld_weight
    if measured.beta >= TOO_LITTLE_BETA:
        return (
            "The model reproduces rows up to rounding, which leaves the likelihood "
            f"without an upper bound. Lower latent_dim from {measured.latent_dim} to "
            f"below the rank of X, or raise kld_weight from {weight:.2g} to a number "
            "that stands for the noise of the measurement."
        )
    plain = f"The model is an almost plain autoencoder: beta is {measured.beta:.2g}."
    if training.fitted:
        return f"{plain} Raise beta towards 1, which is maximum likelihood."
    return (
        f"{plain} Raise kld_weight from {weight:.2g} towards "
        f"{measured.balanced_weight:.2g}, which is beta = 1 at the noise of this fit, "
        'or use kld_weight="auto".'
    )


def _below_linear(measured: Measured, training: Training) -> str:
    """Which of weight, steps and learning rate keeps a fit below PCA."""
    m = measured
    worse = f"The ELBO is {-m.gain:.3g} nats below that of {m.baseline}"
    off_balance = not 1.0 / FAR_BETA <= m.beta <= FAR_BETA
    if off_balance and m.rate >= UNTRAINED_RATE * m.expected_rate:
        about = _about_beta(measured, training)
        return f"{worse}, by the weight:{about}"
    if training.lr > HIGH_LR:
        return (
            f"{worse}, by the learning rate: {_lower_lr(training.lr)}, or start as PCA "
            '(linear_path="pca").'
        )
    if training.travel < ENOUGH_TRAVEL:
        return f"{worse}: {_too_few(training)}."
    return (
        f'{worse}, and more training will not mend that: start as PCA (linear_path="pca'
        '"), or make the network smaller (hidden_dims, dropout_rate).'
    )


def _low_rate(measured: Measured) -> str:
    return (
        f"The rate is {measured.rate:.2g} nats, where a linear model of these rows has "
        f"{measured.expected_rate:.2g} at this weight"
    )


def _lower_lr(lr: float) -> str:
    """To the default from far above it, and by steps from near it."""
    target = f"the default, {DEFAULT_LR:g}," if lr > HIGH_LR else "a tenth"
    return f"lower lr from {lr:.2g} to {target} say"


def _too_few(training: Training) -> str:
    return (
        f"{training.n_steps} steps at lr={training.lr:.2g} are too few: "
        f"{_longer(training)}"
    )


def _longer(training: Training) -> str:
    """More steps, and larger ones; as early stopping, if it was that, allows."""
    epochs = "n_iter_no_change" if training.stopped_early else "max_epochs"
    higher = ", with a higher lr" if training.lr < HIGH_LR else ""
    longer = f"train for longer ({epochs}){higher}"
    if training.first_weight == math.inf:
        return longer
    return f'{longer}, or start as PCA (linear_path="pca")'


def _about_beta(measured: Measured, training: Training) -> str:
    """A sentence, where the weight is far from maximum likelihood's."""
    beta = measured.beta
    if 1.0 / FAR_BETA <= beta <= FAR_BETA:
        return ""
    verb = "lower" if beta > 1.0 else "raise"
    if training.fitted:
        return f" beta is {beta:.2g}: for maximum likelihood, {verb} it to 1."
    return (
        f" beta is {beta:.2g}: for maximum likelihood, {verb} kld_weight from "
        f"{training.kld_weight:.2g} towards {measured.balanced_weight:.2g}, or use "
        'kld_weight="auto".'
    )
