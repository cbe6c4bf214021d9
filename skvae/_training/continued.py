"""Training that goes on, and what a parameter that was changed in between means."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from .checkpoint import Checkpoint
from .fitted import Fitted
from .net import EpochNet, net_options
from .parameters import APPLIED, REFUSED, SHARED, UNUSED
from .settings import Settings

#: What ``partial_fit`` makes of every parameter of the estimators.
PARTIAL_FIT = {
    **{name: parameter.partial_fit for name, parameter in SHARED.items()},
    "kld_weight": APPLIED,
    "beta": APPLIED,
    "background_weight": APPLIED,
    "free_bits": APPLIED,
    "n_importance_samples": APPLIED,
    "whiten": APPLIED,
    "likelihood": REFUSED,
    "column_likelihoods": UNUSED,
    "balance": UNUSED,
    "max_categories": UNUSED,
    "missing_values": REFUSED,
    "size_factor": REFUSED,
    "encode_conditions": REFUSED,
    "code_penalty": APPLIED,
    "reg_weight": APPLIED,
    "decoder_penalty": APPLIED,
    "decoder_penalty_weight": APPLIED,
    "density_components": APPLIED,
    # of fit's schedules
    "kld_schedule": UNUSED,
    "kld_warmup": UNUSED,
}

# Of the first fit for good.
_FIXED = ("random_state", "column_likelihoods", "balance", "max_categories")

#: What a warm-started ``fit`` makes of them: a net of its own has the schedules, too.
WARM_START = {
    name: APPLIED if meaning == UNUSED and name not in _FIXED else meaning
    for name, meaning in PARTIAL_FIT.items()
}


def check_same_architecture(fit: Fitted, settings: Settings) -> None:
    """Refuse to go on with another architecture.

    Raises
    ------
    ValueError
        If a parameter that decides on it has changed.
    """
    net, state = fit
    fitted = net.get_params_for("module")
    changed = [n for n, value in settings.network.items() if fitted[n] != value]
    if type(net.criterion_.likelihood) is not settings.likelihood:
        changed.append("likelihood")
    elif settings.marginalizes != (state.gaps is not None):
        changed.append("missing_values")
    if changed:
        raise ValueError(
            f"{', '.join(changed)} changed since the last fit, and training cannot go "
            "on with another architecture; clone the estimator, or fit with "
            "warm_start=False."
        )


@contextmanager
def going_on(fit: Fitted, settings: Settings) -> Iterator[None]:
    """Train a net on with the parameters of today; as it was if that fails."""
    net, state = fit.net, fit.state
    parts = Checkpoint(state, net.optimizer_)
    attributes = {name: getattr(net, name) for name in _REPLACED}
    record, n_epochs = state.record, len(net.history)
    try:
        _update(net, settings)
        _take_criterion(fit, settings)
        settings.strategy.update_hyperparameters(net.module_, net.criterion_)
        yield
    except BaseException:
        _move(net, attributes["device"])
        for name, value in attributes.items():
            setattr(net, name, value)
        state.criterion = net.criterion_
        parts.restore()
        state.record = record
        del net.history[n_epochs:]
        raise


# Attributes of a net that an update puts others in the place of.
_REPLACED = ("device", "optimizer_", "callbacks", "callbacks_", "criterion_")


def _update(net: EpochNet, settings: Settings) -> None:
    """Give a net the parameters of today.

    The learning rate, above all: a schedule of the last fit has run it down to 0.
    """
    options = net_options(settings)
    _move(net, options.pop("device"))
    callbacks = options.pop("callbacks")
    if list(net.callbacks) != callbacks:
        net.callbacks = callbacks
        net.initialize_callbacks()
    net.set_params(**options)


def _take_criterion(fit: Fitted, settings: Settings) -> None:
    """Give a net the criterion of today, where it is of another kind.

    With the same likelihood: its parameters are what the optimiser works on.
    """
    net, state = fit.net, fit.state
    params = settings.strategy.criterion_params(state.likelihood)
    kind = settings.strategy.criterion_of(params)
    if type(net.criterion_) is kind:
        return
    criterion = kind(likelihood=state.likelihood, **params)
    criterion.load_state_dict(net.criterion_.state_dict())
    net.criterion_ = state.criterion = criterion.to(torch.device(net.device))


def _move(net: Any, device: str) -> None:
    """Move a net, with what its optimiser has learnt, to another device."""
    if device == net.device:
        return
    learnt = net.optimizer_.state_dict()
    for part in (net.module_, net.criterion_):
        part.to(torch.device(device))
    net.device = device
    net.initialize_optimizer()
    net.optimizer_.load_state_dict(learnt)
