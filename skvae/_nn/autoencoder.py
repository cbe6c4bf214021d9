"""Encoder, decoder and their blocks. They know no device, no skorch, no estimator.

Rows come in as a likelihood encodes them, and go out as what it takes. Randomness comes
in as an argument: a ``generator`` for dropout, a ``seed`` for the initial weights;
torch's global generator is never touched. Weights are float32; rows in float64, which
only inference has, meet them in float64 (see ``_kernels.mixed``).
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._data.covariates import NONE, Covariates
from .._kernels.mixed import mixed_linear, mixed_product
from .._kernels.sparse import Batch
from .._kernels.wide import wide_linear
from .posterior import AT_PRIOR, Posterior, capped_log_var

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "silu": F.silu,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "swiglu": F.silu,  # of the gate; the block multiplies it with the value
}

# Share of the features that conditions may move rows along, for a linear encoder to be
# blind to them.
MOST_BLIND = 0.25

# Of weights and training, whatever torch's default dtype.
PRECISION = torch.float32


def dropout_masks(
    x: Batch, widths: Sequence[int], rate: float, generator: torch.Generator | None
) -> list[Tensor]:
    """What inverted dropout multiplies layers of these widths with, for rows ``x``.

    From a private generator, where ``F.dropout`` has only the global one. On a CPU,
    where drawing is what costs, four units share the 64 bits of a draw: the rate is
    rounded to a multiple of 2**-16.
    """
    sizes = [len(x) * width for width in widths]
    if x.device.type == "cpu":
        draws = torch.empty(-(-sum(sizes) // 4), dtype=torch.int64, device="cpu")
        lanes = draws.random_(-(2**63), None, generator=generator).view(torch.int16)
        dropped = round(rate * 2**16)
        keep = torch.empty(sum(sizes), dtype=x.dtype, device="cpu")
        # Compared into floats: faster than into booleans that are then converted.
        torch.ge(lanes[: sum(sizes)], dropped - 2**15, out=keep)
        keep.mul_(2**16 / (2**16 - dropped))
    else:
        keep = torch.empty(sum(sizes), dtype=x.dtype, device=x.device)
        keep.bernoulli_(1.0 - rate, generator=generator).div_(1.0 - rate)
    return [part.view(len(x), -1) for part in keep.split(sizes)]


class Linear(nn.Linear):
    """``nn.Linear`` whose weights are not initialised, and that may be wide.

    torch would draw them from the global generator.
    """

    def __init__(self, n_in: int, n_out: int, *, bias: bool = True) -> None:
        super().__init__(n_in, n_out, bias=bias, dtype=PRECISION)

    def reset_parameters(self) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype is torch.float64:
            return mixed_linear(x, self.weight, self.bias)
        return wide_linear(x, self.weight, self.bias)


class InputLinear(nn.Module):
    """Linear map of rows of X, dense or sparse; its weight is (n_in, n_out).

    The other way round than in ``nn.Linear``, so that a nonzero of a sparse row meets
    weights that lie side by side.
    """

    def __init__(self, n_in: int, n_out: int, *, bias: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features = n_in, n_out
        self.weight = nn.Parameter(torch.empty(n_in, n_out, dtype=PRECISION))
        self.bias = nn.Parameter(torch.empty(n_out, dtype=PRECISION)) if bias else None

    def forward(self, x: Batch) -> Tensor:
        if isinstance(x, Tensor) and x.dtype is not torch.float64:
            return F.linear(x, self.weight.T, self.bias)
        y = mixed_product(x, self.weight) if isinstance(x, Tensor) else x @ self.weight
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        bias = self.bias is not None
        return f"{self.in_features}, {self.out_features}, bias={bias}"


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation that falls back to running statistics for a single row."""

    def forward(self, h: Tensor) -> Tensor:
        if self.training and len(h) > 1:
            return super().forward(h)
        parts = (self.running_mean, self.running_var, self.weight, self.bias)
        mean, variance, weight, bias = _in_precision_of(h, parts)
        return F.batch_norm(h, mean, variance, weight, bias, eps=self.eps)


class LayerNorm(nn.LayerNorm):
    """Layer normalisation in the precision of its rows."""

    def forward(self, h: Tensor) -> Tensor:
        weight, bias = _in_precision_of(h, (self.weight, self.bias))
        return F.layer_norm(h, self.normalized_shape, weight, bias, self.eps)


