"""Codes with exact zeros: soft thresholding, and the autoencoder that does it.

With a linear decoder whose columns are orthonormal, and the loss

    |x - W z|^2 / D + w |z|_1,

the best code of a row is ``S(W'x)`` with the soft threshold ``S(a) = sign(a) max(|a| -
t, 0)`` at ``t = w D / 2`` (the lasso's solution; ISTA takes it step by step, and LISTA,
Gregor & LeCun, 2010, has a network do it). A threshold of that size behind the encoder
gives the zeros that descent along the penalty's gradient never reaches.
"""

from typing import Any

import torch
from torch import Tensor

from .._kernels.sparse import Batch
from .autoencoder import PRECISION, Autoencoder


def threshold_of_weight(weight: float, n_features: int) -> float:
    """The soft threshold that a weight of the absolute code stands for."""
    return 0.5 * weight * n_features


def soft_threshold(a: Tensor, threshold: Any) -> Tensor:
    """``sign(a) max(|a| - threshold, 0)``; the zeros are exact."""
    return a - a.clamp(-threshold, threshold)


class _Thresholded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, threshold: Tensor, price: float) -> Tensor:
        z = soft_threshold(a, threshold)
        ctx.save_for_backward(z)
        ctx.price = price
        return z

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (z,) = ctx.saved_tensors
        (g,) = gradients
        return torch.where(z == 0.0, soft_threshold(g, ctx.price), g), None, None


def thresholded(a: Tensor, threshold: Tensor, price: float) -> Tensor:
    """Soft threshold with a way back for zeros: training's.

    Its own gradient is 0 at every zero, and a unit without a single code would stay so
    for good. Here a gradient passes where the code is not zero; and where it is, what
    is left of it when ``price``, the penalty's slope by one code, is paid: the steepest
    descent from z = 0. It is 0 where the lasso would have the zero stay.
    """
    return _Thresholded.apply(a, threshold, price)


def with_noise(z: Tensor, threshold: Tensor, generator: torch.Generator) -> Tensor:
    """Codes with noise of the threshold's size on what is not zero.

    Without it a decoder could undo any shrinking of all codes, and the penalty with it.
    Noise that does not shrink with them makes what is too short hard to read: a
    decoder of gain J adds ``threshold^2 |J|^2`` to its error (Bishop, 1995).
    """
    noise = torch.empty_like(z).normal_(generator=generator)
    return torch.addcmul(z, noise.mul_(z != 0.0), threshold)


class ThresholdedAutoencoder(Autoencoder):
    """Autoencoder with a soft threshold behind its encoder; 0 is none.

    Parameters as for :class:`Autoencoder`. ``threshold`` belongs to its state.
    """

    threshold: Tensor

    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **options)
        zero = torch.zeros((), dtype=PRECISION, device="cpu")
        self.register_buffer("threshold", zero)

    def code(self, x: Batch, generator: torch.Generator | None = None) -> Tensor:
        return soft_threshold(super().code(x, generator), self.threshold)
