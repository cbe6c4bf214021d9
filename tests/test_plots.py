import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from skvae.cli.plots import _draw_codes, _draw_scores, plot_search
from skvae.cli.search import results, search


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
    return grid, results(grid, X), X


@pytest.mark.parametrize("labels", [None, "numbers", "words"])
@pytest.mark.parametrize("image_shape", [None, (8, 8)])
def test_pictures_are_drawn(searched, tmp_path, labels, image_shape):
    grid, rows, X = searched
    names = {"numbers": np.array([10, 2, 9]), "words": np.array(["ten", "two", "9"])}
    if labels is not None:
        labels = names[labels][np.arange(120) % 3]
    path = tmp_path / "picture.png"
    plot_search(str(path), grid, rows, X, labels, image_shape)
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
    _draw_codes(figure, axis, Codes(), X, labels)
    return axis


def test_an_odd_row_does_not_squeeze_the_others():
    X = np.random.RandomState(0).randn(200, 3) * [3, 2, 1]
    X[7] = [0, 0, 1e6]  # nor does it choose the units
    X[8, 0] = -500
    axis = codes_drawn(X)
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("unit 0", "unit 1")
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


def test_every_row_is_drawn_whatever_its_label():
    X = np.random.RandomState(0).randn(300, 2)
    many = np.array([f"c{i % 30}" for i in range(300)])
    axis = codes_drawn(X, many)
    assert sum(len(dots.get_offsets()) for dots in axis.collections) == 300
    assert "10 others" in {text.get_text() for text in axis.get_legend().get_texts()}
    axis = codes_drawn(X, X[:, 0])  # a label to regress on
    assert axis.get_legend() is None
    np.testing.assert_array_equal(axis.collections[0].get_array(), X[:, 0])


def test_one_candidate_has_a_scale_of_colours():
    figure = Figure()
    at = {"kld_weight": 0.1, "latent_dim": 2, "best": True}
    _draw_scores(figure, figure.subplots(), [{**at, "elbo": -17034.635}])
    assert figure.axes[0].images[0].get_clim() == (-17035.635, -17034.635)
