"""Warnings of the package."""

__all__ = ["PosteriorCollapseWarning"]


class PosteriorCollapseWarning(UserWarning):
    """The posterior of every row is the prior: codes say nothing about the rows.

    The message says what to change. :func:`skvae.inspection.diagnose` has the numbers.
    """
