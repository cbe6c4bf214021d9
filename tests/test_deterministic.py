import numpy as np
import pytest

from skvae._criteria import PenalisedError
from skvae._deterministic import Deterministic
from skvae._linear import Components


@pytest.mark.parametrize(
    ("code_penalty", "expected"), [("l2", 0.5), ("l1", 0.25), (None, 0.25)]
)
def test_weights_are_in_units_of_X(code_penalty, expected):
    family = Deterministic(code_penalty, 0.5, "l2", 1.0)
    params = family.criterion_params(10, 2.0)
    assert params["reg_weight"] == expected
    assert params["decoder_penalty_weight"] == 0.25
    criterion = PenalisedError(**params)
    Deterministic(code_penalty, 1.0, "l2", 2.0).retune(criterion, 2.0)
    assert criterion.reg_weight == 2 * expected
    assert criterion.decoder_penalty_weight == 0.5


def test_linear_model_is_the_projection():
    eigenvectors = np.eye(2, 5)
    start = Deterministic().linear_model(Components(np.ones(2), eigenvectors, 6.5), 1.0)
    np.testing.assert_array_equal(start.encode, eigenvectors)
    np.testing.assert_array_equal(start.decode, eigenvectors.T)
    assert Deterministic().n_active(start) == 2
