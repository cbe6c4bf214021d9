import numpy as np
import pytest
from matplotlib.image import imread

from skvae._plots import plot_search
from skvae._search import results, search


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
