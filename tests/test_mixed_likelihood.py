"""Groups of columns: every one's nats, in the order of the columns."""

import numpy as np
import pytest
import torch
from _kinds import (
    assert_gradients_are_the_loss_s,
    assert_masks_hide,
    gradients_of,
    mask_for,
    raw_for,
)

from skvae._data.dataset import Minibatch
from skvae._evaluation.bounds import cubature
from skvae._likelihoods.gaussian_diag import GaussianDiag
from skvae._likelihoods.mixed import Mixed
from skvae._likelihoods.parts import PARTS
from skvae._nn.autoencoder import VAE
from skvae._nn.posterior import Posterior

# Columns of the parts are not side by side.
LAYOUT = [
    {"likelihood": "categorical", "columns": [3, 0], "n_categories": [3, 4]},
    {"likelihood": "gaussian_diag", "columns": [1, 6]},
    {"likelihood": "bernoulli", "columns": [2]},
    {"likelihood": "log_normal", "columns": [4]},
    {"likelihood": "ordinal", "columns": [7], "levels": [[0.0, 1.0, 4.0]]},
    {"likelihood": "negative_binomial", "columns": [5]},
]
D = 8


def rows(n=200, seed=0):
    rng = np.random.RandomState(seed)
    return np.stack(
        [
            rng.randint(4, size=n),
            3.0 + 2.0 * rng.randn(n),
            rng.randint(2, size=n),
            rng.randint(3, size=n),
            np.exp(1.0 + rng.randn(n)),
            rng.negative_binomial(2, 0.3, size=n),
            -5.0 + 0.1 * rng.randn(n),
            np.array([0.0, 1.0, 4.0])[rng.randint(3, size=n)],
        ],
        axis=1,
    )


@pytest.fixture
def likelihood():
    made = Mixed.of_rows(rows(), LAYOUT).double()
    X = rows()
    made.fit_inputs(X.mean(axis=0), X.var(axis=0), X)
    return made


@pytest.fixture
def target(likelihood):
    return likelihood.encode_target(torch.from_numpy(rows(n=6, seed=1)))


def test_it_is_the_sum_of_its_parts(likelihood, target):
    X, raw = rows(n=6, seed=1), raw_for(likelihood)
    start, total, log_det = 0, 0.0, 0.0
    for layout in LAYOUT:
        columns = layout["columns"]
        params = {k: v for k, v in layout.items() if k not in ("likelihood", "columns")}
        part = PARTS[layout["likelihood"]](len(columns), **params).double()
        train = rows()[:, columns]
        part.fit_inputs(train.mean(axis=0), train.var(axis=0), train)
        own = raw[:, start : start + part.n_outputs]
        start += part.n_outputs
        x = part.encode_target(torch.from_numpy(X[:, columns]))
        total = total + part.nll(own, x)
        log_det += part.log_det()
    assert start == likelihood.n_outputs
    torch.testing.assert_close(likelihood.nll(raw, target), total)
    assert likelihood.log_det() == pytest.approx(log_det)
    assert likelihood.n_inputs == len(likelihood.input_columns) == 7 + 6
    assert likelihood.encode_inputs(target).shape == (6, likelihood.n_inputs)


def test_columns_are_in_their_order(likelihood, target):
    X = torch.from_numpy(rows(n=6, seed=1))
    torch.testing.assert_close(likelihood.to_units_of_X(target.clone()), X)
    mask = mask_for(X)
    of_target = likelihood.encode_mask(mask)
    assert torch.equal(likelihood.decode_mask(of_target), mask)
    raw = raw_for(likelihood)
    nats = likelihood.nll_per_feature(raw, target)
    total = likelihood.nll(raw, target) - likelihood.log_det()
    total = total - likelihood.log_det_beyond(target)
    torch.testing.assert_close(nats.sum(dim=1), total)
    # The bernoulli of column 2 has the 10th output.
    at = 3 + 4 + 2
    expected = torch.nn.functional.softplus(raw[:, at]) - X[:, 2] * raw[:, at]
    torch.testing.assert_close(nats[:, 2], expected)
    for table in (
        likelihood.mean(raw.clone()),
        likelihood.sample(raw.clone(), np.random.RandomState(0)),
        likelihood.deviance(raw.clone(), target),
        likelihood.response(raw.clone()),
        likelihood.point(likelihood.predictive(raw.clone())),
    ):
        assert table.shape == (6, D)
        assert torch.isfinite(table).all()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("balance", ["nats", "columns"])
