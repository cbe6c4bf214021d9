"""The contract with skorch: callbacks, the net, and copies of both."""

import copy
import pickle

import cloudpickle
import joblib
import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_validate
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    InputShapeSetter,
    LRScheduler,
    PrintLog,
    ProgressBar,
    TrainEndCheckpoint,
)
from skorch.helper import SkorchDoctor

from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer

ESTIMATORS = (AETransformer, RAETransformer, SAETransformer, VAETransformer)


@pytest.fixture
def learning(quick):
    """Parameters of a fit whose network gets somewhere."""
    return {**quick, "max_epochs": 6, "lr": 0.02}


def in_units_of_the_net(model, X):
    return (X - model.mean_) / model.scale_


def weights_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


class Keeps(Callback):
    """Copies the weights when training is said to have ended."""

    def on_train_end(self, net, **kwargs):
        self.weights = weights_of(net.module_)
        self.training = net.module_.training


class Records(Callback):
    def on_epoch_end(self, net, **kwargs):
        net.history.record("mine", 1.5)

    def on_train_end(self, net, **kwargs):
        net.history.record("last", 2.5)


class Counts(Callback):
    def __init__(self, step=1):
        self.step = step

    def initialize(self):
        self.count_ = 0
        return self

    def on_epoch_end(self, net, **kwargs):
        self.count_ += self.step


# -- on_train_end ----------------------------------------------------------------------


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize(
    ("params", "at_start"),
    [
        ({}, False),
        ({"lr": 1e-12}, True),  # PCA of all rows is kept, not of those trained on
        ({"early_stopping": False}, False),
        ({"linear_path": None}, False),
    ],
)
def test_train_end_sees_what_is_kept(
    Estimator, params, at_start, digits, learning, tmp_path
):
    keeps = Keeps()
    saves = TrainEndCheckpoint(dirname=tmp_path)
    if Estimator is VAETransformer:  # whose noise would learn where the network cannot
        params = {**params, "likelihood": "gaussian"}
    model = Estimator(**{**learning, **params}, callbacks=[keeps, saves])
    for X in (digits[:200], digits[200:400]):
        model.fit(X)
        assert (model.best_epoch_ == 0) == at_start
        on_disk = torch.load(tmp_path / "train_end_params.pt", weights_only=True)
        for name, value in model.module_.state_dict().items():
            assert torch.equal(keeps.weights[name], value), name
            assert torch.equal(on_disk[name], value), name
        assert not keeps.training
    model.partial_fit(digits[:200])
    for name, value in model.module_.state_dict().items():
        assert torch.equal(keeps.weights[name], value), name


def test_the_best_epoch_is_not_the_last_one_for_train_end(digits, learning):
    """Otherwise the test above would see nothing."""
    params = {**learning, "max_epochs": 20, "lr": 0.05, "lr_schedule": "constant"}
    params["batch_size"] = 32
    keeps = Keeps()
    vae = VAETransformer(**params, callbacks=[keeps], likelihood="gaussian").fit(
        digits[:200]
    )
    assert 0 < vae.best_epoch_ < vae.n_iter_
    for name, value in vae.module_.state_dict().items():
        assert torch.equal(keeps.weights[name], value), name


def test_weights_that_a_callback_leaves_are_calibrated_as_such(learning, tmp_path):
    """PCA would have been kept, but for a Checkpoint that loads its best."""
    X = np.random.RandomState(0).randn(80, 10)  # noise, where PCA is best
    params = {**learning, "max_epochs": 4}
    assert VAETransformer(**params, likelihood="gaussian").fit(X).best_epoch_ == 0
    loads = Checkpoint(monitor="train_loss_best", load_best=True, dirname=tmp_path)
    vae = VAETransformer(**params, callbacks=[loads], likelihood="gaussian").fit(X)
    assert vae.best_epoch_ == vae.n_iter_
    errors = vae.reconstruction_error(X).mean()
    # The error of posterior draws is more than that of means, and not by much.
    assert errors < vae.noise_variance_ < 3 * errors


# -- history ---------------------------------------------------------------------------


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_history_keeps_what_callbacks_record(Estimator, small, quick):
    def error(net, X, y=None):
        return float(np.mean((net.predict(X) - X[:].numpy()) ** 2))

    scoring = EpochScoring(error, name="my_error")
    plain = Estimator(**quick).fit(small)
    model = Estimator(**quick, callbacks=[scoring, Records()]).fit(small)
    columns = [name for name in model.history_[0] if name not in plain.history_[0]]
    assert set(columns) == {"my_error", "my_error_best", "mine"}
    assert list(model.history_[0])[: len(plain.history_[0])] == list(plain.history_[0])
    assert [row["my_error"] for row in model.history_] == model.net_.history[
        :, "my_error"
    ]
    assert model.history_[-1]["last"] == 2.5
    noise = ("batches", "batch_count", "objective", "event_lr", "train_loss_best")
    assert not [n for n in model.history_[0] if any(part in n for part in noise)]
    model.set_params(callbacks=[Records()]).partial_fit(small)
    assert model.history_[-1]["mine"] == 1.5
    assert len(model.history_) == model.n_iter_ == quick["max_epochs"] + 1


