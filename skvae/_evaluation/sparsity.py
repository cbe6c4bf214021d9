"""How sparse codes are."""

import numpy as np

# Share of the codes' root mean square below which a code counts as zero.
NEAR_ZERO = 0.01


def near_zero_share(codes: np.ndarray, threshold: float = NEAR_ZERO) -> float:
    """Share of entries within ``threshold`` times their root mean square of zero."""
    limit = threshold * np.sqrt(np.square(codes).mean())
    return float((np.abs(codes) <= limit).mean())
