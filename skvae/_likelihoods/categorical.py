"""One of K categories a column: ``-ln p(x | z)`` is minus the log-softmax at x.

Columns have categories of their own number, 0 ... K - 1. The decoder gives a logit
for each, and the derivative of ``-ln p`` by them is ``p - (1 at x)``.
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from .._data.covariates import NONE, Covariates
from .._utils.validation import name_of
from .base import Likelihood
from .entries import refuse_entries

# Categories of a column from which on they are no categories.
MOST_CATEGORIES = 10_000


def _is_no_code(values: np.ndarray) -> np.ndarray:
    whole = values == np.floor(values)
    return (values < 0.0) | ~whole | (values >= MOST_CATEGORIES)


def _largest(X) -> np.ndarray:
    """The largest value of every column, (D,), but for gaps; 0 if there is none."""
    if sparse.issparse(X):
        return X.max(axis=0).toarray().ravel()
    return np.fmax.reduce(X, axis=0, initial=0.0)


class Categorical(Likelihood):
    """Softmax over each column's categories; the encoder sees them one-hot.

    Parameters
    ----------
    n_features : int
    n_categories : sequence of int, (n_features,), optional
        Of every column; by default 2.
    """

    name = "categorical"
    is_discrete = True
    is_nonnegative = True
    is_whole = True
    has_own_scales = True
    inputs_are_rows = False
    starts: Tensor
    owner: Tensor
    by_kind: Tensor
    place: Tensor
    frequencies: Tensor

    def __init__(
        self, n_features: int, n_categories: Sequence[int] | None = None
    ) -> None:
        super().__init__(n_features)
        self.n_categories = [2] * n_features if n_categories is None else n_categories
        sizes = torch.tensor(self.n_categories, device="cpu")
        starts = torch.cumsum(sizes, 0) - sizes
        owner = torch.repeat_interleave(torch.arange(n_features, device="cpu"), sizes)
        self.register_buffer("starts", starts, persistent=False)
        self.register_buffer("owner", owner, persistent=False)
        kinds = [int(n) for n in sizes.unique()]
        columns = [(sizes == n).nonzero().flatten() for n in kinds]
        self._kinds = [(n, len(of)) for n, of in zip(kinds, columns, strict=True)]
        steps = [torch.arange(n, device="cpu")[:, None] for n in kinds]
        places = [
            (starts[of] + i).flatten() for of, i in zip(columns, steps, strict=True)
        ]
        self.register_buffer("by_kind", torch.cat(places), persistent=False)
        self.register_buffer("place", torch.cat(columns).argsort(), persistent=False)
        shares = 1.0 / sizes.double().repeat_interleave(sizes)
        self.register_buffer("frequencies", shares.to(torch.float32))

    @classmethod
    def of_rows(cls, X) -> Self:
        most = _largest(X)
        # What is no code is refused by check, which knows the columns' names.
        most = np.clip(most, 1, MOST_CATEGORIES - 1)
        return cls(X.shape[1], [int(m) + 1 for m in most])

    @property
    def params(self) -> dict[str, Any]:
        return {**super().params, "n_categories": list(self.n_categories)}

    @property
    def n_inputs(self) -> int:
        return int(sum(self.n_categories))

    @property
    def n_outputs(self) -> int:
        return self.n_inputs

    # -- data --------------------------------------------------------------------------

    def check(self, X, feature_names=None) -> None:
        takes = (
            f"codes 0, 1, ..., K - 1 of at most {MOST_CATEGORIES} categories: put a "
            "sklearn.preprocessing.OrdinalEncoder in front, or use "
            "likelihood='gaussian_diag' for numbers."
        )
        refuse_entries(X, _is_no_code, self.name, takes, feature_names)
        most = _largest(X)
        unseen = np.flatnonzero(most >= np.array(self.n_categories))
        if len(unseen):
            j = int(unseen[0])
            raise ValueError(
                f"Column {name_of(j, feature_names)} of X has the unseen category "
                f"{most[j]:g}: the training rows had 0 to {self.n_categories[j] - 1}. "
                "An OrdinalEncoder(handle_unknown='use_encoded_value', "
                "unknown_value=...) in front can give unknown ones a code of the "
                "training rows."
            )

    def fit_inputs(
        self,
        mean: np.ndarray,
        variance: np.ndarray,
        X=None,
        size: np.ndarray | None = None,
    ) -> None:
        assert X is not None
        counts = []
        for j, n in enumerate(self.n_categories):
            column = X[:, [j]].toarray() if sparse.issparse(X) else X[:, j]
            codes = column[~np.isnan(column)].astype(np.int64)
            counts.append(np.bincount(codes, minlength=n))
        # Half a row of each kind more (Jeffreys).
        shares = [(c + 0.5) / (c.sum() + 0.5 * len(c)) for c in counts]
        self.frequencies.copy_(torch.from_numpy(np.concatenate(shares)))

    @property
    def input_columns(self) -> np.ndarray:
        return self.owner.cpu().numpy()

    @property
    def most_frequent(self) -> Tensor:
        """Where the most frequent category of every column is, (D,)."""
        parts = self.frequencies.split(list(self.n_categories))
        return self.starts + torch.stack([part.argmax() for part in parts])

    def _at(self, target: Tensor) -> Tensor:
        """Where the category of every entry is among the outputs, (n, D)."""
        return target.long() + self.starts

    def encode_inputs(
        self,
        target: Tensor,
        mask: Tensor | None = None,
        covariates: Covariates = NONE,
    ) -> Tensor:
        inputs = -self.frequencies.to(target.dtype).expand(len(target), -1)
        ones = torch.ones_like(target)
        return inputs.scatter_add(1, self._at(target), ones)

    def input_affine(self) -> None:
        return None

    def no_code(self) -> np.ndarray:
        return np.log(self.frequencies.double().cpu().numpy())

    # -- the mass ----------------------------------------------------------------------

    def log_total(self, raw: Tensor) -> Tensor:
        """Log-sum-exp of every column's logits, (n, D).

        Columns of as many categories are taken together, their first categories side by
        side, then the second: torch is slow at adding up neighbours by twos and threes.
        """
        kinds = raw.index_select(1, self.by_kind)
        kinds = kinds.split([n * columns for n, columns in self._kinds], dim=1)
        totals = []
        for part, shape in zip(kinds, self._kinds, strict=True):
            logits = part.unflatten(1, shape)
            largest = logits.detach().amax(dim=1)
            total = (logits - largest[:, None]).exp_().sum(dim=1)
            totals.append(total.log() + largest)
        if len(totals) == 1:
            return totals[0]
        return torch.cat(totals, dim=1).index_select(1, self.place)

    def log_p(self, raw: Tensor) -> Tensor:
        """Log-softmax of every column's logits, (n, n_outputs)."""
        return raw - self.log_total(raw).index_select(1, self.owner)

    def nll(self, raw: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        nats = self.log_total(raw) - raw.gather(1, self._at(target))
        return (nats if mask is None else nats * mask).sum(dim=1)

    def loss_and_grad(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if mask is not None:
            return super().loss_and_grad(raw, target, mask)
        log_p, at = self.log_p(raw), self._at(target)
        loss = -log_p.gather(1, at).mean()
        g = log_p.exp_()
        g.scatter_add_(1, at, torch.full_like(target, -1.0))
        return loss, g.div_(target.numel())

    def mean(self, raw: Tensor, covariates: Covariates = NONE) -> Tensor:
        """The most probable category of every column, (n, D): codes have no mean."""
        return self.point(raw)

    @property
    def n_predictive(self) -> int:
        return self.n_outputs

    def predictive(self, raw: Tensor, covariates: Covariates = NONE) -> Tensor:
        """Probabilities of the categories, columns' side by side."""
        return self.log_p(raw).exp_()

    def point(self, predictive: Tensor) -> Tensor:
        """The most probable category of every column."""
        parts = predictive.split(list(self.n_categories), dim=1)
        found = torch.stack([part.argmax(dim=1) for part in parts], dim=1)
        return found.to(predictive)

    def sample(
        self,
        raw: Tensor,
        random_state: np.random.RandomState,
        covariates: Covariates = NONE,
    ) -> Tensor:
        # The largest of logits with Gumbel noise is a draw of the softmax.
        noise = random_state.gumbel(size=tuple(raw.shape))
        return self.mean(raw + torch.from_numpy(noise).to(raw))

    def deviance(self, raw: Tensor, target: Tensor) -> Tensor:
        """``-2 ln p`` of every entry's category."""
        return -2.0 * self.log_p(raw).gather(1, self._at(target))

    def output_metric(self, raw: Tensor) -> Tensor:
        """Fisher's, but for the sum of a column's changes."""
        p = self.log_p(raw).exp_()
        return p * (1.0 - p)