def test_history_has_the_events_of_callbacks(small, quick, tmp_path):
    callbacks = [
        LRScheduler(policy="StepLR", step_size=1),
        Checkpoint(monitor=None, dirname=tmp_path),
    ]
    vae = VAETransformer(
        **quick, lr_schedule="constant", callbacks=callbacks, likelihood="gaussian"
    )
    rates = [row["event_lr"] for row in vae.fit(small).history_]
    assert rates == pytest.approx([2e-3, 2e-4, 2e-5])
    assert all(row["event_cp"] for row in vae.history_)


# -- the net ---------------------------------------------------------------------------


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize(
    "kind",
    [
        np.asarray,
        lambda x: x.astype(np.float32),
        torch.tensor,
        sparse.csr_matrix,
        np.asfortranarray,
    ],
)
def test_the_net_predicts_arrays_in_its_units(Estimator, kind, digits, learning):
    X = digits[:150]
    model = Estimator(**learning, dropout_rate=0.2).fit(X)
    x = kind(in_units_of_the_net(model, X))
    net = model.net_
    for found in (net.predict(x), net.predict_proba(x), net.forward(x).numpy()):
        np.testing.assert_allclose(
            found * model.scale_ + model.mean_, model.reconstruct(X), atol=1e-5
        )
        assert found.dtype == np.float32
    with pytest.raises(ValueError, match=r"takes \(n_samples, 64\).*\(150, 9\)"):
        net.predict(x[:, :9])


def test_a_pass_in_training_mode_leaves_the_model_as_fitted(small, quick):
    vae = VAETransformer(
        **quick, dropout_rate=0.5, use_batch_norm=False, likelihood="gaussian"
    ).fit(small)
    codes = vae.transform(small)
    vae.net_.forward(in_units_of_the_net(vae, small), training=True)
    np.testing.assert_array_equal(vae.transform(small), codes)


def test_the_net_does_not_train_by_itself(small, quick):
    vae = VAETransformer(**quick, likelihood="gaussian").fit(small)
    codes, x = vae.transform(small), in_units_of_the_net(vae, small)
    for train in (vae.net_.fit, vae.net_.partial_fit, SkorchDoctor(vae.net_).fit):
        with pytest.raises(TypeError, match=r"SkorchDoctor.*partial_fit of the estim"):
            train(x)
    np.testing.assert_array_equal(vae.transform(small), codes)
    vae.partial_fit(small)


class Replaces(Callback):
    def __init__(self, **params):
        self.params = params

    def on_train_begin(self, net, **kwargs):
        net.set_params(**self.params)
        if not self.params:
            net.initialize_optimizer()


@pytest.mark.parametrize(
    ("callback", "name"),
    [
        (Replaces(module__dropout_rate=0.3), "module_"),
        (Replaces(criterion__free_bits=0.3), "criterion_"),
        (Replaces(), "optimizer_"),
    ],
)
def test_a_replaced_part_is_an_error_not_a_fit_of_another(small, quick, callback, name):
    params = {**quick, "lr_schedule": "constant"}
    with pytest.raises(RuntimeError, match=f"callback replaced {name} of the net"):
        VAETransformer(**params, callbacks=[callback], likelihood="gaussian").fit(small)


def test_input_shape_setter_has_nothing_to_set(small, quick):
    expected = VAETransformer(**quick, likelihood="gaussian").fit(small).score(small)
    setter = InputShapeSetter(param_name="n_features")
    vae = VAETransformer(**quick, callbacks=[setter], likelihood="gaussian").fit(small)
    assert vae.score(small) == expected
    with pytest.raises(TypeError, match="input_dim"):
        VAETransformer(
            **quick, callbacks=[InputShapeSetter()], likelihood="gaussian"
        ).fit(small)


