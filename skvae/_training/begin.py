"""What training begins with: a network in the units of X, untrained or of a fit."""

import numpy as np
import torch
from scipy import sparse

from .._data.counts import warn_if_counts
from .._data.moments import column_moments
from .._data.rows import Rows
from .._utils.seeds import Seeds
from .._utils.validation import (
    refuse_underflow,
    warn_if_badly_scaled,
    warn_if_many_constant,
)
from .fitted import Fitted
from .gaps import gap_inputs_of
from .net import build_net, net_options
from .settings import Settings
from .state import FittedState


def begin(
    rows: Rows,
    settings: Settings,
    seeds: Seeds,
    feature_names=None,
    previous: Fitted | None = None,
) -> Fitted:
    """An untrained network in the units of X, of the shapes of ``previous`` if any."""
    X = rows.X
    mean, variance = column_moments(X)
    if not np.isfinite(variance).all():
        raise ValueError(
            "X has values so large that their variance overflows; divide X by its "
            "largest absolute value, or put a StandardScaler in front."
        )
    refuse_underflow(X, variance)
    if previous is None:
        likelihood = settings.likelihood.of_rows(X, **settings.likelihood_params)
    else:
        likelihood = settings.likelihood(**previous.state.likelihood.params)
    likelihood.check(X, feature_names)
    if not likelihood.has_own_scales:
        warn_if_badly_scaled(variance, feature_names)
        warn_if_many_constant(variance)
    if not likelihood.is_discrete:
        warn_if_counts(X)
    likelihood.fit_inputs(mean, variance, X, rows.covariates.size)
    gaps = None
    if settings.marginalizes and not sparse.issparse(X):
        generator = seeds.numpy_generator(seeds.components)
        gaps = gap_inputs_of(
            rows, likelihood, settings.network["latent_dim"], generator
        )
    strategy = settings.strategy
    params = strategy.criterion_params(likelihood)
    net = build_net(
        network=strategy.network,
        network_params={
            **settings.network,
            "n_inputs": likelihood.n_inputs + (0 if gaps is None else gaps.n_told),
            "n_outputs": likelihood.n_outputs,
            "seed": seeds.weights,
        },
        criterion=strategy.criterion_of(params),
        criterion_params={"likelihood": likelihood, **params},
        options=net_options(settings),
    )
    strategy.update_hyperparameters(net.module_, net.criterion_)
    bias = likelihood.init_output_bias(mean)
    if bias is not None:
        net.module_.set_output_bias(torch.as_tensor(bias))
    state = FittedState(net.module_, net.criterion_)
    state.total_variance = likelihood.response_variance(variance)
    if gaps is not None:
        state.take_gaps(gaps if previous is None else previous.state.gaps or gaps)
    return Fitted(net, state)


def warm_start_from(fit: Fitted, previous: Fitted, settings: Settings) -> None:
    """Continue from the weights and in the units of an earlier fit."""
    state, last = fit.state, previous.state
    state.network.load_state_dict(last.network.state_dict())
    state.criterion.load_state_dict(last.criterion.state_dict())
    state.set_linear_model(last.linear_model, is_background=last.is_background)
    fit.net.n_steps_ = previous.net.n_steps_
    settings.strategy.update_hyperparameters(state.network, state.criterion)
