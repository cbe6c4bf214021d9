"""Gradients of a training step, derived by hand.

Autograd allocates every gradient anew and spends, on a small network, as much time on
bookkeeping as on arithmetic. The networks here are chains, so the chain rule is a walk
back along them. Write ``g`` for the gradient of the loss by the output of a layer, a
row for a row of the minibatch. Every layer below has ``forward``, and ``backward(g)``,
which sets the gradients of its parameters and returns the one of its input:

Linear, y = x W' + b, and of rows of X, y = x W + b
    dW = g' x or x' g,  db = 1' g,  dx = g W.
Elementwise, y = f(x), and dropout, y = c x with a random c
    dx = g f'(x),  dx = g c.
Gated, y = v f(u) with (v, u) the halves of the input
    dv = g f(u),  du = g v f'(u).
Normalisation
    torch's own kernels, forward and backward.

The loss is a likelihood's, whose gradient by the decoder's output is its own to give
(``Likelihood.loss_and_grad``), and a penalty of the code:

Gaussian code, z = m + s e with s = exp(l / 2), l = -softplus(-a), e standard normal
    dz/dm = 1,  dz/dl = e s / 2,  dl/da = sigmoid(-a) = 1 - s^2;
    w KL has, over n, the gradients w m by m and w (s^2 - 1) / 2 by l.
Penalised code
    w |z|^2 has, over n, the gradient 2 w z, and w |z|_1 has w sign(z).
Soft threshold with noise, y = z + c e where z is not 0 (see ``_thresholds``)
    da = dy + w sign(z) / n where z is not 0, else the soft threshold of dy at w / n.

The gradients of all parameters lie side by side in one tensor, which lives for as long
as training does. What is not covered (a module, a layer or a criterion of another
class, a hook, a frozen parameter) is left to autograd.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from .._data.covariates import Covariates
from .._data.dataset import Minibatch
from .._kernels.sparse import Batch, SparseRows
from .._kernels.wide import wide_linear
from .._nn.autoencoder import (
    ACTIVATIONS,
    MLP,
    VAE,
    Autoencoder,
    BatchNorm,
    Block,
    Decoder,
    Encoder,
    GaussianEncoder,
    InputLinear,
    LayerNorm,
    Linear,
)
from .._nn.thresholds import ThresholdedAutoencoder
from .._objectives.criterion import Criterion
from .._objectives.penalised_error import PenalisedError
from .._objectives.weighted_elbo import WeightedELBO
from .code_gradients import code_of
from .flat import side_by_side

_COVERED = {
    *(Autoencoder, VAE, Encoder, GaussianEncoder, Decoder, MLP, Block, nn.ModuleList),
    *(Linear, InputLinear, BatchNorm, LayerNorm, nn.Identity),
    *(ThresholdedAutoencoder, WeightedELBO, PenalisedError),
}

_aten = torch.ops.aten

# g f'(x) of (g, x), for the functions of ACTIVATIONS.
_DERIVATIVES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gelu": _aten.gelu_backward.default,
    "silu": _aten.silu_backward.default,
    "relu": lambda g, x: _aten.threshold_backward.default(g, x, 0.0),
    "leaky_relu": lambda g, x: _aten.leaky_relu_backward.default(g, x, 0.01, False),
    "swiglu": _aten.silu_backward.default,
}


class _Link(Protocol):
    """A link of the chain. What ``backward`` needs is kept from ``forward``."""

    def forward(self, x: Tensor) -> Tensor: ...

    def backward(self, g: Tensor) -> Tensor:
        """Set the parameters' gradients, return the input's; ``g`` may be lost."""


class _Linear:
    def __init__(self, layer: nn.Linear) -> None:
        self._weight, self._bias = layer.weight, layer.bias

    def forward(self, x: Tensor) -> Tensor:
        self._x = x
        return wide_linear(x, self._weight, self._bias)

    def set_gradients(self, g: Tensor) -> None:
        torch.mm(g.T, self._x, out=self._weight.grad)
        if self._bias is not None:
            torch.sum(g, dim=0, out=self._bias.grad)

    def input_gradient(self, g: Tensor) -> Tensor:
        return g @ self._weight


class _InputLinear:
    """A map of rows of X, dense or sparse: nobody asks for their gradient."""

    def __init__(self, layer: InputLinear) -> None:
        self._weight, self._bias = layer.weight, layer.bias

    def forward(self, x: Batch) -> Tensor:
        self._x = x
        y = x @ self._weight
        return y if self._bias is None else y.add_(self._bias)

    def set_gradients(self, g: Tensor) -> None:
        if isinstance(self._x, SparseRows):
            self._x.transposed_product(g, out=cast(Tensor, self._weight.grad))
        else:
            torch.mm(self._x.T, g, out=self._weight.grad)
        if self._bias is not None:
            torch.sum(g, dim=0, out=self._bias.grad)


def _linear(layer: nn.Module) -> Any:
    if isinstance(layer, InputLinear):
        return _InputLinear(layer)
    return _Linear(cast(nn.Linear, layer))


class _BatchNorm:
    def __init__(self, norm: nn.BatchNorm1d) -> None:
        self._weight, self._bias = norm.weight, norm.bias
        self._running = norm.running_mean, norm.running_var
        self._momentum, self._eps = norm.momentum or 0.0, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        parameters = self._weight, self._bias, *self._running
        y, *statistics = torch.native_batch_norm(
            x, *parameters, True, self._momentum, self._eps
        )
        self._kept = x, statistics
        return y

    def backward(self, g: Tensor) -> Tensor:
        x, statistics = self._kept
        gradients = self._weight.grad, self._bias.grad
        wanted = [True, True, True]
        return _into(
            gradients,
            _aten.native_batch_norm_backward.default(
                g,
                x,
                self._weight,
                *self._running,
                *statistics,
                True,
                self._eps,
                wanted,
            ),
        )


class _LayerNorm:
    def __init__(self, norm: nn.LayerNorm) -> None:
        self._weight, self._bias = norm.weight, norm.bias
        self._shape, self._eps = norm.normalized_shape, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        y, *statistics = torch.native_layer_norm(
            x, self._shape, self._weight, self._bias, self._eps
        )
        self._kept = x, statistics
        return y

    def backward(self, g: Tensor) -> Tensor:
        x, statistics = self._kept
        gradients = self._weight.grad, self._bias.grad
        wanted = [True, True, True]
        return _into(
            gradients,
            _aten.native_layer_norm_backward.default(
                g, x, self._shape, *statistics, self._weight, self._bias, wanted
            ),
        )


def _into(gradients: Sequence, computed: Sequence[Tensor]) -> Tensor:
    """Copy the parameters' gradients, the last ones computed; returns the input's."""
    g, *others = computed
    for gradient, other in zip(gradients, others, strict=True):
        gradient.copy_(other)
    return g


class _Activation:
    def __init__(self, name: str) -> None:
        self._f, self._input_gradient = ACTIVATIONS[name], _DERIVATIVES[name]

    def forward(self, x: Tensor) -> Tensor:
        self._x = x
        return self._f(x)

    def backward(self, g: Tensor) -> Tensor:
        return self._input_gradient(g, self._x)


class _Gate:
    def __init__(self, name: str) -> None:
        self._f, self._input_gradient = ACTIVATIONS[name], _DERIVATIVES[name]

    def forward(self, x: Tensor) -> Tensor:
        self._value, self._gate = x.chunk(2, dim=-1)
        self._opening = self._f(self._gate)
        return self._value * self._opening

    def backward(self, g: Tensor) -> Tensor:
        gate = self._input_gradient(g * self._value, self._gate)
        return torch.cat([g.mul_(self._opening), gate], dim=-1)


class _Block:
    def __init__(self, block: Block) -> None:
        norm: list[_Link] = []
        if isinstance(block.norm, nn.BatchNorm1d):
            norm = [_BatchNorm(block.norm)]
        elif isinstance(block.norm, nn.LayerNorm):
            norm = [_LayerNorm(block.norm)]
        self._linear = _linear(block.linear)
        self._others: list[_Link] = (
            [_Gate(block.activation), *norm]
            if block.gated
            else [*norm, _Activation(block.activation)]
        )

    def forward(self, x: Batch, mask: Tensor | None) -> Tensor:
        self._mask = mask
        h: Tensor = self._linear.forward(x)
        for link in self._others:
            h = link.forward(h)
        return h if mask is None else h.mul_(mask)

    def _to_linear(self, g: Tensor) -> Tensor:
        if self._mask is not None:
            g = g.mul_(self._mask)
        for link in reversed(self._others):
            g = link.backward(g)
        return g

    def set_gradients(self, g: Tensor) -> None:
        """Like ``backward``, without the input's gradient, which costs a product."""
        self._linear.set_gradients(self._to_linear(g))

    def backward(self, g: Tensor) -> Tensor:
        g = self._to_linear(g)
        self._linear.set_gradients(g)
        return self._linear.input_gradient(g)


