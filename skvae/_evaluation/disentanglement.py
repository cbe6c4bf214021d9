"""Whether codes have found the factors that made the data, where these are known.

All of them compare codes (n, k) with factors (n, F), whatever the codes are of. None
can be computed without factors, and they do not agree with one another: Locatello et
al. (2019) compare them.

With I the mutual information of a code, in bins, and a factor, and H an entropy:

- mutual information gap (Chen et al., 2018): by how much the best code of a factor is
  ahead of the second best, over the factor's entropy, averaged over factors.
- modularity (Ridgeway & Mozer, 2018): of every code the sum of ``I^2`` over the factors
  but its best one, over F - 1 times that of the best, taken from 1 and averaged over
  codes; 0 for a code that knows none.
- DCI (Eastwood & Williams, 2018): with R the importance of every code for the
  prediction of every factor, ``1 - H(R of a code) / ln F``, codes weighing by their
  importance, is disentanglement; ``1 - H(R of a factor) / ln k``, averaged over
  factors, completeness; how well factors are predicted, informativeness.
- SAP (Kumar et al., 2018): as the first, by how well one code alone predicts a factor.
- beta-VAE score (Higgins et al., 2017): how well a linear classifier tells, from the
  mean difference of codes in pairs of rows that share a factor, which factor it is.
- FactorVAE score (Kim & Mnih, 2018): how often the code that varies least among rows
  that share a factor tells, by majority vote, which it is.
- total correlation (Watanabe, 1960): KL of the joint distribution of codes from the
  product of their own, of Gaussians ``-1/2 ln det`` of their correlations.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import entropy
from sklearn.base import clone, is_classifier
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score
from sklearn.model_selection import (
    KFold,
    StratifiedKFold,
    cross_val_score,
    train_test_split,
)
from sklearn.svm import LinearSVC
from sklearn.utils.random import sample_without_replacement

# Codes whose variance is a smaller share of the largest are constant.
_DEAD = 1e-12


class DCI(NamedTuple):
    """What :func:`dci` finds, each at most 1.

    Attributes
    ----------
    disentanglement, completeness, informativeness : float
    importances : ndarray of shape (k, n_factors)
        Of every code for every factor; every factor's add up to 1, or are all 0.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    importances: np.ndarray


def in_bins(values: np.ndarray, n_bins: int) -> np.ndarray:
    """Every column in bins of equal width, by their numbers; int, of that shape."""
    low, high = values.min(axis=0), values.max(axis=0)
    width = np.where(high > low, high - low, 1.0)
    return np.minimum(((values - low) / width * n_bins).astype(int), n_bins - 1)


def classes_of(factors: np.ndarray, n_bins: int) -> np.ndarray:
    """Every column's values by their numbers; of measured ones, bins of equal width.

    Measured are numbers with a fraction that have more values than bins.
    """
    found = np.empty(factors.shape, dtype=int)
    for j, column in enumerate(factors.T):
        values, found[:, j] = np.unique(column, return_inverse=True)
        if len(values) > n_bins and is_measured(column):
            found[:, j] = in_bins(column.astype(float)[:, None], n_bins)[:, 0]
    return found


def is_measured(factor: np.ndarray) -> bool:
    """Whether a factor has numbers with a fraction."""
    if factor.dtype.kind != "f":
        return False
    return bool((factor != np.rint(factor)).any())


