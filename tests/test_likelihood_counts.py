"""What the likelihoods of counts share: units, sizes, and what the encoder sees."""

import numpy as np
import pytest
import torch
from _kinds import COUNTS, make
from scipy import sparse

from skvae._data.covariates import RowCovariates
from skvae._data.moments import column_moments
from skvae._likelihoods.counts import Nonzeros

CPU = torch.device("cpu")


@pytest.fixture
def X(rng):
    return rng.poisson(rng.gamma(1.0, 2.0, (200, 1)) * [1.0, 5.0, 0.2, 0.0]) * 1.0


def fitted(X, name="poisson", size=None):
    likelihood = make(name, X.shape[1])
    dense = X.toarray() if sparse.issparse(X) else X
    size = dense.sum(axis=1) if size is None else size
    likelihood.fit_inputs(*column_moments(X), X, size)
    return likelihood


def given(size):
    return RowCovariates(None, size).on(CPU, torch.float64)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_the_model_without_a_code_has_the_rates_of_the_columns(X, name, kind):
    likelihood = fitted(kind(X), name)
    rates = X.sum(axis=0) / X.sum()
    rates[3] = 0.5 / X.sum()  # a count that was never seen is not impossible
    np.testing.assert_allclose(np.exp(likelihood.log_rates), rates)
    bias = likelihood.init_output_bias(X.mean(axis=0))
    np.testing.assert_allclose(bias[:4], np.log(rates))
    assert len(bias) == likelihood.n_outputs
    assert np.isfinite(bias).all()
    for parameter in likelihood.parameters():
        assert torch.isfinite(parameter).all()


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csr_matrix])
@pytest.mark.parametrize("is_sized", [False, True])
def test_the_encoder_sees_logarithms_of_normalised_counts(X, kind, is_sized):
    likelihood = fitted(X)
    size = X.sum(axis=1) if is_sized else None
    covariates = given(size)
    inputs = likelihood.encode_inputs(torch.from_numpy(X), None, covariates).numpy()
    usual, own = (np.median(size), size[:, None]) if is_sized else (1.0, 1.0)
    expected = np.log1p(X / np.maximum(own, 1e-8) * usual)
    np.testing.assert_allclose(inputs, expected, rtol=1e-6)
    encoded = likelihood.encode_sparse(kind(X), size)
    np.testing.assert_allclose(encoded.toarray(), expected, rtol=1e-6)
    assert isinstance(encoded, kind)
    assert likelihood.input_affine() == (None, 1.0)


def test_sizes_of_samples_are_those_of_the_rows(X):
    likelihood, size = fitted(X), X.sum(axis=1)
    assert likelihood.usual_size == np.median(size)
    drawn = likelihood.draw_sizes(20_000, np.random.RandomState(0))
    assert drawn.mean() == pytest.approx(size.mean(), rel=0.05)
    assert drawn.min() >= min(size.min(), 1e-8)
    assert drawn.max() <= size.max()
    levels = [0.1, 0.5, 0.9]
    np.testing.assert_allclose(
        np.quantile(drawn, levels), np.quantile(size, levels), rtol=0.1
    )


def test_rows_without_any_count_have_a_size():
    likelihood = fitted(np.zeros((10, 2)))
    assert likelihood.usual_size == 1.0
    assert np.isfinite(likelihood.log_rates).all()
    mostly = np.zeros((10, 2))
    mostly[0] = 5.0
    likelihood = fitted(mostly)
    # About the mean: the median row has none.
    assert likelihood.usual_size == pytest.approx(1.0, abs=0.5)
    assert (np.diff(likelihood.units.array("sizes")) >= 0.0).all()
    sizes = likelihood.draw_sizes(100, np.random.RandomState(0))
    assert (sizes > 0.0).all()
    inputs = likelihood.encode_inputs(torch.zeros(1, 2), None, given(np.zeros(1)))
    assert (inputs == 0.0).all()


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_what_is_no_count_is_refused_by_the_name_of_its_column(name, kind):
    X = np.ones((4, 3))
    X[2, 1] = 0.5
    with pytest.raises(ValueError, match=r"Column 'b' of X has 0.5, .*gaussian_diag"):
        make(name, 3).check(kind(X), np.array(["a", "b", "c"]))
    X[2, 1] = -3.0
    with pytest.raises(ValueError, match=r"Negative values in data: column 1 of X"):
        make(name, 3).check(kind(X))
    make(name, 3).check(kind(np.abs(X) * 1e6))
    make(name, 3).check(kind(np.zeros((2, 3))))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_choices_are_those_of_log_gammas(dtype):
    """Of small counts, of those around the end of the table, and of a million."""
    x = torch.tensor([[0, 1, 16, 17], [2, 0, 15, 1_000_000]], dtype=dtype)
    r = torch.tensor([1e-3, 0.7, 40.0, 1e6], dtype=torch.float64)
    rows, columns = x.nonzero(as_tuple=True)
    values, own = x[rows, columns].double(), r[columns]
    factorials = torch.lgamma(values + 1.0)
    expected = torch.lgamma(own) - torch.lgamma(values + own) + factorials
    counts = Nonzeros(x)
    torch.testing.assert_close(counts.log_choices(r), expected, rtol=1e-9, atol=1e-8)
    torch.testing.assert_close(counts.log_choices(), factorials)


def test_log_choices_of_no_count():
    counts = Nonzeros(torch.zeros(3, 4))
    r = torch.ones(4, dtype=torch.float64)
    assert counts.log_choices(r).shape == counts.log_choices().shape == (0,)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_sizes_have_no_unit_of_their_own(X, name, unit):
    size = X.sum(axis=1) + 1.0
    usual, other = fitted(X, name, size), fitted(X, name, size * unit)
    np.testing.assert_allclose(other.log_rates + np.log(unit), usual.log_rates)
    raw = torch.zeros(len(X), usual.n_outputs, dtype=torch.float64)
    raw[:, : X.shape[1]] = torch.from_numpy(usual.log_rates + np.log(size)[:, None])
    target = torch.from_numpy(X)
    torch.testing.assert_close(usual.nll(raw, target), other.nll(raw, target))


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("level", [1e2, 1e4, 1e6])
def test_large_counts_are_judged_in_float32_too(name, level, rng):
    """What a row costs is far less than the terms it is the sum of."""
    rates = level * rng.gamma(5.0, 0.2, (40, 30))
    counts = torch.from_numpy(rng.poisson(rates) * 1.0)
    likelihood = make(name, 30)
    raw = torch.zeros(40, likelihood.n_outputs, dtype=torch.float64)
    raw[:, :30] = torch.from_numpy(np.log(rates))
    with torch.no_grad():
        found = likelihood.nll(raw.float(), counts.float()).double()
        # What float32 makes of outputs and counts is not to be judged here.
        expected = likelihood.nll(raw.float().double(), counts.float().double())
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-3)
