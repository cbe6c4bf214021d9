"""Fitting, from start to end.

A pickle of skvae 0.1 before the fitted state was one module names ``_training.Model``:
reading one says so, where Python would miss an attribute.
"""

from pickle import UnpicklingError


def __getattr__(name: str) -> object:
    if name == "Model":
        raise UnpicklingError(
            "An older version of skvae wrote this model, in a form that this one does "
            "not read: fit it anew, or load it with that version."
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
