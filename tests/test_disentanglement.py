"""Measures of factors that were found, against cases whose answer is known."""

import math

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import make_spd_matrix
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer
from skvae._evaluation.disentanglement import (
    completeness_of,
    disentanglement_of,
    in_bins,
    modularity_of,
    mutual_informations,
    pairs_that_share,
)
from skvae.metrics import (
    DCI,
    beta_vae_score,
    dci,
    factor_vae_score,
    modularity,
    mutual_information_gap,
    sap_score,
    total_correlation,
)

OF_FACTORS = (
    beta_vae_score,
    dci,
    factor_vae_score,
    modularity,
    mutual_information_gap,
    sap_score,
)
SEEDED = (beta_vae_score, dci, factor_vae_score, sap_score)


@pytest.fixture(scope="module")
def factors():
    """Five independent factors of two to ten values."""
    rng = np.random.RandomState(0)
    return np.stack([rng.randint(n, size=4000) for n in (2, 3, 5, 10, 10)], axis=1)


def of_a_diagonal(codes, factors):
    return {
        "gap": mutual_information_gap(codes, factors),
        "sap": sap_score(codes, factors, random_state=0),
        "beta": beta_vae_score(codes, factors, random_state=0, n_points=200),
        "factor": factor_vae_score(codes, factors, random_state=0, n_points=200),
        "modularity": modularity(codes, factors),
        **dci(codes, factors, random_state=0)._asdict(),
    }


def test_codes_that_are_the_factors(factors):
    found = of_a_diagonal(factors.astype(float), factors)
    assert found["gap"] >= 0.9
    assert found["beta"] >= 0.95
    assert found["factor"] >= 0.95
    assert found["modularity"] >= 0.95
    assert found["disentanglement"] >= 0.95
    assert found["completeness"] >= 0.95
    assert found["informativeness"] == pytest.approx(1.0)
    assert found["sap"] >= 0.2  # a line tells the ends of ten values, no more


def test_codes_that_are_constant(factors):
    codes = np.ones((len(factors), 5))
    assert mutual_information_gap(codes, factors) <= 0.2
    assert modularity(codes, factors) == 0.0
    assert sap_score(codes, factors) == 0.0
    assert factor_vae_score(codes, factors) == 0.0
    assert dci(codes, factors, random_state=0)[:2] == (0.0, 0.0)
    assert total_correlation(codes) == 0.0


def test_codes_that_are_there_twice(factors):
    codes = np.repeat(factors.astype(float), 2, axis=1)
    assert mutual_information_gap(codes, factors) <= 0.1
    assert sap_score(codes, factors, random_state=0) <= 0.05
    assert modularity(codes, factors) >= 0.95


def test_codes_in_a_rotation_are_less_disentangled(factors):
    standard = (factors - factors.mean(0)) / factors.std(0)
    turned, _ = np.linalg.qr(np.random.RandomState(0).randn(5, 5))
    found = of_a_diagonal(standard @ turned, factors)
    whole = of_a_diagonal(standard, factors)
    for name in ("gap", "modularity", "disentanglement", "completeness", "factor"):
        assert found[name] < whole[name] - 0.1, name


def test_dci_of_a_diagonal_matrix_is_1():
    importances = np.diag([1.0, 2.0, 0.5, 1.0])
    assert disentanglement_of(importances) == pytest.approx(1.0)
    assert completeness_of(importances) == pytest.approx(1.0)


def test_dci_of_a_factor_in_two_of_ten_codes():
    importances = np.repeat(np.eye(5), 2, axis=0)
    assert disentanglement_of(importances) == pytest.approx(1.0)
    expected = 1.0 - math.log(2.0) / math.log(10.0)
    assert completeness_of(importances) == pytest.approx(expected)


def test_dci_of_codes_that_know_all_alike():
    importances = np.ones((5, 4))
    assert disentanglement_of(importances) == pytest.approx(0.0)
    assert completeness_of(importances) == pytest.approx(0.0)


