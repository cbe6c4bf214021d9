"""The parameters that all estimators share: one table.

What scikit-learn checks of each, what ``partial_fit`` makes of a change, and its entry
in the estimators' docstrings. A new one stands here and in the estimators' signatures
(``vae.py``, ``ae.py``, ``rae.py``, ``sae.py``, and ``_penalised.py`` of these three).
"""

import textwrap
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, NamedTuple

import torch
from sklearn.utils._param_validation import Interval, StrOptions

from .._nn.autoencoder import ACTIVATIONS
from .._utils.device import resolve_device
from .._utils.docs import filled
from .._utils.validation import checked_hidden_dims, normalised_activation
from .callbacks import checked_callbacks

#: A change is applied by the next ``partial_fit``.
APPLIED = "applied"
#: It decides on the architecture.
REFUSED = "refused"
#: Not a part of what the call does, or fixed by the first one.
UNUSED = "unused"


class Parameter(NamedTuple):
    """A parameter: its constraint, what a change means, and its numpydoc entry.

    ``resolve`` makes of a valid value what training works with, or raises a
    ``ValueError``. Without a text, each estimator has an entry of its own.
    """

    constraint: list[Any]
    partial_fit: str
    resolve: Callable[[Any], Any]
    kind: str = ""
    text: str = ""


def _as_it_is(value: Any) -> Any:
    return value


def _known_activation(name: str) -> str:
    return normalised_activation(name, ACTIVATIONS)


_NETWORK = {
    "hidden_dims": Parameter(
        ["array-like"],
        REFUSED,
        checked_hidden_dims,
        "tuple of int, default=(256, 128)",
        "Widths of the encoder's layers; the decoder mirrors them. ``()`` is a "
        "linear model, whose optimum is PCA, or probabilistic PCA.",
    ),
    "activation": Parameter(
        [str],
        REFUSED,
        _known_activation,
        'str, default="gelu"',
        '"gelu", "silu", "relu", "leaky_relu" or "swiglu"; upper and lower case and '
        "underscores do not matter.",
    ),
    "dropout_rate": Parameter(
        [Interval(Real, 0, 1, closed="left")],
        REFUSED,
        float,
        "float, default=0.0",
        "Share of a hidden layer's units that training drops, in [0, 1).",
    ),
    "use_batch_norm": Parameter(
        ["boolean"],
        REFUSED,
        bool,
        "bool, default=True",
        'Normalise hidden layers: over the batch, or over the layer for "swiglu".',
    ),
}
_TRAINING = {
    "lr": Parameter(
        [Interval(Real, 0, None, closed="neither")],
        APPLIED,
        float,
        "float, default=2e-3",
        "Learning rate of AdamW.",
    ),
    "weight_decay": Parameter(
        [Interval(Real, 0, None, closed="left")],
        APPLIED,
        float,
        "float, default=0.0",
        "Decoupled weight decay of AdamW.",
    ),
    "batch_size": Parameter(
        [Interval(Integral, 1, None, closed="left")],
        APPLIED,
        int,
        "int, default=128",
        "Largest number of rows in a minibatch. Minibatches are of equal size; with "
        "batch normalisation they have two rows or more. Likelihoods without a linear "
        "model have 16 minibatches an epoch or more, as long as those have 16 rows.",
    ),
    "max_epochs": Parameter(
        [Interval(Integral, 1, None, closed="left")],
        UNUSED,
        int,
        "int, default=60",
        "Largest number of passes over the training rows.",
    ),
    "gradient_clip_val": Parameter(
        [Interval(Real, 0, None, closed="neither"), None],
        APPLIED,
        _as_it_is,
        "float or None, default=1.0",
        "Largest norm of the gradient, with X in units of its own standard deviation.",
    ),
    "lr_schedule": Parameter(
        [StrOptions({"constant", "cosine"})],
        UNUSED,
        str,
        '{"constant", "cosine"}, default="cosine"',
        "Learning rate over the ``max_epochs`` epochs: constant, or to 0 along a "
        "cosine.",
    ),
    "early_stopping": Parameter(
        ["boolean"],
        UNUSED,
        bool,
        "bool, default=True",
        "Hold out rows, keep the epoch that is best on them, and stop when "
        "``n_iter_no_change`` epochs brought no improvement.",
    ),
    "validation_fraction": Parameter(
        [Interval(Real, 0, 1, closed="neither")],
        UNUSED,
        float,
        "float, default=0.1",
        "Share of the rows to hold out, in (0, 1).",
    ),
    "n_iter_no_change": Parameter(
        [Interval(Integral, 1, None, closed="left")],
        UNUSED,
        int,
        "int, default=15",
        "Epochs without improvement to wait for.",
    ),
    "tol": Parameter(
        [Interval(Real, 0, None, closed="left")],
        UNUSED,
        float,
        "float, default=0.01",
        "An improvement is more than this, in nats per row; without a likelihood, "
        "that is D / 2 times the difference in the logarithm of the loss.",
    ),
    "warm_start": Parameter(
        ["boolean"],
        UNUSED,
        bool,
        "bool, default=False",
        "Whether ``fit`` goes on from the weights of the last fit. With early "
        "stopping, these are kept unless an epoch is better by more than ``tol``.",
    ),
    "callbacks": Parameter(
        [list, tuple, None],
        APPLIED,
        checked_callbacks,
        "list of skorch callbacks or None, default=None",
        'Passed on to the net as they are. A skorch "batch" is one epoch here: see '
        ":class:`skorch.callbacks.Callback`, the Notes of :class:`VAETransformer`, and "
        "those of :mod:`skvae.callbacks`. scikit-learn's own callbacks go to "
        "``set_callbacks``.",
    ),
    "device": Parameter(
        [str, torch.device],
        APPLIED,
        resolve_device,
        'str, default="auto"',
        '"cpu", "cuda", "cuda:1", "mps", or "auto": CUDA, then Metal, then the CPU.',
    ),
    "precision": Parameter(
        [StrOptions({"float32", "bf16"})],
        APPLIED,
        str,
        '{"float32", "bf16"}, default="float32"',
        'Precision of the matrix products in a training step. "bf16" runs the step '
        "under torch's automatic mixed precision, in bfloat16: for large networks "
        'on a GPU; not on "mps", and on a CPU usually slower. Weights, gradients '
        "and the loss stay float32, and so does all else: validation, calibration, "
        "scores and codes. Rounding adds about 1e-5 of the variance of X to the "
        "squared error of a step.",
    ),
    "random_state": Parameter(
        ["random_state"],
        UNUSED,
        _as_it_is,
        "int, RandomState instance or None, default=None",
        "Seed of weights, order of rows, noise, dropout and held-out rows. The "
        "global generators of NumPy and torch are neither read nor moved. The same "
        "integer gives the same bits on a CPU.",
    ),
    "verbose": Parameter(
        ["verbose"],
        APPLIED,
        int,
        "int, default=0",
        "0: nothing. 1: one live line with epoch, loss, rate and distortion (nats per "
        "row, of held-out rows if there are any) and the time that is left at most, "
        "then which epoch was kept; a few plain lines where standard output is no "
        "terminal. 2 or more: a row an epoch, of all that the history has.",
    ),
}
SHARED: dict[str, Parameter] = {
    "latent_dim": Parameter(
        [Interval(Integral, 1, None, closed="left")],
        REFUSED,
        int,
    ),
    "linear_path": Parameter(
        [StrOptions({"pca"}), None],
        REFUSED,
        _as_it_is,
    ),
    **_NETWORK,
    **_TRAINING,
}

