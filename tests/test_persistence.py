"""Fitted estimators as plain data."""

import copy
import pickle
import pickletools

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skops import io as skops
from skops.io.exceptions import UntrustedTypesFoundException
from skorch.callbacks import Callback, EpochScoring, Freezer

from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer
from skvae._training.persistence import FORMAT

ESTIMATORS = [
    VAETransformer(kld_schedule="linear", free_bits=0.01, likelihood="gaussian"),
    VAETransformer(
        kld_weight=1e-3, linear_path=None, activation="swiglu", likelihood="gaussian"
    ),
    VAETransformer(
        hidden_dims=(), early_stopping=False, beta=2.0, likelihood="gaussian"
    ),
    AETransformer(),
    RAETransformer(decoder_penalty="spectral"),
    SAETransformer(),
]
PLAIN = (dict, list, tuple, str, bool, int, float, type(None), np.ndarray)


class Counts(Callback):
    def __init__(self):
        self.epochs = 0

    def on_epoch_end(self, net, **kwargs):
        self.epochs += 1


def answers(model, X):
    found = [model.transform(X), model.reconstruct(X), model.score(X)]
    if hasattr(model, "sample"):
        found.append(model.sample(4, random_state=0))
    if isinstance(model, VAETransformer):
        found.append(model.background_responsibility(X))
    return found


def assert_plain(value):
    assert isinstance(value, PLAIN), type(value)
    parts = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict | list | tuple):
        for part in parts:
            assert_plain(part)
    if isinstance(value, np.ndarray):
        assert value.dtype.kind in "fiub"


def round_trips(model, tmp_path):
    yield pickle.loads(pickle.dumps(model))
    yield copy.deepcopy(model)
    yield copy.copy(model)
    joblib.dump(model, tmp_path / "model.joblib")
    yield joblib.load(tmp_path / "model.joblib")
    yield joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    own = f"skvae.{type(model).__module__.split('.')[-1]}.{type(model).__name__}"
    data = skops.dumps(model)
    assert skops.get_untrusted_types(data=data) == [own]
    yield skops.loads(data, trusted=[own])


@pytest.mark.parametrize("model", ESTIMATORS, ids=lambda m: type(m).__name__)
def test_what_comes_back_is_the_same_and_goes_on(model, small, quick, tmp_path):
    model = copy.copy(model).set_params(**{k: quick[k] for k in ("max_epochs",)})
    model.set_params(random_state=0, latent_dim=3).fit(small).partial_fit(small[:40])
    expected = answers(model, small)
    others = list(round_trips(model, tmp_path))
    for other in others:
        np.testing.assert_equal(answers(other, small), expected)
        assert other.history_ == model.history_
    model.partial_fit(small[40:])
    expected = answers(model, small)
    for other in others:  # moments, seeds and split are part of it
        other.partial_fit(small[40:])
        np.testing.assert_equal(answers(other, small), expected)


@pytest.mark.parametrize("Estimator", [AETransformer, RAETransformer, SAETransformer])
def test_models_of_earlier_versions_find_their_class(Estimator):
    """They were in one file for a while."""
    name = Estimator.__name__
    old = f"cskvae.ae\n{name}\n.".encode()  # a pickle of protocol 0, of the class
    assert pickle.loads(old) is Estimator
    assert Estimator.__module__ == f"skvae.{name[: -len('Transformer')].lower()}"


@pytest.mark.parametrize("model", ESTIMATORS, ids=lambda m: type(m).__name__)
def test_the_state_is_parameters_plain_data_and_arrays(model, small):
    params = {"max_epochs": 2, "random_state": 0, "latent_dim": 3}
    model = copy.copy(model).set_params(**params).fit(small).partial_fit(small)
    state = model.__getstate__()
    density = state.pop("density_", None)
    assert (density is not None) == isinstance(model, RAETransformer)
    assert_plain(state)
    # One pickle, and none inside of it: what runs when it is read is named in it.
    names = {
        value
        for opcode, value, _ in pickletools.genops(pickle.dumps(model))
        if opcode.name in ("SHORT_BINUNICODE", "BINUNICODE", "GLOBAL")
    }
    assert not any("torch" in str(name) or "skorch" in str(name) for name in names)
    blobs = [
        value
        for opcode, value, _ in pickletools.genops(pickle.dumps(model))
        if opcode.name in ("SHORT_BINBYTES", "BINBYTES") and value[:1] == b"\x80"
    ]
    for blob in blobs:  # bytes of an array may begin like one
        with pytest.raises(Exception, match=r".*"):
            pickle.loads(blob)


class Payload:
    """What a stranger would put where a net was."""

    ran = False

    def __reduce__(self):
        return _run, ()


def _run():
    Payload.ran = True
    return {}


@pytest.mark.parametrize("at", ["history_", "kld_weight_"])
def test_a_file_of_skops_runs_nothing_that_was_not_named(small, quick, at):
    model = VAETransformer(**quick, likelihood="gaussian").fit(small)
    data = skops.dumps(model)
    for name in skops.get_untrusted_types(data=data):
        assert name == "skvae.vae.VAETransformer"
    vars(model)[at] = Payload()
    forged = skops.dumps(model)
    with pytest.raises(UntrustedTypesFoundException, match="Payload"):
        skops.loads(forged, trusted=["skvae.vae.VAETransformer"])
    assert not Payload.ran


