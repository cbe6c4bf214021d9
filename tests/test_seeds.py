import numpy as np
import torch

from skvae._utils.seeds import Streams, entropy_of


def test_streams_differ_by_purpose_and_by_call():
    streams = [Streams(7, call) for call in (0, 1)]
    seeds = [seed for s in streams for seed in vars(s).values()]
    assert len(set(seeds)) == 12
    assert vars(Streams(7, 0)) == vars(streams[0])
    assert vars(Streams(8, 0)) != vars(streams[0])


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
    streams = Streams(0)
    draws = [
        torch.rand(3, generator=streams.torch_generator(streams.noise))
        for _ in range(2)
    ]
    assert torch.equal(*draws)
    assert torch.equal(torch.get_rng_state(), before)
