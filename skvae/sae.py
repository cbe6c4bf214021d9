"""Where models of earlier versions look for ``SAETransformer``."""

from .ae import SAETransformer

__all__ = ["SAETransformer"]