def test_pipelines_and_callbacks_are_named_by_skops(small, quick):
    scoring = EpochScoring("neg_mean_squared_error", name="mse")
    model = make_pipeline(
        StandardScaler(), VAETransformer(**quick, likelihood="gaussian")
    ).fit(small)
    data = skops.dumps(model)
    assert skops.get_untrusted_types(data=data) == ["skvae.vae.VAETransformer"]
    found = skops.loads(data, trusted=["skvae.vae.VAETransformer"])
    np.testing.assert_array_equal(found.transform(small), model.transform(small))
    assert scoring is not None
    counts = Counts()
    named = VAETransformer(**quick, callbacks=[counts], likelihood="gaussian").fit(
        small
    )
    untrusted = skops.get_untrusted_types(data=skops.dumps(named))
    assert set(untrusted) == {
        "skvae.vae.VAETransformer",
        f"{Counts.__module__}.{Counts.__qualname__}",
    }


def test_callbacks_keep_what_they_have_counted(small, quick):
    model = VAETransformer(
        **quick, callbacks=[("mine", Counts()), Freezer("enc*")], likelihood="gaussian"
    )
    model.fit(small)
    other = pickle.loads(pickle.dumps(model))
    assert dict(other.callbacks[:1])["mine"].epochs == 3
    for one in (model, other):
        frozen = [p.requires_grad for p in one.module_.encoder.parameters()]
        assert not any(frozen)
    other.partial_fit(small)
    assert dict(other.callbacks[:1])["mine"].epochs == 4
    weight = model.module_.encoder.mean.weight
    assert torch.equal(other.module_.encoder.mean.weight, weight)


class Clears(Callback):
    """What it has counted is gone when it is begun anew."""

    def __init__(self):
        self.epochs = None

    def initialize(self):
        self.epochs = []
        return self

    def on_epoch_end(self, net, **kwargs):
        self.epochs.append(net.history[-1, "epoch"])


def test_a_copy_begins_no_callback_anew(small, quick):
    model = VAETransformer(
        **quick, callbacks=[Clears(), ("train_loss", Clears())], likelihood="gaussian"
    )
    model.fit(small)
    copy.copy(model)
    assert model.callbacks[0].epochs == [1, 2, 3]
    other = pickle.loads(pickle.dumps(model))
    names = [name for name, _ in model.net_.callbacks_]
    assert [name for name, _ in other.net_.callbacks_] == names
    for one in (model, other):
        one.partial_fit(small)
        assert one.callbacks[0].epochs == [1, 2, 3, 4]
        assert one.callbacks[1][1].epochs == [1, 2, 3, 4]


def test_callbacks_that_came_after_the_fit_are_begun_with_the_next(small, quick):
    model = (
        VAETransformer(**quick, likelihood="gaussian")
        .fit(small)
        .set_params(callbacks=[Clears()])
    )
    other = pickle.loads(pickle.dumps(model))
    for one in (model, other):
        one.partial_fit(small)
        assert one.callbacks[0].epochs == [4]
    unchecked = pickle.loads(pickle.dumps(model.set_params(callbacks=3)))
    assert unchecked.callbacks == 3


def test_the_best_score_so_far_goes_with_a_copy(small, quick):
    model = VAETransformer(**quick, likelihood="gaussian").fit(small)
    other = pickle.loads(pickle.dumps(model))
    for one in (model, other):
        one.partial_fit(10.0 * small)  # a worse loss
        assert not one.net_.history[-1, "train_loss_best"]


@pytest.mark.parametrize("Estimator", [VAETransformer, AETransformer])
@pytest.mark.parametrize("shape", [(40, 5), (2, 3)])
def test_a_model_of_rows_that_are_all_the_same_comes_back(Estimator, shape):
    X = np.ones(shape)
    model = Estimator(2, max_epochs=2, random_state=0).fit(X)
    other = pickle.loads(pickle.dumps(model))
    np.testing.assert_equal(answers(other, X), answers(model, X))


def test_files_are_as_large_as_what_was_learnt(small):
    model = VAETransformer(3, max_epochs=2, random_state=0, likelihood="gaussian").fit(
        small
    )
    arrays = model._fitted.state.arrays().values()
    learnt = sum(array.nbytes for array in arrays)
    assert len(pickle.dumps(model)) < learnt + 20_000


def test_models_of_other_formats_say_so(small, quick):
    state = VAETransformer(**quick, likelihood="gaussian").fit(small).__getstate__()
    state["_packed"] = {**state["_packed"], "format": FORMAT + 1}
    with pytest.raises(ValueError, match="Another version of skvae wrote this model"):
        VAETransformer(likelihood="gaussian").__setstate__(state)


def test_pickles_from_before_the_fitted_state_say_so():
    """They name a class that is gone, before anything else of the model."""
    data = b"\x80\x04cskvae._training\nModel\n."
    with pytest.raises(pickle.UnpicklingError, match="An older version of skvae wrote"):
        pickle.loads(data)
    with pytest.raises(AttributeError, match="attribute 'Other' on"):
        pickle.loads(b"\x80\x04cskvae._training\nOther\n.")


class Wrapper(TransformerMixin, BaseEstimator):
    """A user's estimator that holds one of ours."""

    def fit(self, X, y=None):
        self.inner_ = VAETransformer(
            2, max_epochs=1, random_state=0, likelihood="gaussian"
        ).fit(X)
        return self

    def transform(self, X):
        return self.inner_.transform(X)


def test_estimators_that_hold_one_are_pickled_with_it(small):
    model = Wrapper().fit(small)
    other = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(other.transform(small), model.transform(small))


def test_what_is_not_fitted_is_its_parameters():
    model = VAETransformer(7, beta=2.0, likelihood="gaussian")
    other = pickle.loads(pickle.dumps(model))
    assert other.get_params() == model.get_params()
    assert not hasattr(other, "net_")
