"""X as users have it -> X as the estimators need it."""

from numbers import Integral

import numpy as np
import torch
from scipy import sparse

from .containers import refuse_containers
from .names import repeated, some
from .warn import warn_user

# A column whose standard deviation is this many times the median column's decides the
# fit alone.
BAD_SCALING_RATIO = 1000.0
# Squares of smaller numbers are 0, or have lost their digits.
SMALLEST_SQUARED = 1e-150
# Share of constant columns from which on they are worth a word: images have a tenth to
# a quarter of them, tables of single cells half.
MANY_CONSTANT = 0.4


def from_torch(X):
    """A torch tensor as an ndarray or CSR array; anything else as it is.

    Raises
    ------
    TypeError
        If X is a container whose table is to be passed instead.
    """
    refuse_containers(X)
    if not isinstance(X, torch.Tensor):
        return X
    X = X.detach().cpu()
    if X.dtype in (torch.float16, torch.bfloat16):
        X = X.float()
    if X.layout is torch.strided:
        return X.resolve_conj().resolve_neg().numpy()
    X = X.to_sparse_csr()
    parts = (X.values().resolve_neg(), X.col_indices(), X.crow_indices())
    return sparse.csr_array(tuple(p.numpy() for p in parts), shape=tuple(X.shape))


def refuse_columns(X) -> None:
    """Refuse a data frame whose columns are no numbers, by the name of the first.

    Raises
    ------
    ValueError
        If a name repeats, or a column holds text or times.
    """
    names, dtypes = getattr(X, "columns", None), getattr(X, "dtypes", None)
    if names is None or dtypes is None:
        return
    refuse_repeated_names(X)
    for name, dtype in zip(names, dtypes, strict=True):
        kind = str(dtype).lower()
        if kind.startswith(_TIMES):
            raise ValueError(
                f"Column {name!r} of X holds times ({dtype}): turn them into numbers, "
                "such as days since a date, or leave it out."
            )
        if kind.startswith(_TEXT) and _has_text(X[name]):
            raise ValueError(
                f"Column {name!r} of X holds text ({dtype}): encode it first, with an "
                "OneHotEncoder or an OrdinalEncoder, or leave it out; "
                "VAETransformer(likelihood='mixed') takes it as it is."
            )


def refuse_repeated_names(X) -> None:
    """Refuse a data frame two of whose columns have the same name.

    Raises
    ------
    ValueError
        Names it.
    """
    twice = repeated(map(str, X.columns))
    if twice:
        raise ValueError(f"Names of columns of X appear more than once: {some(twice)}.")


_TIMES = ("date", "time", "duration", "period")
_TEXT = ("object", "str", "utf8", "categor", "enum")


def _has_text(column) -> bool:
    """Whether a column of objects has a word that is no number."""
    for value in column:
        if isinstance(value, str):
            try:
                float(value)
            except ValueError:
                return True
    return False


def canonical(X):
    """Sparse rows with one entry a place, as scipy means them; anything else as it is.

    Entries that are stored twice add up, but whoever walks through the entries, as
    scikit-learn's moments do, takes them for two values. The user's matrix stays as it
    is.
    """
    if not sparse.issparse(X):
        return X
    # A view of the parts forgets what the matrix once noted about them.
    view = type(X)((X.data, X.indices, X.indptr), shape=X.shape)
    if view.has_canonical_format:
        return X
    copied = view.copy()
    copied.sum_duplicates()
    return copied


class Overflowed(ValueError):
    """Finite rows gave something that is not."""


