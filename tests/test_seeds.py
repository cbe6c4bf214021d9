import numpy as np
import torch

from skvae._utils.seeds import Seeds, entropy_of


def test_streams_differ_by_purpose_and_by_call():
    seeds = [Seeds(7, call) for call in (0, 1)]
    purposes = set(vars(seeds[0])) - {"entropy", "call"}
    drawn = [getattr(s, purpose) for s in seeds for purpose in purposes]
    assert len(set(drawn)) == 12
    assert vars(Seeds(7, 0)) == vars(seeds[0])
    assert Seeds(8, 0).weights != seeds[0].weights


def test_entropy():
    assert entropy_of(3) == 3
    assert entropy_of(np.int64(3)) == 3
    assert entropy_of(None) != entropy_of(None)
    one, same = (entropy_of(np.random.RandomState(0)) for _ in range(2))
    assert one == same
    random = np.random.RandomState(0)
    assert entropy_of(random) != entropy_of(random)


def test_generators_are_private():
    before = torch.get_rng_state()
    seeds = Seeds(0)
    draws = [
        torch.rand(3, generator=seeds.torch_generator(seeds.noise)) for _ in range(2)
    ]
    assert torch.equal(*draws)
    assert torch.equal(torch.get_rng_state(), before)
