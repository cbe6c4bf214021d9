"""Measures of whether codes have found known factors, as ``skvae.metrics`` has them."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils._param_validation import HasMethods, Interval, validate_params

from ._data.frames import TEXT, Column, columns_of, library_of
from ._evaluation.disentanglement import (
    DCI,
    beta_vae_accuracy,
    classes_of,
    completeness_of,
    disentanglement_of,
    factor_vae_accuracy,
    gap_of,
    gaussian_total_correlation,
    importances_and_scores,
    in_bins,
    is_measured,
    lead_of_best,
    modularity_of,
    mutual_informations,
    predictability,
    with_repeated_values,
)
from ._utils.docs import filled
from ._utils.names import some
from ._utils.seeds import private_generator
from ._utils.typing import RandomState, Table
from ._utils.validation import from_torch

_T = TypeVar("_T")

_documented = filled(
    {
        "arrays": """
codes : array-like of shape (n_samples, n_codes)
    As ``transform`` gives them.
factors : array-like or frame of shape (n_samples, n_factors) or (n_samples,)
    What the data were made of, or labels: every column one factor. Numbers with a
    fraction are measured; all other values are classes.
""",
        "bins": """
n_bins : int, default=20
    Bins of equal width that every code, and a measured factor, is cut into.
""",
        "random": """
random_state : int, RandomState instance or None, default=None
    Seed of splits and draws.
""",
        "raises": """
ValueError
    If an array is empty, has missing or infinite values, or no row of its own for
    every row of the other; if a factor is constant or of times, or a parameter is out
    of its range. The message names the factor.
""",
        "chance": """
Notes
-----
Mutual informations of few rows are too large, those of codes that know nothing, too: by
about (bins - 1)(values - 1) / (2 n_samples) nats (Miller, 1955). Have many times more
rows than ``n_bins`` times the values of a factor.
""",
        "few": """
With a handful of rows a value, codes that know nothing are above chance, too: the same
few rows come up in the points that are fitted and in those that are scored.
""",
        "shared": """
