"""Warnings that point at the user's line."""

import sys
import warnings
from types import FrameType

# Packages between the user's line and ours.
_PASSED_THROUGH = ("skvae", "sklearn", "skorch", "torch", "contextlib", "functools")


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning at the innermost line that is not of a library's.

    A fixed ``stacklevel`` would break with every decorator.
    """
    level = 1
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.split(".")[0] not in _PASSED_THROUGH:
            break
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level + 1 if frame else 2)