class _Half(ClassifierMixin, BaseEstimator):
    """Says that the first two codes matter alike, and predicts a class."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.feature_importances_ = np.zeros(X.shape[1])
        self.feature_importances_[:2] = 0.5
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


def test_dci_takes_its_importances_from_the_estimator(factors):
    codes = np.repeat(factors.astype(float), 2, axis=1)
    found = dci(codes, factors, estimator=_Half(), random_state=0)
    assert isinstance(found, DCI)
    assert found.completeness == pytest.approx(1 - math.log(2) / math.log(10))
    assert found.disentanglement == pytest.approx(0.0)
    assert found.importances.shape == (10, 5)
    np.testing.assert_allclose(found.importances[:2], 0.5)
    linear = dci(factors * 1.0, factors[:, 0], estimator=LogisticRegression())
    assert linear.importances[:, 0].argmax() == 0


def test_an_estimator_without_importances_is_refused(factors):
    with pytest.raises(ValueError, match="feature_importances_ nor coef_"):
        dci(factors * 1.0, factors, estimator=KNeighborsClassifier())


def test_modularity_of_textbook_cases():
    identity = np.eye(3)
    assert modularity_of(identity) == pytest.approx(1.0)
    identity[2, 2] = 0.0  # a code that knows nothing
    assert modularity_of(identity) == pytest.approx(2.0 / 3.0)
    # Codes know two of ten factors alike: of nine others one, of as much.
    assert modularity_of(np.tile(np.eye(5), 2)) == pytest.approx(8.0 / 9.0)
    # Codes that know the same: each knows one factor.
    assert modularity_of(np.tile(np.eye(5), (2, 1))) == pytest.approx(1.0)
    # One of three codes knows two of four factors alike: 1 - 1/3.
    both = np.eye(3, 4)
    both[2, 3] = 1.0
    assert modularity_of(both) == pytest.approx(8.0 / 9.0)


def test_gap_by_hand():
    factor = np.array([0, 0, 1, 1] * 50)
    half = np.array([0, 0, 0, 1] * 50)
    p = {(0, 0): 0.5, (1, 0): 0.25, (1, 1): 0.25}
    known = sum(
        q * math.log(q / (0.5 * (0.75 if h == 0 else 0.25))) for (_, h), q in p.items()
    )
    codes = np.stack([factor, half], axis=1) * 1.0
    expected = (math.log(2) - known) / math.log(2)
    assert mutual_information_gap(codes, factor) == pytest.approx(expected)


def test_mutual_informations_of_few_rows_are_too_large(rng):
    """What the notes say: by (bins - 1)(values - 1) / 2n, which has no gap."""
    factors = np.stack([rng.randint(2, size=2000), rng.randint(11, size=2000)], axis=1)
    codes = rng.uniform(size=(2000, 60))
    found = mutual_informations(in_bins(codes, 20), factors).mean(axis=0)
    np.testing.assert_allclose(found, 19 * np.array([1, 10]) / 4000, rtol=0.1)
    assert mutual_information_gap(codes, factors) < 0.01
    assert modularity(codes, factors) > 0.9


def test_total_correlation_of_gaussians():
    rng = np.random.RandomState(0)
    independent = rng.randn(200_000, 4)
    assert total_correlation(independent) == pytest.approx(0.0, abs=1e-3)
    covariance = make_spd_matrix(4, random_state=1)
    codes = independent @ np.linalg.cholesky(covariance).T
    scale = np.sqrt(np.diag(covariance))
    exact = -0.5 * np.linalg.slogdet(covariance / np.outer(scale, scale))[1]
    assert exact > 0.1
    assert total_correlation(codes) == pytest.approx(exact, rel=0.02)
    # A constant code depends on nothing; a repeated one on another without bound.
    with_constant = np.column_stack([codes, np.ones(len(codes))])
    assert total_correlation(with_constant) == pytest.approx(total_correlation(codes))
    assert total_correlation(codes[:, [0, 0]]) == np.inf
    assert total_correlation(np.column_stack([codes, codes @ [1, -2, 3, 4]])) == np.inf
    assert total_correlation(codes[:4]) == np.inf  # fewer rows than the codes need


def test_pairs_share_their_label():
    rng = np.random.RandomState(0)
    labels = rng.randint(7, size=300)
    one, other = pairs_that_share(labels, 5000, rng)
    assert (labels[one] == labels[other]).all()
    # Every row of a label comes up as the other one, and never beside itself.
    assert len(np.unique(other)) == 300
    assert (one != other).all()


def test_pairs_of_a_label_are_equally_likely():
    labels = np.array([0, 1, 1, 0, 1, 2])
    one, other = pairs_that_share(labels, 80_000, np.random.RandomState(0))
    counts = np.zeros((6, 6))
    np.add.at(counts, (one, other), 1 / 80_000)
    # A row by chance, of those that share their label; then another one.
    expected = np.zeros((6, 6))
    expected[[0, 3], [3, 0]] = 1 / 5
    for i, j in [(1, 2), (1, 4), (2, 4)]:
        expected[[i, j], [j, i]] = 1 / 10
    np.testing.assert_allclose(counts, expected, atol=0.01)


@pytest.mark.parametrize("measure", [beta_vae_score, factor_vae_score])
def test_codes_that_know_nothing_do_not_tell_rare_values(measure):
    """Where rows were paired with themselves, differences of 0 told the factor."""
    rng = np.random.RandomState(0)
    factors = np.stack([rng.randint(2, size=600), rng.randint(500, size=600)], axis=1)
    found = [
        measure(rng.randn(600, 3), factors, n_points=300, random_state=seed)
        for seed in range(3)
    ]
    assert np.mean(found) < 0.75


def test_measured_factors_are_cut_into_bins():
    rng = np.random.RandomState(0)
    factors = rng.uniform(size=(2000, 2))
    codes = factors @ np.diag([2.0, -3.0]) + 0.01 * rng.randn(2000, 2)
    assert mutual_information_gap(codes, factors) > 0.8
    assert sap_score(codes, factors) > 0.9
    found = dci(codes, factors, random_state=0)
    assert min(found[:3]) > 0.9
    assert beta_vae_score(codes, factors, n_points=200, random_state=0) > 0.9


@pytest.mark.parametrize("measure", SEEDED, ids=lambda f: f.__name__)
def test_a_seed_repeats(measure, factors):
    codes = factors @ np.random.RandomState(1).randn(5, 5)
    some = slice(800)
    found = [measure(codes[some], factors[some, :3], random_state=3) for _ in range(2)]
    for one, other in (
        zip(*map(np.atleast_1d, (found[0], found[1])), strict=True)
        if (not isinstance(found[0], DCI))
        else zip(found[0], found[1], strict=True)
    ):
        np.testing.assert_array_equal(one, other)


FOREST = RandomForestClassifier(5)


@pytest.mark.parametrize(
    ("measure", "estimator"),
    [
        (beta_vae_score, FOREST),
        (dci, FOREST),
        (sap_score, make_pipeline(StandardScaler(), FOREST)),
    ],
)
def test_the_seed_is_the_estimator_s_too(measure, estimator, factors):
    codes = factors[:300] @ np.random.RandomState(1).randn(5, 5)
    more = {"n_points": 100} if measure is beta_vae_score else {}

    def found():
        value = measure(
            codes, factors[:300, :2], estimator=estimator, random_state=0, **more
        )
        return value[:3] if isinstance(value, DCI) else value

    state = np.random.get_state()
    try:
        np.random.seed(7)
        before = np.random.get_state()[1:3]
        assert found() == found()
        after = np.random.get_state()[1:3]
    finally:
        np.random.set_state(state)
    np.testing.assert_array_equal(before[0], after[0])
    assert before[1] == after[1]
    assert FOREST.random_state is None


def test_coefficients_do_not_depend_on_units_of_codes(rng):
    codes = rng.randn(500, 2)
    factor = codes @ [1.0, 1.0]
    linear = LinearRegression()
    found, other = (
        dci(codes * scale, factor, estimator=linear, random_state=0)
        for scale in ([1.0, 1.0], [1.0, 1000.0])
    )
    assert found.completeness == pytest.approx(0.0, abs=0.01)
    np.testing.assert_allclose(found.importances, other.importances)


def test_predictability_does_not_depend_on_the_order_of_rows(rng):
    """Halves of a grid that is sorted by one factor have different other factors."""
    one, other = np.divmod(np.arange(400), 20)
    factors = np.stack([one // 10, other], axis=1)
    codes = np.stack([one, other], axis=1) + 0.1 * rng.randn(400, 2)
    order = rng.permutation(400)
    found = sap_score(codes, factors, random_state=0)
    shuffled = sap_score(codes[order], factors[order], random_state=0)
    assert found == pytest.approx(shuffled, abs=0.05)


def test_rare_values_are_left_out(factors):
    codes, y = factors[:100] * 1.0, factors[:100, 0].astype(float)
    y[0] = 9.0  # the only row of its value
    linear = LogisticRegression()
    for measure in (dci, sap_score):
        found = measure(codes, y, estimator=linear, random_state=0)
        expected = measure(codes[1:], y[1:], estimator=linear, random_state=0)
        for a, b in zip(
            np.atleast_1d(found[:3] if measure is dci else found),
            np.atleast_1d(expected[:3] if measure is dci else expected),
            strict=True,
        ):
            assert a == pytest.approx(b, abs=0.05)


@pytest.mark.parametrize(
    "measure",
    [beta_vae_score, dci, factor_vae_score, sap_score],
    ids=lambda f: f.__name__,
)
def test_values_that_no_two_rows_share(measure, factors):
    few = np.stack([factors[:50, 0], np.arange(50)], axis=1)
    with pytest.raises(ValueError, match="Factor 1 has fewer than two values that two"):
        measure(factors[:50] * 1.0, few)


@pytest.mark.parametrize("measure", [dci, sap_score])
def test_too_few_rows(measure, rng):
    with pytest.raises(ValueError, match=r"codes has 3 rows; .* needs 4 or more"):
        measure(rng.randn(3, 2), rng.randn(3))
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        measure(rng.randn(1, 2), [1])


def test_a_split_that_leaves_nothing_to_score(rng):
    with pytest.raises(ValueError, match=r"test_size=0\.1 of 10 rows leaves 1"):
        dci(rng.randn(10, 2), rng.randn(10), test_size=0.1)


@pytest.mark.parametrize(
    ("measure", "wrong"),
    [
        (mutual_information_gap, {"n_bins": 1}),
        (modularity, {"n_bins": 2.5}),
        (dci, {"test_size": 1.5}),
        (sap_score, {"estimator": "forest"}),
        (beta_vae_score, {"n_pairs": 0}),
        (factor_vae_score, {"n_rows": 1}),
        (factor_vae_score, {"n_points": -3}),
    ],
)
def test_parameters_out_of_range(measure, wrong, factors):
    with pytest.raises(ValueError, match=f"'{next(iter(wrong))}' parameter"):
        measure(factors[:50] * 1.0, factors[:50], **wrong)


@pytest.mark.parametrize("measure", OF_FACTORS, ids=lambda f: f.__name__)
def test_bad_arrays_are_refused(measure, factors):
    codes = factors.astype(float)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        measure(codes[:-1], factors)
    with pytest.raises(ValueError, match="Factor 1 is the same in all rows"):
        measure(codes, np.where(np.arange(5) == 1, 3, factors))
    with pytest.raises(ValueError, match="contains NaN"):
        measure(np.where(codes == 0.0, np.nan, codes), factors)
    with pytest.raises(ValueError, match="Factor 0 has values that are missing"):
        measure(codes, np.where(factors == 0, np.nan, factors))
    with pytest.raises(ValueError, match="has the shape"):
        measure(codes, factors[:, :, None])


@pytest.mark.parametrize("measure", [beta_vae_score, factor_vae_score])
def test_one_factor_is_told_from_no_other(measure, factors):
    with pytest.raises(ValueError, match="2 or more"):
        measure(factors * 1.0, factors[:, 0])


def test_frames_and_words(factors):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"shape": np.array(["a", "b"])[factors[:, 0]]})
    frame["size"] = factors[:, 1]
    codes = factors[:, :2].astype(float)
    expected = mutual_information_gap(codes, factors[:, :2])
    assert mutual_information_gap(codes, frame) == pytest.approx(expected)
    with pytest.raises(ValueError, match="Factor size is the same"):
        modularity(codes, frame.assign(size=1))


def test_what_columns_hold(factors):
    pd = pytest.importorskip("pandas")
    rng = np.random.RandomState(0)
    codes, size = factors[:400, :2] + 0.1 * rng.randn(400, 2), rng.uniform(size=400)
    codes[:, 0] = size
    expected = mutual_information_gap(codes, size)
    objects = size.astype(object)
    held = [objects, list(size), pd.Series(size, dtype="Float64"), pd.Series(objects)]
    for column in held:
        assert mutual_information_gap(codes, column) == expected
    words = np.array(["a", "b", None] * 133 + ["a"], dtype=object)
    for column in (words, pd.Series(words), pd.Categorical(words)):
        with pytest.raises(ValueError, match="has values that are missing"):
            mutual_information_gap(codes, column)
    nullable = pd.DataFrame({"kind": pd.array([1, 2, None, 1] * 100, dtype="Int64")})
    with pytest.raises(ValueError, match="Factor kind has values that are missing"):
        mutual_information_gap(codes, nullable)
    with pytest.raises(ValueError, match="'day' of X holds times"):
        modularity(codes, pd.DataFrame({"day": pd.date_range("2020", periods=400)}))
    twice = pd.DataFrame(factors[:400, :2], columns=["a", "a"])
    with pytest.raises(ValueError, match="more than once: a"):
        modularity(codes, twice)
    mixed = [[value, "ab"[i % 2]] for i, value in enumerate(size)]
    assert mutual_information_gap(codes, mixed) == pytest.approx(
        mutual_information_gap(codes, np.column_stack([size, np.arange(400) % 2]))
    )


def test_tensors_and_polars(factors):
    torch = pytest.importorskip("torch")
    pl = pytest.importorskip("polars")
    codes = factors * 1.0
    expected = modularity(codes, factors)
    assert modularity(torch.as_tensor(codes), torch.as_tensor(factors)) == expected
    frame = pl.DataFrame({str(j): column for j, column in enumerate(factors.T)})
    assert modularity(codes, frame) == expected
    assert modularity(codes, frame["2"]) == modularity(codes, factors[:, 2])


def test_of_a_model(factors):
    rows = np.concatenate([factors[:, [j]] == np.arange(10) for j in range(2)], axis=1)
    model = VAETransformer(4, hidden_dims=(16,), max_epochs=3, random_state=0)
    codes = model.fit_transform(rows[:500] * 1.0)
    found = mutual_information_gap(codes, factors[:500, :2])
    assert 0.0 <= found <= 1.0
    assert total_correlation(codes) >= 0.0
