"""Counts whose row total is given: words of a document, clicks of a visitor.

``-ln p(x | z) = -sum_j x_j ln p_j - ln(N!) + sum_j ln(x_j!)``, p the softmax of what
the decoder says and N the row's total, which the model does not explain. The derivative
by raw is ``N p - x``.
"""

import numpy as np
import torch
from torch import Tensor

from .._data.covariates import NONE, Covariates
from .._utils.device import in_float64
from .counts import Counts, Nonzeros, in_precision
from .poisson import poisson_deviance


class Multinomial(Counts):
    """Multinomial(N, softmax(raw)): a size that is added to raw changes nothing."""

    name = "multinomial"
    is_given_total = True

    def nll_of_code(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        raw, target = in_precision(raw, target)
        if mask is not None:  # the counts that were seen, given their total
            # Not -inf: of a row that nobody has seen its softmax would be NaN.
            lowest = 0.5 * torch.finfo(raw.dtype).min
            raw, target = raw.masked_fill(~mask, lowest), target * mask
        log_p = torch.log_softmax(raw, dim=1)
        if mask is not None:
            log_p = log_p.masked_fill(~mask, 0.0)
        return -(target * log_p).sum(dim=1)

    def nll_constant(self, target: Tensor, mask: Tensor | None = None) -> Tensor:
        counts = Nonzeros(target, mask)
        total = (target if mask is None else target * mask).double().sum(dim=1)
        of_counts = counts.per_row(counts.log_choices())
        return of_counts - torch.lgamma(total + 1.0)

    def loss_and_grad(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if mask is not None:
            return super().loss_and_grad(raw, target, mask)
        log_p = torch.log_softmax(raw, dim=1)
        total = target.sum(dim=1, keepdim=True)
        constant = Nonzeros(target).rising.log_factorials()
        constant = constant - torch.lgamma(total.double() + 1.0).sum()
        loss = (constant - (target * log_p).sum()) / target.numel()
        g = log_p.exp_().mul_(total).sub_(target)
        return loss.to(raw.dtype), g.div_(target.numel())

    def mean(self, raw: Tensor, covariates: Covariates = NONE) -> Tensor:
        p = torch.softmax(raw, dim=1)
        if covariates.log_size is None:
            return p
        return p.mul_(covariates.log_size.exp().to(p))

    def sample(
        self,
        raw: Tensor,
        random_state: np.random.RandomState,
        covariates: Covariates = NONE,
    ) -> Tensor:
        p = torch.softmax(raw.double(), dim=1).cpu().numpy()
        totals = np.ones(len(p), dtype=np.int64)
        if covariates.log_size is not None:
            sizes = covariates.log_size.double().exp().cpu().numpy().ravel()
            totals = np.rint(sizes).astype(np.int64)
        drawn = [
            random_state.multinomial(n, row / row.sum())
            for n, row in zip(totals, p, strict=True)
        ]
        return torch.from_numpy(np.stack(drawn)).to(raw)

    def deviance(self, raw: Tensor, target: Tensor) -> Tensor:
        """Poisson's unit deviance at the means: rows of them add up to a deviance.

        ``2 (x ln(x / m) - (x - m))``: the means have the total of the counts.
        """
        log_p = torch.log_softmax(in_float64(raw), dim=1)
        total = in_float64(target).sum(dim=1, keepdim=True)
        return poisson_deviance(log_p + torch.log(total.clamp(min=1e-30)), target)

    def output_metric(self, raw: Tensor) -> Tensor:
        """Fisher's of a row with the usual total, but for the sum of its changes."""
        return torch.softmax(raw, dim=1).mul_(self.usual_size)
