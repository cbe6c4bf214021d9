"""Warnings and errors of the package."""

from sklearn.exceptions import ConvergenceWarning

__all__ = ["DivergenceWarning", "ModelFileError", "PosteriorCollapseWarning"]


class DivergenceWarning(ConvergenceWarning):
    """Training ended farther from the rows than their mean is.

    What was kept is the best epoch before that, or the linear start; without early
    stopping, what training ended with. The message says what to change.
    """


class PosteriorCollapseWarning(UserWarning):
    """The posterior of every row is the prior: codes say nothing about the rows.

    The message says what to change. :func:`skvae.inspection.diagnose` has the numbers.
    """


class ModelFileError(ValueError):
    """A file holds no model that :func:`skvae.load` can read, or no longer does.

    The message says which file, and why. Nothing of it was used.
    """
