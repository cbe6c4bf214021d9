import copy

import pytest
import torch

from skvae import VAETransformer
from skvae._engine.flat import side_by_side
from skvae._engine.flat_adamw import Update

SHAPES = ((5, 3), (5,), (1, 5), ())


def make(seed=0, **options):
    """Parameters with an optimiser and its update, and the flat gradient they have."""
    source = torch.Generator().manual_seed(seed)
    parameters = [
        torch.nn.Parameter(torch.randn(shape, generator=source)) for shape in SHAPES
    ]
    options = {"lr": 0.1, "weight_decay": 0.1, "fused": True, **options}
    optimizer = torch.optim.AdamW(parameters, **options)
    flat, views = side_by_side(parameters)
    for parameter, view in zip(parameters, views, strict=True):
        parameter.grad = view
    return parameters, optimizer, flat


def take_steps(step, optimizer, flat, n_steps=5, seed=1):
    source = torch.Generator().manual_seed(seed)
    for number in range(n_steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 / (1 + number)
        for parameter in optimizer.param_groups[0]["params"]:
            parameter.grad.normal_(generator=source)
        step()


def assert_same(one, other):
    torch.testing.assert_close(one.param_groups, other.param_groups)
    torch.testing.assert_close(
        one.state_dict()["state"], other.state_dict()["state"], rtol=1e-6, atol=1e-7
    )


def test_steps_and_state_are_the_optimiser_s():
    _, optimizer, flat = make()
    _, reference, reference_flat = make()
    update = Update(optimizer)
    for epoch in range(3):
        update.begin_epoch(flat)
        take_steps(update.step, optimizer, flat, seed=epoch)
        take_steps(reference.step, reference, reference_flat, seed=epoch)
        assert_same(optimizer, reference)
    assert update._flat is not None
    update.release()
    assert_same(optimizer, reference)


def test_epochs_of_one_step_are_fused_from_the_second_on():
    _, optimizer, flat = make()
    _, reference, reference_flat = make()
    update = Update(optimizer)
    same = []
    for epoch in range(4):
        same.append(update.begin_epoch(flat))
        take_steps(update.step, optimizer, flat, n_steps=1, seed=epoch)
        take_steps(reference.step, reference, reference_flat, n_steps=1, seed=epoch)
        assert (update._flat is not None) == (epoch > 0)
        assert_same(optimizer, reference)
    assert same == [False, False, True, True]


def test_an_optimiser_that_lost_its_state_makes_it_anew():
    parameters, optimizer, flat = make()
    update = Update(optimizer)
    update.begin_epoch(flat)
    take_steps(update.step, optimizer, flat)
    optimizer.state.clear()
    update.begin_epoch(flat)
    take_steps(update.step, optimizer, flat, n_steps=2)
    assert {optimizer.state[p]["step"].item() for p in parameters} == {2.0}


def test_memory_is_shared_while_training_and_not_afterwards():
    parameters, optimizer, flat = make()
    update = Update(optimizer)
    update.begin_epoch(flat)
    take_steps(update.step, optimizer, flat)
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
    _, optimizer, flat = make(**options)
    _, reference, reference_flat = make(**options)
    update = Update(optimizer)
    update.begin_epoch(flat)
    take_steps(update.step, optimizer, flat)
    take_steps(reference.step, reference, reference_flat)
    assert update._flat is None
    assert_same(optimizer, reference)
    update.release()


def test_an_optimiser_of_other_parameters_updates_itself():
    parameters, _, flat = make()
    optimizer = torch.optim.AdamW(parameters[:2], lr=0.1, fused=True)
    update = Update(optimizer)
    update.begin_epoch(flat)
    assert not update.is_fused
    update.step()
    assert parameters[0] in optimizer.state


def test_hooks_of_the_optimiser_are_called():
    _, optimizer, flat = make()
    calls = []
    optimizer.register_step_pre_hook(lambda *_: calls.append(1))
    update = Update(optimizer)
    update.begin_epoch(flat)
    take_steps(update.step, optimizer, flat)
    assert len(calls) == 5


def test_state_that_was_replaced_between_epochs_is_taken_up():
    _, optimizer, flat = make()
    _, reference, reference_flat = make()
    update = Update(optimizer)
    update.begin_epoch(flat)
    take_steps(update.step, optimizer, flat)
    take_steps(reference.step, reference, reference_flat)
    state = copy.deepcopy(optimizer.state_dict())
    for part in state["state"].values():
        part["exp_avg"] *= 0.5
    optimizer.load_state_dict(state)
    reference.load_state_dict(copy.deepcopy(state))
    update.begin_epoch(flat)
    take_steps(update.step, optimizer, flat, seed=2)
    take_steps(reference.step, reference, reference_flat, seed=2)
    assert_same(optimizer, reference)


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
