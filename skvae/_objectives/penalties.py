"""What a plain autoencoder's loss adds to the squared error, as pure functions.

Penalties of the code are batch means of sums over units; penalties of the decoder are
those of Ghosh et al. (2020), From Variational to Deterministic Autoencoders.
"""

import torch
from torch import Tensor, nn

from .._nn.autoencoder import Autoencoder

# Power iterations for a largest singular value; each costs a product with the matrix.
N_ITERATIONS = 10


def squared_length(z: Tensor) -> Tensor:
    """Squared length of a code, mean over rows."""
    return z.square().sum(dim=1).mean()


def absolute_length(z: Tensor) -> Tensor:
    """Sum of a code's absolute values, mean over rows."""
    return z.abs().sum(dim=1).mean()


def _without_autocast(z: Tensor) -> torch.autocast:
    """What to measure a decoder in: only passes through it are autocast's."""
    return torch.autocast(z.device.type, enabled=False)


def _matrices(module: Autoencoder) -> list[Tensor]:
    return [m.weight for m in module.decoder.modules() if isinstance(m, nn.Linear)]


def decoder_weights(
    module: Autoencoder, z: Tensor, generator: torch.Generator
) -> Tensor:
    """Sum of the squares of the decoder's weights."""
    return torch.stack([w.square().sum() for w in _matrices(module)]).sum()


def decoder_gradient(
    module: Autoencoder, z: Tensor, generator: torch.Generator
) -> Tensor:
    """Squared Frobenius norm of the decoder's Jacobian, mean over codes.

    Hutchinson's estimator: ``E |J' v|^2 = |J|^2`` for v standard normal, one draw a
    row. Codes are taken as they are: the penalty is the decoder's alone.
    """
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        x = module.decode(z, generator=generator).to(z.dtype)
        v = torch.empty_like(x).normal_(generator=generator)
        with _without_autocast(z):
            (gradient,) = torch.autograd.grad(x, z, v, create_graph=True)
        return gradient.square().sum(dim=1).mean()


def largest_singular_value(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Largest singular value of a matrix by power iteration, differentiable."""
    with torch.no_grad():
        v = weight.new_empty(weight.shape[1]).normal_(generator=generator)
        for _ in range(N_ITERATIONS):
            u = nn.functional.normalize(weight @ v, dim=0)
            v = nn.functional.normalize(weight.T @ u, dim=0)
    return u @ (weight @ v)


def decoder_spectral(
    module: Autoencoder, z: Tensor, generator: torch.Generator
) -> Tensor:
    """Sum of squared largest singular values of the decoder's matrices.

    The penalty of Yoshida and Miyato (2017), which bounds how far the decoder
    stretches; Ghosh et al. divide by the singular values instead, without a weight.
    """
    with _without_autocast(z):
        values = [largest_singular_value(w, generator) for w in _matrices(module)]
        return torch.stack(values).square().sum()


CODE_PENALTIES = {
    "l2": squared_length,
    "l1": absolute_length,
    "soft_threshold": absolute_length,
}
DECODER_PENALTIES = {
    "l2": decoder_weights,
    "gradient": decoder_gradient,
    "spectral": decoder_spectral,
}