Notes
-----
Rows whose value of a factor no other row has are left out where that factor is looked
at, for nothing can be told from one row. Of every factor at least two values must be
shared.
""",
    }
)

_ANY = {"codes": "no_validation", "factors": "no_validation"}
_BINS = {"n_bins": [Interval(Integral, 2, None, closed="left")]}
_RANDOM = {"random_state": ["random_state"]}
_ESTIMATOR = {"estimator": [HasMethods(["fit", "score", "get_params"]), None]}
_POINTS = {"n_points": [Interval(Integral, 2, None, closed="left")]}
# What the measures need to fit to two rows, and to score two others.
LEAST_PREDICTED = 4


def _validated(*parts: dict[str, Any], **more: Any) -> Callable[[_T], _T]:
    """Parameters are checked as scikit-learn does; arrays are by the functions."""
    known = {name: kind for part in (_ANY, *parts, more) for name, kind in part.items()}
    return validate_params(known, prefer_skip_nested_validation=True)


@_validated(_BINS)
@_documented
def mutual_information_gap(codes: Table, factors: Table, *, n_bins: int = 20) -> float:
    """By how much the best code of every factor is ahead of the second best.

    In mutual information, as a share of the factor's entropy, averaged over factors
    [1]_: 1 where every factor is in one code and in no other.

    Parameters
    ----------
    %(arrays)s
    %(bins)s

    Returns
    -------
    gap : float
        In [0, 1].

    Raises
    ------
    %(raises)s

    %(chance)s

    References
    ----------
    .. [1] Chen, Li, Grosse and Duvenaud (2018). Isolating Sources of Disentanglement in
       VAEs. NeurIPS.
    """
    Z, known = _checked(codes, factors)
    labels = _labels(known, n_bins)
    return gap_of(mutual_informations(in_bins(Z, n_bins), labels), labels)


@_validated(_BINS)
@_documented
def modularity(codes: Table, factors: Table, *, n_bins: int = 20) -> float:
    """How far every code knows of one factor and of no other.

    One minus the squared mutual information with all factors but the best one, relative
    to that with the best, averaged over codes; a code that knows none has 0 [1]_.

    Parameters
    ----------
    %(arrays)s
    %(bins)s

    Returns
    -------
    modularity : float
        In [0, 1].

    Raises
    ------
    %(raises)s

    %(chance)s
    A code that knows nothing thus seems to know the factor of most values and no other,
    and has a modularity near 1 rather than 0: leave inactive units out.

    References
    ----------
    .. [1] Ridgeway and Mozer (2018). Learning Deep Disentangled Embeddings with the
       F-Statistic Loss. NeurIPS.
    """
    Z, known = _checked(codes, factors)
    labels = _labels(known, n_bins)
    return modularity_of(mutual_informations(in_bins(Z, n_bins), labels))


@_validated(_ESTIMATOR, _RANDOM, test_size=[Interval(Real, 0, 1, closed="neither")])
@_documented
def dci(
    codes: Table,
    factors: Table,
    *,
    estimator: Any = None,
    test_size: float = 0.3,
    random_state: RandomState = None,
) -> DCI:
    """Disentanglement, completeness and informativeness.

    An estimator predicts every factor from the codes and says how much each code
    matters for it [1]_. Disentanglement: every code matters for one factor.
    Completeness: for every factor one code matters. Informativeness: factors are
    predicted, by the score of the estimator on rows that it was not fitted to.

    Parameters
    ----------
    %(arrays)s
    estimator : estimator or None, default=None
        With ``feature_importances_`` or ``coef_``; a clone is fitted to every factor.
        None is a random forest, of 50 trees with 5 rows a leaf or more: a classifier,
        or a regressor of measured factors.
    test_size : float, default=0.3
        Share of the rows that scores are of.
    %(random)s

    Returns
    -------
    found : DCI
        ``disentanglement``, ``completeness``, ``informativeness`` (mean accuracy, or
        R^2 of measured factors, at least 0) and ``importances`` (n_codes, n_factors).

    Raises
    ------
    %(raises)s

    %(shared)s

    References
    ----------
    .. [1] Eastwood and Williams (2018). A Framework for the Quantitative Evaluation of
       Disentangled Representations. ICLR.
    """
    Z, known = _checked(codes, factors)
    _check_predicted(Z, known)
    generator = private_generator(random_state)
    found, scores = importances_and_scores(
        Z, list(known.values()), estimator, test_size, generator
    )
    return DCI(
        disentanglement_of(found), completeness_of(found), float(scores.mean()), found
    )


@_validated(_ESTIMATOR, _RANDOM)
@_documented
def sap_score(
    codes: Table,
    factors: Table,
    *,
    estimator: Any = None,
    random_state: RandomState = None,
) -> float:
    """By how much one code alone predicts a factor better than any other does.

    Separated attribute predictability [1]_: of every factor the difference of the best
    and the second best code, averaged. How well a code predicts is the squared
    correlation with a measured factor, and the accuracy of a linear classifier above
    that of the most frequent class with any other, on rows that it was not fitted to.

    Parameters
    ----------
    %(arrays)s
    estimator : estimator or None, default=None
        A clone is fitted to every code and factor. None is a linear support vector
        classifier with C=0.01, and the squared correlation.
    %(random)s

    Returns
    -------
    score : float
        In [0, 1].

    Raises
    ------
    %(raises)s

    %(shared)s

    References
    ----------
    .. [1] Kumar, Sattigeri and Balakrishnan (2018). Variational Inference of
       Disentangled Latent Concepts from Unlabeled Observations. ICLR.
    """
    Z, known = _checked(codes, factors)
    _check_predicted(Z, known)
    found = predictability(
        Z, list(known.values()), estimator, private_generator(random_state)
    )
    return float(lead_of_best(found).mean())


@_validated(
    _BINS,
    _ESTIMATOR,
    _POINTS,
    _RANDOM,
    n_pairs=[Interval(Integral, 1, None, closed="left")],
)
@_documented
def beta_vae_score(
    codes: Table,
    factors: Table,
    *,
    n_points: int = 1000,
    n_pairs: int = 64,
    n_bins: int = 20,
    estimator: Any = None,
    random_state: RandomState = None,
) -> float:
    """How well a linear classifier tells which factor pairs of rows share.

    A point is the mean absolute difference of the codes in pairs of rows that have one
    factor in common, and its class which one that is [1]_.

    Parameters
    ----------
    %(arrays)s
    n_points : int, default=1000
        Points to fit to, and as many to score.
    n_pairs : int, default=64
        Pairs a point.
    n_bins : int, default=20
        Bins of equal width that a measured factor is cut into.
    estimator : estimator or None, default=None
        A classifier, of which a clone is fitted. None is logistic regression.
    %(random)s

    Returns
    -------
    accuracy : float
        In [0, 1]; one over the number of factors is chance.

    Raises
    ------
    %(raises)s

    %(shared)s
    %(few)s

    References
    ----------
    .. [1] Higgins et al. (2017). beta-VAE: Learning Basic Visual Concepts with a
       Constrained Variational Framework. ICLR.
    """
    Z, known = _checked(codes, factors)
    labels = _labels(known, n_bins)
    _check_told_apart(known, labels)
    generator = private_generator(random_state)
    return beta_vae_accuracy(Z, labels, n_points, n_pairs, estimator, generator)


@_validated(
    _BINS, _POINTS, _RANDOM, n_rows=[Interval(Integral, 2, None, closed="left")]
)
@_documented
def factor_vae_score(
    codes: Table,
    factors: Table,
    *,
    n_points: int = 1000,
    n_rows: int = 64,
    n_bins: int = 20,
    random_state: RandomState = None,
) -> float:
    """How often the code that varies least tells which factor rows share.

    A point is which code, in units of its standard deviation, varies least among rows
    that have one value of one factor; a majority vote makes a factor of it [1]_.

    Parameters
    ----------
    %(arrays)s
    n_points : int, default=1000
        Points to vote by, and as many to score.
    n_rows : int, default=64
        Rows a point.
    n_bins : int, default=20
        Bins of equal width that a measured factor is cut into.
    %(random)s

    Returns
    -------
    accuracy : float
        In [0, 1]; one over the number of factors is chance.

    Raises
    ------
    %(raises)s

    %(shared)s
    %(few)s

    References
    ----------
    .. [1] Kim and Mnih (2018). Disentangling by Factorising. ICML.
    """
    Z, known = _checked(codes, factors)
    labels = _labels(known, n_bins)
    _check_told_apart(known, labels)
    generator = private_generator(random_state)
    return factor_vae_accuracy(Z, labels, n_points, n_rows, generator)


def total_correlation(codes: Table) -> float:
    """How far codes depend on each other, if they are Gaussian.

    KL of their joint distribution from the product of their own [1]_,
    ``-1/2 ln det R`` with R their correlations; constant codes are left out. It needs
    no factors, and says nothing of whether codes have found any.

    Parameters
    ----------
    codes : array-like of shape (n_samples, n_codes)
        As ``transform`` gives them.

    Returns
    -------
    total_correlation : float
        Nats; 0 for uncorrelated codes, infinite where one is a linear function of
        others.

    Raises
    ------
    ValueError
        If codes are empty or not finite.

    References
    ----------
    .. [1] Watanabe (1960). Information Theoretical Analysis of Multivariate
       Correlation. IBM Journal of Research and Development 4.
    """
    Z = _checked_codes(codes)
    return gaussian_total_correlation(Z)


_Factors = dict[Any, np.ndarray]


def _labels(factors: _Factors, n_bins: int) -> np.ndarray:
    """Values of factors by numbers, (n, n_factors)."""
    parts = [classes_of(values[:, None], n_bins) for values in factors.values()]
    return np.concatenate(parts, axis=1)


def _checked_codes(codes: Table) -> np.ndarray:
    return check_array(
        from_torch(codes), dtype=np.float64, ensure_min_samples=2, input_name="codes"
    )


def _checked(codes: Table, factors: Table) -> tuple[np.ndarray, _Factors]:
    """Codes as floats, and factors by name: numbers as floats, all others as str."""
    Z = _checked_codes(codes)
    found = {column.name: _values(column) for column in _columns(factors)}
    if not found:
        raise ValueError("factors has no column.")
    for values in found.values():
        check_consistent_length(Z, values)
    constant = [name for name, values in found.items() if len(np.unique(values)) < 2]
    if constant:
        raise ValueError(
            f"Factor {some(constant)} is the same in all rows: leave it out."
        )
    return Z, found


def _columns(factors: Table) -> list[Column]:
    factors = from_torch(factors)
    if hasattr(factors, "to_frame"):  # a column of pandas or polars
        factors = factors.to_frame()
    if library_of(factors) == "":
        shape = np.shape(factors)
        if len(shape) not in (1, 2) or 0 in shape:
            raise ValueError(
                f"factors has the shape {shape}; it must be (n_samples,) or "
                "(n_samples, n_factors)."
            )
        if len(shape) == 1:
            # Of lists every value keeps its own type: numbers stay numbers.
            kind = factors.dtype if isinstance(factors, np.ndarray) else object
            factors = np.asarray(factors, dtype=kind)[:, None]
    return columns_of(factors)


def _values(column: Column) -> np.ndarray:
    missing = column.missing if column.kind == TEXT else ~np.isfinite(column.values)
    if missing.any():
        raise ValueError(
            f"Factor {column.name} has values that are missing or infinite."
        )
    return column.values.astype(str) if column.kind == TEXT else column.values


def _check_predicted(Z: np.ndarray, factors: _Factors) -> None:
    """For measures that fit an estimator to some rows and score it on others."""
    if len(Z) < LEAST_PREDICTED:
        raise ValueError(
            f"codes has {len(Z)} rows; this measure fits to some and scores others, "
            f"and needs {LEAST_PREDICTED} or more."
        )
    classes = {name: of for name, of in factors.items() if not is_measured(of)}
    if classes:
        _check_shared(list(classes), _labels(classes, len(Z)))


def _check_told_apart(factors: _Factors, labels: np.ndarray) -> None:
    """For measures that tell which factor rows share."""
    if len(factors) < 2:
        raise ValueError(
            "factors has 1 column; this measure tells 2 or more from each other."
        )
    _check_shared(list(factors), labels)


def _check_shared(names: list, labels: np.ndarray) -> None:
    for name, of in zip(names, labels.T, strict=True):
        if len(np.unique(of[with_repeated_values(of)])) < 2:
            raise ValueError(
                f"Factor {name} has fewer than two values that two rows share: nothing "
                "can be told from it. Give it fewer values, or leave it out."
            )


__all__ = [
    "DCI",
    "beta_vae_score",
    "dci",
    "factor_vae_score",
    "modularity",
    "mutual_information_gap",
    "sap_score",
    "total_correlation",
]
