"""Parts of a model as the tests need them."""

import numpy as np
import torch

from skvae._data.dataset import Minibatch, TableDataset
from skvae._likelihoods.gaussian import Gaussian
from skvae._objectives.penalised_error import PenalisedError
from skvae._objectives.weighted_elbo import WeightedELBO


def gaussian(n_features, noise=1.0):
    """A Gaussian likelihood with a noise variance, in units of X."""
    likelihood = Gaussian(n_features)
    likelihood.set_noise(noise)
    likelihood.running_noise.fill_(noise)
    return likelihood


def elbo(n_features, kld_weight=None, noise=1.0, **params):
    """A Gaussian ELBO; without a weight, that of the noise."""
    return WeightedELBO(gaussian(n_features, noise), kld_weight, **params)


def penalised(n_features, *penalties):
    """A squared error with penalties."""
    return PenalisedError(gaussian(n_features), *penalties)


def minibatch(x):
    """Rows that the encoder sees as they are."""
    return Minibatch(x, x)


def dataset(X, mean=None, scale=1.0, likelihood=None, **options):
    """A table as a dataset, centred and divided by a scale."""
    if likelihood is None:
        likelihood = Gaussian(X.shape[1])
        mean = np.zeros(X.shape[1]) if mean is None else np.asarray(mean)
        likelihood.fit_inputs(mean, np.full(X.shape[1], scale**2))
    device = {"device": torch.device("cpu")}
    defaults = {"dtype": torch.float32, "resident": True, **device}
    return TableDataset(X, likelihood, **{**defaults, **options})


class Covariance:
    """One whose leading components are given, in model units."""

    def __init__(self, components):
        self._components = components

    regression = None

    def components(self, k, random_state, scale=1.0):
        return self._components