def test_gradients(balance, masked):
    likelihood = Mixed.of_rows(rows(), LAYOUT, balance).double()
    X = rows()
    likelihood.fit_inputs(X.mean(axis=0), X.var(axis=0), X)
    target = likelihood.encode_target(torch.from_numpy(rows(n=6, seed=1)))
    mask = likelihood.encode_mask(mask_for(target)) if masked else None
    assert_gradients_are_the_loss_s(likelihood, raw_for(likelihood), target, mask)


def test_masks(likelihood, target):
    assert_masks_hide(likelihood, raw_for(likelihood), target)


@torch.no_grad()
def test_balanced_columns_pull_alike():
    likelihood = Mixed.of_rows(rows(2000), LAYOUT, "columns").double()
    X = rows(2000)
    likelihood.fit_inputs(X.mean(axis=0), X.var(axis=0), X)
    target = likelihood.encode_target(torch.from_numpy(X))
    raw = torch.from_numpy(likelihood.no_code()).repeat(len(X), 1)
    _, gradient, _ = gradients_of(likelihood, raw, target)
    widths = [part.n_outputs for part in likelihood.parts]
    lengths = []
    for part, of in zip(likelihood.parts, gradient.split(widths, dim=1), strict=True):
        own = of.square().sum(dim=1).mean().sqrt()
        lengths.append(float(own) / np.sqrt(part.n_features))
    np.testing.assert_allclose(
        lengths, lengths[0], rtol=0.3
    )  # counts begin below their dispersion
    # And what epochs are compared by has no weights.
    held_out = likelihood.held_out_loss(raw, target)
    torch.testing.assert_close(held_out, likelihood.nll(raw, target).mean() / D)
    assert abs(float(likelihood.loss(raw, target) - held_out)) > 0.01


def test_parts_are_calibrated_as_by_themselves():
    X = rows(400)[:, [1, 6]]
    both = Mixed.of_rows(X, [{"likelihood": "gaussian_diag", "columns": [1, 0]}])
    alone = GaussianDiag(2)
    for likelihood, table in ((both, X), (alone, X[:, ::-1].copy())):
        likelihood.fit_inputs(table.mean(axis=0), table.var(axis=0), table)
    target = both.encode_target(torch.from_numpy(X)).float()
    network = VAE(2, 1, hidden_dims=(4,), seed=0).eval()
    codes = torch.linspace(-1.0, 1.0, 400)[:, None]
    posterior = Posterior(codes, torch.full_like(codes, -2.0))
    batch = Minibatch(target, target)
    with torch.no_grad():
        for likelihood in (both, alone):
            likelihood.calibrate(network.decoder, posterior, batch, cubature(1).float())
    torch.testing.assert_close(
        both.parts[0].variance, alone.variance, rtol=0.02, atol=0
    )


@torch.no_grad()
def test_without_a_code_it_is_the_columns_by_themselves(likelihood, target):
    bias = likelihood.without_code()
    assert bias.shape == (likelihood.n_outputs,)
    nats = likelihood.nll_per_feature(bias.repeat(6, 1), target)
    X = rows()
    frequency = np.mean(X[:, 2])
    expected = -np.log(np.where(rows(6, 1)[:, 2] == 1.0, frequency, 1.0 - frequency))
    np.testing.assert_allclose(nats[:, 2], expected, rtol=0.02)
    # A Gaussian of the column's own mean and variance.
    z = (rows(6, 1)[:, 1] - X[:, 1].mean()) / X[:, 1].std()
    expected = 0.5 * (z**2 + np.log(2.0 * np.pi * X[:, 1].var()))
    np.testing.assert_allclose(nats[:, 1], expected, rtol=1e-5)


def test_params_make_the_same(likelihood):
    again = Mixed(**likelihood.params).double()
    again.load_state_dict(likelihood.state_dict())
    X = torch.from_numpy(rows(n=6, seed=1))
    raw = raw_for(likelihood)
    found = (m.nll(raw, m.encode_target(X)) for m in (likelihood, again))
    torch.testing.assert_close(*found)
