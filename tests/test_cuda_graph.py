import numpy as np
import pytest
import torch
from _make import minibatch

from skvae import VAETransformer
from skvae._data.dataset import Minibatch
from skvae._engine import stepper as _stepper
from skvae._engine.cuda_graph import (
    WARM_UP,
    CudaRecorder,
    GraphedSteps,
    _copy_of,
    _Recorded,
    can_record,
    worth_recording,
)


class FakeRecorder:
    """What a recorder does, without a GPU: a replay takes the step on fixed memory."""

    def __init__(self, refuse=False):
        self.warmed, self.recorded, self.replayed, self.forgotten = 0, [], 0, 0
        self._refuse = refuse

    def warm_up(self, step, batch):
        self.warmed += 1
        return step(batch)

    def forget(self):
        self.forgotten += 1

    def record(self, step, batch):
        self.recorded.append(len(batch))
        if self._refuse:
            raise RuntimeError("operation not permitted when stream is capturing")
        fixed, terms = _copy_of(batch), torch.full((2,), torch.nan)

        def replay():
            self.replayed += 1
            terms.copy_(step(fixed))

        return _Recorded(replay, fixed, terms)


def double(batch):
    x = batch.inputs
    return torch.stack([x.sum(), 2 * batch.target.sum()])


def test_steps_are_recorded_after_a_warm_up_once_a_size_and_replayed():
    recorder = FakeRecorder()
    steps = GraphedSteps(recorder)
    batches = [minibatch(torch.full((3 + i % 2, 1), float(i))) for i in range(9)]
    terms = [steps.take(double, x) for x in batches]
    torch.testing.assert_close(terms, [double(x) for x in batches])
    assert recorder.warmed == WARM_UP
    assert sorted(recorder.recorded) == [3, 4]
    assert recorder.replayed == 9 - WARM_UP


def test_what_cannot_be_recorded_is_taken_as_it_is():
    recorder = FakeRecorder(refuse=True)
    steps = GraphedSteps(recorder)
    batches = [minibatch(torch.full((3, 1), float(i))) for i in range(7)]
    terms = [steps.take(double, x) for x in batches]
    torch.testing.assert_close(terms, [double(x) for x in batches])
    assert recorder.recorded == [3]


def test_steps_on_other_memory_are_recorded_anew():
    recorder = FakeRecorder()
    steps = GraphedSteps(recorder)
    for _ in range(2):
        for _ in range(WARM_UP + 1):
            steps.take(double, minibatch(torch.ones(3, 1)))
        steps.forget()
    assert recorder.recorded == [3, 3]
    assert recorder.warmed == 2 * WARM_UP
    assert recorder.forgotten == 2


def test_a_late_size_is_warmed_up_too():
    recorder = FakeRecorder()
    steps = GraphedSteps(recorder)
    sizes = [3] * (WARM_UP + 1) + [4, 4, 3]
    batches = [minibatch(torch.ones(n, 1)) for n in sizes]
    terms = [steps.take(double, x) for x in batches]
    torch.testing.assert_close(terms, [double(x) for x in batches])
    assert recorder.warmed == WARM_UP + 1
    assert recorder.recorded == [3, 4]


def test_inputs_and_mask_of_their_own_are_recorded_too():
    recorder = FakeRecorder()
    steps = GraphedSteps(recorder)

    def masked(batch):
        observed = batch.target * batch.mask
        return torch.stack([batch.inputs.sum(), observed.sum()])

    batches = [
        Minibatch(torch.full((3, 2), float(i)), torch.ones(3, 1) * i, torch.ones(3, 1))
        for i in range(WARM_UP + 3)
    ]
    terms = [steps.take(masked, batch) for batch in batches]
    torch.testing.assert_close(terms, [masked(batch) for batch in batches])
    assert recorder.replayed == 3


@pytest.mark.parametrize("kld_weight", ["auto", 1e-3])
def test_a_replayed_fit_is_the_same(kld_weight, small, quick, monkeypatch):
    """Nothing outside the step is needed for the next one to be right."""
    options = {**quick, "batch_size": 20, "dropout_rate": 0.1}
    estimator = VAETransformer(kld_weight=kld_weight, **options)
    plain = estimator.fit(small)
    expected, history = plain.transform(small), plain.history_
    recorders = []

    class Recorder(FakeRecorder):
        def __init__(self, generator):
            super().__init__()
            recorders.append(self)

    monkeypatch.setattr(_stepper, "CudaRecorder", Recorder)
    monkeypatch.setattr(_stepper, "worth_recording", lambda device, n_steps: True)
    again = estimator.fit(small)
    np.testing.assert_array_equal(again.transform(small), expected)
    (recorder,) = recorders
    assert recorder.replayed > 0
    for key in ("train_loss", "train_kl_loss", "valid_loss"):
        assert [row[key] for row in again.history_] == [row[key] for row in history]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_replays_the_step():
    generator = torch.Generator("cuda").manual_seed(0)
    weight = torch.zeros((), device="cuda")

    def step(batch):
        weight.add_(batch.target.mean())
        noise = torch.empty(2, device="cuda").normal_(generator=generator)
        return torch.stack([weight.clone(), noise[0]])

    steps = GraphedSteps(CudaRecorder(generator))
    x = torch.ones(4, 1, device="cuda")
    terms = torch.stack([steps.take(step, minibatch(x * i)) for i in range(10)]).cpu()
    torch.testing.assert_close(terms[:, 0], torch.arange(10.0).cumsum(0))
    assert len(terms[:, 1].unique()) == 10


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_recording_that_fails_leaves_nothing_behind():
    generator = torch.Generator("cuda").manual_seed(0)

    def step(batch):
        x = batch.target
        return torch.stack([x.sum(), x.new_tensor(x.sum().item())])

    steps = GraphedSteps(CudaRecorder(generator))
    before = torch.cuda.current_stream()
    x = torch.ones(4, 1, device="cuda")
    for _ in range(WARM_UP + 3):
        assert steps.take(step, minibatch(x)).tolist() == [4.0, 4.0]
    assert torch.cuda.current_stream() == before
    assert torch.isfinite(torch.randn(3, device="cuda")).all()
    assert torch.isfinite(torch.randn(3, device="cuda", generator=generator)).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_steps_can_be_recorded_anew():
    generator = torch.Generator("cuda").manual_seed(0)
    steps = GraphedSteps(CudaRecorder(generator))
    x = torch.ones(4, 1, device="cuda")
    for _ in range(2):
        for _ in range(WARM_UP + 2):
            assert steps.take(double, minibatch(x)).tolist() == [4.0, 8.0]
        steps.forget()


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="no second CUDA device")
def test_steps_are_recorded_on_their_own_device():
    generator = torch.Generator("cuda:1").manual_seed(0)
    steps = GraphedSteps(CudaRecorder(generator))
    for i in range(WARM_UP + 3):
        x = torch.full((4, 1), float(i), device="cuda:1")
        assert steps.take(double, minibatch(x)).tolist() == [4.0 * i, 8.0 * i]


def test_only_a_gpu_is_recorded_and_no_torch_whose_generators_could_break(monkeypatch):
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    for version, there in (
        ("2.12.1", False),
        ("2.13.0+cu130", True),
        ("2.15.0a0", True),
        ("3.0.0", True),
    ):
        monkeypatch.setattr(torch, "__version__", version)
        assert can_record(cuda) == there
        assert not can_record(cpu)
        assert worth_recording(cuda, 10_000) == there
        assert not worth_recording(cuda, 10)