# -- names and parameters of callbacks -------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "print_log",
        "epoch_timer",
        "train_loss",
        "valid_loss",
        "best_epoch",
        "lr_schedule",
        "skvae_best_epoch",
        "skvae_lr_schedule",
    ],
)
def test_names_of_callbacks_do_not_collide(name, small, quick, capsys):
    plain = VAETransformer(**quick, likelihood="gaussian").fit(small)
    counts = Counts()
    vae = VAETransformer(
        **quick, verbose=2, callbacks=[(name, counts)], likelihood="gaussian"
    ).fit(small)
    assert counts.count_ == 3
    assert set(vae.history_[0]) == set(plain.history_[0])
    # two lines of a head, one an epoch, one on which epoch was kept
    assert len(capsys.readouterr().out.strip().splitlines()) == 2 + 3 + 1
    np.testing.assert_array_equal(vae.transform(small), plain.transform(small))
    assert pickle.loads(pickle.dumps(vae)).partial_fit(small).n_iter_ == 4


def test_parameters_of_callbacks(small, quick):
    counts = Counts()
    vae = VAETransformer(
        **quick,
        callbacks=[("mine", counts), EarlyStopping, Counts()],
        likelihood="gaussian",
    )
    params = vae.get_params()
    assert params["callbacks__mine"] is counts
    assert params["callbacks__mine__step"] == 1
    assert "callbacks__Counts__step" in params
    assert "callbacks__mine" not in vae.get_params(deep=False)
    copied = clone(vae).set_params(
        callbacks__mine__step=5,
        callbacks__Counts__step=7,
        callbacks__EarlyStopping__patience=20,
        callbacks__EarlyStopping__monitor="train_loss",
        lr=0.01,
    )
    assert vae.get_params()["callbacks__mine__step"] == 1
    copied.fit(small)
    assert [
        copied.get_params()[f"callbacks__{name}"].count_ for name in ("mine", "Counts")
    ] == [15, 21]
    assert copied.get_params()["callbacks__EarlyStopping__patience"] == 20
    # A callback is replaced, or switched off.
    other = Counts(2)
    copied.set_params(callbacks__mine=other, callbacks__Counts=None).fit(small)
    assert other.count_ == 6
    before = copied.callbacks
    with pytest.raises(ValueError, match="switched off"):
        copied.set_params(callbacks__Counts__step=1)
    with pytest.raises(ValueError, match=r"no callback 'nobody'.*mine"):
        copied.set_params(callbacks__nobody__step=1)
    with pytest.raises(ValueError, match="Invalid parameter"):
        copied.set_params(callbacks__mine__nothing=1)
    assert copied.callbacks is before


def test_the_list_and_a_parameter_may_be_set_at_once(small, quick):
    vae = VAETransformer(**quick, likelihood="gaussian")
    vae.set_params(callbacks__Counts__step=3, callbacks=[Counts()]).fit(small)
    assert vae.callbacks[0].count_ == 9


def test_a_search_over_a_parameter_of_a_callback(small, quick):
    stop = EarlyStopping(monitor="train_loss", patience=1, threshold=1e9)
    params = {**quick, "max_epochs": 6, "early_stopping": False}
    grid = GridSearchCV(
        VAETransformer(**params, callbacks=[("stop", stop)], likelihood="gaussian"),
        {"callbacks__stop__patience": [2, 4]},
        scoring=lambda estimator, X, y=None: estimator.n_iter_,
        cv=2,
    ).fit(small)
    # skorch stops when more epochs than that were no better than the first.
    assert list(grid.cv_results_["mean_test_score"]) == [3, 5]
    assert stop.patience == 1


def test_callbacks_that_are_none_are_refused_by_fit_alone(small, quick):
    for callbacks in ("none", 3, {"a": Counts()}):
        vae = VAETransformer(**quick, callbacks=callbacks, likelihood="gaussian")
        assert vae.get_params()["callbacks"] == callbacks
        with pytest.raises(ValueError, match="callbacks"):
            vae.fit(small)


def test_tuples_and_torchs_devices_are_taken(small, quick):
    device = torch.device("cpu")
    expected = (
        VAETransformer(**quick, device="cpu", likelihood="gaussian")
        .fit(small)
        .transform(small)
    )
    for callbacks in ((), (Counts(),), [("mine", Counts())]):
        vae = VAETransformer(
            **quick, callbacks=callbacks, device=device, likelihood="gaussian"
        )
        assert clone(vae).get_params()["device"] == device
        np.testing.assert_array_equal(vae.fit(small).transform(small), expected)
        assert pickle.loads(pickle.dumps(vae)).partial_fit(small).device == device


@pytest.mark.parametrize(
    "make",
    [
        lambda: LRScheduler(policy="StepLR", step_size=1),
        lambda: GradientNormClipping(1.0),
        lambda: Freezer("encoder.*"),
        lambda: EarlyStopping(monitor="train_loss"),
        lambda: ProgressBar(detect_notebook=False),
        PrintLog,
    ],
)
def test_callbacks_of_skorch_in_every_call(make, small, quick, capsys):
    vae = VAETransformer(
        **quick, callbacks=[make()], warm_start=True, likelihood="gaussian"
    )
    assert vae.fit(small).fit(small).partial_fit(small).n_iter_ == 4
    assert np.isfinite(vae.score(small))
    copied = pickle.loads(pickle.dumps(vae)).partial_fit(small)
    np.testing.assert_array_equal(
        copied.transform(small), vae.partial_fit(small).transform(small)
    )


