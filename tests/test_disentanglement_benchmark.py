"""benchmarks/disentanglement.py: what it measures, and a run at a small size."""

import json

import numpy as np
import pytest
from matplotlib.image import imread

# Few epochs of few rows: how far the models get is not the point.
pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.exceptions.PosteriorCollapseWarning"
)


@pytest.fixture(scope="module")
def disentanglement(benchmarks):
    """The script as a module."""
    import disentanglement

    return disentanglement


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Images of 8 x 8 with a square of 2 x 2, in 7 rows and 7 columns, in 2 sizes."""
    places = np.stack(np.meshgrid(range(2), range(7), range(7)), -1).reshape(-1, 3)
    places = np.repeat(places, 5, axis=0)
    images = np.zeros((len(places), 8, 8), dtype=np.uint8)
    for image, (size, i, j) in zip(images, places, strict=True):
        image[i : i + 1 + size, j : j + 1 + size] = 1
    path = tmp_path_factory.mktemp("squares") / "squares.npz"
    np.savez(path, imgs=images, latents_classes=places)
    return path


def test_what_is_held_out_does_not_depend_on_what_is_trained_on(disentanglement, path):
    whole = disentanglement.load(path, None, 1)
    some = disentanglement.load(path, 50, 1)
    assert len(whole.test) == 98
    assert len(whole.train) == 490 - 98
    assert len(some.train) == 50
    np.testing.assert_array_equal(whole.test, some.test)
    np.testing.assert_array_equal(whole.factors, some.factors)
    # A factor is that of its image: the last row that is lit is place and size.
    lit = some.test.reshape(-1, 8, 8).any(axis=2)
    last = 7 - lit[:, ::-1].argmax(axis=1)
    np.testing.assert_array_equal(last, some.factors[:, 0] + some.factors[:, 1])


def test_pooled_pixels_are_lit_if_one_of_them_is(disentanglement, path):
    fine, coarse = (disentanglement.load(path, None, pool) for pool in (1, 4))
    assert coarse.train.shape == (392, 4)
    parts = fine.train.reshape(-1, 2, 4, 2, 4).transpose(0, 1, 3, 2, 4)
    expected = parts.reshape(-1, 4, 16).max(axis=2)
    np.testing.assert_array_equal(coarse.train, expected)


def test_measures_of_codes_that_are_the_factors(disentanglement, path):
    factors = disentanglement.load(path, None, 1).factors
    found = disentanglement.measured(factors * 1.0, factors, seed=0)
    assert found["mig"] > 0.9
    assert found["disentanglement"] > 0.9
    assert found["factor_vae"] > 0.9
    others = {"elbo", "active", "seconds"}
    assert set(found) == set(disentanglement.MEASURES) - others


def made_up(disentanglement, elbo, **known):
    return {**dict.fromkeys(disentanglement.MEASURES, 0.0), "elbo": elbo, **known}


def test_ranks_and_the_choice(disentanglement):
    rows = {
        "1": [made_up(disentanglement, -3.0, mig=0.1, sap=0.2)],
        "4": [made_up(disentanglement, -5.0, mig=0.2, sap=0.1)],
        "8": [made_up(disentanglement, -9.0, mig=0.3, sap=0.0)],
    }
    with pytest.warns(match="constant"):  # measures of these rows that do not vary
        ranks = disentanglement.agreement(rows)
    assert ranks["mig"] == pytest.approx(-1.0)
    assert ranks["sap"] == pytest.approx(1.0)
    text = disentanglement.choice(rows)
    assert text == "By ELBO: beta 1, a gap of 0.100; the best gap is 0.300, of beta 8."


def test_a_run(disentanglement, path, tmp_path, capsys):
    out, picture = tmp_path / "found.json", tmp_path / "units.png"
    arguments = ["--data", str(path), "--hidden", "16", "--epochs", "2"]
    arguments += ["--betas", "1", "8", "--seeds", "2", "--rows", "200"]
    disentanglement.main([*arguments, "--out", str(out), "--picture", str(picture)])
    rows = json.loads(out.read_text())["rows"]
    assert {beta: len(found) for beta, found in rows.items()} == {"1": 2, "8": 2}
    for found in rows.values():
        for row in found:
            assert list(row) == list(disentanglement.MEASURES)
            assert np.isfinite(list(row.values())).all()
    lines = capsys.readouterr().out.splitlines()
    starts = [line.split("|")[1].strip() for line in lines[:5] if "|-" not in line]
    assert starts == ["beta", "1", "8", "rank with elbo"]
    assert lines[-1].startswith("By ELBO: beta ")
    assert imread(picture)[..., :3].std() > 0.01
