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
        return divergence_advice(training.lr, own_scales=training.own_scales)
    m = measured
    if verdict == UNTRAINED and not is_collapsed(
        m.active_units, m.rate, m.shuffle_loss
    ):
        return f"{_worse(m)}: {_too_few(training)}."
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
        advice = f"{lead}{_low_rate(m)}: {_train_well(training)}."
    return advice + _about_beta(measured, training)


def what_was_kept(best_epoch: int, n_epochs: int, start: str) -> str:
    """Which weights a fit with early stopping left, in a line.

    ``start`` is what competed as epoch 0.
    """
    if best_epoch > 0:
        return f"epoch {best_epoch} of {n_epochs} was kept"
    return f"{start} was kept: no epoch was better on the held-out rows"


def divergence_advice(lr: float, *, own_scales: bool = False) -> str:
    """What to do about a training that went off.

    Features with scales of their own are none that a scaler would help.
    """
    scaler = "; or put a StandardScaler in front if features are on very different "
    return (
        "Training diverged: it ended farther from the rows than their mean is. "
        f"{_lower_lr(lr).capitalize()}, and keep gradient_clip_val"
        f"{'' if own_scales else scaler + 'scales'}."
    )


def collapse_advice(verdict: str, training: Training) -> str:
    """What to do about silent codes, after ``judge_collapse``."""
    silent = "The codes say nothing about the rows"
    remedy = 'warm up (kld_schedule="linear")'
    if training.free_nats == 0.0:
        remedy += " or grant free_bits (0.1 nats per unit)"
    first = training.first_weight
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
    lower = f"lower kld_weight from {training.kld_weight:.2g}"
    if training.fitted:
        lower = f"lower beta from {training.beta:.2g}"
    if training.allows_units:
        allowed = ", though a linear model would have active units at this weight"
        silent += "" if first == math.inf else allowed
        if training.lr > HIGH_LR:
            return f"{silent}: {_train_well(training)}."
        return f"{silent}: {remedy}, {_longer(training)}, or {lower}."
    if first == math.inf:
        one = "1" if training.fitted else f"{training.balanced_weight:.2g} (beta = 1)"
        return (
            f"{silent}: {lower} towards {one}. If units stay inactive all the same, "
            f"{remedy}."
        )
    if training.fitted:
        first /= training.balanced_weight
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
    # A noise of each feature's own is in the nats that the weight is relative to.
    fit = "" if training.own_scales else " at the noise of this fit"
    return (
        f"{plain} Raise kld_weight from {weight:.2g} towards "
        f"{measured.balanced_weight:.2g}, which is beta = 1{fit}, or use "
        'kld_weight="auto".'
    )


def _worse(measured: Measured) -> str:
    return f"The ELBO is {-measured.gain:.3g} nats below that of {measured.baseline}"


def _below_linear(measured: Measured, training: Training) -> str:
    """Which of weight, steps and learning rate keeps a fit below its baseline."""
    m, worse = measured, _worse(measured)
    off_balance = not 1.0 / FAR_BETA <= m.beta <= FAR_BETA
    # Where no theory says what rate to expect, the comparison does not hold.
    if off_balance and not m.rate < UNTRAINED_RATE * m.expected_rate:
        about = _about_beta(measured, training)
        return f"{worse}, by the weight:{about}"
    if training.lr > HIGH_LR:
        return f"{worse}, by the learning rate: {_train_well(training)}."
    if training.travel < ENOUGH_TRAVEL:
        return f"{worse}: {_too_few(training)}."
    cures = ["make the network smaller (hidden_dims, dropout_rate)"]
    if not training.held_out:
        cures.insert(0, "keep the epoch that is best on held-out rows (early_stopping)")
    if training.linear_start:
        cures.insert(0, _start(training))
    return f"{worse}, and more training will not mend that: {', or '.join(cures)}."


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
    return f"train for longer ({epochs}){higher}{_or_start(training)}"


def _train_well(training: Training) -> str:
    """Smaller steps, where they were too large, and else more of them."""
    if training.lr > HIGH_LR:
        return _lower_lr(training.lr) + _or_start(training)
    return _longer(training)


def _start(training: Training) -> str:
    return f'start as {training.linear_start} (linear_path="pca")'


def _or_start(training: Training) -> str:
    return f", or {_start(training)}" if training.linear_start else ""


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
