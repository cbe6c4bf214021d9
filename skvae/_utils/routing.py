"""Conditions of rows, taken to the estimator at the end of pipelines and searches.

Only where scikit-learn's metadata routing is switched on do pipelines and searches take
such things themselves; elsewhere a pipeline's last step is called behind the others.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from sklearn import get_config
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import MetadataRequest
from sklearn.utils.validation import has_fit_parameter

_T = TypeVar("_T", bound=Callable[..., Any])


def requests(*names: str) -> Callable[[_T], _T]:
    """A decorator of scorers that ask searches for these of the rows they score."""

    def decorate(scorer: _T) -> _T:
        def get_metadata_routing() -> MetadataRequest:
            request = MetadataRequest(owner=scorer.__name__)
            for name in names:
                request.score.add_request(param=name, alias=True)
            return request

        scorer.get_metadata_routing = get_metadata_routing  # type: ignore[attr-defined]
        return scorer

    return decorate


def is_search(model) -> bool:
    """Whether this is a search over parameters, fitted or not."""
    return hasattr(model, "refit") and hasattr(model, "estimator")


def last_step(model):
    """The estimator at the end of pipelines and searches, fitted if they are."""
    if is_search(model):
        return last_step(getattr(model, "best_estimator_", model.estimator))
    return last_step(model[-1]) if isinstance(model, Pipeline) else model


def takes_conditions(model) -> bool:
    """Whether the estimator at the end has ``conditions`` in its ``fit``."""
    return has_fit_parameter(last_step(model), "conditions")


def refuse_conditions(model) -> None:
    """Complain about conditions that would not arrive, before any training.

    Raises
    ------
    TypeError
        If the estimator at the end takes none.
    ValueError
        If it is in a search, whose scores would be without them.
    """
    if not takes_conditions(model):
        raise TypeError(f"{type(last_step(model)).__name__} takes no conditions.")
    if is_search(model) and not _is_routed():
        raise ValueError(
            f"{type(model).__name__} scores its candidates without conditions; switch "
            "on scikit-learn's metadata routing, "
            "sklearn.set_config(enable_metadata_routing=True), and request them: "
            "set_fit_request(conditions=True), set_score_request(conditions=True)."
        )


def fit(model, X, conditions=None):
    """``model.fit(X)``, with conditions where there are any."""
    return model.fit(X, **_fit_params(model, conditions))


def fit_codes(model, X, conditions=None):
    """Fit, and code the same rows; in one go where there is a ``fit_transform``."""
    if hasattr(model, "fit_transform"):
        return model.fit_transform(X, **_fit_params(model, conditions))
    return call(fit(model, X, conditions), "transform", X, conditions)


def call(model, method: str, X, conditions=None):
    """A method of a fitted model, with conditions where there are any."""
    if conditions is None:
        return getattr(model, method)(X)
    if is_search(model):
        return call(model.best_estimator_, method, X, conditions)
    if isinstance(model, Pipeline):
        before = model[:-1]
        rows = before.transform(X) if len(before) else X
        return call(model[-1], method, rows, conditions)
    return getattr(model, method)(X, conditions=conditions)


def _is_routed() -> bool:
    return bool(get_config().get("enable_metadata_routing"))


def _fit_params(model, conditions) -> dict[str, Any]:
    if conditions is None:
        return {}
    name = "conditions"
    if not _is_routed():
        steps = []
        while isinstance(model, Pipeline):
            steps.append(model.steps[-1][0])
            model = model[-1]
        name = "__".join([*steps, name])
    return {name: conditions}
