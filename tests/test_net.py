import copy
import pickle
import signal

import joblib
import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.exceptions import NotFittedError
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    GradientNormClipping,
)
from skorch.exceptions import DeviceWarning

from skvae import VAETransformer
from skvae._training.net import EpochNet, _raised_by_statement


class CopyNet(Callback):
    def on_epoch_end(self, net, **kwargs):
        self.copied = copy.deepcopy(net)
        self.weight = net.module_.decoder.out.weight.detach().clone()


class Recorder(Callback):
    def __init__(self):
        self.calls = []

    def on_train_begin(self, net, **kwargs):
        self.calls.append("train_begin")

    def on_epoch_end(self, net, **kwargs):
        self.calls.append("epoch_end")

    def on_batch_end(self, net, batch, training, **kwargs):
        self.calls.append(("batch_end", training, len(batch[0])))

    def on_train_end(self, net, **kwargs):
        self.calls.append("train_end")


def test_user_callbacks_see_epochs(small, quick):
    recorder = Recorder()
    VAETransformer(**quick, callbacks=[recorder]).fit(small)
    epoch = [("batch_end", True, 81), ("batch_end", False, 9), "epoch_end"]
    assert recorder.calls == ["train_begin", *epoch * 3, "train_end"]


def test_epoch_scoring_on_train_and_valid(small, quick):
    def error(net, X, y=None):
        return float(np.mean((net.predict(X) - X[:].numpy()) ** 2))

    scorings = [
        EpochScoring(error, name="valid_error"),
        EpochScoring(error, name="train_error", on_train=True),
        BatchScoring(lambda net, X, y: float(len(X)), name="n_rows"),
    ]
    vae = VAETransformer(**quick, callbacks=scorings).fit(small)
    history = vae.net_.history
    assert all(0 < v < 2 for v in history[:, "valid_error"])
    assert all(0 < v < 2 for v in history[:, "train_error"])
    assert history[:, "n_rows"] == [9.0] * 3


def test_skorch_early_stopping_ends_training(small, quick):
    stopper = EarlyStopping(monitor="train_loss", patience=2, threshold=1e9)
    vae = VAETransformer(
        **{**quick, "max_epochs": 30}, callbacks=[stopper], early_stopping=False
    ).fit(small)
    assert vae.n_iter_ < 6
    assert vae.transform(small).shape == (90, 3)


def test_checkpoint_writes(small, quick, tmp_path):
    checkpoint = Checkpoint(monitor="valid_loss_best", dirname=str(tmp_path))
    VAETransformer(**quick, callbacks=[checkpoint]).fit(small)
    weights = torch.load(tmp_path / "params.pt", weights_only=True)
    assert "encoder.mean.weight" in weights
    assert (tmp_path / "history.json").exists()


def test_gradient_callbacks_are_called_once_a_minibatch(small, quick):
    class Counter(Callback):
        n = 0

        def on_grad_computed(self, net, named_parameters, **kwargs):
            assert all(p.grad is not None for _, p in named_parameters)
            self.n += 1

    counter = Counter()
    callbacks = [counter, GradientNormClipping(1.0)]
    VAETransformer(**quick, batch_size=27, callbacks=callbacks).fit(small)
    assert counter.n == 3 * 3


def test_callbacks_last_over_fits(small, quick):
    recorder = Recorder()
    vae = VAETransformer(**quick, callbacks=[recorder]).fit(small)
    vae.partial_fit(small)
    assert recorder.calls.count("epoch_end") == 4


