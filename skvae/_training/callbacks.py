"""The ``callbacks`` parameter: skorch's callbacks, by the names that skorch gives them.

An item is a callback, its class, or a pair of a name and one of these; ``None`` in a
pair switches it off. Without a name it has that of its class, with ``_1``, ``_2``, ...
behind it where a class is there more than once. So ``callbacks__NAME`` and
``callbacks__NAME__PARAM`` are parameters of an estimator as they are of a skorch net.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

from sklearn.base import BaseEstimator

from .._utils.sklearn_callbacks import is_callback
from .skorch_parts import Callback

PREFIX = "callbacks__"


def _pair(item) -> tuple[str | None, Any]:
    named = isinstance(item, tuple | list) and len(item) == 2
    if named and isinstance(item[0], str):
        return item[0], item[1]
    return None, item


def instances(callbacks: Sequence) -> list[Callback]:
    """The callbacks that are there as such, not as classes or None."""
    items = [_pair(item)[1] for item in callbacks]
    return [item for item in items if isinstance(item, Callback)]


def _names(callbacks: Sequence) -> list[str]:
    pairs = [_pair(item) for item in callbacks]
    own = [
        name or (cb if isinstance(cb, type) else type(cb)).__name__
        for name, cb in pairs
    ]
    count, seen = Counter(own), Counter[str]()
    names = []
    for (name, _), plain in zip(pairs, own, strict=True):
        seen[plain] += 1
        unique = name is not None or count[plain] == 1
        names.append(plain if unique else f"{plain}_{seen[plain]}")
    return names


def checked_callbacks(callbacks: Sequence | None) -> list:
    """Callbacks as skorch takes them.

    Raises
    ------
    ValueError
        If one is no callback of skorch's.
    """
    for item in callbacks or ():
        name, callback = _pair(item)
        if name is not None and callback is None:
            continue
        kind = callback if isinstance(callback, type) else type(callback)
        if not issubclass(kind, Callback) and is_callback(kind):
            raise ValueError(
                f"callbacks holds {item!r}, which is a callback of scikit-learn's: "
                "callbacks= takes skorch's. Call set_callbacks(...) of the estimator, "
                "or of the pipeline or search that it is in."
            )
        if not issubclass(kind, Callback):
            raise ValueError(
                f"callbacks holds {item!r}, which is no skorch.callbacks.Callback."
            )
    return list(callbacks or ())


def callback_params(callbacks: Sequence | None) -> dict[str, Any]:
    """``callbacks__NAME`` and ``callbacks__NAME__PARAM`` of every callback."""
    params: dict[str, Any] = {}
    if not isinstance(callbacks, list | tuple):  # None, or what fit will refuse
        return params
    for name, item in zip(_names(callbacks), callbacks, strict=True):
        _, callback = _pair(item)
        params[PREFIX + name] = callback
        if isinstance(callback, Callback):
            for key, value in callback.get_params().items():
                params[f"{PREFIX}{name}__{key}"] = value
    return params


def set_callback_params(callbacks: Sequence | None, params: dict[str, Any]) -> list:
    """The list with callbacks replaced, and parameters of callbacks set in place.

    ``params`` are keyed by what stands behind ``callbacks__``.

    Raises
    ------
    ValueError
        If there is no callback of that name, or it has no such parameter.
    """
    changed, names = list(callbacks or ()), _names(callbacks or ())
    of_name: dict[str, dict[str, Any]] = {}
    for key, value in params.items():
        name, _, param = key.partition("__")
        if name not in names:
            known = ", ".join(names) or "none"
            raise ValueError(f"There is no callback {name!r}; there are: {known}.")
        of_name.setdefault(name, {})[param] = value
    for name, values in of_name.items():
        at = names.index(name)
        # A callback first, then what is set on it.
        if "" in values:
            changed[at] = (name, values.pop(""))
        if not values:
            continue
        _, callback = _pair(changed[at])
        if callback is None:
            raise ValueError(
                f"callbacks__{name}__{next(iter(values))} cannot be set: the callback "
                "is switched off."
            )
        if isinstance(callback, type):  # skorch would make one of them
            changed[at] = (name, callback(**values))
        else:
            callback.set_params(**values)
    return changed


class CallbackParams(BaseEstimator):
    """An estimator whose parameters include those of its ``callbacks``."""

    callbacks: Sequence[Any] | None

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters, with those of the callbacks.

        Parameters
        ----------
        deep : bool, default=True
            Whether to give ``callbacks__NAME`` and ``callbacks__NAME__PARAM``, too:
            every callback by the name that skorch gives it, and its parameters.

        Returns
        -------
        params : dict
        """
        params = super().get_params(deep=False)
        return {**params, **callback_params(params["callbacks"])} if deep else params

    def set_params(self, **params: Any) -> Self:
        """Set parameters, those of callbacks as ``callbacks__NAME__PARAM``.

        Parameters
        ----------
        **params : dict
            ``callbacks__NAME`` replaces a callback, and None switches it off.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If there is no such parameter or callback.
        """
        own = {k: v for k, v in params.items() if not k.startswith(PREFIX)}
        super().set_params(**own)
        of_callbacks = {
            key.removeprefix(PREFIX): value
            for key, value in params.items()
            if key.startswith(PREFIX)
        }
        if of_callbacks:
            callbacks = getattr(self, "callbacks", None)
            self.callbacks = set_callback_params(callbacks, of_callbacks)
        return self
