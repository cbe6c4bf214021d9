"""``history_``: a row an epoch, in the units of X."""

from typing import NamedTuple

import torch

from .._objectives.criterion import Criterion

_OURS = (
    "epoch",
    *(
        f"{rows}_{term}_loss".replace("__", "_")
        for rows in ("train", "valid")
        for term in ("", "recon", "kl", "free_bits", "reg", "decoder")
    ),
    "valid_elbo",
    "train_iw_bound",
    "valid_iw_bound",
    "kld_weight",
    "dur",
)
# What skorch and early stopping note for themselves.
_OF_SKORCH = (
    "batches",
    "train_batch_count",
    "valid_batch_count",
    "train_loss_best",
    "valid_loss_best",
    "valid_objective",
)


def epoch_row(row: dict) -> dict:
    """A row of skorch's history: our columns, then what callbacks recorded."""
    others = [key for key in row if key not in _OURS + _OF_SKORCH]
    names = {"dur": "epoch_time"}
    return {names.get(key, key): row[key] for key in (*_OURS, *others) if key in row}


class RateAndDistortion(NamedTuple):
    """The two parts of the negative ELBO, nats per row."""

    rate: float
    distortion: float


def rate_and_distortion(row: dict, criterion: Criterion) -> RateAndDistortion | None:
    """Of an epoch, of its held-out rows if there are any; None without a KL.

    At the shared parameters that are best for these rows, as ``valid_elbo`` is, with
    posterior draws.

    Parameters
    ----------
    row : dict
        Of the net's history.
    criterion : Criterion
        Which the row is of.
    """
    rows = "train" if row.get("valid_kl_loss") is None else "valid"
    recon, rate = (row.get(f"{rows}_{name}_loss") for name in ("recon", "kl"))
    if recon is None or rate is None:
        return None
    term = criterion.recon_term
    loss = recon / criterion.in_units_of_X(term, 1.0)
    elbo = criterion.elbo(torch.tensor([loss, rate], dtype=torch.float64))
    if elbo is None:
        return None
    return RateAndDistortion(rate, -elbo - criterion.likelihood.log_det() - rate)