def _in_precision_of(h: Tensor, parts: Sequence[Tensor | None]) -> list[Any]:
    """Parameters, one a column, for rows that may be in float64."""
    if h.dtype is not torch.float64:  # autocast's rows take them as they are
        return list(parts)
    return [part if part is None else part.to(h.dtype) for part in parts]


class Block(nn.Module):
    """Linear, normalisation, activation; dropout is a mask that comes in.

    Batch normalisation stands before the activation; a SwiGLU block (Shazeer, 2020)
    multiplies a value with its gate and is layer-normalised behind the product, since
    the statistics of a product over a batch are heavy-tailed.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        activation: str,
        normalise: bool,
        linear: type[Linear | InputLinear] = Linear,
    ) -> None:
        super().__init__()
        self.gated = activation == "swiglu"
        self.activation = activation
        batch_norm = normalise and not self.gated
        # A bias in front of batch normalisation is subtracted again: leave it out.
        self.linear = linear(
            n_in, 2 * n_out if self.gated else n_out, bias=not batch_norm
        )
        self.norm: nn.Module
        if batch_norm:
            self.norm = BatchNorm(n_out, dtype=PRECISION)
        elif normalise:
            self.norm = LayerNorm(n_out, dtype=PRECISION)
        else:
            self.norm = nn.Identity()

    def forward(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        h = self.linear(h)
        activation = ACTIVATIONS[self.activation]
        if self.gated:
            value, gate = h.chunk(2, dim=-1)
            h = self.norm(value * activation(gate))
        else:
            h = activation(self.norm(h))
        return h if mask is None else h * mask


class MLP(nn.Module):
    """A chain of blocks; with no widths at all it passes its input on."""

    def __init__(
        self,
        widths: Sequence[int],
        *,
        dropout_rate: float,
        first: type[Linear | InputLinear] = Linear,
        **block_options,
    ) -> None:
        super().__init__()
        self.widths = list(widths[1:])
        self.dropout_rate = dropout_rate
        self.blocks = nn.ModuleList(
            Block(n_in, n_out, linear=Linear if i else first, **block_options)
            for i, (n_in, n_out) in enumerate(pairwise(widths))
        )

    def masks(
        self, x: Batch, generator: torch.Generator | None
    ) -> Sequence[Tensor | None]:
        """A dropout mask a block for rows ``x``, where there is dropout."""
        if self.training and self.dropout_rate > 0.0:
            return dropout_masks(x, self.widths, self.dropout_rate, generator)
        return [None] * len(self.blocks)

    def forward(self, h: Batch, generator: torch.Generator | None = None) -> Batch:
        for block, mask in zip(self.blocks, self.masks(h, generator), strict=True):
            h = block(h, mask)
        return h


class Encoder(nn.Module):
    """Code of a row: a network and, beside it, an optional linear path."""

    def __init__(self, widths, latent_dim, *, linear_path, **block_options) -> None:
        super().__init__()
        self.mlp = MLP(widths, first=InputLinear, **block_options)
        # Without blocks the heads face X.
        head = Linear if self.mlp.blocks else InputLinear
        self.mean = head(widths[-1], latent_dim)
        self.linear = (
            InputLinear(widths[0], latent_dim, bias=False) if linear_path else None
        )

    def forward(self, x: Batch, generator: torch.Generator | None = None):
        return self.code(x, self.mlp(x, generator))

    def code(self, x: Batch, h: Tensor) -> Tensor:
        """Code of rows ``x`` whose embedding is ``h``."""
        mean = self.mean(h)
        return mean if self.linear is None else mean + self.linear(x)


class GaussianEncoder(Encoder):
    """q(z | x). The linear path, as in probabilistic PCA, has one variance for all."""

    def __init__(self, widths, latent_dim, *, linear_path, **block_options) -> None:
        super().__init__(widths, latent_dim, linear_path=linear_path, **block_options)
        self.log_var = type(self.mean)(widths[-1], latent_dim)
        self.linear_log_var = (
            nn.Parameter(torch.empty(latent_dim, dtype=PRECISION))
            if linear_path
            else None
        )

    def forward(self, x: Batch, generator: torch.Generator | None = None) -> Posterior:
        h = self.mlp(x, generator)
        log_var = self.log_var(h)
        if self.linear_log_var is not None:
            log_var = log_var + self.linear_log_var
        return Posterior(self.code(x, h), capped_log_var(log_var))


class Decoder(nn.Module):
    """Raw outputs for p(x | z): a network and, beside it, an optional linear path.

    Conditions stand behind the code; the first ``n_rates`` outputs are logarithms of
    rates where rows have sizes.
    """

    def __init__(
        self, widths, n_outputs, *, n_rates, linear_path, **block_options
    ) -> None:
        super().__init__()
        self.n_rates = n_rates
        self.mlp = MLP(widths, **block_options)
        self.out = Linear(widths[-1], n_outputs)
        self.linear = Linear(widths[0], n_outputs, bias=False) if linear_path else None

    def forward(
        self,
        z: Tensor,
        covariates: Covariates = NONE,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        z = covariates.beside(z)
        x = self.out(self.mlp(z, generator))
        x = x if self.linear is None else x + self.linear(z)
        return self.sized(x, covariates)

    def sized(self, x: Tensor, covariates: Covariates) -> Tensor:
        """Raw outputs, which may be overwritten, of rows of these sizes."""
        log_size = covariates.log_size
        if log_size is None:
            return x
        # bfloat16, which autocast may return, has three digits for a logarithm.
        x = x.to(torch.promote_types(x.dtype, log_size.dtype))
        x[:, : self.n_rates] += log_size
        return x

    def embed(self, z: Tensor, covariates: Covariates = NONE) -> Tensor:
        """What :meth:`readout` maps to rows, up to the bias: (n, width)."""
        z = covariates.beside(z)
        h = self.mlp(z)
        return h if self.linear is None else torch.cat([h, z], dim=1)

    def readout(self) -> Tensor:
        """The linear map that the decoder ends in, (n_outputs, width)."""
        if self.linear is None:
            return self.out.weight
        return torch.cat([self.out.weight, self.linear.weight], dim=1)


class Autoencoder(nn.Module):
    """Deterministic autoencoder.

    Parameters
    ----------
    n_features, latent_dim : int
        Columns of X, units of the code.
    n_inputs, n_outputs : int, optional
        Columns that the encoder sees, and those that the decoder gives; by default
        ``n_features`` both.
    n_conditions : int
        Columns that the decoder is given beside the code.
    encode_conditions : bool
        Whether the encoder is given them, too, behind its inputs.
    hidden_dims : sequence of int
        Widths of the encoder's blocks; the decoder has them in reverse. Empty: linear.
    activation : {"gelu", "silu", "relu", "leaky_relu", "swiglu"}
    use_batch_norm : bool
    dropout_rate : float in [0, 1)
    linear_path : bool
        A linear map beside each network. The networks' last layers then start at zero
        and the linear maps wait for :meth:`set_linear_path`.
    seed : int or None
        Seed of the initial weights; None leaves them unset, to be loaded.
    """

    encoder_type: type[Encoder] = Encoder

    def __init__(
        self,
        n_features: int,
        latent_dim: int,
        *,
        n_inputs: int | None = None,
        n_outputs: int | None = None,
        n_conditions: int = 0,
        encode_conditions: bool = False,
        hidden_dims: Sequence[int] = (),
        activation: str = "gelu",
        use_batch_norm: bool = True,
        dropout_rate: float = 0.0,
        linear_path: bool = False,
        seed: int | None = 0,
    ) -> None:
        super().__init__()
        options = {
            "linear_path": linear_path,
            "activation": activation,
            "normalise": use_batch_norm,
            "dropout_rate": dropout_rate,
        }
        self.latent_dim = latent_dim
        self.encodes_conditions = bool(encode_conditions and n_conditions)
        self.normalises_batches = bool(
            use_batch_norm and len(hidden_dims) and activation != "swiglu"
        )
        n_encoded = n_conditions if encode_conditions else 0
        widths = ((n_inputs or n_features) + n_encoded, *hidden_dims)
        self.encoder = self.encoder_type(widths, latent_dim, **options)
        self.decoder = Decoder(
            (latent_dim + n_conditions, *hidden_dims[::-1]),
            n_outputs or n_features,
            n_rates=n_features,
            **options,
        )
        if seed is not None:
            self.reset_parameters(torch.Generator().manual_seed(seed))

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw the initial weights as torch does, from ``generator`` instead."""
        for module in self.modules():
            if isinstance(module, (Linear, InputLinear)):
                bound = 1.0 / math.sqrt(module.in_features)
                for parameter in module.parameters(recurse=False):
                    parameter.uniform_(-bound, bound, generator=generator)
            elif isinstance(module, (nn.BatchNorm1d, nn.LayerNorm)):
                module.reset_parameters()
        if self.encoder.linear is not None:
            for part in (self.encoder, self.decoder):
                for name, parameter in part.named_parameters():
                    if not name.startswith("mlp."):
                        nn.init.zeros_(parameter)

    @torch.no_grad()
    def set_output_bias(self, bias: Tensor) -> None:
        """Set what the decoder gives for no code at all, (n_outputs,)."""
        self.decoder.out.bias.copy_(bias)

    @torch.no_grad()
    def set_linear_path(self, encode: Tensor, decode: Tensor) -> None:
        """Set the linear path: ``encode`` is (k, n_features), ``decode`` its like.

        ``decode`` is (n_features, k); units beyond k keep codes of 0.

        Raises
        ------
        ValueError
            If the model has no linear path.
        """
        linear, decoder_linear = self.encoder.linear, self.decoder.linear
        if linear is None or decoder_linear is None:
            raise ValueError("This model was made without a linear path.")
        linear.weight[: encode.shape[1], : len(encode)] = encode.T
        decoder_linear.weight[:, : len(encode)] = decode

    @torch.no_grad()
    def set_condition_path(self, weights: Tensor, mean: Tensor) -> None:
        """Set what the linear path makes of conditions, (n_conditions, n_features).

        The decoder adds ``(conditions - mean) @ weights``. The encoder takes that away,
        if it is given conditions; if not, its linear map is made blind to where they
        move rows to, as far as that leaves it most of the directions.
        """
        encoder, decoder = self.encoder.linear, self.decoder.linear
        assert encoder is not None
        assert decoder is not None
        n_given, n_features = weights.shape
        weights = weights.to(encoder.weight)
        mean = mean.to(encoder.weight)
        decoder.weight[:, self.latent_dim :] = weights.T
        self.decoder.out.bias.copy_(-(mean @ weights))
        if self.encodes_conditions:
            moved = weights @ encoder.weight[:n_features]
            encoder.weight[n_features : n_features + n_given] = -moved
            bias = self.encoder.mean.bias
            assert bias is not None
            bias.copy_(mean @ moved)
        elif n_given <= MOST_BLIND * n_features:
            own = encoder.weight[:n_features]
            own.sub_(torch.linalg.pinv(weights) @ (weights @ own))

    def code(self, x: Batch, generator: torch.Generator | None = None) -> Tensor:
        """Codes (n, latent_dim) of inputs (n, n_inputs)."""
        return self.encoder(x, generator)

    def decode(
        self,
        z: Tensor,
        covariates: Covariates = NONE,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Raw outputs (n, n_outputs) for codes (n, latent_dim)."""
        return self.decoder(z, covariates, generator)

    def forward(self, x: Batch, covariates: Covariates = NONE) -> Tensor:
        """Raw outputs (n, n_outputs) for the codes of inputs (n, n_inputs)."""
        return self.decode(self.code(x), covariates)


class VAE(Autoencoder):
    """Variational autoencoder with a Gaussian posterior.

    Its code of a row is the posterior mean. Parameters as for :class:`Autoencoder`.
    """

    encoder_type = GaussianEncoder
    encoder: GaussianEncoder

    @torch.no_grad()
    def set_posterior_variance(self, log_var: Tensor) -> None:
        """Set the linear path's log variances (k,); other units stay at the prior.

        Raises
        ------
        ValueError
            If the model has no linear path.
        """
        raw = self.encoder.linear_log_var
        if raw is None:
            raise ValueError("This model was made without a linear path.")
        raw.fill_(AT_PRIOR)
        # What capped_log_var undoes.
        opened = -torch.log(torch.expm1(-log_var))
        raw[: len(log_var)] = opened.clamp(max=AT_PRIOR)

    @torch.no_grad()
    def forget_codes(self) -> None:
        """Have every posterior be the prior, and the decoder give its output bias."""
        encoder, decoder = self.encoder, self.decoder
        heads = [encoder.mean, encoder.log_var, encoder.linear, decoder.linear]
        for head in heads:
            if head is not None:
                for parameter in head.parameters():
                    parameter.zero_()
        decoder.out.weight.zero_()
        if encoder.linear_log_var is not None:
            encoder.linear_log_var.zero_()
        assert encoder.log_var.bias is not None
        encoder.log_var.bias.fill_(AT_PRIOR)

    def encode(self, x: Batch, generator: torch.Generator | None = None) -> Posterior:
        """Posterior of inputs (n, n_inputs)."""
        return self.encoder(x, generator)

    def code(self, x: Batch, generator: torch.Generator | None = None) -> Tensor:
        return self.encode(x, generator).mean
