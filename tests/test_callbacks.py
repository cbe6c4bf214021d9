"""Names and parameters of callbacks, as pure functions."""

import pytest
from skorch.callbacks import EarlyStopping, EpochTimer, LRScheduler

from skvae._training.callbacks import (
    callback_params,
    checked_callbacks,
    set_callback_params,
)


def test_names_are_skorch_s():
    stop, timer = EarlyStopping(patience=3), ("mine", EpochTimer())
    params = callback_params([stop, timer, LRScheduler, EarlyStopping()])
    names = {key for key in params if key.count("__") == 1}
    assert names == {
        *("callbacks__EarlyStopping_1", "callbacks__mine"),
        *("callbacks__LRScheduler", "callbacks__EarlyStopping_2"),
    }
    assert params["callbacks__EarlyStopping_1__patience"] == 3


@pytest.mark.parametrize("callbacks", [None, [], ()])
def test_without_callbacks_there_are_no_parameters(callbacks):
    assert callback_params(callbacks) == {}
    assert checked_callbacks(callbacks) == []
    with pytest.raises(ValueError, match="no callback 'mine'; there are: none"):
        set_callback_params(callbacks, {"mine__patience": 1})


def test_parameters_are_set_in_place_and_callbacks_replaced():
    stop = EarlyStopping(patience=3)
    changed = set_callback_params([("stop", stop)], {"stop__patience": 7})
    assert changed == [("stop", stop)]
    assert stop.patience == 7
    other = EarlyStopping()
    values = {"stop__patience": 9, "stop": other}
    assert set_callback_params([("stop", stop)], values) == [("stop", other)]
    assert (stop.patience, other.patience) == (7, 9)
    assert set_callback_params([stop], {"EarlyStopping": None}) == [
        ("EarlyStopping", None)
    ]


@pytest.mark.parametrize("wrong", ["timer", 3, object(), ("a", "b")])
def test_what_is_no_callback_is_refused(wrong):
    with pytest.raises(ValueError, match=r"no skorch\.callbacks\.Callback"):
        checked_callbacks([wrong])
