"""Ways to a sparse code that were tried, and not taken, for ``SAETransformer``.

All are trained by autograd, so their seconds are not those of a finished estimator;
the one that was taken is here, too, to be compared on equal terms.
"""

import math

import torch
import torch.nn.functional as F

from skvae import SAETransformer
from skvae._nn.thresholds import thresholded
from skvae._objectives.penalised_error import PenalisedError
from skvae._training.deterministic import Sparse


class _ByAutograd(PenalisedError):
    single_pass = False


def _code(criterion, module, x, generator):
    a = module.encoder(x, generator)
    if not criterion.thresholds:
        return a
    return thresholded(a, module.threshold, criterion.price(len(a)))


class Gain(_ByAutograd):
    """Every code times its gain: the length of its column of the decoder's Jacobian.

    ``E |J'v| = |J| sqrt(2 / pi)`` for v standard normal: one draw a row.
    """

    def terms(self, module, batch, generator):
        x = batch.target
        with torch.enable_grad():
            z = _code(self, module, x, generator).requires_grad_()
            y = module.decode(z, generator=generator)
            v = torch.empty_like(y).normal_(generator=generator)
            (slope,) = torch.autograd.grad(y, z, v, create_graph=True)
        gain = math.sqrt(math.pi / 2.0) * slope.abs()
        return torch.stack([F.mse_loss(y, x), (z.abs() * gain).sum(dim=1).mean()])

    held_out_terms = terms


class Columns(_ByAutograd):
    """Every code times the length of its columns of the decoder's first matrices."""

    def terms(self, module, batch, generator):
        x = batch.target
        z = _code(self, module, x, generator)
        first = module.decoder.linear, module.decoder.mlp.blocks[0].linear
        squares = [layer.weight.square().sum(dim=0) for layer in first]
        lengths = torch.stack(squares).sum(dim=0).sqrt()
        error = F.mse_loss(module.decode(z, generator=generator), x)
        return torch.stack([error, (z.abs() * lengths).sum(dim=1).mean()])

    held_out_terms = terms


class Noiseless(_ByAutograd):
    """The absolute code, and nothing that keeps its scale but the threshold's."""

    def terms(self, module, batch, generator):
        x = batch.target
        z = _code(self, module, x, generator)
        error = F.mse_loss(module.decode(z, generator=generator), x)
        return torch.stack([error, z.abs().sum(dim=1).mean()])


class NoiseOnAll(_ByAutograd):
    """Noise of half the threshold on every code, zero or not."""

    def terms(self, module, batch, generator):
        x = batch.target
        z = _code(self, module, x, generator)
        noise = torch.empty_like(z).normal_(generator=generator)
        noisy = torch.addcmul(z, noise, module.threshold, value=0.5)
        error = F.mse_loss(module.decode(noisy, generator=generator), x)
        return torch.stack([error, z.abs().sum(dim=1).mean()])


class Taken(_ByAutograd):
    """Noise of the threshold's size on what is not zero."""


class DesignSAE(SAETransformer):
    """``SAETransformer`` with another of the classes above for a loss."""

    design = Taken

    def _strategy(self):
        strategy = type("TrainingStrategy", (Sparse,), {"criterion": self.design})
        return strategy(**vars(super()._strategy()))


#: Name: class of the loss, and whether there is a threshold.
DESIGNS = {
    "code x gain": (Gain, False),
    "code x columns, threshold": (Columns, True),
    "threshold": (Noiseless, True),
    "threshold, code x gain": (Gain, True),
    "threshold, noise on all": (NoiseOnAll, True),
    "threshold, noise on nonzeros": (Taken, True),
}


def make(name, **params):
    """An estimator of a design."""
    design, has_threshold = DESIGNS[name]
    penalty = "soft_threshold" if has_threshold else "l1"
    estimator = DesignSAE(code_penalty=penalty, **params)
    estimator.design = design
    return estimator
