import math

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid

from skvae import VAETransformer
from skvae._evaluation.information import evenly_spaced, mutual_information
from skvae.inspection import diagnose


def test_rows_that_do_not_overlap_have_the_logarithm_of_their_number():
    mean = 100.0 * torch.arange(300.0)[:, None]
    log_var = torch.zeros(300, 1)
    assert mutual_information(mean, log_var) == pytest.approx(math.log(300), abs=1e-9)
    # Twins cannot be told apart.
    twins = mean.repeat(2, 1)
    found = mutual_information(twins, torch.zeros(600, 1))
    assert found == pytest.approx(math.log(300), abs=1e-9)


def test_codes_that_are_the_same_for_all_rows_say_nothing():
    assert mutual_information(torch.ones(50, 3), torch.zeros(50, 3)) < 1e-12


def test_two_posteriors_against_numerical_integration():
    """ln q(z | x) - ln q(z), integrated over a fine grid; many copies of each row."""
    mean = torch.tensor([[-1.0], [1.0]]).repeat(1000, 1)
    log_var = torch.log(torch.tensor([[0.25], [1.0]])).repeat(1000, 1)
    z = np.linspace(-12, 12, 200_001)

    def normal(centre, variance):
        density = np.exp(-((z - centre) ** 2) / (2 * variance))
        return density / math.sqrt(2 * math.pi * variance)

    both = [normal(-1, 0.25), normal(1, 1.0)]
    mixture = sum(both) / 2
    exact = np.mean([trapezoid(q * np.log(q / mixture), z) for q in both])
    assert mutual_information(mean, log_var) == pytest.approx(exact, abs=0.01)


def test_a_gaussian_channel():
    """Means N(0, 1 - v) and variances v: -ln(v) / 2 nats a unit."""
    variance = torch.tensor([0.3, 0.7])
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(2048, 2, generator=generator, dtype=torch.float64)
    mean = draws * (1.0 - variance).sqrt()
    found = mutual_information(mean, variance.log().expand(2048, 2))
    assert found == pytest.approx(-0.5 * variance.log().sum().item(), abs=0.02)


def test_the_bound_holds_and_the_draws_are_fixed():
    generator = torch.Generator().manual_seed(1)
    mean = 1e4 * torch.randn(600, 5, generator=generator)
    log_var = torch.full((600, 5), -25.0)
    found = mutual_information(mean, log_var)
    assert found <= math.log(600) + 1e-12
    assert found == mutual_information(mean, log_var)


def test_evenly_spaced():
    assert evenly_spaced(5, 10).tolist() == [0, 1, 2, 3, 4]
    assert evenly_spaced(101, 3).tolist() == [0, 50, 100]
    assert evenly_spaced(7, 1).tolist() == [0, 6]


def test_shuffling_costs_what_a_linear_model_says(breast_cancer):
    """Twice the reconstruction's covariance with the rows, over twice the noise.

    |x - A m|^2 rises by 2 <x, A m> in the mean when m is another row's, and
    E <x, A m> is the sum of l_i - s over units.
    """
    X = breast_cancer
    vae = VAETransformer(
        4,
        hidden_dims=(),
        lr=1e-12,
        max_epochs=1,
        early_stopping=False,
        random_state=0,
        likelihood="gaussian",
    ).fit(X)
    eigenvalues = np.linalg.eigvalsh(np.cov(X.T, bias=True))[::-1]
    s = eigenvalues[4:].mean()
    exact = (eigenvalues[:4] - s).sum() / vae.noise_variance_
    found = diagnose(vae, X).shuffle_loss
    assert found == pytest.approx(exact, rel=0.1)


def test_a_decoder_that_ignores_codes_loses_nothing(digits, quick):
    vae = VAETransformer(**quick, likelihood="gaussian").fit(digits[:100])
    with torch.no_grad():
        vae.module_.decoder.out.weight.zero_()
        vae.module_.decoder.linear.weight.zero_()
    assert abs(diagnose(vae, digits).shuffle_loss) < 1e-6
