"""Measures of whether codes have found known factors, as ``skvae.metrics`` has them."""

from typing import Any

import numpy as np
from sklearn.utils import check_array, check_consistent_length, column_or_1d

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
    modularity_of,
    mutual_informations,
    predictability,
)
from ._utils.docs import filled
from ._utils.names import some
from ._utils.seeds import private_generator
from ._utils.typing import RandomState, Table

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
    If an array is empty or not finite, their lengths differ, or a factor is constant.
""",
    }
)


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

    References
    ----------
    .. [1] Chen, Li, Grosse and Duvenaud (2018). Isolating Sources of Disentanglement in
       VAEs. NeurIPS.
    """
    Z, columns = _checked(codes, factors)
    labels = classes_of_columns(columns, n_bins)
    return gap_of(mutual_informations(in_bins(Z, n_bins), labels), labels)


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

    References
    ----------
    .. [1] Ridgeway and Mozer (2018). Learning Deep Disentangled Embeddings with the
       F-Statistic Loss. NeurIPS.
    """
    Z, columns = _checked(codes, factors)
    labels = classes_of_columns(columns, n_bins)
    return modularity_of(mutual_informations(in_bins(Z, n_bins), labels))


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

    References
    ----------
    .. [1] Eastwood and Williams (2018). A Framework for the Quantitative Evaluation of
       Disentangled Representations. ICLR.
    """
    Z, columns = _checked(codes, factors)
    generator = private_generator(random_state)
    found, scores = importances_and_scores(Z, columns, estimator, test_size, generator)
    return DCI(
        disentanglement_of(found), completeness_of(found), float(scores.mean()), found
    )


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

    References
    ----------
    .. [1] Kumar, Sattigeri and Balakrishnan (2018). Variational Inference of
       Disentangled Latent Concepts from Unlabeled Observations. ICLR.
    """
    Z, columns = _checked(codes, factors)
    found = predictability(Z, columns, estimator, private_generator(random_state))
    ordered = np.sort(found, axis=0)
    second = ordered[-2] if len(ordered) > 1 else 0.0
    return float((ordered[-1] - second).mean())


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

    References
    ----------
    .. [1] Higgins et al. (2017). beta-VAE: Learning Basic Visual Concepts with a
       Constrained Variational Framework. ICLR.
    """
    Z, columns = _checked(codes, factors, least=2)
    labels, generator = (
        classes_of_columns(columns, n_bins),
        private_generator(random_state),
    )
    return beta_vae_accuracy(Z, labels, n_points, n_pairs, estimator, generator)


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

    References
    ----------
    .. [1] Kim and Mnih (2018). Disentangling by Factorising. ICML.
    """
    Z, columns = _checked(codes, factors, least=2)
    labels, generator = (
        classes_of_columns(columns, n_bins),
        private_generator(random_state),
    )
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
    Z = check_array(codes, dtype=np.float64, ensure_min_samples=2, input_name="codes")
    return gaussian_total_correlation(Z)


def classes_of_columns(columns: list[np.ndarray], n_bins: int) -> np.ndarray:
    """Values of factors by numbers, (n, n_factors)."""
    parts = [classes_of(column[:, None], n_bins) for column in columns]
    return np.concatenate(parts, axis=1)


def _checked(
    codes: Table, factors: Table, least: int = 1
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Codes as floats, and factors column by column, each of a type of its own."""
    Z = check_array(codes, dtype=np.float64, ensure_min_samples=2, input_name="codes")
    columns, names = _columns(factors)
    if len(columns) < least:
        raise ValueError(
            f"factors has {len(columns)} column; this measure tells {least} or more "
            "from each other."
        )
    constant = []
    for name, column in zip(names, columns, strict=True):
        check_consistent_length(Z, column)
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            raise ValueError(f"Factor {name} has values that are missing or infinite.")
        if len(np.unique(column)) < 2:
            constant.append(name)
    if constant:
        raise ValueError(
            f"Factor {some(constant)} is the same in all rows: leave it out."
        )
    return Z, columns


def _columns(factors: Table) -> tuple[list[np.ndarray], list[str]]:
    if hasattr(factors, "columns") and hasattr(factors, "__getitem__"):
        names = list(map(str, factors.columns))
        columns = [np.asarray(factors[name]) for name in factors.columns]
    else:
        table = np.asarray(factors)
        table = table[:, None] if table.ndim == 1 else table
        if table.ndim != 2 or table.shape[1] == 0:
            raise ValueError(
                f"factors has the shape {table.shape}; it must be (n_samples,) or "
                "(n_samples, n_factors)."
            )
        columns, names = list(table.T), list(map(str, range(table.shape[1])))
    found = [column_or_1d(column) for column in columns]
    return [c.astype(str) if c.dtype.kind in "OUS" else c for c in found], names


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
