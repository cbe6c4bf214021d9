"""Variational autoencoders for scikit-learn users."""

from ._version import __version__
from .estimators import VAETransformer

__all__ = ["VAETransformer", "__version__"]
