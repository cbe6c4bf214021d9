"""What is known of rows beside their entries: conditions and size factors."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

# A row of zeros has no size, and a rate of 0 has no logarithm.
SMALLEST_SIZE = 1e-20


class Covariates(NamedTuple):
    """Of the rows of a minibatch, where a step needs them.

    ``conditions`` (n, n_conditions) are given to the decoder beside the code;
    ``log_size`` (n, 1) is added to the logarithm of a count's rate. None is without.
    """

    conditions: Tensor | None = None
    log_size: Tensor | None = None

    def at(self, index: Tensor | slice) -> "Covariates":
        """Those of some of the rows."""
        return Covariates(*(p if p is None else p[index] for p in self))

    def repeated(self, n: int) -> "Covariates":
        """Those of the rows, ``n`` times one after the other."""
        return Covariates(*(p if p is None else p.repeat(n, 1) for p in self))

    def beside(self, x: Tensor) -> Tensor:
        """Columns (n, k) with the conditions behind them."""
        if self.conditions is None:
            return x
        return torch.cat([x, self.conditions.to(x.dtype)], dim=1)


NONE = Covariates()


class RowCovariates(NamedTuple):
    """The same of a table, in memory: ``conditions`` (n, c), ``size`` (n,) float64."""

    conditions: np.ndarray | None = None
    size: np.ndarray | None = None

    def at(self, index) -> "RowCovariates":
        """Those of some of the rows."""
        return RowCovariates(*(p if p is None else p[index] for p in self))

    def on(self, device: torch.device, dtype: torch.dtype) -> Covariates:
        """As a step needs them."""
        conditions, log_size = self.conditions, None
        if self.size is not None:
            log_size = np.log(np.maximum(self.size, SMALLEST_SIZE))[:, None]
        return Covariates(
            *(
                None if p is None else torch.as_tensor(p, dtype=dtype, device=device)
                for p in (conditions, log_size)
            )
        )


NO_ROWS = RowCovariates()