class _Chain:
    def __init__(self, body: MLP) -> None:
        self._body = body
        self.blocks = [_Block(cast(Block, block)) for block in body.blocks]

    def forward(self, x: Batch, generator: torch.Generator) -> Batch:
        masks = self._body.masks(x, generator)
        for block, mask in zip(self.blocks, masks, strict=True):
            x = block.forward(x, mask)
        return x

    def backward(self, g: Tensor) -> Tensor:
        for block in reversed(self.blocks):
            g = block.backward(g)
        return g

    def set_gradients(self, g: Tensor) -> None:
        first, *others = self.blocks
        for block in reversed(others):
            g = block.backward(g)
        first.set_gradients(g)


class _Encoder:
    """The network's heads: the code and, of a Gaussian one, the raw log variance."""

    def __init__(self, encoder: Encoder) -> None:
        self._chain = _Chain(encoder.mlp)
        self._heads = [_linear(encoder.mean)]
        self._offset = None
        if isinstance(encoder, GaussianEncoder):
            self._heads.append(_linear(encoder.log_var))
            self._offset = encoder.linear_log_var
        self._linear = None if encoder.linear is None else _linear(encoder.linear)

    def forward(self, x: Batch, generator: torch.Generator) -> list[Tensor]:
        h = self._chain.forward(x, generator)
        outputs = [head.forward(h) for head in self._heads]
        if self._linear is not None:
            outputs[0] += self._linear.forward(x)
        if self._offset is not None:
            outputs[1] += self._offset
        return outputs

    def set_gradients(self, gradients: Sequence[Tensor]) -> None:
        if self._offset is not None:
            torch.sum(gradients[1], dim=0, out=self._offset.grad)
        if self._linear is not None:
            self._linear.set_gradients(gradients[0])
        heads = list(zip(self._heads, gradients, strict=True))
        for head, g in heads:
            head.set_gradients(g)
        if self._chain.blocks:
            pulled = [head.input_gradient(g) for head, g in heads]
            self._chain.set_gradients(functools.reduce(Tensor.add_, pulled))


