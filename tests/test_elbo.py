import math

import torch

from skvae._objectives.elbo import RowTerms, mixed


def row_terms(distortion, *kl):
    kl = torch.stack([torch.as_tensor(part, dtype=torch.float64) for part in kl], dim=1)
    distortion = torch.as_tensor(distortion, dtype=torch.float64)
    return RowTerms(distortion, kl, torch.zeros_like(distortion))


def test_mixture_is_the_log_of_the_mixed_densities():
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(6, 9, generator=generator, dtype=torch.float64) * 20
    terms, others = row_terms(*draws[:3]), row_terms(*draws[3:])
    expected = torch.logaddexp(
        math.log(0.99) + terms.elbo, math.log(0.01) + others.elbo
    )
    torch.testing.assert_close(mixed(terms, others, 0.01).elbo, expected)


def test_mixture_follows_the_better_model():
    terms = row_terms([5.0, 1.0, 1e7], [1.5, 1.5, 1.5], [0.5, 0.5, 0.5])
    others = row_terms([1e7, 1.0, 5.0], [3.0, 2.0, 1.0], [0.0, 0.0, 0.0])
    found = mixed(terms, others, 0.01)
    best = terms.distortion.minimum(others.distortion)
    torch.testing.assert_close(found.distortion, best)
    torch.testing.assert_close(found.kl[[0, 2]].sum(dim=1), best.new_tensor([2.0, 1.0]))
    # 0 nats where the choice is the prior's, -ln of it if sure
    expected = [-math.log(0.99), 0.0, -math.log(0.01)]
    torch.testing.assert_close(found.choice, best.new_tensor(expected))
