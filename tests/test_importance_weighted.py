"""Training on the importance-weighted bound."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from _kinds import NAMES, rows_for
from _make import gaussian, minibatch
from sklearn.decomposition import PCA
from torch.distributions import MultivariateNormal, Normal

from skvae import VAETransformer
from skvae._data.dataset import Minibatch
from skvae._engine.gradients import Gradients
from skvae._evaluation.evaluator import Density
from skvae._likelihoods.bernoulli import Bernoulli
from skvae._likelihoods.gaussian_diag import GaussianDiag
from skvae._likelihoods.negative_binomial import NegativeBinomial
from skvae._nn.autoencoder import VAE
from skvae._objectives import importance_weighted as module_under_test
from skvae._objectives.importance_weighted import Draws, ImportanceWeightedELBO
from skvae._objectives.weighted_elbo import WeightedELBO

NOISE = 0.3


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def linear():
    """x = W z + noise, and a posterior that is too wide; rows and their likelihood."""
    generator = seeded()
    W = torch.linalg.qr(torch.randn(6, 3, generator=generator, dtype=torch.float64))[0]
    W = W * torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64)
    network = VAE(6, 3, linear_path=True).double().eval()
    variance = 1 / (1 + W.square().sum(dim=0) / NOISE)
    network.set_linear_path(variance[:, None] * W.T / NOISE, W)
    network.set_posterior_variance(variance.log())
    with torch.no_grad():
        network.encoder.linear_log_var += 2.0
    x = torch.randn(20, 6, generator=generator, dtype=torch.float64)
    covariance = W @ W.T + NOISE * torch.eye(6, dtype=torch.float64)
    exact = MultivariateNormal(torch.zeros(6, dtype=torch.float64), covariance)
    return network, x, exact.log_prob(x), variance


def bound_of(network, likelihood, x, k, seed=0):
    """Mean bound of rows that are there 500 times, so that draws average out."""
    criterion = ImportanceWeightedELBO(likelihood, n_samples=k)
    many = minibatch(x.repeat(500, 1))
    with torch.no_grad():
        return criterion.terms(network, many, seeded(seed))[2].item()


def test_the_bound_rises_from_the_elbo_to_the_likelihood(linear):
    network, x, exact, _ = linear
    likelihood = gaussian(6, NOISE)
    density = Density(network, likelihood)
    elbo = density.evaluation(density.evaluate()(minibatch(x)).numpy()).elbo.mean()
    bounds = [bound_of(network, likelihood, x, k) for k in (1, 4, 32)]
    assert bounds[0] == pytest.approx(elbo, abs=0.1)
    assert bounds[0] < bounds[1] - 0.3
    assert bounds[1] < bounds[2] - 0.02
    assert bounds[2] < exact.mean().item() + 0.01
    assert bound_of(network, likelihood, x, 300) == pytest.approx(
        exact.mean().item(), abs=0.02
    )


def parts(name):
    """A likelihood in training, and its log-probability by torch's distributions."""
    if name == "gaussian":
        likelihood = gaussian(5, 7.0)  # calibrated for something else
        likelihood.running_noise.fill_(0.4)
        return likelihood, lambda raw, x: Normal(raw, math.sqrt(0.4)).log_prob(x)
    if name == "gaussian_diag":
        likelihood = GaussianDiag(5)
        likelihood.variance.copy_(torch.arange(1.0, 6.0))
        scales = torch.arange(1.0, 6.0).sqrt()
        return likelihood, lambda raw, x: Normal(raw, scales).log_prob(x)
    if name == "bernoulli":
        bits = torch.distributions.Bernoulli
        return Bernoulli(5), lambda raw, x: bits(logits=raw).log_prob(x)
    likelihood = NegativeBinomial(5)
    likelihood.theta.data.fill_(0.2)

    def log_prob(raw, x):
        r = (5.0 * likelihood.theta).exp()
        counts = torch.distributions.NegativeBinomial(r, logits=raw - r.log())
        return counts.log_prob(x)

    return likelihood, log_prob


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "name", ["gaussian", "gaussian_diag", "bernoulli", "negative_binomial"]
)
def test_its_gradient_is_the_weighted_one_of_the_draws(name, masked):
    """``sum_i v_i d ln w_i``, with every density written out by torch."""
    likelihood, log_prob = parts(name)
    likelihood = likelihood.double()
    network = VAE(5, 2, hidden_dims=(7,), use_batch_norm=False, seed=1).double()
    x = torch.randint(0, 2, (4, 5), generator=seeded(3)).double()
    mask = torch.rand(4, 5, generator=seeded(5)) < 0.6 if masked else None
    criterion = ImportanceWeightedELBO(likelihood, n_samples=6)
    terms = criterion.terms(network, Minibatch(x, x, mask), seeded(9))
    loss = criterion(terms)
    parameters = [*network.parameters(), *likelihood.parameters()]
    found = torch.autograd.grad(loss, parameters)

    mean, log_var = network.encode(x)
    std = (0.5 * log_var).exp()
    noise = torch.empty(6, 4, 2, dtype=torch.float64).normal_(generator=seeded(9))
    z = mean + std * noise
    log_p = log_prob(network.decode(z.flatten(0, 1)).view(6, 4, 5), x)
    if masked:
        log_p = log_p * mask
    log_w = log_p.sum(dim=2) + Normal(0.0, 1.0).log_prob(z).sum(dim=2)
    log_w = log_w - Normal(mean, std).log_prob(z).sum(dim=2)
    v = torch.softmax(log_w.detach(), dim=0)
    weight = likelihood.unit_weight()
    expected = torch.autograd.grad(-weight * (v * log_w).sum() / 4, parameters)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
    bound = (torch.logsumexp(log_w, dim=0) - math.log(6)).mean()
    torch.testing.assert_close(terms[2], bound, rtol=1e-6, atol=1e-6)


