import numpy as np
import pytest
import torch
from _make import minibatch, penalised

from skvae._nn.autoencoder import Autoencoder
from skvae._objectives.penalties import DECODER_PENALTIES


@pytest.mark.parametrize("code_penalty", [None, "l1", "l2"])
@pytest.mark.parametrize("decoder_penalty", [None, *DECODER_PENALTIES])
def test_penalised_error(code_penalty, decoder_penalty):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(32, 5, generator=generator)
    module = Autoencoder(5, 2, hidden_dims=(8,), seed=0).eval()
    criterion = penalised(5, code_penalty, 0.5, decoder_penalty, 0.25)
    terms = criterion.terms(module, minibatch(x), generator)
    assert len(terms) == len(criterion.loss_terms)
    by_name = dict(zip((t.name for t in criterion.loss_terms), terms, strict=True))
    expected = (module(x) - x).square().mean()
    torch.testing.assert_close(by_name["recon_loss"], expected)
    z = module.code(x)
    if code_penalty:
        length = z.abs() if code_penalty == "l1" else z.square()
        penalty = length.sum(dim=1).mean()
        torch.testing.assert_close(by_name["reg_loss"], penalty)
        expected = expected + 0.5 * penalty
    if decoder_penalty:
        expected = expected + 0.25 * by_name["decoder_loss"]
    torch.testing.assert_close(criterion(terms), expected)
    assert criterion.elbo(terms) is None
    constant = 2.5 * (np.log(2 * np.pi) + 1)
    objective = 2.5 * np.log(expected.item()) + constant
    assert criterion.objective(terms) == pytest.approx(objective)
