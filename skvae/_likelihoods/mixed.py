"""Columns of different kinds: every one with a likelihood of its own.

``-ln p(x | z)`` is the sum over the columns, each in its own nats: of numbers those of
a density, of categories and counts those of a probability. Parts are groups of columns
of one likelihood; their raw outputs stand side by side, and so do what the encoder sees
of them. What is said of rows is in the order of the columns.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from .._data.covariates import NONE, Covariates
from .._data.dataset import Minibatch
from .._data.moments import column_moments
from .._nn.autoencoder import Decoder
from .._nn.posterior import Posterior
from .._utils.host import HostState
from .base import Likelihood, in_turns, n_observed
from .parts import (
    PARTS,
    by_column,
    make_part,
    metric_of,
    no_code_of,
    outputs_of,
    pull_of,
    response_of,
    total_of_parts,
)
from .standardised import Standardised

#: What the loss of training weighs alike.
BALANCES = ("nats", "columns")


class Mixed(Likelihood):
    """Groups of columns, with a likelihood each.

    Parameters
    ----------
    n_features : int
    parts : sequence of dict, optional
        Of every group its ``likelihood``, ``columns``, ``weight`` in the loss, and
        parameters of the likelihood; by default one Gaussian of all.
    """

    name = "mixed"
    has_own_scales = True
    inputs_are_rows = False
    is_drawn = True
    order: Tensor
    place: Tensor

    def __init__(
        self, n_features: int, parts: Sequence[dict[str, Any]] | None = None
    ) -> None:
        super().__init__(n_features)
        if parts is None:
            every = list(range(n_features))
            parts = [{"likelihood": "gaussian_diag", "columns": every}]
        self.columns = [list(part["columns"]) for part in parts]
        self.weights = [float(part.get("weight", 1.0)) for part in parts]
        self.parts = nn.ModuleList(make_part(part) for part in parts)
        order = torch.tensor([j for of in self.columns for j in of], device="cpu")
        self.units = HostState()
        self.units.hold("spread", np.ones(n_features))
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("place", order.argsort(), persistent=False)
        self._losses: list[Tensor] = []

    @classmethod
    def of_rows(
        cls,
        X,
        parts: Sequence[dict[str, Any]] | None = None,
        balance: str = "nats",
    ) -> Self:
        """With parameters of the parts that rows ask for, where none are given."""
        if parts is None:
            return cls(X.shape[1])
        made = []
        for part in parts:
            kind, columns = PARTS[part["likelihood"]], list(part["columns"])
            given = {
                k: v for k, v in part.items() if k not in ("likelihood", "columns")
            }
            if not given:
                params = kind.of_rows(X[:, columns]).params
                given = {k: v for k, v in params.items() if k != "n_features"}
            made.append({"likelihood": kind.name, "columns": columns, **given})
        if balance == "columns":
            made = [one for part in made for one in by_column(part)]
        found = cls(X.shape[1], made)
        if balance == "columns":
            found._weigh_alike(X)
        return found

    @torch.no_grad()
    def _weigh_alike(self, X) -> None:
        """Weights at which columns pull alike where nothing is known of a row.

        The root mean square gradient of a column's nats by its raw outputs is then the
        same for all, at the model with no code: a rare flag, whose nats are few, would
        otherwise be learnt last (Javaloy and Valera, 2020).
        """
        self.fit_inputs(*column_moments(X), X)
        pull = np.array([pull_of(part) for part in self._likelihoods])
        weights = 1.0 / np.maximum(pull, 1e-3)
        sizes = np.array([len(of) for of in self.columns])
        weights *= sizes.sum() / (weights @ sizes)
        self.weights = weights.tolist()

    @property
    def _likelihoods(self) -> list[Likelihood]:
        return list(self.parts)  # type: ignore[arg-type]

    @property
    def params(self) -> dict[str, Any]:
        parts = [
            {
                "likelihood": part.name,
                "columns": columns,
                "weight": weight,
                **{k: v for k, v in part.params.items() if k != "n_features"},
            }
            for part, columns, weight in zip(
                self._likelihoods, self.columns, self.weights, strict=True
            )
        ]
        return {**super().params, "parts": parts}

    @property
    def n_inputs(self) -> int:
        return sum(part.n_inputs for part in self._likelihoods)

    @property
    def n_outputs(self) -> int:
        return sum(part.n_outputs for part in self._likelihoods)

    @property
    def input_columns(self) -> np.ndarray:
        return np.concatenate(
            [
                np.asarray(columns)[part.input_columns]
                for part, columns in zip(self._likelihoods, self.columns, strict=True)
            ]
        )

    def feature_log_dets(self) -> np.ndarray:
        found = np.empty(self.n_features)
        for part, columns in zip(self._likelihoods, self.columns, strict=True):
            found[columns] = part.feature_log_dets()
        return found

    def entry_log_dets(self, target: Tensor) -> Tensor | None:
        found = [(part.entry_log_dets(x), x) for part, x in self._with(target)]
        if all(entries is None for entries, _ in found):
            return None
        parts = [torch.zeros_like(x) if e is None else e for e, x in found]
        return torch.cat(parts, dim=1)

    # -- data --------------------------------------------------------------------------

    def check(self, X, feature_names=None) -> None:
        for part, columns in zip(self._likelihoods, self.columns, strict=True):
            names = np.asarray(columns) if feature_names is None else feature_names
            if feature_names is not None:
                names = np.asarray(feature_names, dtype=object)[columns]
            part.check(X[:, columns], names)

    def fit_inputs(
        self,
        mean: np.ndarray,
        variance: np.ndarray,
        X=None,
        size: np.ndarray | None = None,
    ) -> None:
        self.units.hold("spread", np.sqrt(np.where(variance > 0.0, variance, 1.0)))
        for part, of in zip(self._likelihoods, self.columns, strict=True):
            rows = None if X is None else X[:, of]
            part.fit_inputs(mean[of], variance[of], rows, None)

    def encode_target(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """Groups of columns side by side, in the units of each."""
        parts = [
            part.encode_target(x[:, columns])
            for part, columns in zip(self._likelihoods, self.columns, strict=True)
        ]
        target = torch.cat(parts, dim=1)
        return target if out is None else out.copy_(target)

    def encode_mask(self, mask: Tensor) -> Tensor:
        return mask[:, self.order]

    def decode_mask(self, mask: Tensor) -> Tensor:
        return mask.index_select(1, self.place)

    def encode_inputs(
        self,
        target: Tensor,
        mask: Tensor | None = None,
        covariates: Covariates = NONE,
    ) -> Tensor:
        parts = [part.encode_inputs(x) for part, x in self._with(target)]
        return torch.cat(parts, dim=1)

    def input_affine(self) -> None:
        return None

    def no_code(self) -> np.ndarray:
        return np.concatenate([no_code_of(part) for part in self._likelihoods])

    def without_code(self) -> Tensor:
        found = []
        for part in self._likelihoods:
            if isinstance(part, Standardised):
                part.start_from(part.empty_linear_model(0))
                found.append(torch.zeros(part.n_outputs, dtype=torch.float64))
            else:
                bias = part.without_code()
                assert bias is not None
                found.append(bias.double())
        return torch.cat(found)

    # -- the density -------------------------------------------------------------------

    def _with(self, *tables: Tensor) -> Iterator[tuple]:
        """Every part with its columns of tables in model units, (n, D) each."""
        sizes = [len(of) for of in self.columns]
        return zip(
            self._likelihoods, *(t.split(sizes, dim=1) for t in tables), strict=True
        )

    def _split(self, raw: Tensor) -> tuple[Tensor, ...]:
        return raw.split([part.n_outputs for part in self._likelihoods], dim=1)

    def _each(
        self, raw: Tensor, target: Tensor, mask: Tensor | None
    ) -> Iterator[tuple]:
        """Every part with its raw outputs, target and mask."""
        masks: Sequence[Tensor | None] = [None] * len(self.parts)
        sizes = [len(of) for of in self.columns]
        if mask is not None:
            masks = mask.split(sizes, dim=1)
        targets = target.split(sizes, dim=1)
        return zip(self._likelihoods, self._split(raw), targets, masks, strict=True)

    def nll(self, raw: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        return total_of_parts(
            part.nll(*of) for part, *of in self._each(raw, target, mask)
        )

    def nll_of_code(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        parts = self._each(raw, target, mask)
        return total_of_parts(part.nll_of_code(*of) for part, *of in parts)

    def nll_in_training(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        parts = self._each(raw, target, mask)
        return total_of_parts(part.nll_in_training(*of) for part, *of in parts)

    def nll_constant(
        self, target: Tensor, mask: Tensor | None = None
    ) -> Tensor | float:
        masks = [()] * len(self.parts) if mask is None else self._masks(mask)
        return sum(
            part.nll_constant(x, *of)
            for (part, x), of in zip(self._with(target), masks, strict=True)
        )

    def _masks(self, mask: Tensor) -> list:
        return [(of,) for _, of in self._with(mask)]

    def _in_order(self, parts: list[Tensor]) -> Tensor:
        """Groups of columns, (n, m) each, in the order of the columns, (n, D)."""
        return torch.cat(parts, dim=1).index_select(1, self.place)

    def mean(self, raw: Tensor, covariates: Covariates = NONE) -> Tensor:
        """Means, and the most probable categories."""
        return self._in_order(
            [
                part.mean(of)
                for part, of in zip(self._likelihoods, self._split(raw), strict=True)
            ]
        )

    def response(self, raw: Tensor, covariates: Covariates = NONE) -> Tensor:
        """Of every column one number that codes move, in standard deviations.

        The mean, or, of categories, the probability of the most frequent one.
        """
        spread = self.units.array("spread")
        parts = zip(self._likelihoods, self._split(raw), self.columns, strict=True)
        return self._in_order(
            [response_of(part, of, spread[columns]) for part, of, columns in parts]
        )

    def response_variance(self, variance: np.ndarray) -> float:
        return float(np.count_nonzero(variance))

    def sample(
        self,
        raw: Tensor,
        random_state: np.random.RandomState,
        covariates: Covariates = NONE,
    ) -> Tensor:
        return self._in_order(
            [
                part.sample(of.clone(), random_state)
                for part, of in zip(self._likelihoods, self._split(raw), strict=True)
            ]
        )

    def to_units_of_X(self, target: Tensor) -> Tensor:
        return self._in_order([p.to_units_of_X(x) for p, x in self._with(target)])

    def deviance(self, raw: Tensor, target: Tensor) -> Tensor:
        """Of numbers the squared error in standard deviations, else the deviance."""
        return self._in_order(
            [
                (r - x).square_()
                if isinstance(part, Standardised)
                else part.deviance(r, x)
                for part, r, x, _ in self._each(raw, target, None)
            ]
        )

    def predictive(self, raw: Tensor, covariates: Covariates = NONE) -> Tensor:
        return torch.cat(
            [
                part.predictive(of)
                for part, of in zip(self._likelihoods, self._split(raw), strict=True)
            ],
            dim=1,
        )

    def point(self, predictive: Tensor) -> Tensor:
        widths = [part.n_predictive for part in self._likelihoods]
        parts = zip(self._likelihoods, predictive.split(widths, dim=1), strict=True)
        return self._in_order([part.point(of) for part, of in parts])

    @property
    def n_predictive(self) -> int:
        return sum(part.n_predictive for part in self._likelihoods)

    # -- training ----------------------------------------------------------------------

    def _shares(self, target: Tensor, mask: Tensor | None) -> list[Any]:
        """Of all elements that were observed, those of every part."""
        if mask is None:
            return [len(of) / self.n_features for of in self.columns]
        n_seen = n_observed(mask)
        return [of.sum() / n_seen for _, of in self._with(mask)]

    def loss(self, raw: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        return self._loss(raw, target, mask, self.weights)

    def held_out_loss(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        return self._loss(raw, target, mask, [1.0] * len(self.parts))

    def _loss(
        self,
        raw: Tensor,
        target: Tensor,
        mask: Tensor | None,
        weights: Sequence[float],
    ) -> Tensor:
        self._losses = []
        total: Any = 0.0
        parts = self._each(raw, target, mask)
        shares = self._shares(target, mask)
        for (part, *of), share, weight in zip(parts, shares, weights, strict=True):
            loss = part.loss(*of)
            self._losses.append(loss.detach())
            total = total + loss * (share * weight)
        assert isinstance(total, Tensor)
        return total

    def loss_and_grad(
        self, raw: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        self._losses, gradients = [], []
        total: Any = 0.0
        parts = self._each(raw, target, mask)
        shares = self._shares(target, mask)
        for (part, r, *of), share, weight in zip(
            parts, shares, self.weights, strict=True
        ):
            loss, gradient = part.loss_and_grad(r.contiguous(), *of)
            factor = share * weight
            gradients.append(gradient.mul_(factor))
            for parameter in part.parameters():
                assert parameter.grad is not None
                parameter.grad.mul_(factor)
            self._losses.append(loss)
            total = total + loss * factor
        assert isinstance(total, Tensor)
        return total, torch.cat(gradients, dim=1)

    @torch.no_grad()
    def update_running_stats(self, loss: Tensor) -> None:
        for part, own in zip(self._likelihoods, self._losses, strict=True):
            part.update_running_stats(own)

    # -- the fitted model --------------------------------------------------------------

    def keep_running_stats(self) -> None:
        for part in self._likelihoods:
            part.keep_running_stats()

    def calibrate(
        self,
        decoder: Decoder,
        posterior: Posterior,
        batch: Minibatch,
        points: Tensor,
    ) -> None:
        if points.dim() == 2:  # parts decode: all points of all rows would take memory
            points = in_turns(points, len(batch))
        mask = batch.mask
        masks = [None] * len(self.parts) if mask is None else self._masks(mask)
        start = 0
        for (part, x), of in zip(self._with(batch.target), masks, strict=True):
            at = slice(start, start + part.n_outputs)
            start = at.stop
            seen = None if of is None else of[0]
            rows = Minibatch(x, x, seen, batch.covariates)
            part.calibrate(outputs_of(decoder, at), posterior, rows, points)

    def output_metric(self, raw: Tensor) -> Tensor:
        """Of every part its own; of numbers, in standard deviations of the column."""
        return torch.cat(
            [
                torch.ones_like(of)
                if isinstance(part, Standardised)
                else metric_of(part, of)
                for part, of in zip(self._likelihoods, self._split(raw), strict=True)
            ],
            dim=1,
        )
