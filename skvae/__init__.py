"""Autoencoders for scikit-learn users."""

from ._version import __version__
from .ae import AETransformer
from .files import load, save
from .imputer import VAEImputer
from .outlier import VAEOutlierDetector
from .rae import RAETransformer
from .sae import SAETransformer
from .vae import VAETransformer

__all__ = [
    "AETransformer",
    "RAETransformer",
    "SAETransformer",
    "VAEImputer",
    "VAEOutlierDetector",
    "VAETransformer",
    "__version__",
    "load",
    "save",
]
