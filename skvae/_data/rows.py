"""Validated rows of X with what is known of each of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .covariates import NO_ROWS, RowCovariates


@dataclass(frozen=True, slots=True)
class Rows:
    """A table of floats, dense or CSR, and its rows' conditions and size factors."""

    X: Any
    covariates: RowCovariates = NO_ROWS

    def __len__(self) -> int:
        return self.X.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        return self.X.shape

    @property
    def dtype(self) -> np.dtype:
        return self.X.dtype

    def __getitem__(self, index) -> "Rows":
        """Some of the rows, by a slice or by indices."""
        return Rows(self.X[index], self.covariates.at(index))
