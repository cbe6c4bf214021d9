"""An error plus penalties of the code and of the decoder: plain autoencoders."""

from typing import cast

import torch
from torch import Tensor

from .._data.dataset import Minibatch
from .._likelihoods.base import Likelihood
from .._nn.autoencoder import Autoencoder
from .._nn.thresholds import ThresholdedAutoencoder, thresholded, with_noise
from .criterion import Criterion, LossTerm
from .penalties import CODE_PENALTIES, DECODER_PENALTIES


class PenalisedError(Criterion):
    """``squared error + reg_weight * penalty of the code + weight * of the decoder``.

    Parameters
    ----------
    likelihood : Likelihood
        Measures the error.
    code_penalty : {"l2", "l1", "soft_threshold"} or None
        "soft_threshold" is "l1" of a :class:`ThresholdedAutoencoder`'s codes, whose
        decoder is trained on codes with noise.
    reg_weight : float
    decoder_penalty : {"l2", "gradient", "spectral"} or None
    decoder_penalty_weight : float
    """

    def __init__(
        self,
        likelihood: Likelihood,
        code_penalty: str | None = None,
        reg_weight: float = 0.0,
        decoder_penalty: str | None = None,
        decoder_penalty_weight: float = 0.0,
    ) -> None:
        super().__init__(likelihood)
        self.code_penalty = code_penalty
        self.reg_weight = reg_weight
        self.decoder_penalty = decoder_penalty
        self.decoder_penalty_weight = decoder_penalty_weight

    @property
    def loss_terms(self) -> tuple[LossTerm, ...]:
        terms = [self.recon_term]
        if self.code_penalty is not None:
            # A squared length of codes is in squared units of X, an absolute one in
            # units of X.
            terms.append(LossTerm("reg_loss", 2 if self.code_penalty == "l2" else 1))
        if self.decoder_penalty is not None:
            terms.append(LossTerm("decoder_loss", 0))
        return tuple(terms)

    @property
    def single_pass(self) -> bool:
        return self.decoder_penalty is None

    @property
    def thresholds(self) -> bool:
        """Whether codes pass a soft threshold."""
        return self.code_penalty == "soft_threshold"

    def price(self, n_rows: int) -> float:
        """Slope of the loss by the absolute value of one of so many rows' codes."""
        return self.reg_weight / n_rows

    def code_terms(self, z: Tensor) -> list[Tensor]:
        """The penalty of codes, if there is one."""
        if self.code_penalty is None:
            return []
        return [CODE_PENALTIES[self.code_penalty](z)]

    def terms(
        self, network: Autoencoder, batch: Minibatch, generator: torch.Generator
    ) -> Tensor:
        """Squared error, and the penalties that there are."""
        dtype = batch.target.dtype
        if not self.thresholds:
            z = network.code(batch.inputs, generator).to(dtype)
            return self._terms(network, batch, z, z, generator)
        a = network.encoder(batch.inputs, generator).to(dtype)
        threshold = cast(ThresholdedAutoencoder, network).threshold
        z = thresholded(a, threshold, self.price(len(a)))
        noisy = with_noise(z, threshold, generator)
        return self._terms(network, batch, z, noisy, generator)

    def held_out_terms(
        self, network: Autoencoder, batch: Minibatch, generator: torch.Generator
    ) -> Tensor:
        """Without noise: epochs are compared by the codes that will be applied."""
        z = network.code(batch.inputs, generator).to(batch.target.dtype)
        return self._terms(network, batch, z, z, generator)

    def _terms(
        self,
        network: Autoencoder,
        batch: Minibatch,
        z: Tensor,
        received: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """Terms of rows with codes ``z``, of which the decoder sees ``received``."""
        raw = network.decode(received, batch.covariates, generator)
        terms = [self.likelihood.loss(raw, batch.target, batch.mask)]
        terms += self.code_terms(z)
        if self.decoder_penalty is not None:
            penalty = DECODER_PENALTIES[self.decoder_penalty]
            terms.append(penalty(network, z, generator))
        return torch.stack(terms)

    def forward(self, terms: Tensor) -> Tensor:
        loss = terms[0]
        if self.code_penalty is not None:
            loss = loss + self.reg_weight * terms[1]
        if self.decoder_penalty is not None:
            loss = loss + self.decoder_penalty_weight * terms[-1]
        return loss