class Stops(Callback):
    """Ends training as skorch's EarlyStopping does, in the hook that it is told."""

    def __init__(self, hook):
        self.hook = hook

    def initialize(self):
        setattr(self, self.hook, self.stop)
        return self

    def stop(self, *args, **kwargs):
        raise KeyboardInterrupt


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize(
    ("hook", "n_epochs"),
    [
        ("on_train_begin", 0),
        ("on_epoch_begin", 1),
        ("on_batch_begin", 1),
        ("on_batch_end", 1),
        ("on_epoch_end", 1),
        ("on_train_end", 3),
    ],
)
def test_training_can_be_stopped_in_every_hook(
    hook, n_epochs, early_stopping, small, quick
):
    params = {**quick, "early_stopping": early_stopping}
    vae = VAETransformer(**params, callbacks=[Stops(hook)], likelihood="gaussian").fit(
        small
    )
    assert vae.n_iter_ == n_epochs
    assert vae.best_epoch_ <= n_epochs
    assert np.isfinite(vae.score(small))


def test_a_failure_behind_the_training_of_a_chunk_leaves_all_as_it_was(
    small, quick, monkeypatch
):
    rae = RAETransformer(**quick).partial_fit(small)
    codes = rae.transform(small)

    def fail(*args):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("skvae.rae.fit_density", fail)
        with pytest.raises(MemoryError):
            rae.partial_fit(small)
    np.testing.assert_array_equal(rae.transform(small), codes)
    assert len(rae.net_.history) == rae.n_iter_ == 1


# -- copies ----------------------------------------------------------------------------


class Copies(Callback):
    """Copies the net in the middle of training."""

    def on_epoch_end(self, net, **kwargs):
        self.copied = copy.deepcopy(net)
        self.pickled = cloudpickle.dumps(net.module_), cloudpickle.dumps(net.criterion_)


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_a_schedule_that_does_not_pickle_is_in_no_copy_of_the_net(call, small, quick):
    copies = Copies()
    vae = VAETransformer(
        **quick,
        kld_schedule=lambda p: min(1.0, 2 * p),
        callbacks=[copies],
        likelihood="gaussian",
    )
    getattr(vae, call)(small)
    pickle.dumps(vae.net_.set_params(callbacks=[]))
    assert copies.copied.module_ is not vae.module_


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_a_fitted_model_pickles_as_the_unfitted_one_does(call, small, quick):
    vae = VAETransformer(
        **quick, kld_schedule=lambda p: min(1.0, 2 * p), likelihood="gaussian"
    )
    with pytest.raises((AttributeError, pickle.PicklingError), match="lambda"):
        pickle.dumps(vae)
    getattr(vae, call)(small)
    with pytest.raises((AttributeError, pickle.PicklingError), match="lambda"):
        pickle.dumps(vae)
    copied = pickle.loads(cloudpickle.dumps(vae)), copy.deepcopy(vae)
    for other in copied:
        np.testing.assert_array_equal(other.transform(small), vae.transform(small))
    for other in copied:
        other.partial_fit(small)
        other.set_params(warm_start=True).fit(small)
    np.testing.assert_array_equal(*(other.transform(small) for other in copied))
    weights = [row["kld_weight"] for row in copied[0].history_]
    assert len(weights) == 3
    assert weights[0] < weights[-1]  # the schedule is still there to go on with


def test_workers_send_models_with_a_schedule_of_the_users(small, quick):
    vae = VAETransformer(
        **quick, kld_schedule=lambda p: min(1.0, 2 * p), likelihood="gaussian"
    )
    with joblib.parallel_config("loky", n_jobs=2):
        found = cross_validate(vae, small, cv=2, return_estimator=True)
    for model, score in zip(found["estimator"], found["test_score"], strict=True):
        assert np.isfinite(model.score(small))
        assert np.isfinite(score)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_copies_between_chunks_go_on_alike(Estimator, small, quick):
    model = Estimator(**quick, dropout_rate=0.1).partial_fit(small)
    copies = [pickle.loads(pickle.dumps(model)), copy.deepcopy(model), model]
    assert not hasattr(clone(model), "net_")
    codes = [m.partial_fit(small).transform(small) for m in copies]
    np.testing.assert_array_equal(codes[0], codes[2])
    np.testing.assert_array_equal(codes[1], codes[2])
