import torch
from _make import elbo, minibatch

from skvae._nn.autoencoder import VAE
from skvae._training.checkpoint import Checkpoint, cloned


def test_what_changed_is_put_back():
    module, criterion = VAE(5, 2, hidden_dims=(4,)), elbo(5, None)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)

    def step():
        optimizer.zero_grad()
        generator = torch.Generator().manual_seed(0)
        terms = criterion.terms(module, minibatch(torch.ones(6, 5)), generator)
        criterion(terms).backward()
        optimizer.step()
        criterion.update_running_stats(terms)
        return [p.detach().clone() for p in module.parameters()]

    step()
    checkpoint = Checkpoint(module, criterion, optimizer)
    first = step()
    noise = criterion.likelihood.running_noise.item()
    step()
    checkpoint.restore()
    assert criterion.likelihood.running_noise.item() != noise
    torch.testing.assert_close(step(), first, rtol=0, atol=0)
    assert criterion.likelihood.running_noise.item() == noise


def test_a_clone_shares_no_memory():
    state = {"a": torch.ones(2), "b": [{"c": torch.zeros(1), "d": 3}]}
    copied = cloned(state)
    state["a"].zero_()
    state["b"][0]["c"].fill_(1.0)
    assert copied["a"].tolist() == [1.0, 1.0]
    assert copied["b"][0]["c"].tolist() == [0.0]
    assert copied["b"][0]["d"] == 3
