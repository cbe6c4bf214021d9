"""Frames, scales and names that the displays share."""

import numpy as np
import pytest
from _drawn import texts_of
from matplotlib.figure import Figure

from skvae.inspection._drawing import (
    PALETTE,
    frame_points,
    limits,
    shortened,
    styled,
    symmetric_limit,
)


@pytest.mark.parametrize("n", [4, 9, 10, 200])
@pytest.mark.parametrize("sign", [-1, 1])
def test_one_value_far_away_does_not_stretch_the_limits(n, sign):
    values = np.random.RandomState(n).randn(n)
    low, high = limits(np.append(values, sign * 1000.0 * np.abs(values).max()))
    assert low < values.min()
    assert high > values.max()
    assert high - low < 1.2 * np.ptp(values)


def test_values_that_coincide_make_no_odd_ones_of_others():
    low, high = limits([0.1, 0.1, 0.1, 0.2, 0.5])
    assert low < 0.1
    assert high > 0.5


@pytest.mark.parametrize("values", [[], [np.nan], [np.inf, np.nan]])
def test_nothing_finite_has_limits_too(values):
    assert limits(values) == (-0.5, 0.5)


def test_equal_values_have_room():
    low, high = limits(np.full(50, 1e9))
    assert low < 1e9 < high
    assert limits([3.0]) == (2.5, 3.5)


def test_a_diverging_scale_is_not_the_odd_one_s():
    values = np.random.RandomState(0).uniform(-1, 1, (10, 3))
    usual = symmetric_limit(values)
    values[2, 1] = -1000.0
    assert usual <= 1.0
    assert symmetric_limit(values) == pytest.approx(usual, rel=0.2)
    assert symmetric_limit(np.zeros((3, 2))) == 1.0
    assert symmetric_limit(np.array([0.0, 0.0, np.nan, 5.0])) == 5.0


def test_those_outside_are_counted():
    ax = Figure().subplots()
    points = np.random.RandomState(0).randn(100, 2)
    points[3], points[7, 1] = 1e6, np.nan
    frame_points(ax, points)
    assert texts_of(ax) == ["2 of 100 rows lie outside"]


def test_a_short_name_keeps_both_ends():
    assert shortened("alcohol") == "alcohol"
    one, other = (shortened(f"a very long name of a column {i}") for i in (1, 2))
    assert len(one) == len(other) == 18
    assert one != other


def test_a_user_s_style_wins_by_any_of_its_names():
    from matplotlib.lines import Line2D

    assert styled(Line2D, {"linewidth": 1, "color": "red"}, {"lw": 3, "c": "blue"}) == {
        "linewidth": 3,
        "color": "blue",
    }


# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB.
DEFICIENCIES = {
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_the_palette_is_told_apart_with_deficient_colour_vision(deficiency):
    from matplotlib.colors import to_rgb

    rgb = np.array([to_rgb(colour) for colour in PALETTE])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(DEFICIENCIES[deficiency]), 0, 1)
    seen = np.where(
        seen <= 0.0031308,
        12.92 * seen,
        1.055 * np.maximum(seen, 1e-9) ** (1 / 2.4) - 0.055,
    )
    distances = np.linalg.norm(seen[:, None] - seen[None], axis=2)
    assert distances[~np.eye(len(PALETTE), dtype=bool)].min() > 0.1
