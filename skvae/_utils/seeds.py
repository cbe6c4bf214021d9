"""One ``random_state``, several independent seeds, no global generator touched."""

import numbers

import numpy as np
import torch
from sklearn.utils import check_random_state


def entropy_of(random_state) -> int:
    """The integer all seeds of an estimator are spawned from.

    None draws fresh entropy from the operating system, a ``RandomState`` gives one
    draw, as in scikit-learn.
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
    if isinstance(random_state, numbers.Integral):
        return int(random_state)
    return int(random_state.randint(np.iinfo(np.int32).max))


def private_generator(random_state) -> np.random.RandomState:
    """As ``check_random_state``, but None is fresh entropy and no global generator."""
    return check_random_state(
        np.random.RandomState() if random_state is None else random_state
    )


class Seeds:
    """Seeds of one call of ``fit`` or ``partial_fit``.

    Every purpose has a stream of its own, so that more draws for one do not move the
    others; ``call`` counts the fits of a warm-started or streaming estimator.
    """

    def __init__(self, entropy: int, call: int = 0) -> None:
        self.entropy, self.call = entropy, call
        children = np.random.SeedSequence(entropy, spawn_key=(call,)).spawn(6)
        seeds = [int(child.generate_state(1, np.uint32)[0]) for child in children]
        self.weights, self.order, self.noise, self.split, self.components = seeds[:5]
        self.density = seeds[5]

    def torch_generator(self, seed: int, device="cpu") -> torch.Generator:
        return torch.Generator(device=device).manual_seed(seed)

    def numpy_generator(self, seed: int) -> np.random.RandomState:
        return np.random.RandomState(seed)
