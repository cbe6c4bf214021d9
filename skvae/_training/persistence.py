"""A fitted net as plain data, and back: what an estimator's pickle holds.

Dictionaries, numbers, strings and NumPy arrays. Nothing in them runs code when it is
read, and the net is built anew from them.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from .._likelihoods.registry import likelihood_named
from .._utils.device import device_or_cpu
from .._utils.warn import warn_user
from .callbacks import instances
from .fitted import Fitted
from .net import EpochNet, build_net
from .skorch_parts import Callback, DeviceWarning, History
from .state import FittedState, Record, to_array, to_tensor

# Of the layout of what is written; a change that old data cannot follow raises it.
FORMAT = 2
_OPTIONS = (
    "lr",
    "optimizer__weight_decay",
    "batch_size",
    "gradient_clip_val",
    "precision",
    "verbose",
    "device",
)


def packed(fit: Fitted, callbacks: Any) -> dict[str, Any]:
    """A fitted net and its state as plain data, arrays of their own.

    ``callbacks`` are the estimator's, which it keeps itself: of today, where the net
    has those of the last call.
    """
    net, state = fit
    own = {id(callback) for callback in instances(net.callbacks)}
    criterion = net.get_params_for("criterion")
    options = net.get_params(deep=True)
    return {
        "format": FORMAT,
        "likelihood": {"name": state.likelihood.name, **state.likelihood.params},
        "network": _without(net.get_params_for("module"), "seed"),
        "criterion": _without(criterion, "likelihood"),
        "options": {name: options[name] for name in _OPTIONS},
        "history": [plain(row) for row in net.history],
        "n_steps": int(net.n_steps_),
        "has_callbacks": list(net.callbacks) == _listed(callbacks),
        "notes": {name: _notes(cb) for name, cb in net.callbacks_ if id(cb) not in own},
        "record": state.record._asdict(),
        "frozen": [n for n, p in state.named_parameters() if not p.requires_grad],
        "state": state.arrays(),
        "param_groups": plain(net.optimizer_.state_dict()["param_groups"]),
        "moments": moments_of(net),
    }


def unpacked(
    data: dict[str, Any],
    strategy: Any,
    callbacks: Any,
) -> Fitted:
    """The net and the state that were packed, on a device that is here.

    Raises
    ------
    ValueError
        If a version of skvae wrote them that has another format.
    """
    if data.get("format") != FORMAT:
        raise ValueError(
            f"Another version of skvae wrote this model, in the format "
            f"{data.get('format')!r} where this one reads {FORMAT}: fit it anew, or "
            "use that version."
        )
    network = {**data["network"], "hidden_dims": tuple(data["network"]["hidden_dims"])}
    device = device_or_cpu(data["options"]["device"])
    if device != data["options"]["device"]:
        warn_user(
            f"This model was fitted on {data['options']['device']!r}, which is not "
            "available here: it is on the CPU now.",
            DeviceWarning,
        )
    options = {**data["options"], "device": device}
    params = dict(data["likelihood"])
    given = likelihood_named(params.pop("name"))(**params)
    net = build_net(
        network=strategy.network,
        # The weights are there: none have to be drawn.
        network_params={**network, "seed": None},
        criterion=strategy.criterion_of(data["criterion"]),
        criterion_params={**data["criterion"], "likelihood": given},
        options={**options, "callbacks": []},
    )
    if data["has_callbacks"]:  # otherwise the next call begins those of then
        net.take_callbacks(_listed(callbacks))
    for name, callback in net.callbacks_:
        vars(callback).update(data["notes"].get(name, {}))
    state = FittedState(net.module_, net.criterion_)
    state.load_arrays(data["state"])
    state.record = Record(**data["record"])
    for name in data["frozen"]:
        state.get_parameter(name).requires_grad_(False)
    net.n_steps_ = data["n_steps"]
    net.history_ = History(plain(row) for row in data["history"])
    load_optimizer(net, data["moments"], data["param_groups"])
    net.module_.eval()
    return Fitted(net, state)


def _listed(callbacks: Any) -> list:
    """A ``callbacks`` parameter, which nobody has checked since it was set."""
    return list(callbacks) if isinstance(callbacks, list | tuple) else []


def _without(params: dict, name: str) -> dict:
    return {key: value for key, value in params.items() if key != name}


def _notes(callback: Callback) -> dict[str, Any]:
    """Numbers that a callback of skorch's has noted, such as the best score so far."""
    notes = {name: plain(value) for name, value in vars(callback).items()}
    return {
        name: value
        for name, value in notes.items()
        if name.endswith("_") and isinstance(value, bool | int | float)
    }


def moments_of(net: EpochNet) -> dict[str, np.ndarray]:
    """What the optimiser has learnt, by the number of the parameter and its name."""
    of_parameters = net.optimizer_.state_dict()["state"]
    return {
        f"{number}.{name}": to_array(value)
        for number, state in of_parameters.items()
        for name, value in state.items()
    }


def load_optimizer(
    net: EpochNet, moments: dict[str, np.ndarray], groups: list[dict]
) -> None:
    """Give the optimiser what it had learnt."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in moments.items():
        number, name = key.split(".")
        state.setdefault(int(number), {})[name] = to_tensor(value)
    net.optimizer_.load_state_dict({"state": state, "param_groups": plain(groups)})


def plain(value: Any) -> Any:
    """A copy with Python's numbers in place of NumPy's."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value


def check_sizes(data: dict[str, Any], strategy: Any) -> None:
    """Refuse packed data whose network is another than its arrays are of.

    Before any memory is taken for it: a file may declare what no machine holds.

    Raises
    ------
    ValueError
        If a layer has no weights of its shape and precision here.
    """
    arrays = data["state"]
    n_entries = sum(array.size for array in arrays.values())
    network = dict(data["network"])
    hidden = list(network.pop("hidden_dims"))
    likelihood = {k: v for k, v in data["likelihood"].items() if k != "name"}
    declared = [network, likelihood, hidden, len(hidden)]
    if not all(0 <= size <= n_entries for size in _integers(declared)):
        raise ValueError("it declares layers that it has no weights for")
    if network["n_features"] != likelihood["n_features"]:
        raise ValueError("it contradicts itself about its columns")
    if min(network["n_features"], network["n_inputs"], network["n_outputs"]) < 1:
        raise ValueError("it has no columns")
    n_units = int(arrays["host.n_linear_units"])
    of_linear = sum(a.size for k, a in arrays.items() if k.startswith("linear_model."))
    if n_units * network["n_features"] > of_linear:
        raise ValueError("it declares a linear model that it has no weights for")
    with torch.device("meta"):
        empty = strategy.network(**network, hidden_dims=tuple(hidden), seed=None)
    for name, tensor in empty.state_dict().items():
        array = arrays.get(f"network.{name}")
        if array is None or array.shape != tuple(tensor.shape):
            found = None if array is None else array.shape
            raise ValueError(f"{name} is {tuple(tensor.shape)}, and there is {found}")
        if str(array.dtype) != str(tensor.dtype).removeprefix("torch."):
            raise ValueError(f"{name} is of {array.dtype}")


def _integers(value: Any) -> Iterator[int]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            yield from _integers(part)
    elif isinstance(value, int):
        yield value
