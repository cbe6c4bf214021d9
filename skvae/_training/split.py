"""Which rows early stopping holds out."""

import numpy as np

from .state import Split

VALIDATION_BLOCKS = 4


def next_split(
    n_rows: int,
    fraction: float | None,
    random_state: np.random.RandomState,
    last: Split | None = None,
) -> tuple[np.ndarray, Split]:
    """Rows to train on, in random order, and the split.

    What the last fit held out stays held out: to rows that were trained on, the state
    before training is the best there can be, and no progress would ever be kept. Rows
    that have come since are split as new ones are.
    """
    if last is None or last.fraction != fraction or fraction is None:
        train, held_out = split_rows(n_rows, fraction, random_state)
        return train, Split(held_out, n_rows, fraction)
    held_out = last.held_out[last.held_out < n_rows]
    n_new = n_rows - last.n_rows
    if n_new * fraction >= 1.0 and n_new > 2:
        _, new = split_rows(n_new, fraction, random_state)
        held_out = np.concatenate([held_out, last.n_rows + new])
    if not 0 < len(held_out) <= n_rows - 2:
        return next_split(n_rows, fraction, random_state)
    train = random_state.permutation(np.setdiff1d(np.arange(n_rows), held_out))
    return train, Split(held_out, n_rows, fraction)


def split_rows(
    n_rows: int, fraction: float | None, random_state: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Indices, in random order, to train on and to hold out (none without a fraction).

    Rows are held out in ``VALIDATION_BLOCKS`` runs, one somewhere in each part of X:
    where neighbouring rows resemble each other (a film, a time series), single rows
    would not be held out at all; where X is sorted, one run would hold out a class.
    At least two rows are trained on and, if any are held out at all, at least one is.
    """
    held_out = np.zeros(n_rows, dtype=bool)
    if fraction is not None:
        n_valid = min(max(1, round(fraction * n_rows)), n_rows - 2)
        n_blocks = max(1, min(VALIDATION_BLOCKS, n_valid))
        parts = np.linspace(0, n_rows, n_blocks + 1).astype(int)
        lengths = np.diff(np.linspace(0, n_valid, n_blocks + 1).astype(int))
        for first, last, length in zip(parts[:-1], parts[1:], lengths, strict=True):
            start = first + random_state.randint(last - first - length + 1)
            held_out[start : start + length] = True
    order = random_state.permutation(n_rows)
    return order[~held_out[order]], order[held_out[order]]
