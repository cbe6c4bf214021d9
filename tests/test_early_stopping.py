from types import SimpleNamespace

import pytest
import torch

from skvae._training.early_stopping import BestEpoch, StopTraining


class FakeNet:
    """A net whose one weight is the epoch and whose objectives are given."""

    def __init__(self, objectives):
        self.module_ = torch.nn.Linear(1, 1, bias=False)
        self.criterion_ = torch.nn.Linear(1, 1)
        self.objectives = objectives
        self.epoch = 0
        self.set_weight()

    def set_weight(self):
        with torch.no_grad():
            self.module_.weight.fill_(self.epoch)

    def validate(self, rows):
        return SimpleNamespace(objective=self.objectives[0])

    @property
    def history(self):
        values = {"epoch": self.epoch, "valid_objective": self.objectives[self.epoch]}
        return _Last(values)


class _Last:
    def __init__(self, values):
        self.values = values

    def __getitem__(self, key):
        return self.values[key[1]]


def run(objectives, **params):
    """Train until the callback stops or the objectives end; epochs run, and weight."""
    net = FakeNet(objectives)
    best = BestEpoch(None, **{"patience": 2, "tol": 0.1, "init_margin": 0.0, **params})
    best.on_train_begin(net)
    try:
        for net.epoch in range(1, len(objectives)):
            net.set_weight()
            best.on_epoch_end(net)
    except StopTraining:
        pass
    n_epochs = net.epoch
    best.restore()
    assert net.module_.weight.item() == best.best_epoch_
    return n_epochs, best.best_epoch_


@pytest.mark.parametrize(
    ("objectives", "params", "expected"),
    [
        ([5, 4, 3, 2], {}, (3, 3)),
        ([5, 4, 4.5, 4.6, 1], {}, (3, 1)),
        ([5, 6, 7, 1], {}, (2, 0)),  # the start competes
        ([5, 4.95, 4.9, 1], {}, (2, 2)),  # small steps are kept, but not waited for
        ([5, 4.5, 4.4], {"init_margin": 1.0}, (2, 0)),
        ([5, 4.5, 3.9], {"init_margin": 1.0}, (2, 2)),
        ([5, 6, 7, 1], {"patience": 3}, (3, 3)),
        ([5, 1, 6, 7, 4, 8, 8], {"first_epoch": 3}, (6, 4)),  # neither kept nor counted
    ],
)
def test_best_epoch(objectives, params, expected):
    assert run(objectives, **params) == expected
