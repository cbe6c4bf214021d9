"""Which likelihood a column asks for, where nobody has said."""

import numpy as np

from .frames import BOOL, TEXT, WHOLE, Column

# Different values that whole numbers may have and be levels, and rows for each.
MOST_WHOLE_LEVELS, ROWS_OF_A_LEVEL = 200, 20.0
# Nats a row that logarithms gain where the tail is no accident of the rows.
LEAST_GAIN = 0.02
# Levels that are few whatever the number of rows is.
FEW_LEVELS = 10


def likelihood_of(column: Column) -> str:
    """The name of a likelihood for the values of a column.

    - Truths, and whole numbers that are 0 and 1: "bernoulli".
    - Words: "categorical", or, of a categorical type that has an order, "ordinal".
    - Whole numbers with few different values: "ordinal", which needs no name for how
      they are distributed. Few are 10, or up to 200 that have 20 rows each on average.
    - Counts, whole numbers from 0 with others: "negative_binomial".
    - Positive numbers whose logarithms are closer to a Gaussian: "log_normal".
    - All others: "gaussian_diag".
    """
    if column.kind == BOOL:
        return "bernoulli"
    if column.kind == TEXT:
        return "ordinal" if column.ordered else "categorical"
    values = column.values[~np.isnan(column.values)]
    if not len(values):
        return "gaussian_diag"
    is_whole = column.kind == WHOLE or bool((values == np.rint(values)).all())
    if is_whole:
        levels = np.unique(values)
        if set(levels.tolist()) <= {0.0, 1.0}:
            return "bernoulli"
        most = min(MOST_WHOLE_LEVELS, len(values) / ROWS_OF_A_LEVEL)
        if len(levels) <= max(FEW_LEVELS, most):
            return "ordinal"
        if levels[0] == 0.0:
            return "negative_binomial"
    return "log_normal" if _gain_of_logarithms(values) > LEAST_GAIN else "gaussian_diag"


def _gain_of_logarithms(values: np.ndarray) -> float:
    """Nats a row by which a log-normal is above a Gaussian, each at its best."""
    if values.min() <= 0.0 or values.std() == 0.0:
        return 0.0
    logs = np.log(values)
    if logs.std() == 0.0:
        return 0.0
    return float(np.log(values.std()) - np.log(logs.std()) - logs.mean())