_MODULE = """
net_ : skorch.NeuralNet
    The fitted net.
module_ : torch.nn.Module
    The fitted module, with ``code``, ``decode`` and ``forward``. It works on ``(X -
    mean_) / scale_``, and its codes are those of ``transform`` divided by
    ``scale_``.
"""
_ATTRIBUTES = """
components_ : ndarray of shape (latent_dim, n_features)
    Mean of d reconstruction / d code over training rows, in units of X per unit of
    the code that ``transform`` gives. Of a linear model, with codes in units of X:
    those of ``PCA``. ``fit`` leaves units in the order of ``explained_variance_``,
    with the largest loading of each positive; ``partial_fit`` leaves them where
    they are.
explained_variance_ : ndarray of shape (latent_dim,)
    What every unit explains of the rows of the last call, in squared units of X,
    divisor ``n_samples - 1``: its share of the variance of the reconstruction, in
    proportion to the variance of its code times the mean squared length of d
    reconstruction / d code, on up to 2,048 rows. Of a linear model: that of
    ``PCA``, and of all rows where ``best_epoch_`` is 0 after ``fit``.
explained_variance_ratio_ : ndarray of shape (latent_dim,)
    The same as a share of the variance of those rows, summed over features.
n_iter_ : int
    Number of epochs trained.
best_epoch_ : int
    Epoch whose weights were kept. 0 is the state before training: no epoch was
    better on the held-out rows. With a linear path that is PCA of all rows, or
    factor analysis; of counts, bits and categories the model with no code, whose
    codes are all 0.
mean_ : ndarray of shape (n_features,)
    Mean of every feature.
scale_ : float
    Root of the mean variance of the features.
n_features_in_ : int
    Number of features.
feature_names_in_ : ndarray of shape (n_features,)
    Names of the features, if X had any.
"""


def _entries(parameters: dict[str, Parameter]) -> str:
    lines = []
    for name, parameter in parameters.items():
        lines.append(f"{name} : {parameter.kind}")
        lines += textwrap.wrap(
            parameter.text,
            width=84,
            initial_indent="    ",
            subsequent_indent="    ",
            break_on_hyphens=False,
        )
    return "\n".join(lines)


#: Fills the shared entries into a class's docstring: ``%(network)s`` stands for the
#: parameters of the network, ``%(training)s`` for those of training, ``%(module)s`` for
#: the net of a plain autoencoder, ``%(fitted)s`` for what every fit sets.
documented = filled(
    {
        "network": _entries(_NETWORK),
        "training": _entries(_TRAINING),
        "module": _MODULE,
        "fitted": _ATTRIBUTES,
    }
)


def constraints() -> dict[str, list[Any]]:
    """What scikit-learn checks of the shared parameters."""
    return {name: list(p.constraint) for name, p in SHARED.items()}


def resolved(estimator: Any) -> dict[str, Any]:
    """The shared parameters of an estimator, as training works with them.

    Raises
    ------
    ValueError
        If one is none that this machine or the package has.
    """
    return {
        name: parameter.resolve(getattr(estimator, name))
        for name, parameter in SHARED.items()
    }