def checked_finite(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """What was computed from finite X of a dtype, checked to be finite itself.

    Raises
    ------
    Overflowed
        If it is not.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        # The sum is finite in nearly every case, and costs no memory.
        if np.isfinite(values.sum()) or np.isfinite(values).all():
            return values
    advice = "pass X as float64" if dtype == np.float32 else "clip or drop such rows"
    raise Overflowed(
        f"X has values so large that {dtype} overflows on the way; {advice}, or put a "
        "sklearn.preprocessing.StandardScaler in front."
    )


def float_dtypes(X) -> list[type]:
    """dtypes to accept, the first the one that others are converted to.

    Small integers (pixels, counts) are exact in float32 and half the size there.
    """
    dtype = getattr(X, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf" and dtype.itemsize <= 2:
        return [np.float32, np.float64]
    return [np.float64, np.float32]


def refuse_underflow(X, variance: np.ndarray) -> None:
    """Refuse values that differ, and whose squares do not.

    Raises
    ------
    ValueError
        If their variance underflows: the table would be taken for a constant one.
    """
    if variance.any():
        return
    least, largest = X.min(), X.max()
    if least != largest and max(-least, largest) < SMALLEST_SQUARED:
        raise ValueError(
            "X has values so small that their variance underflows; divide X by its "
            "largest absolute value, or put a StandardScaler in front."
        )


def first_of(X, bad: np.ndarray, feature_names=None) -> str:
    """The first bad entry in words, with the name of its column.

    ``bad`` is of the entries of X, or of the nonzeros of a CSR matrix.
    """
    if sparse.issparse(X):
        first = int(np.flatnonzero(bad)[0])
        column, value = int(X.indices[first]), X.data[first]
    else:
        row, column = np.argwhere(bad)[0]
        value = X[row, column]
    found = f"olumn {name_of(column, feature_names)} of X has {value:.12g}"
    # scikit-learn's words, which its checks look for.
    return f"Negative values in data: c{found}" if value < 0.0 else f"C{found}"


def name_of(column: int, feature_names=None) -> str:
    """What a user knows a column by: its name in quotes, or its number."""
    return str(column) if feature_names is None else repr(str(feature_names[column]))


def warn_if_badly_scaled(variance: np.ndarray, feature_names=None) -> None:
    """Warn, naming the column, if one column's spread dwarfs the others'."""
    varying = variance[variance > 0.0]
    if len(varying) < 2:
        return
    worst = int(variance.argmax())
    ratio = float(np.sqrt(variance[worst] / np.median(varying)))
    if ratio <= BAD_SCALING_RATIO:
        return
    name = name_of(worst, feature_names)
    warn_user(
        f"Column {name} of X has {ratio:.0f} times the standard deviation of the "
        "median column: the model will fit little else. Put a "
        "sklearn.preprocessing.StandardScaler in front (with_mean=False if X is "
        "sparse)."
    )


def warn_if_many_constant(variance: np.ndarray) -> None:
    """Warn, with their number, if many columns are constant."""
    n_columns = len(variance)
    n_constant = n_columns - int(np.count_nonzero(variance))
    if n_constant == n_columns or n_constant < MANY_CONSTANT * n_columns:
        return
    warn_user(
        f"{n_constant} of the {n_columns} columns of X are constant. They count as "
        "columns without noise, so they lower the noise variance and a fitted "
        "kld_weight and raise the score, as they do in PCA. Put a "
        "sklearn.feature_selection.VarianceThreshold in front."
    )


def normalised_activation(name: str, known) -> str:
    """ "LeakyReLU", "leaky-relu" and "leaky_relu" are one name.

    Raises
    ------
    ValueError
        If the name is not known.
    """
    plain = name.lower().replace("_", "").replace("-", "")
    for candidate in known:
        if plain == candidate.replace("_", ""):
            return candidate
    raise ValueError(
        f"activation={name!r} is not known; use one of {', '.join(sorted(known))}."
    )


def checked_n_samples(n_samples) -> int:
    """Number of rows to draw.

    Raises
    ------
    ValueError
        If it is not a positive integer.
    """
    if not isinstance(n_samples, Integral) or n_samples < 1:
        raise ValueError(f"n_samples={n_samples!r} must be a positive integer.")
    return int(n_samples)


def checked_size_factor(size_factor, n_rows: int) -> np.ndarray:
    """Size factors (n_rows,), float64, from one of each row or one for all.

    Raises
    ------
    ValueError
        If they are not positive, finite, and as many as rows.
    """
    size = np.asarray(size_factor, dtype=np.float64).squeeze()
    if size.ndim > 1 or (size.ndim == 1 and len(size) != n_rows):
        raise ValueError(
            f"size_factor has the shape {np.shape(size_factor)}, and there are "
            f"{n_rows} rows; give one number of each row, or one for all."
        )
    if not np.isfinite(size).all() or (size <= 0.0).any():
        raise ValueError("size_factor must be positive and finite in every row.")
    return np.broadcast_to(size, n_rows)


def checked_hidden_dims(hidden_dims) -> tuple[int, ...]:
    """Hidden widths as a tuple of ints.

    Raises
    ------
    ValueError
        If a width is not a positive integer.
    """
    widths = tuple(np.asarray(hidden_dims).ravel().tolist())
    for width in widths:
        if not isinstance(width, int) or isinstance(width, bool) or width < 1:
            raise ValueError(
                f"hidden_dims={hidden_dims!r} must hold positive integers; () is a "
                "linear model."
            )
    return widths
