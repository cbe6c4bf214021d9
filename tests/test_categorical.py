import itertools

import numpy as np
import pytest
import torch
from _kinds import (
    DTYPES,
    N_CATEGORIES,
    assert_gradients_are_the_loss_s,
    assert_masks_hide,
    gradients_of,
    make,
    mask_for,
    raw_for,
    target_for,
)
from scipy import sparse
from torch.distributions import Categorical as TorchCategorical

from skvae._likelihoods.categorical import MOST_CATEGORIES, Categorical


@pytest.fixture
def likelihood():
    return make("categorical")


def columns_of(raw):
    """Logits of every column."""
    return raw.split(list(N_CATEGORIES), dim=1)


def test_the_mass_is_torch_s(likelihood):
    raw, x = raw_for(likelihood), target_for(likelihood)
    expected = sum(
        -TorchCategorical(logits=logits).log_prob(x[:, j])
        for j, logits in enumerate(columns_of(raw))
    )
    torch.testing.assert_close(likelihood.nll(raw, x), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_extremes(dtype):
    likelihood = Categorical(1, [3]).to(dtype)
    levels = (-40.0, 0.0, 40.0)
    cases = list(itertools.product(levels, levels, levels, range(3)))
    raw = torch.tensor([case[:3] for case in cases], dtype=dtype)
    x = torch.tensor([case[3:] for case in cases], dtype=dtype)
    exact = torch.logsumexp(raw.double(), dim=1)
    exact -= raw.double().gather(1, x.long())[:, 0]
    found = likelihood.nll(raw, x).double()
    atol = 4.0 * torch.finfo(dtype).eps
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=atol)
    loss, gradient, _ = gradients_of(likelihood, raw, x)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()
    # logits far beyond what exp takes
    assert torch.isfinite(likelihood.nll(100.0 * raw, x)).all()


def test_tables_have_a_probability_of_1_together(likelihood):
    x = torch.tensor(list(itertools.product(*map(range, N_CATEGORIES)))).double()
    raw = raw_for(likelihood, n=1, spread=2.0).expand(len(x), -1)
    assert torch.exp(-likelihood.nll(raw, x)).sum().item() == pytest.approx(1.0)


def test_masks_hide(likelihood):
    assert_masks_hide(likelihood, raw_for(likelihood), target_for(likelihood))


def test_gradients(likelihood):
    raw, x = raw_for(likelihood), target_for(likelihood)
    assert_gradients_are_the_loss_s(likelihood, raw, x)
    assert_gradients_are_the_loss_s(likelihood, raw, x, mask_for(x))


def test_samples_are_codes_with_the_shares_of_the_softmax(likelihood):
    raw = raw_for(likelihood, n=1)
    many = raw.expand(40_000, -1).clone()
    drawn = likelihood.sample(many, np.random.RandomState(0)).numpy()
    for j, logits in enumerate(columns_of(raw)):
        shares = np.bincount(drawn[:, j].astype(int), minlength=N_CATEGORIES[j])
        p = torch.softmax(logits, dim=1).numpy()[0]
        np.testing.assert_allclose(shares / 40_000, p, atol=0.01)


def test_the_mean_is_the_most_probable_category(likelihood):
    raw = raw_for(likelihood)
    expected = np.stack([p.argmax(dim=1).numpy() for p in columns_of(raw)], axis=1)
    np.testing.assert_array_equal(likelihood.mean(raw), expected)


def test_deviance_is_0_where_the_category_is_sure(likelihood):
    raw, x = raw_for(likelihood), target_for(likelihood)
    found = likelihood.deviance(raw, x)
    assert (found > 0.0).all()
    torch.testing.assert_close(found.sum(dim=1), 2.0 * likelihood.nll(raw, x))
    one_hot = likelihood.encode_inputs(x) + likelihood.frequencies
    assert likelihood.deviance(1e3 * one_hot, x).max() == 0.0


def test_the_metric_is_fisher_s_information(likelihood):
    raw = raw_for(likelihood, n=1)
    many = raw.expand(40_000, -1).clone()
    x = likelihood.sample(many, np.random.RandomState(0))
    one_hot = likelihood.encode_inputs(x) + likelihood.frequencies
    score = one_hot - likelihood.log_p(raw).exp()
    squares = score.square().mean(dim=0)[None]
    metric = likelihood.output_metric(raw)
    torch.testing.assert_close(squares, metric, rtol=0.05, atol=0.0)


def test_the_encoder_sees_centred_one_hot_columns():
    X = np.array([[0.0, 2.0], [1.0, 0.0], [1.0, 2.0]])
    likelihood = Categorical.of_rows(X)
    assert likelihood.params == {"n_features": 2, "n_categories": [2, 3]}
    likelihood.fit_inputs(X.mean(axis=0), X.var(axis=0), X)
    inputs = likelihood.encode_inputs(torch.from_numpy(X)).numpy()
    one_hot = np.array([[1, 0, 0, 0, 1], [0, 1, 1, 0, 0], [0, 1, 0, 0, 1]])
    # half a row of each kind more
    shares = np.array([1.5 / 4, 2.5 / 4, 1.5 / 4.5, 0.5 / 4.5, 2.5 / 4.5])
    np.testing.assert_allclose(inputs, one_hot - shares, atol=1e-6)
    bias = torch.from_numpy(likelihood.init_output_bias(X.mean(axis=0)))
    found = likelihood.log_p(bias[None]).exp()
    np.testing.assert_allclose(found.numpy()[0], shares, atol=1e-6)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_rows_dense_and_sparse_say_the_same(kind):
    X = np.random.RandomState(0).randint(0, [1, 3, 5], (50, 3)) * 1.0
    likelihood = Categorical.of_rows(kind(X))
    assert likelihood.n_categories == [2, 3, 5]  # a constant column has another one
    likelihood.fit_inputs(X.mean(axis=0), X.var(axis=0), kind(X))
    other = Categorical.of_rows(X)
    other.fit_inputs(X.mean(axis=0), X.var(axis=0), X)
    assert torch.equal(likelihood.frequencies, other.frequencies)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("value", [-1.0, 0.5, float(MOST_CATEGORIES), 1e12])
def test_what_is_no_code_is_refused_by_the_name_of_its_column(kind, value):
    X = np.zeros((4, 3))
    X[2, 1] = value
    likelihood = Categorical.of_rows(kind(X))
    with pytest.raises(ValueError, match=r"olumn 'b' of X has .*OrdinalEncoder"):
        likelihood.check(kind(X), np.array(["a", "b", "c"]))


def test_categories_that_training_had_not_are_refused():
    X = np.array([[0.0, 1.0], [1.0, 2.0]])
    likelihood = Categorical.of_rows(X)
    with pytest.raises(ValueError, match=r"Column 1 of X has the unseen category 3"):
        likelihood.check(X + 1.0 * (X == 2.0))
    with pytest.raises(ValueError, match=r"Column 'u' of X .* 0 to 1.*OrdinalEncoder"):
        likelihood.check(X + 1.0, np.array(["u", "v"]))


@pytest.mark.parametrize("n_categories", [(3, 3, 3), (2, 5, 2, 1, 5)])
def test_log_totals_are_those_of_every_column(n_categories):
    likelihood = Categorical(len(n_categories), n_categories).double()
    raw = torch.randn(7, sum(n_categories), dtype=torch.float64) * 300.0
    parts = raw.split(n_categories, dim=1)
    expected = torch.stack([part.logsumexp(dim=1) for part in parts], dim=1)
    torch.testing.assert_close(likelihood.log_total(raw), expected)
