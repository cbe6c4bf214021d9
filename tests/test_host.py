import numpy as np
import torch

from skvae._utils.host import HostState


def test_nothing_moves_or_rounds_what_it_holds():
    held = torch.nn.Sequential(HostState())
    held[0].hold("numbers", [1.0, 1e-300])
    held[0].hold("count", 3)
    held.to("meta")
    held.half()
    assert held[0].array("numbers").tolist() == [1.0, 1e-300]
    assert held[0].number("count") == 3
    assert held.state_dict()["0.count"].dtype == torch.int64


def test_arrays_are_its_own_and_can_be_replaced():
    held, values = HostState(), np.arange(3.0)
    values.setflags(write=False)
    held.hold("values", values)
    held.array("values")[:] = 7.0
    assert held.array("values").tolist() == [0.0, 1.0, 2.0]
    held.hold("values", np.ones(5))
    assert len(held.state_dict()["values"]) == 5