class _Decoder:
    def __init__(self, decoder: Decoder) -> None:
        self._chain = _Chain(decoder.mlp)
        self._out = _Linear(decoder.out)
        self._linear = None if decoder.linear is None else _Linear(decoder.linear)
        self._sized = decoder.sized

    def forward(
        self, z: Tensor, covariates: Covariates, generator: torch.Generator
    ) -> Tensor:
        self._latent_dim = z.shape[1]
        z = covariates.beside(z)
        h = cast(Tensor, self._chain.forward(z, generator))
        y = self._out.forward(h)
        if self._linear is not None:
            y += self._linear.forward(z)
        return self._sized(y, covariates)

    def backward(self, g: Tensor) -> Tensor:
        self._out.set_gradients(g)
        g_code = self._chain.backward(self._out.input_gradient(g))
        if self._linear is not None:
            self._linear.set_gradients(g)
            g_code += self._linear.input_gradient(g)
        if g_code.shape[1] == self._latent_dim:
            return g_code
        # Nobody asks for the gradient of the conditions behind the code.
        return g_code[:, : self._latent_dim]


def _has_hooks(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


class Gradients:
    """The gradients of a module's parameters, computed into one tensor.

    Parameters
    ----------
    module : Autoencoder
    criterion : Criterion

    Attributes
    ----------
    flat : Tensor
        All of them, from the first epoch that is :meth:`covered`.
    """

    flat: Tensor

    def __init__(self, module: Autoencoder, criterion: Criterion) -> None:
        self._module = module
        self._criterion = criterion
        self._parts: tuple = ()
        self._views: list[Tensor] | None = None

    def covered(self) -> bool:
        """Whether what is derived above is what this module and criterion compute."""
        # How a likelihood comes to its gradient is its own affair.
        parts = [*self._module.modules(), self._criterion]
        variational = isinstance(self._criterion, WeightedELBO)
        return (
            all(type(part) in _COVERED and not _has_hooks(part) for part in parts)
            and isinstance(self._module, VAE) == variational
            and self._criterion.single_pass
            and all(
                p.requires_grad and p.device.type in ("cpu", "cuda")
                for p in self.parameters
            )
        )

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Of the network, then of the likelihood."""
        return [*self._module.parameters(), *self._criterion.parameters()]

    def attach(self, memory: Tensor | None = None) -> None:
        """Let the parameters' ``grad`` be where the gradients will be.

        That is ``memory``, if the gradients of all of them lie there already.
        """
        if not self._parts:
            encoder, decoder = self._module.encoder, self._module.decoder
            code = code_of(self._module, self._criterion)
            self._parts = _Encoder(encoder), code, _Decoder(decoder)
        if memory is not None:
            self.flat = memory
            return
        parameters = self.parameters
        if self._views is None:
            self.flat, self._views = side_by_side(parameters)
        for parameter, view in zip(parameters, self._views, strict=True):
            parameter.grad = view

    def count_batches(self, n_batches: int) -> None:
        """Count minibatches as batch normalisation does, all of an epoch at once."""
        for part in self._module.modules():
            if isinstance(part, nn.BatchNorm1d):
                cast(Tensor, part.num_batches_tracked).add_(n_batches)

    @torch.no_grad()
    def compute(self, batch: Minibatch, generator: torch.Generator) -> Tensor:
        """Set the gradients of the loss of a minibatch; returns its terms.

        At least two rows, if the module normalises batches.
        """
        encoder, code, decoder = self._parts
        z, terms = code.forward(encoder.forward(batch.inputs, generator), generator)
        raw = decoder.forward(z, batch.covariates, generator)
        loss, g = self._criterion.likelihood.loss_and_grad(
            raw, batch.target, batch.mask
        )
        encoder.set_gradients(code.backward(decoder.backward(g)))
        return torch.stack([loss, *terms])
