"""Autoencoders for scikit-learn users."""

from ._version import __version__
from .ae import AETransformer, RAETransformer, SAETransformer
from .vae import VAETransformer

__all__ = [
    "AETransformer",
    "RAETransformer",
    "SAETransformer",
    "VAETransformer",
    "__version__",
]
