"""Parameters that change between calls: every one is applied or refused."""

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EpochScoring

from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer
from skvae._training import continued
from skvae._training.continued import PARTIAL_FIT, WARM_START
from skvae._training.parameters import APPLIED, REFUSED, UNUSED

# Networks without a start are not trained in three epochs.
pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.exceptions.PosteriorCollapseWarning"
)
ESTIMATORS = (VAETransformer, AETransformer, RAETransformer, SAETransformer)
EVERY = [
    (Estimator, name)
    for Estimator in ESTIMATORS
    for name in Estimator().get_params(deep=False)
]


class Counts(Callback):
    def __init__(self):
        self.epochs = 0

    def on_epoch_end(self, net, **kwargs):
        self.epochs += 1
        net.history.record("counted", self.epochs)


OTHER = {
    "latent_dim": 4,
    "hidden_dims": (8,),
    "activation": "relu",
    "dropout_rate": 0.5,
    "use_batch_norm": False,
    "linear_path": None,
    "kld_weight": 1.0,
    "beta": 4.0,
    "background_weight": 0.3,
    "free_bits": 2.0,
    "n_importance_samples": 5,
    "whiten": True,
    "code_penalty": "l1",
    "reg_weight": 0.5,
    "decoder_penalty": "l2",
    "decoder_penalty_weight": 10.0,
    "density_components": 2,
    "lr": 0.05,
    "weight_decay": 10.0,
    "batch_size": 7,
    "gradient_clip_val": 1e-6,
    "precision": "bf16",
    "kld_schedule": "linear",
    "kld_warmup": 0.7,
    "max_epochs": 1,
    "lr_schedule": "constant",
    "early_stopping": False,
    "validation_fraction": 0.4,
    "n_iter_no_change": 1,
    "tol": 1e6,
    "warm_start": False,
    "random_state": 1,
    "likelihood": "student_t",
    "column_likelihoods": [("heavy", "student_t", [0])],
    "balance": "columns",
    "max_categories": 2,
    "missing_values": "marginalize",
    "size_factor": None,
    "encode_conditions": True,
}
# For these, what is applied cannot be seen in a fitted model's numbers.
SEEN_ELSEWHERE = {"callbacks", "device", "verbose"}
# Only with another parameter's help.
WITH = {
    "decoder_penalty_weight": {"decoder_penalty": "l2"},
    # so that training leaves the linear model
    "background_weight": {"early_stopping": False},
    "kld_schedule": {"max_epochs": 6},
    "kld_warmup": {"kld_schedule": "linear"},
    # so that there is an epoch to stop before
    "n_iter_no_change": {"max_epochs": 6, "tol": 1e6},
    "max_epochs": {"early_stopping": False},
    "lr_schedule": {"early_stopping": False},
    "validation_fraction": {"lr": 0.05},
    "tol": {"linear_path": None, "n_iter_no_change": 2, "max_epochs": 6},
    # "auto" would take another likelihood for a weight of one's own
    "kld_weight": {"likelihood": "gaussian"},
    "size_factor": {"likelihood": "poisson"},
    "column_likelihoods": {"likelihood": "mixed"},
    "balance": {"likelihood": "mixed"},
    "max_categories": {"likelihood": "mixed"},
}


def fingerprint(model, X):
    """Numbers that training and its parameters decide on."""
    numbers = [model.transform(X).ravel(), model.reconstruct(X).ravel()]
    numbers.append([model.n_iter_, model.best_epoch_])
    for row in model.history_:
        numbers.append([v for name, v in row.items() if name != "epoch_time"])
    if isinstance(model, VAETransformer):
        numbers.append([model.kld_weight_, model.beta_])
        numbers.append(model.score_samples(X))
    if isinstance(model, RAETransformer):
        numbers.append(model.sample(5, random_state=0).ravel())
    return np.concatenate(numbers)


@pytest.fixture(scope="module")
def X():
    generator = np.random.RandomState(0)
    return (generator.randn(120, 3) @ generator.randn(3, 8)) + generator.randn(120, 8)


def started(Estimator, name, **params):
    short = {"latent_dim": 3, "hidden_dims": (16,), "max_epochs": 3, "random_state": 0}
    return Estimator(**{**short, **WITH.get(name, {}), **params})


def gone_on(Estimator, name, X, call, change):
    model = started(Estimator, name, warm_start=call == "fit")
    getattr(model, call)(X)
    return getattr(model.set_params(**change), call)(X)