def mutual_informations(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Of every code and every factor, both by numbers, (k, F), in nats."""
    return np.array([[mutual_info_score(c, f) for f in factors.T] for c in codes.T])


def gap_of(informations: np.ndarray, factors: np.ndarray) -> float:
    """Mutual information gap from :func:`mutual_informations`."""
    entropies = np.array([entropy(np.bincount(f)) for f in factors.T])
    return float((lead_of_best(informations) / entropies).mean())


def lead_of_best(scores: np.ndarray) -> np.ndarray:
    """Of scores (k, F), by how much the best of every column beats the next, (F,)."""
    ordered = np.sort(scores, axis=0)
    second = ordered[-2] if len(ordered) > 1 else 0.0
    return ordered[-1] - second


def modularity_of(informations: np.ndarray) -> float:
    """Modularity from :func:`mutual_informations`."""
    squares = informations**2
    best = squares.max(axis=1)
    if squares.shape[1] == 1:
        return float((best > 0.0).mean())
    others = (squares.sum(axis=1) - best) / (squares.shape[1] - 1)
    share = np.divide(others, best, out=np.ones_like(best), where=best > 0.0)
    return float((1.0 - share).mean())


def disentanglement_of(importances: np.ndarray) -> float:
    """Of a matrix (k, F) of importances."""
    k, n_factors = importances.shape
    of_codes = importances.sum(axis=1)
    if of_codes.sum() == 0.0:
        return 0.0
    if n_factors == 1:
        return 1.0
    used = of_codes > 0.0
    each = np.zeros(k)
    each[used] = 1.0 - entropy(importances[used], axis=1) / np.log(n_factors)
    return float(each @ of_codes / of_codes.sum())


def completeness_of(importances: np.ndarray) -> float:
    """Of a matrix (k, F) of importances."""
    k, n_factors = importances.shape
    if k == 1:
        return float((importances.sum(axis=0) > 0.0).mean())
    used = importances.sum(axis=0) > 0.0
    each = np.zeros(n_factors)
    each[used] = 1.0 - entropy(importances[:, used], axis=0) / np.log(k)
    return float(each.mean())


def standardised(codes: np.ndarray) -> np.ndarray:
    """Every code with mean 0 and variance 1, constant ones 0."""
    spread = codes.std(axis=0)
    return (codes - codes.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0)


def with_repeated_values(labels: np.ndarray) -> np.ndarray:
    """Whether a value is that of another row, too, (n,)."""
    return np.bincount(labels)[labels] > 1


def importances_and_scores(
    codes: np.ndarray,
    factors: Sequence[np.ndarray],
    estimator: Any,
    test_size: float,
    random_state: np.random.RandomState,
) -> tuple[np.ndarray, np.ndarray]:
    """Of every code for every factor (k, F), and how factors are predicted, (F,).

    Codes are standardised: sizes of coefficients then compare.
    """
    importances, scores = [], []
    for factor in factors:
        Z, target = _to_predict(standardised(codes), factor)
        model = seeded(_model_for(estimator, is_measured(factor)), random_state)
        train, test, own, other = _split(Z, target, test_size, random_state)
        model.fit(train, own)
        found = np.abs(_importances(model))
        total = found.sum()
        importances.append(found / total if total > 0.0 else found)
        scores.append(max(0.0, model.score(test, other)))
    return np.stack(importances, axis=1), np.array(scores)


def _to_predict(codes: np.ndarray, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes, and measured values, or the numbers of values that rows share."""
    if is_measured(factor):
        return codes, factor
    labels = np.unique(factor, return_inverse=True)[1]
    kept = with_repeated_values(labels)
    return codes[kept], np.unique(labels[kept], return_inverse=True)[1]


def _split(
    codes: np.ndarray,
    target: np.ndarray,
    test_size: float,
    random_state: np.random.RandomState,
) -> list[np.ndarray]:
    """Codes to fit to and to score, and their targets; classes in like shares."""
    n_test = int(np.ceil(test_size * len(target)))
    least = min(n_test, len(target) - n_test)
    if least < 2:
        raise ValueError(
            f"test_size={test_size} of {len(target)} rows leaves {least} on one side; "
            "2 are needed to fit to, and 2 to score."
        )
    classes = target.dtype.kind == "i" and target.max() < least
    return train_test_split(
        codes,
        target,
        test_size=n_test,
        stratify=target if classes else None,
        random_state=random_state,
    )


def seeded(estimator: Any, random_state: np.random.RandomState) -> Any:
    """A clone whose seeds, those of steps in it too, are drawn from a generator."""
    model = clone(estimator)
    names = sorted(model.get_params())
    seeds = {
        name: random_state.randint(2**31 - 1)
        for name in names
        if name == "random_state" or name.endswith("__random_state")
    }
    return model.set_params(**seeds)


def _model_for(estimator: Any, measured: bool) -> Any:
    if estimator is not None:
        return estimator
    kind = RandomForestRegressor if measured else RandomForestClassifier
    # Every split looks at all codes: one that knows nothing is then not taken.
    return kind(n_estimators=50, min_samples_leaf=5, max_features=1.0)


def _importances(model: Any) -> np.ndarray:
    """Of every code, (k,): what trees say of it, or the size of coefficients."""
    if hasattr(model, "feature_importances_"):
        return np.asarray(model.feature_importances_, dtype=float)
    if not hasattr(model, "coef_"):
        raise ValueError(
            f"{type(model).__name__} has neither feature_importances_ nor coef_, which "
            "tell how much every code matters: take a forest, or a linear model."
        )
    return np.abs(np.atleast_2d(model.coef_)).mean(axis=0)


def predictability(
    codes: np.ndarray,
    factors: Sequence[np.ndarray],
    estimator: Any,
    random_state: np.random.RandomState,
) -> np.ndarray:
    """How well every code alone predicts every factor, (k, F), 0 to 1.

    The squared correlation with measured factors, the accuracy of a classifier with
    others, cross-validated, above that of the most frequent class.
    """
    found = np.zeros((codes.shape[1], len(factors)))
    for j, factor in enumerate(factors):
        measured = is_measured(factor)
        Z, target = _to_predict(standardised(codes), factor)
        folds = (KFold if measured else StratifiedKFold)(
            2, shuffle=True, random_state=random_state.randint(2**31 - 1)
        )
        for i, code in enumerate(Z.T):
            if np.ptp(code) == 0.0:
                continue
            if measured and estimator is None:
                found[i, j] = np.corrcoef(code, target)[0, 1] ** 2
                continue
            model = LinearSVC(C=0.01) if estimator is None else estimator
            model = seeded(model, random_state)
            score = cross_val_score(model, code[:, None], target, cv=folds).mean()
            least = 0.0
            if is_classifier(model):
                least = np.bincount(target).max() / len(target)
            found[i, j] = max(0.0, score - least)
    return found


def pairs_that_share(
    labels: np.ndarray, n_pairs: int, random_state: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of rows (n_pairs,) and of other rows that have the same label.

    No row is paired with itself: a difference of 0 in all codes would tell factors of
    many values from others, whatever the codes know.
    """
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    places = np.empty(len(labels), dtype=int)
    places[order] = np.arange(len(labels)) - starts[labels[order]]
    shared = np.flatnonzero(with_repeated_values(labels))
    first = shared[random_state.randint(len(shared), size=n_pairs)]
    own = labels[first]
    place = (random_state.uniform(size=n_pairs) * (counts[own] - 1)).astype(int)
    place += place >= places[first]
    return first, order[starts[own] + place]


def beta_vae_accuracy(
    codes: np.ndarray,
    labels: np.ndarray,
    n_points: int,
    n_pairs: int,
    estimator: Any,
    random_state: np.random.RandomState,
) -> float:
    """Accuracy, on other points, of a classifier of mean differences in pairs."""
    which = random_state.randint(labels.shape[1], size=2 * n_points)
    points = np.empty((2 * n_points, codes.shape[1]))
    for i, j in enumerate(which):
        one, other = pairs_that_share(labels[:, j], n_pairs, random_state)
        points[i] = np.abs(codes[one] - codes[other]).mean(axis=0)
    model = LogisticRegression(max_iter=2000) if estimator is None else estimator
    model = seeded(model, random_state)
    scale = points[:n_points].std(axis=0)
    points = points / np.where(scale > 0.0, scale, 1.0)
    model.fit(points[:n_points], which[:n_points])
    return float(model.score(points[n_points:], which[n_points:]))


def _is_alive(variance: np.ndarray) -> np.ndarray:
    """Which codes of a variance (k,) are not constant."""
    return variance > _DEAD * max(variance.max(), 1e-300)


def factor_vae_accuracy(
    codes: np.ndarray,
    labels: np.ndarray,
    n_points: int,
    n_rows: int,
    random_state: np.random.RandomState,
) -> float:
    """How often a majority vote tells, on other points, which factor rows share."""
    variance = codes.var(axis=0)
    alive = np.flatnonzero(_is_alive(variance))
    if not len(alive):
        return 0.0
    scaled = codes[:, alive] / np.sqrt(variance[alive])
    orders = [np.argsort(column, kind="stable") for column in labels.T]
    counts = [np.bincount(column) for column in labels.T]
    shared = [np.flatnonzero(with_repeated_values(column)) for column in labels.T]
    votes = np.zeros((2, len(alive), labels.shape[1]), dtype=int)
    for i in range(2 * n_points):
        j = random_state.randint(labels.shape[1])
        own = labels[shared[j][random_state.randint(len(shared[j]))], j]
        start, count = counts[j][:own].sum(), counts[j][own]
        place = start + sample_without_replacement(
            count, min(n_rows, count), random_state=random_state
        )
        least = int(scaled[orders[j][place]].var(axis=0).argmin())
        votes[i // n_points, least, j] += 1
    chosen = votes[0].argmax(axis=1)
    return float(votes[1, np.arange(len(alive)), chosen].sum() / n_points)


def gaussian_total_correlation(codes: np.ndarray) -> float:
    """Of Gaussians with the correlations of the codes, in nats; constant ones left out.

    Infinite where a code is a linear function of others.
    """
    alive = codes[:, _is_alive(codes.var(axis=0))]
    if alive.shape[1] < 2:
        return 0.0
    values = np.linalg.eigvalsh(np.corrcoef(alive.T))
    # What is left of an eigenvalue of 0 after rounding.
    if values[0] <= len(values) * np.finfo(float).eps * values[-1]:
        return float("inf")
    return max(0.0, float(-0.5 * np.log(values).sum()))