def test_what_is_resampled_is_of_the_true_posterior(linear):
    """With many draws: that of factor analysis, though q is too wide."""
    network, x, _, variance = linear
    many = minibatch(x.repeat(400, 1))
    with torch.no_grad():
        posterior = network.encode(many.inputs)
        draws = Draws(gaussian(6, NOISE), network, many, posterior)
        draws.bound(64, seeded())
        raw = network.decode(draws.codes)
    off = draws.codes - posterior.mean
    assert (posterior.log_var.exp()[0] > 1.3 * variance).all()
    torch.testing.assert_close(off.var(dim=0), variance, rtol=0.06, atol=0.0)
    torch.testing.assert_close(draws.resampled, raw)


def test_a_likelihood_follows_the_weighted_draws(linear):
    network, x, _, variance = linear
    likelihood = GaussianDiag(6).double()
    likelihood.variance.fill_(NOISE)
    criterion = ImportanceWeightedELBO(likelihood, n_samples=64)
    many = minibatch(x.repeat(400, 1))
    W = network.decoder.linear.weight.detach()
    residual = (network.decode(network.encode(x).mean).detach() - x).square()
    expected = residual.mean(dim=0) + W.square() @ variance
    with torch.no_grad():
        terms = criterion.terms(network, many, seeded())
        before = likelihood.variance.clone()
        criterion.update_running_stats(terms)
    shown = before + (likelihood.variance - before) / 0.05
    torch.testing.assert_close(shown, expected, rtol=0.03, atol=0.0)