@pytest.mark.parametrize(("Estimator", "name"), EVERY)
@pytest.mark.parametrize("call", ["partial_fit", "fit"])
def test_every_parameter_is_applied_or_refused(call, Estimator, name, X):
    meanings = PARTIAL_FIT if call == "partial_fit" else WARM_START
    if name == "size_factor":
        X = np.floor(3.0 * np.abs(X))
    if name in SEEN_ELSEWHERE:
        assert meanings[name] == APPLIED
        return
    change = {name: OTHER[name]}
    if meanings[name] == REFUSED:
        model = getattr(started(Estimator, name, warm_start=True), call)(X)
        before = fingerprint(model, X)
        with pytest.raises(ValueError, match=rf"{name}.*changed since the last fit"):
            getattr(model.set_params(**change), call)(X)
        np.testing.assert_array_equal(fingerprint(model, X), before)
        return
    same = fingerprint(gone_on(Estimator, name, X, call, {}), X)
    other = fingerprint(gone_on(Estimator, name, X, call, change), X)
    equal = same.shape == other.shape and np.array_equal(same, other)
    # a warm start that is switched off is a fit anew
    assert equal == (meanings[name] == UNUSED), name


def test_the_list_is_complete():
    names = {name for _, name in EVERY}
    assert names == set(PARTIAL_FIT) == set(WARM_START)


@pytest.mark.parametrize("call", ["partial_fit", "fit"])
def test_callbacks_that_came_later_are_called(call, X):
    model = getattr(started(VAETransformer, "callbacks", warm_start=True), call)(X)
    callback = Counts()
    getattr(model.set_params(callbacks=[callback]), call)(X)
    assert callback.epochs > 0
    assert model.history_[-1]["counted"] == callback.epochs
    seen = callback.epochs
    getattr(model.set_params(callbacks=None), call)(X)
    assert callback.epochs == seen


def test_callbacks_that_stay_are_not_begun_anew(X):
    callback = Counts()
    model = started(VAETransformer, "callbacks", callbacks=[callback])
    for _ in range(3):
        model.partial_fit(X)
    assert callback.epochs == 3
    assert [row["counted"] for row in model.history_] == [1, 2, 3]


def test_a_net_moves_with_all_that_its_optimiser_has_learnt(X):
    model = started(VAETransformer, "device").partial_fit(X)
    net = model.net_
    continued._move(net, "meta")
    tensors = [
        *net.module_.state_dict().values(),
        *(t for name, t in net.criterion_.state_dict().items() if "units" not in name),
        *(state["exp_avg"] for state in net.optimizer_.state.values()),
    ]
    assert {t.device.type for t in tensors} == {"meta"}
    assert len(net.optimizer_.state) == len(list(net.module_.parameters()))
    assert all(p in net.optimizer_.state for p in net.module_.parameters())


def test_a_change_of_device_is_applied_and_taken_back_if_it_fails(X, monkeypatch):
    moves = []
    move = continued._move

    def watched(net, device):
        moves.append(device)
        if device == "cuda":
            raise RuntimeError("CUDA error: out of memory")
        move(net, device)

    model = started(VAETransformer, "device").partial_fit(X)
    codes = model.transform(X)
    monkeypatch.setattr(continued, "_move", watched)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    model.set_params(device="cuda")
    with pytest.raises(RuntimeError, match="out of memory"):
        model.partial_fit(X)
    assert moves[0] == "cuda"
    assert model.net_.device == "cpu"
    np.testing.assert_array_equal(model.transform(X), codes)


@pytest.mark.parametrize("verbose", [0, 1])
def test_verbose_is_applied(verbose, X, capsys):
    model = started(VAETransformer, "verbose", verbose=1 - verbose).partial_fit(X)
    capsys.readouterr()
    model.set_params(verbose=verbose).partial_fit(X)
    assert bool(capsys.readouterr().out) == bool(verbose)


class Fails(Callback):
    def __init__(self, hook):
        self.hook = hook

    def initialize(self):
        setattr(self, self.hook, self.fail)
        return self

    def fail(self, *args, **kwargs):
        raise RuntimeError("mine")


HOOKS = [
    "on_train_begin",
    "on_epoch_begin",
    "on_batch_begin",
    "on_batch_end",
    "on_epoch_end",
    "on_train_end",
]


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("call", ["partial_fit", "fit"])
def test_a_callback_that_fails_leaves_all_as_it_was(call, hook, X):
    model = getattr(started(VAETransformer, "callbacks", warm_start=True), call)(X)
    codes, history = model.transform(X), list(model.history_)
    again = getattr(started(VAETransformer, "callbacks", warm_start=True), call)(X)
    model.set_params(callbacks=[Fails(hook)], lr=0.05)
    with pytest.raises(RuntimeError, match="mine"):
        getattr(model, call)(X)
    np.testing.assert_array_equal(model.transform(X), codes)
    assert model.history_ == history
    # and what comes next is as if it had not been
    model.set_params(callbacks=None, lr=2e-3)
    for one in (model, again):
        one._n_calls = 1
        getattr(one, call)(X)
    np.testing.assert_array_equal(model.transform(X), again.transform(X))


def test_scores_of_a_callback_stay_when_training_goes_on(X):
    def mean_code(net, rows, y=None):
        return net.module_.code(rows[:10]).mean().item()

    scoring = EpochScoring(mean_code, name="mean_code", on_train=True)
    model = started(VAETransformer, "callbacks", callbacks=[scoring])
    model.partial_fit(X).partial_fit(X)
    assert [("mean_code" in row) for row in model.history_] == [True, True]
