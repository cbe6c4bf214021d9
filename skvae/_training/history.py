"""``history_``: a row an epoch, in the units of X."""

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
