import copy

import pytest
import torch

from skvae import VAETransformer
from skvae._engine.flat_adamw import FlatAdamW

SHAPES = ((5, 3), (5,), (1, 5), ())


def make(seed=0, **options):
    """An optimiser of some parameters."""
    source = torch.Generator().manual_seed(seed)
    parameters = [
        torch.nn.Parameter(torch.randn(shape, generator=source)) for shape in SHAPES
    ]
    options = {"lr": 0.1, "weight_decay": 0.1, "fused": True, **options}
    return torch.optim.AdamW(parameters, **options)


def take_steps(step, optimizer, n_steps=5, seed=1):
    source = torch.Generator().manual_seed(seed)
    for number in range(n_steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 / (1 + number)
        for parameter in optimizer.param_groups[0]["params"]:
            if parameter.grad is None:
                parameter.grad = torch.empty_like(parameter)
            parameter.grad.normal_(generator=source)
        step()


def assert_same(one, other):
    torch.testing.assert_close(one.param_groups, other.param_groups)
    torch.testing.assert_close(
        one.state_dict()["state"], other.state_dict()["state"], rtol=1e-6, atol=1e-7
    )


def test_steps_and_state_are_the_optimiser_s():
    optimizer, reference = make(), make()
    update = FlatAdamW(optimizer)
    for epoch in range(3):
        update.begin_epoch(derived=True)
        take_steps(update.step, optimizer, seed=epoch)
        take_steps(reference.step, reference, seed=epoch)
        assert_same(optimizer, reference)
        assert update.is_fused
    update.release()
    assert_same(optimizer, reference)


def test_recorded_steps_stay_right_from_the_second_epoch_on():
    optimizer, reference = make(), make()
    update = FlatAdamW(optimizer)
    same = []
    for epoch in range(4):
        if epoch == 3:
            for one in (optimizer, reference):
                one.param_groups[0]["weight_decay"] = 0.3
        same.append(update.begin_epoch(derived=True))
        take_steps(update.step, optimizer, n_steps=1, seed=epoch)
        take_steps(reference.step, reference, n_steps=1, seed=epoch)
        assert_same(optimizer, reference)
    # before the first step there are none, and a constant of theirs has changed
    assert same == [False, True, True, False]


def test_gradients_lie_side_by_side():
    optimizer = make()
    update = FlatAdamW(optimizer)
    update.begin_epoch(derived=True)
    take_steps(update.step, optimizer, n_steps=1)
    squares = [p.grad.square().sum() for p in update.parameters]
    norm = torch.stack(squares).sum()
    torch.testing.assert_close(update.gradient.square().sum(), norm)


def test_epochs_without_derived_gradients_are_the_optimiser_s_own():
    optimizer, reference = make(), make()
    update = FlatAdamW(optimizer)
    for epoch, derived in enumerate((True, False, True)):
        update.begin_epoch(derived=derived)
        assert update.is_fused == derived
        if not derived:
            for parameter in update.parameters:
                parameter.grad = None
        take_steps(update.step, optimizer, seed=epoch)
        take_steps(reference.step, reference, seed=epoch)
        assert_same(optimizer, reference)


def test_an_optimiser_that_lost_its_state_makes_it_anew():
    optimizer = make()
    update = FlatAdamW(optimizer)
    update.begin_epoch(derived=True)
    take_steps(update.step, optimizer)
    optimizer.state.clear()
    update.begin_epoch(derived=True)
    take_steps(update.step, optimizer, n_steps=2)
    assert {optimizer.state[p]["step"].item() for p in update.parameters} == {2.0}


def test_memory_is_shared_while_training_and_not_afterwards():
    optimizer = make()
    update = FlatAdamW(optimizer)
    update.begin_epoch(derived=True)
    take_steps(update.step, optimizer)
    parameters = update.parameters
    shared = {p.untyped_storage().data_ptr() for p in parameters}
    assert len(shared) == 1
    update.release()
    own = {p.untyped_storage().data_ptr() for p in parameters}
    assert len(own) == len(parameters)
    for parameter in parameters:
        state = optimizer.state[parameter]
        assert state["exp_avg"].untyped_storage().nbytes() == 4 * parameter.numel()


@pytest.mark.parametrize(
    "options",
    [
        {"amsgrad": True},
        {"maximize": True},
        {"fused": False},
    ],
)
def test_other_optimisers_update_themselves(options):
    optimizer, reference = make(**options), make(**options)
    update = FlatAdamW(optimizer)
    update.begin_epoch(derived=True)
    assert not update.is_fused
    take_steps(update.step, optimizer)
    take_steps(reference.step, reference)
    assert_same(optimizer, reference)
    update.release()


def test_hooks_of_the_optimiser_are_called():
    optimizer = make()
    calls = []
    optimizer.register_step_pre_hook(lambda *_: calls.append(1))
    update = FlatAdamW(optimizer)
    update.begin_epoch(derived=True)
    take_steps(update.step, optimizer)
    assert len(calls) == 5


def test_what_was_replaced_between_epochs_is_taken_over():
    optimizer, reference = make(), make()
    update = FlatAdamW(optimizer)
    update.begin_epoch(derived=True)
    take_steps(update.step, optimizer)
    take_steps(reference.step, reference)
    state = copy.deepcopy(optimizer.state_dict())
    for part in state["state"].values():
        part["exp_avg"] *= 0.5
    for one in (optimizer, reference):
        one.load_state_dict(copy.deepcopy(state))
        first = one.param_groups[0]["params"][0]
        first.data = torch.ones_like(first)
    update.begin_epoch(derived=True)
    take_steps(update.step, optimizer, seed=2)
    take_steps(reference.step, reference, seed=2)
    assert_same(optimizer, reference)
    for one, other in zip(
        update.parameters, reference.param_groups[0]["params"], strict=True
    ):
        torch.testing.assert_close(one, other)


def test_a_fitted_model_holds_its_weights_apart(small, quick):
    estimator = VAETransformer(**quick, early_stopping=False).fit(small)
    for parameter in estimator.module_.parameters():
        assert parameter.untyped_storage().nbytes() == 4 * parameter.numel()


def test_streaming_goes_on_from_the_moments(small, quick):
    estimator = VAETransformer(**quick, batch_size=10).partial_fit(small[:50])
    state = estimator.net_.optimizer_.state
    steps = {state[p]["step"].item() for p in estimator.module_.parameters()}
    estimator.partial_fit(small[50:])
    again = {state[p]["step"].item() for p in estimator.module_.parameters()}
    assert steps == {5.0}
    assert again == {9.0}
