"""The importance-weighted bound: what training maximises with several draws a row.

With k draws z_i from q(z | x) and ``w_i = p(x, z_i) / q(z_i | x)``, of every row
(Burda, Grosse & Salakhutdinov, 2016)

    L_k = E ln (w_1 + ... + w_k) / k,    ELBO = L_1 <= L_k <= L_(k+1) <= ln p(x).

Its gradient, along draws that are reparametrised, is ``sum_i v_i d ln w_i`` with the
self-normalised weights ``v_i = w_i / (w_1 + ... + w_k)``.

A shared parameter t of the likelihood that is no weight (a noise variance) enters by
ln p(x | z_i; t) alone. So dL/dt is ``sum_i v_i d ln p(x | z_i; t) / dt``: that of the
likelihood of one draw, taken with the probabilities v_i. Nor does a step to the best t
at these v lower the sum of logarithms, since by Jensen's inequality

    L(t') - L(t) = ln sum_i v_i p(x | z_i; t') / p(x | z_i; t)
                >= sum_i v_i (ln p(x | z_i; t') - ln p(x | z_i; t)).

A likelihood is therefore shown one draw a row that is taken so (sampling importance
resampling: Rubin, 1988), as it is otherwise shown a draw from q: whatever it notes of
means over rows is in expectation weighted by v.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .._data.dataset import Minibatch, rows_at_once
from .._likelihoods.base import Likelihood
from .._nn.autoencoder import VAE, Decoder
from .._nn.posterior import Posterior, draw_posterior, kl_per_row
from .criterion import LossTerm
from .weighted_elbo import WeightedELBO

BOUND = LossTerm("iw_bound", 0)


class ImportanceWeightedELBO(WeightedELBO):
    """``-weight * L_k``, with the weight at which L_1 is the ELBO's loss.

    The terms are the loss of a posterior draw and its KL, which are looked at, and L_k
    in nats per row, which is trained; minus its mean over held-out rows is what epochs
    are compared by. A weight of the KL other than that of maximum likelihood (beta,
    free bits, a schedule) would leave no bound: there is none.

    Parameters
    ----------
    likelihood : Likelihood
    kld_weight : None
    n_samples : int
        k.
    **params
        Of :class:`WeightedELBO`, at their defaults.
    """

    def __init__(
        self,
        likelihood: Likelihood,
        kld_weight: float | None = None,
        *,
        n_samples: int,
        **params,
    ) -> None:
        super().__init__(likelihood, kld_weight, **params)
        self.n_samples = n_samples
        self._shown: Tensor | None = None

    @property
    def single_pass(self) -> bool:
        return False

    @property
    def loss_terms(self) -> tuple[LossTerm, ...]:
        return (self.recon_term, LossTerm("kl_loss", 0), BOUND)

    def in_units_of_X(self, term: LossTerm, value: float) -> float:
        # A density's logarithm has units, too.
        shift = self.likelihood.log_det() if term is BOUND else 0.0
        return super().in_units_of_X(term, value) + shift

    def terms(
        self, network: VAE, batch: Minibatch, generator: torch.Generator
    ) -> Tensor:
        """Loss of a posterior draw, its KL and the bound."""
        terms, _ = self._terms(network, batch, generator)
        return terms

    def held_out_terms(
        self, network: VAE, batch: Minibatch, generator: torch.Generator
    ) -> Tensor:
        terms, bound = self._terms(network, batch, generator)
        if self._rival is not None:
            self._note_rows(batch, -bound, torch.zeros_like(bound))
        return terms

    def _terms(
        self, network: VAE, batch: Minibatch, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        target, mask = batch.target, batch.mask
        encoded = network.encode(batch.inputs, generator)
        posterior = Posterior(*(part.to(target.dtype) for part in encoded))
        draws = Draws(self.likelihood, network, batch, posterior)
        bound = draws.bound(self.n_samples, generator)
        with torch.no_grad():
            loss = self.likelihood.loss(draws.first, target, mask)
            kl = kl_per_row(*posterior).mean()
            # Last, since a likelihood follows what it has seen last.
            self._shown = self.likelihood.loss(draws.resampled, target, mask)
        return torch.stack([loss, kl, bound.mean().to(kl)]), bound

    def forward(self, terms: Tensor) -> Tensor:
        return -self.full_weight * terms[2]

    def full_loss(self, terms: Tensor) -> Tensor:
        return self(terms)

    def objective(self, terms: Tensor) -> float:
        if self._row_objectives:
            return super().objective(terms)
        return -terms[2].item()

    def update_running_stats(self, terms: Tensor) -> None:
        assert self._shown is not None
        self.likelihood.update_running_stats(self._shown)

    def end_training(self) -> None:
        super().end_training()
        self._shown = None


class Draws:
    """Posterior draws of the rows of a minibatch, weighed.

    At the likelihood's shared parameters of today, or, not ``training``, at the
    calibrated ones.

    Attributes
    ----------
    first : tensor of shape (n, n_outputs)
        Raw outputs of the first draw of every row, without gradient.
    resampled : tensor of shape (n, n_outputs)
        The same of one of all its draws, taken with the probabilities v.
    codes : tensor of shape (n, latent_dim)
        The draws that were taken.
    """

    first: Tensor
    resampled: Tensor
    codes: Tensor

    def __init__(
        self,
        likelihood: Likelihood,
        network: VAE,
        batch: Minibatch,
        posterior: Posterior,
        *,
        training: bool = True,
    ) -> None:
        self._nll = likelihood.nll_in_training if training else likelihood.nll_of_code
        self._likelihood, self._decoder = likelihood, network.decoder
        self._batch, self._posterior = batch.dense(), posterior
        widths = (likelihood.n_outputs, network.latent_dim, *self._decoder.mlp.widths)
        self._at_once = max(1, rows_at_once(max(widths)) // len(batch))

    def bound(self, n_draws: int, generator: torch.Generator) -> Tensor:
        """``ln (w_1 + ... + w_k) / k`` of every row, in nats, (n,).

        So many draws are decoded at once as are in memory together. Where that is not
        all, every block is decoded again when its gradient is asked for.
        """
        batch, likelihood = self._batch, self._likelihood
        at_once = min(n_draws, self._at_once)
        repeated = batch.repeated(at_once)
        largest: Tensor | None = None
        log_weights = []
        for start in range(0, n_draws, at_once):
            m = min(at_once, n_draws - start)
            some = repeated if m == at_once else repeated[: m * len(batch)]
            log_w, *drawn = self._weighed(some, m, generator, again=at_once < n_draws)
            log_weights.append(log_w)
            largest = self._resample(log_w.detach(), drawn, largest, generator)
        log_sum = torch.logsumexp(torch.cat(log_weights), dim=0)
        constant = likelihood.nll_constant(batch.target, batch.mask)
        return log_sum - math.log(n_draws) - constant

    def _weighed(
        self, some: Minibatch, m: int, generator: torch.Generator, *, again: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logarithms of weights (m, n), but for a constant, raw outputs and codes."""
        mean, log_var = self._posterior
        noise = mean.new_empty((m, *mean.shape)).normal_(generator=generator)
        z = draw_posterior(mean, log_var, noise)
        flat = z.flatten(0, 1)

        def decode(codes: Tensor) -> tuple[Tensor, Tensor]:
            raw = self._decoder(codes, some.covariates, generator).to(codes.dtype)
            nll = self._nll(raw, some.target, some.mask)
            return nll, raw.detach()

        if again and torch.is_grad_enabled():
            twice = _repeatable(decode, self._decoder, generator)
            nll, raw = checkpoint(
                twice, flat, use_reentrant=False, preserve_rng_state=False
            )
        else:
            nll, raw = decode(flat)
        # ln N(z; 0, I) - ln N(z; mean, var): the normalising constants cancel.
        log_ratio = 0.5 * (noise.square() + log_var - z.square()).sum(dim=2)
        return log_ratio - nll.to(mean.dtype).view(m, -1), raw, flat.detach()

    def _resample(
        self,
        log_w: Tensor,
        drawn: list[Tensor],
        largest: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Keep the outputs and codes of the draw of every row whose key is largest.

        A key is ``ln w`` and a Gumbel draw: the largest is draw i with the probability
        v_i, however many blocks there are.
        """
        keys = log_w - torch.empty_like(log_w).exponential_(generator=generator).log()
        key, which = keys.max(dim=0)
        n = len(key)
        at = which * n + torch.arange(n, device=which.device)
        raw, codes = (part[at] for part in drawn)
        if largest is None:
            self.first, self.resampled, self.codes = drawn[0][:n], raw, codes
            return key
        better = (key > largest)[:, None]
        self.resampled = torch.where(better, raw, self.resampled)
        self.codes = torch.where(better, codes, self.codes)
        return torch.maximum(key, largest)


def _repeatable(
    decode: Callable[[Tensor], tuple[Tensor, Tensor]],
    decoder: Decoder,
    generator: torch.Generator,
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """``decode``, which gives the same a second time, and then leaves no trace.

    Dropout draws from where it drew the first time, and batch normalisation does not
    count the rows again.
    """
    begun: Tensor | None = None

    def twice(codes: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal begun
        if begun is None:
            begun = generator.get_state()
            return decode(codes)
        now = generator.get_state()
        kept = [buffer.clone() for buffer in decoder.buffers()]
        generator.set_state(begun)
        try:
            return decode(codes)
        finally:
            generator.set_state(now)
            for buffer, value in zip(decoder.buffers(), kept, strict=True):
                # autograd is not to mind: these are not what gradients are made of.
                buffer.data.copy_(value)

    return twice
