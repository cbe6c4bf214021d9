"""A net with the state that it trained: what estimators apply."""

from typing import NamedTuple

import numpy as np
import torch

from .._data.dataset import TableDataset, has_nan
from .._data.rows import Rows
from .net import EpochNet
from .state import FittedState


class Fitted(NamedTuple):
    """A net, and the fitted state whose network and criterion are the net's."""

    net: EpochNet
    state: FittedState

    @property
    def device(self) -> torch.device:
        return torch.device(self.net.device)

    def rows(
        self,
        rows: Rows,
        *,
        index: np.ndarray | None = None,
        dtype: torch.dtype = torch.float32,
        resident: bool = True,
    ) -> TableDataset:
        """Validated rows as a dataset on the net's device."""
        return TableDataset(
            rows.X,
            self.state.likelihood,
            dtype=dtype,
            device=self.device,
            resident=resident,
            index=index,
            covariates=rows.covariates,
            encodes_conditions=self.state.network.encodes_conditions,
            gaps=self.state.gaps,
        )

    def has_gaps(self, rows: Rows) -> bool:
        """Whether validated rows have entries that were not observed."""
        return self.state.gaps is not None and has_nan(rows.X)
