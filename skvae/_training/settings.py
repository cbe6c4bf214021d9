"""What an estimator's parameters say, checked and resolved."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .._likelihoods.base import Likelihood
from .strategy import TrainingStrategy


@dataclass(frozen=True)
class Settings:
    """Of one call of ``fit`` or ``partial_fit``.

    ``network`` are parameters of the network, but for its seed; ``linear_path`` says
    that training begins at a linear model; ``validation_fraction`` is None without
    early stopping.
    """

    strategy: TrainingStrategy
    likelihood: type[Likelihood]
    network: dict
    linear_path: bool
    lr: float
    weight_decay: float
    batch_size: int
    max_epochs: int
    gradient_clip_val: float | None
    cosine: bool
    validation_fraction: float | None
    n_iter_no_change: int
    tol: float
    device: torch.device
    precision: str
    verbose: int
    callbacks: Sequence