@pytest.mark.parametrize("normalise", [False, True])
def test_blocks_that_are_decoded_again_leave_no_trace(monkeypatch, normalise):
    """The gradients and statistics of blocks whose activations are all kept."""
    x = torch.randn(9, 5, generator=seeded(1))
    monkeypatch.setattr(module_under_test, "rows_at_once", lambda width: 27)
    options = {"use_batch_norm": normalise, "dropout_rate": 0.3}
    network = VAE(5, 2, hidden_dims=(7,), **options).train()
    n_decoded = []
    network.decoder.register_forward_hook(lambda m, a, out: n_decoded.append(len(out)))

    def step():
        again = copy.deepcopy(network)
        criterion = ImportanceWeightedELBO(gaussian(5), n_samples=8)
        generator = seeded()
        loss = criterion(criterion.terms(again, minibatch(x), generator))
        loss.backward()
        state = generator.get_state()
        return [p.grad for p in again.parameters()], [*again.buffers()], state, loss

    bounded = step()
    assert n_decoded == [27, 27, 18] * 2 or sorted(n_decoded) == [18, 18, *[27] * 4]
    n_decoded.clear()

    def kept(function, *args, **options):
        return function(*args)

    monkeypatch.setattr(module_under_test, "checkpoint", kept)
    for one, other in zip(bounded, step(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
    assert n_decoded == [27, 27, 18]


def test_autograd_takes_its_steps():
    network = VAE(5, 2, hidden_dims=(7,))
    assert Gradients(network, WeightedELBO(gaussian(5))).covered()
    criterion = ImportanceWeightedELBO(gaussian(5), n_samples=2)
    assert not Gradients(network, criterion).covered()


@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_diag"])
def test_a_linear_model_is_trained_to_its_likelihood(wine, likelihood):
    """From random weights; the noise, too, ends at its maximum of likelihood."""
    vae = VAETransformer(
        3,
        hidden_dims=(),
        linear_path=None,
        early_stopping=False,
        batch_size=len(wine),
        max_epochs=1200,
        lr=0.05,
        gradient_clip_val=None,
        likelihood=likelihood,
        n_importance_samples=4,
        random_state=0,
    ).fit(wine)
    found = vae.log_likelihood(wine, 200).mean()
    pca = PCA(3).fit(wine)
    if likelihood == "gaussian":
        assert found == pytest.approx(pca.score(wine), abs=0.1)
        noise = pca.noise_variance_ * (len(wine) - 1) / len(wine)
        assert vae.noise_variance_ == pytest.approx(noise, rel=0.03)
    else:  # factor analysis
        assert found > pca.score(wine) + 0.1


@pytest.fixture(scope="module")
def bits(digits):
    return (digits > 0.4).astype(np.float64)


def test_more_draws_a_row_give_a_better_likelihood(bits):
    params = {"likelihood": "bernoulli", "max_epochs": 40, "random_state": 0}
    scores = [
        VAETransformer(5, n_importance_samples=k, **params)
        .fit(bits[:1200])
        .log_likelihood(bits[1200:], 200)
        for k in (1, 10)
    ]
    gain = scores[1] - scores[0]
    assert gain.mean() > -2.0 * gain.std() / math.sqrt(len(gain))


def test_epochs_are_compared_by_the_bound(bits, quick):
    params = {**quick, "max_epochs": 12, "lr": 0.03, "likelihood": "bernoulli"}
    vae = VAETransformer(**params, n_importance_samples=5).fit(bits[:300])
    bounds = [row["valid_iw_bound"] for row in vae.history_]
    assert vae.best_epoch_ == 1 + int(np.argmax(bounds))
    assert all(row["valid_elbo"] < row["valid_iw_bound"] for row in vae.history_)
    names = {"train_recon_loss", "train_kl_loss", "train_iw_bound", "kld_weight"}
    assert names <= set(vae.history_[0])
    plain = VAETransformer(**params).fit(bits[:300])
    assert not {"train_iw_bound", "valid_iw_bound"} & set(plain.history_[0])


def test_the_bound_is_in_units_of_X(wine, quick):
    params = {**quick, "n_importance_samples": 4, "likelihood": "gaussian"}
    bounds = [
        VAETransformer(**params).fit(scale * wine).history_[-1]["valid_iw_bound"]
        for scale in (1.0, 8.0)
    ]
    shift = wine.shape[1] * math.log(8.0)
    assert bounds[0] - bounds[1] == pytest.approx(shift, abs=1e-2)


def test_the_noise_is_calibrated_for_the_bound(digits):
    """No other noise gives held-out rows of training's kind a better likelihood."""
    vae = VAETransformer(
        6, likelihood="gaussian", n_importance_samples=10, max_epochs=15, random_state=0
    ).fit(digits[:1200])
    held_out = vae._fitted.state.split.held_out
    likelihood, noise = vae._likelihood_, vae._likelihood_.noise_variance
    found = []
    for factor in (0.85, 1.0, 1.2):
        likelihood.set_noise(factor * noise)
        found.append(vae.log_likelihood(digits[held_out], 10).mean())
    assert found[1] > max(found[0], found[2])


def test_one_draw_is_what_it_was(small, quick):
    """To the bit, and with the derived engine: the criterion is the ELBO's."""
    first = VAETransformer(**quick).fit(small)
    same = VAETransformer(**quick, n_importance_samples=1).fit(small)
    assert type(same.net_.criterion_) is WeightedELBO
    np.testing.assert_array_equal(first.transform(small), same.transform(small))
    strip = [
        {k: v for k, v in row.items() if k != "epoch_time"} for row in first.history_
    ]
    assert strip == [
        {k: v for k, v in row.items() if k != "epoch_time"} for row in same.history_
    ]


def test_counts_with_sizes_and_conditions(digits, quick):
    """Conditions that halve some columns are worth their while."""
    X = np.round(16.0 * digits[:200])
    batch = np.arange(200) % 2
    X[batch == 1, ::2] = np.floor(X[batch == 1, ::2] / 2.0)
    params = {**quick, "max_epochs": 30, "lr": 0.01, "n_importance_samples": 3}
    vae = VAETransformer(**params, likelihood="negative_binomial")
    vae.fit(X, conditions=batch[:, None].astype(str))
    own, other = (
        vae.log_likelihood(X, 50, conditions=given[:, None].astype(str)).mean()
        for given in (batch, 1 - batch)
    )
    assert other + 5.0 < own < 0.0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore::skvae.exceptions.PosteriorCollapseWarning")
def test_every_likelihood_is_trained_by_it(name):
    """To about what one draw comes to, and well beyond one epoch."""
    X, others = rows_for(name, n=400), rows_for(name, n=200, seed=1)
    params = {"hidden_dims": (16,), "lr": 0.01, "linear_path": None, "random_state": 0}

    def found(**more):
        vae = VAETransformer(2, likelihood=name, **params, **more).fit(X)
        return vae.log_likelihood(others, 200).mean()

    weighted = found(n_importance_samples=5, max_epochs=30)
    assert weighted > found(n_importance_samples=5, max_epochs=1) + 0.1
    assert weighted > found(max_epochs=30) - 0.5


def test_training_goes_on_with_another_number_of_draws(small, quick):
    vae = VAETransformer(**quick).fit(small)
    theta = [p.clone() for p in vae.module_.parameters()]
    vae.set_params(n_importance_samples=4).partial_fit(small)
    assert "train_iw_bound" in vae.history_[-1]
    assert any(
        not torch.equal(a, b)
        for a, b in zip(theta, vae.module_.parameters(), strict=True)
    )
    copied = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(copied.transform(small), vae.transform(small))
    for model in (vae, copied):
        model.partial_fit(small)
    assert copied.history_[-1]["train_iw_bound"] == vae.history_[-1]["train_iw_bound"]
    vae.set_params(n_importance_samples=1).partial_fit(small)
    assert "train_iw_bound" not in vae.history_[-1]
    warm = VAETransformer(**quick, warm_start=True).fit(small)
    warm.set_params(n_importance_samples=4).fit(small)
    assert "train_iw_bound" in warm.history_[-1]


def test_a_chunk_that_fails_leaves_the_criterion(small, quick):
    vae = VAETransformer(**quick).fit(small)
    before = vae.score(small)
    criterion = vae.net_.criterion_
    vae.set_params(n_importance_samples=4, lr=1e30, gradient_clip_val=None)
    with pytest.raises(FloatingPointError):
        vae.partial_fit(small)
    assert vae.net_.criterion_ is vae._fitted.state.criterion is criterion
    assert vae.score(small) == before


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_importance_samples": 0}, "n_importance_samples"),
        ({"n_importance_samples": 2.5}, "n_importance_samples"),
        ({"kld_weight": 0.1}, "kld_weight=0.1 there is none"),
        ({"beta": 2.0}, "beta=2.0 there is none"),
        ({"free_bits": 0.1}, "free_bits=0.1 there is none"),
        ({"kld_schedule": "linear"}, "kld_schedule='linear' there is none"),
    ],
)
def test_what_is_no_bound_is_refused(small, params, message):
    with pytest.raises(ValueError, match=message):
        VAETransformer(**{"n_importance_samples": 5, **params}).fit(small)
