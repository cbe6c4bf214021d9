"""Bits, or pixels in [0, 1]: ``-ln p(x | z) = softplus(raw) - x raw``.

The derivative by raw is ``sigmoid(raw) - x``. Of bits it is a probability; of fractions
the cross entropy, which is none, and compares with others of its kind alone.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .._data.covariates import NONE, Covariates
from .._utils.host import HostState
from .base import Likelihood, n_observed
from .entries import refuse_entries
from .linear_model import Affine


def _is_no_bit(values: np.ndarray) -> np.ndarray:
    return (values < 0.0) | (values > 1.0)


class Bernoulli(Likelihood):
    """Bernoulli(sigmoid(raw)); the encoder sees centred columns."""

    name = "bernoulli"
    is_discrete = True
    is_nonnegative = True
    has_own_scales = True
    inputs_are_rows = False

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features)
        self.units = HostState()
        self.units.hold("mean", np.zeros(n_features))
        self.units.hold("n_rows", 1)

    def check(self, X, feature_names=None) -> None:
        takes = (
            "bits, or of pixels from 0 to 1: divide pixels by their largest value "
            "(255), or use likelihood='gaussian_diag', or 'negative_binomial' for "
            "counts."
        )
        refuse_entries(X, _is_no_bit, self.name, takes, feature_names)

    def fit_inputs(
        self,
        mean: np.ndarray,
        variance: np.ndarray,
        X=None,
        size: np.ndarray | None = None,
    ) -> None:
        self.units.hold("mean", np.asarray(mean, dtype=np.float64))
        self.units.hold("n_rows", 1 if X is None else X.shape[0])

    def encode_inputs(
        self,
        target: Tensor,
        mask: Tensor | None = None,
        covariates: Covariates = NONE,
    ) -> Tensor:
        mean = self.units.get_buffer("mean").to(target.device, target.dtype)
        return target - mean

    def input_affine(self) -> Affine:
        return Affine(self.units.array("mean"), 1.0)

    def no_code(self) -> np.ndarray:
        """Logits of the means, with half a row of each kind more (Jeffreys)."""
        n_rows = self.units.number("n_rows")
        share = (self.units.array("mean") * n_rows + 0.5) / (n_rows + 1.0)
        return np.log(share) - np.log1p(-share)

    def nll(self, raw: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        # softplus(raw) - x raw would lose what a bit that is nearly sure costs. Without
        # the smaller part of the softplus the difference is exact for bits.
        nats = raw.clamp(min=0.0).addcmul_(target, raw, value=-1.0)
        nats.add_(F.softplus(raw.abs().neg_()))
        return (nats if mask is None else nats * mask).sum(dim=1)

    def loss_and_grad(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        nats = torch.addcmul(F.softplus(raw), target, raw, value=-1.0)
        g = torch.sigmoid_(raw).sub_(target)
        if mask is None:
            return nats.mean(), g.div_(g.numel())
        n_seen = n_observed(mask)
        return (nats * mask).sum() / n_seen, g.mul_(mask).div_(n_seen)

    def mean(self, raw: Tensor, covariates: Covariates = NONE) -> Tensor:
        return raw.sigmoid_()

    def sample(
        self,
        raw: Tensor,
        random_state: np.random.RandomState,
        covariates: Covariates = NONE,
    ) -> Tensor:
        level = torch.from_numpy(random_state.uniform(size=tuple(raw.shape)))
        return (level.to(raw) < torch.sigmoid(raw)).to(raw)

    def deviance(self, raw: Tensor, target: Tensor) -> Tensor:
        """Twice the nats above those of the entry itself, of every element."""
        best = torch.xlogy(target, target) + torch.xlogy(1.0 - target, 1.0 - target)
        return 2.0 * (F.softplus(raw) - target * raw + best).clamp_(min=0.0)

    def output_metric(self, raw: Tensor) -> Tensor:
        """Fisher's, ``p (1 - p)``: codes are in units of the bits' spread."""
        p = torch.sigmoid(raw)
        return p * (1.0 - p)
