"""What takes rows and densities from the units of a model to those of X, and back.

And what gaps change of it: rows that were not observed in all columns have fewer nats,
and fewer logarithms of units, than others.
"""

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from .._utils.device import in_float64
from .linear_model import Affine, LinearModel


class Units(nn.Module):
    """Units of a likelihood of D columns; by default those of X.

    Parameters
    ----------
    n_features : int
        D.
    """

    loss_exponent: ClassVar[int] = 0
    _inverse_width: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features
        self._observed: np.ndarray | None = None
        unit = torch.tensor(1.0 / n_features, dtype=torch.float32, device="cpu")
        self.register_buffer("_inverse_width", unit, persistent=False)

    def input_affine(self) -> Affine | None:
        """How inputs come from rows, where that is so simple (see ``Likelihood``)."""
        raise NotImplementedError

    @property
    def width(self) -> float:
        """Number of columns that a training row has been observed in, on average."""
        if self._observed is None:
            return self.n_features
        return float(self._observed.sum())

    def set_observed(self, shares: np.ndarray) -> None:
        """Take the shares (D,) of training rows that every column was observed in."""
        if (shares < 1.0).any():
            self._observed = np.asarray(shares, dtype=np.float64)
        self._inverse_width.fill_(1.0 / self.width)

    def feature_log_dets(self) -> np.ndarray:
        """``ln |d target / d x|`` of every column in nats, (D,), in their order."""
        return np.zeros(self.n_features)

    def log_det(self) -> float:
        """What takes densities to units of X, nats per row.

        Of a row that was observed where training rows are, on average.
        """
        each = self.feature_log_dets()
        return float(each.sum() if self._observed is None else self._observed @ each)

    def entry_log_dets(self, target: Tensor) -> Tensor | None:
        """What rows have beyond :meth:`feature_log_dets`, (n, D); None is nothing."""
        return None

    def log_det_beyond(
        self, target: Tensor, mask: Tensor | None = None
    ) -> Tensor | float:
        """Of every row (n,), in float64, what it has beyond :meth:`log_det`."""
        entries = self.entry_log_dets(target)
        beyond: Tensor | float = 0.0
        if entries is not None:
            beyond = in_float64(entries if mask is None else entries * mask).sum(dim=1)
        if mask is None and self._observed is None:
            return beyond
        each = self.feature_log_dets()
        if mask is None:
            return beyond + float(each.sum()) - self.log_det()
        of_target = self.encode_mask(torch.from_numpy(each)[None])[0]
        return beyond + in_float64(mask) @ of_target.to(mask.device) - self.log_det()

    def linear_rows(self, X) -> Any:
        """Rows of X as the linear model takes them."""
        return X

    def linear_units(self) -> Affine | None:
        """How its model units come from these."""
        return self.input_affine()

    def linear_log_likelihood(
        self, model: LinearModel, X, conditions: np.ndarray | None = None
    ) -> np.ndarray:
        """ln p of rows of X in a linear model, (n,), nats."""
        return model.log_likelihood(X, self.linear_units(), conditions)

    def encode_mask(self, mask: Tensor) -> Tensor:
        """Columns (n, D) of X in the order that the target has."""
        return mask

    def decode_mask(self, mask: Tensor) -> Tensor:
        """What :meth:`encode_mask` gave in the order that X has."""
        return mask

    @property
    def noise_floor(self) -> float | np.ndarray:
        """Least noise variance, of all columns or (D,), in squared model units."""
        return 0.0

    def recentre(self, shift: np.ndarray) -> None:
        """Move the means of the columns by (D,) model units; where those have any."""

    @property
    def input_columns(self) -> np.ndarray:
        """Which column of X every input is of, (n_inputs,)."""
        return np.arange(self.n_features)

    @property
    def scale(self) -> float:
        """Units of X in a unit of the model, where that is one number; else 1."""
        return 1.0

    @property
    def loss_unit(self) -> float:
        """What takes a :meth:`loss` to the units of X."""
        return self.scale**self.loss_exponent

    def to_units_of_X(self, target: Tensor) -> Tensor:
        """Rows (n, D) in model units, which may be overwritten, in units of X."""
        return target

    def noise_in_units_of_X(self) -> float | np.ndarray | None:
        """The calibrated noise variance, in squared units of X, where there is one.

        A number, or (D,).
        """
        return None

    def noise_share(self) -> float:
        """Noise variance over the variance of the features; NaN where there is none."""
        return float("nan")