@pytest.fixture
def ctrl_c():
    """Python's own answer to Ctrl-C: a background job inherits that it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Interrupt(Callback):
    """Ctrl-C in the second epoch, as the operating system would send it."""

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        if len(net.history) == 2:
            signal.raise_signal(signal.SIGINT)
            for _ in range(1000):
                pass


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_propagates_and_leaves_the_estimator_as_it_was(small, quick):
    vae = VAETransformer(**quick, callbacks=[Interrupt()])
    with pytest.raises(KeyboardInterrupt):
        vae.fit(small)
    with pytest.raises(NotFittedError):
        vae.transform(small)
    vae.set_params(callbacks=None).fit(small)
    codes = vae.transform(small)
    with pytest.raises(KeyboardInterrupt):
        vae.set_params(callbacks=[Interrupt()]).fit(small[:, :60])
    np.testing.assert_array_equal(vae.transform(small), codes)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_and_a_stop_signal_are_told_apart():
    def raised():
        raise KeyboardInterrupt

    for function, expected in (
        (raised, True),
        (lambda: signal.raise_signal(signal.SIGINT), False),
    ):
        with pytest.raises(KeyboardInterrupt) as caught:
            function()
        assert _raised_by_statement(caught.value) is expected


def test_diverging_loss_is_an_error_that_helps(small, quick):
    params = {**quick, "max_epochs": 30, "early_stopping": False}
    vae = VAETransformer(
        **params, lr=1e30, gradient_clip_val=None, use_batch_norm=False
    )
    with pytest.raises(FloatingPointError, match=r"epoch \d+.*\n?.*lr.*StandardScaler"):
        vae.fit(small)
    assert not hasattr(vae, "net_")


def test_diverging_partial_fit_loses_nothing(small, quick):
    vae = VAETransformer(**quick, use_batch_norm=False).partial_fit(small)
    codes = vae.transform(small)
    with pytest.raises(FloatingPointError, match="epoch 2"):
        vae.set_params(lr=1e38).partial_fit(small)
    np.testing.assert_array_equal(vae.transform(small), codes)
    assert np.isfinite(codes).all()
    assert len(vae.net_.history) == vae.n_iter_


def test_pickles_and_copies(small, quick, tmp_path):
    vae = VAETransformer(**quick).fit(small)
    joblib.dump(vae, tmp_path / "vae.joblib")
    copies = [
        pickle.loads(pickle.dumps(vae)),
        copy.deepcopy(vae),
        joblib.load(tmp_path / "vae.joblib"),
    ]
    for other in copies:
        np.testing.assert_array_equal(other.transform(small), vae.transform(small))
        other.partial_fit(small)
        np.testing.assert_array_equal(
            other.sample(2, random_state=0),
            copies[0].sample(2, random_state=0),
        )


def test_a_pickle_from_another_device_loads_here(small, quick):
    """One that says it comes from a CUDA device, which there may be none of."""
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device: nothing to map")
    vae = VAETransformer(**quick).fit(small)
    codes = vae.transform(small)
    vae.net_.device = "cuda"
    data = pickle.dumps(vae)
    with pytest.warns(DeviceWarning, match="'cuda', which is not available here"):
        other = pickle.loads(data)
    np.testing.assert_array_equal(other.transform(small), codes)


def test_the_net_keeps_no_data(small, quick):
    net = VAETransformer(**quick).fit(small).net_
    assert isinstance(net, EpochNet)
    assert net.train_split is None
    assert not hasattr(net, "run_")
    assert {name for name, _ in net.callbacks_} == {
        "epoch_timer",
        "train_loss",
        "valid_loss",
        "print_log",
    }


def test_a_callback_may_save_the_net_in_the_middle_of_training(small, quick, tmp_path):
    copies = CopyNet()
    saves = Checkpoint(monitor=None, f_pickle="net.pkl", dirname=tmp_path)
    vae = VAETransformer(**quick, early_stopping=False, callbacks=[copies, saves])
    vae.fit(small)
    with (tmp_path / "net.pkl").open("rb") as file:
        loaded = pickle.load(file)
    for net in (copies.copied, loaded):
        assert torch.equal(net.module_.decoder.out.weight, copies.weight)
        assert not hasattr(net, "run_")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_agrees_with_cpu(digits, quick):
    params = {**quick, "linear_path": "pca", "lr": 1e-9}
    cpu, gpu = (
        VAETransformer(**params, device=device).fit(digits.astype(np.float32))
        for device in ("cpu", "cuda")
    )
    X = digits.astype(np.float32)
    np.testing.assert_allclose(gpu.transform(X), cpu.transform(X), atol=1e-3)
    assert gpu.score(X) == pytest.approx(cpu.score(X), abs=0.05)
    copied = pickle.loads(pickle.dumps(gpu))
    np.testing.assert_allclose(copied.transform(X), gpu.transform(X), atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
def test_gpu_learns_what_the_cpu_learns(digits, kind):
    """Replayed steps, with their own draws: the losses are close, not equal."""
    X = digits.astype(np.float32)
    losses = []
    for device in ("cpu", "cuda"):
        vae = VAETransformer(
            6, max_epochs=20, early_stopping=False, device=device, random_state=0
        )
        losses.append(vae.fit(kind(X)).history_[-1]["train_loss"])
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
