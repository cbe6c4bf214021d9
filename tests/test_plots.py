import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from skvae.cli.plots import _draw_codes, plot_search
from skvae.cli.search import search


@pytest.fixture(scope="module")
def searched(digits):
    X = digits[:120]
    grid = search(
        X,
        weights=[1e-4, 1e-2],
        dims=[1, 3],
        scale=True,
        folds=2,
        n_jobs=1,
        params={"max_epochs": 2, "hidden_dims": (8,), "random_state": 0},
        quiet=True,
    )
    return grid, X


@pytest.mark.parametrize("labels", [None, "numbers", "words"])
@pytest.mark.parametrize("image_shape", [None, (8, 8)])
def test_pictures_are_drawn(searched, tmp_path, labels, image_shape):
    grid, X = searched
    names = {"numbers": np.array([10, 2, 9]), "words": np.array(["ten", "two", "9"])}
    if labels is not None:
        labels = names[labels][np.arange(120) % 3]
    path = tmp_path / "picture.png"
    plot_search(str(path), grid, X, labels, image_shape)
    picture = imread(path)
    height, width = picture.shape[:2]
    assert width / height == pytest.approx(
        (2 + (image_shape is not None)) * 5.2 / 4.6, rel=0.01
    )
    assert picture[..., :3].std() > 0.1  # something is on it


class Codes:
    """A model whose codes are the rows."""

    def transform(self, X):
        return X


def codes_drawn(X, labels=None):
    figure = Figure()
    axis = figure.subplots()
    _draw_codes(axis, Codes(), X, labels)
    return axis


def test_an_odd_row_does_not_squeeze_the_others():
    X = np.random.RandomState(0).randn(200, 3) * [3, 2, 1]
    X[7] = [0, 0, 1e6]  # nor does it choose the units
    X[8, 0] = -500
    axis = codes_drawn(X)
    assert (axis.get_xlabel(), axis.get_ylabel()) == (
        "unit 0 (units of X)",
        "unit 1 (units of X)",
    )
    assert -30 < axis.get_xlim()[0] < -3 * 2
    assert 3 * 2 < axis.get_xlim()[1] < 30
    # Row 7 is outside in a unit that is not drawn.
    assert [text.get_text() for text in axis.texts] == ["1 of 200 rows lie outside"]


@pytest.mark.parametrize("n", [2, 5, 12])
def test_those_outside_are_counted(n):
    X = np.random.RandomState(n).randn(n, 2)
    axis = codes_drawn(X)
    x, y = axis.collections[0].get_offsets().T
    in_x = (x > axis.get_xlim()[0]) & (x < axis.get_xlim()[1])
    in_y = (y > axis.get_ylim()[0]) & (y < axis.get_ylim()[1])
    told = sum(int(t.get_text().split()[0]) for t in axis.texts)
    assert (in_x & in_y).sum() == n - told
    assert told <= (0 if n < 10 else 2)
    assert codes_drawn(np.zeros((n, 2))).get_xlim() == (-0.5, 0.5)
