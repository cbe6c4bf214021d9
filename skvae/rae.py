"""Where models of earlier versions look for ``RAETransformer``."""

from .ae import RAETransformer

__all__ = ["RAETransformer"]
