"""scikit-learn's own callbacks, where its version has them (1.9 and newer)."""

from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: there is no ``set_callbacks`` before scikit-learn 1.9."""


# What scikit-learn hangs on an estimator while it is fitted.
OF_A_FIT = ("_callback_fit_ctx", "_skl_callbacks_to_teardown", "_parent_callback_ctx")


def root_context(estimator: Any, n_subtasks: int) -> Any | None:
    """The context of a fit with so many subtasks, None in older scikit-learn.

    It sets callbacks up, and scikit-learn's ``_fit_context`` tears them down by what
    this leaves on the estimator.
    """
    if not hasattr(estimator, "_init_callback_context"):
        return None
    return estimator._init_callback_context(max_subtasks=n_subtasks)


def has_callbacks(estimator: Any) -> bool:
    """Whether someone listens."""
    return bool(getattr(estimator, "_skl_callbacks", None))


def is_callback(kind: type) -> bool:
    """Whether it looks like a class of callbacks for ``set_callbacks``."""
    return hasattr(kind, "on_fit_task_begin") and hasattr(kind, "on_fit_task_end")
