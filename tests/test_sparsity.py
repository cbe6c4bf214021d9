import numpy as np
import pytest

from skvae._evaluation.sparsity import near_zero_share


def test_near_zero_is_relative_to_the_size_of_codes():
    codes = np.array([[0.0, 1.0], [1e-3, -1.0]])
    for scale in (1e-6, 1.0, 1e6):
        assert near_zero_share(scale * codes) == 0.5
    assert near_zero_share(codes, threshold=1e-4) == 0.25
    assert near_zero_share(np.zeros((3, 2))) == 1.0


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_share_of_zeros(share):
    codes = np.random.RandomState(0).randn(1000, 2) + 10.0
    codes[: int(1000 * share)] = 0.0
    assert near_zero_share(codes) == pytest.approx(share)
