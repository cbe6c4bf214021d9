"""What a fit's units carry, noted and put into order."""

import numpy as np
import pytest

from skvae import AETransformer
from skvae._data.rows import Rows
from skvae._nn.unit_order import reorder_units
from skvae._training.principal_units import look_at_units, note_explained, order_units


@pytest.fixture
def fit(digits, quick):
    """Of a model whose units were put out of order."""
    model = AETransformer(**quick).fit(digits[:200])
    reorder_units(model.module_, np.array([2, 0, 1]), np.array([-1.0, 1.0, 1.0]))
    return model._fitted


def test_looking_changes_nothing(fit, digits):
    before = fit.state.arrays()
    carried = look_at_units(fit, Rows(digits[:200]))
    assert np.argmax(carried.variance) == 1
    np.testing.assert_equal(fit.state.arrays(), before)


def test_ordering_gives_what_a_look_would(fit, digits):
    """In the weights: what rows are reconstructed as stays."""
    rows = Rows(digits[:200])
    unordered = look_at_units(fit, rows)
    ordered = order_units(fit, rows)
    assert (np.diff(ordered.variance) <= 0.0).all()
    assert (ordered.jacobian.max(axis=1) >= -ordered.jacobian.min(axis=1)).all()
    np.testing.assert_allclose(np.sort(unordered.variance)[::-1], ordered.variance)
    again = look_at_units(fit, rows)
    np.testing.assert_allclose(again.variance, ordered.variance, rtol=1e-5)
    np.testing.assert_allclose(again.jacobian, ordered.jacobian, atol=1e-5)


@pytest.mark.parametrize(("n_rows", "noted"), [(1, False), (2, True), (200, True)])
def test_of_a_single_row_nothing_is_noted(fit, digits, n_rows, noted, quick):
    strategy = AETransformer(**quick)._strategy()
    carried = look_at_units(fit, Rows(digits[:200]))
    note_explained(fit, carried, n_rows, 10.0, strategy)
    assert (fit.state.explained is not None) == noted
    if noted:
        expected = carried.variance * n_rows / (n_rows - 1)
        np.testing.assert_allclose(fit.state.explained.variance, expected)
        np.testing.assert_allclose(fit.state.explained.ratio, carried.variance / 10.0)
