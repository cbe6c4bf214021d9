"""benchmarks/disentanglement.py: images, measures, and what it prints."""

import json

import numpy as np
import pytest


@pytest.fixture(scope="module")
def disentanglement(benchmarks):
    import disentanglement

    return disentanglement


@pytest.fixture
def images(tmp_path):
    """A square of 2 x 2 anywhere in 8 x 8."""
    places = np.array([(i, j) for i in range(7) for j in range(7)] * 3)
    found = np.zeros((len(places), 8, 8), dtype=np.uint8)
    for image, (i, j) in zip(found, places, strict=True):
        image[i : i + 2, j : j + 2] = 1
    path = tmp_path / "images.npz"
    np.savez(path, imgs=found, latents_classes=places)
    return path


def test_pixels_are_pooled(disentanglement, images):
    X, factors = disentanglement.load(images, None, 1)
    pooled, same = disentanglement.load(images, None, 2)
    assert X.shape == (147, 64)
    assert pooled.shape == (147, 16)
    np.testing.assert_array_equal(factors, same)
    blocks = X.reshape(-1, 4, 2, 4, 2).max(axis=(2, 4)).reshape(147, 16)
    np.testing.assert_array_equal(pooled, blocks)
    assert len(disentanglement.load(images, 20, 1)[0]) == 20


def test_measures_of_the_factors_themselves(disentanglement, images):
    _, factors = disentanglement.load(images, None, 1)
    codes = np.repeat(factors * 1.0, 10, axis=0)
    found = disentanglement.measured(codes, np.repeat(factors, 10, axis=0), 0)
    assert set(found) < set(disentanglement.MEASURES)
    assert min(found[k] for k in ("mig", "disentanglement", "factor_vae")) > 0.9


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_it_prints_a_line_a_beta(disentanglement, images, tmp_path, capsys):
    pytest.importorskip("matplotlib").use("Agg")
    picture, out = tmp_path / "units.png", tmp_path / "found.json"
    disentanglement.main(
        [
            "--data",
            str(images),
            "--hidden",
            "16",
            "--epochs",
            "2",
            "--seeds",
            "1",
            "--betas",
            "1",
            "4",
            "8",
            "--picture",
            str(picture),
            "--out",
            str(out),
        ]
    )
    lines = [line for line in capsys.readouterr().out.splitlines() if line[:1] == "|"]
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 1", "| 4", "| 8"]
    assert picture.stat().st_size > 1000
    rows = json.loads(out.read_text())["rows"]
    assert set(rows["4"][0]) == set(disentanglement.MEASURES)


def test_agreement_is_of_ranks(disentanglement):
    rows = {str(b): [{"elbo": -b, "mig": b**2}] for b in (1.0, 2.0, 3.0)}
    assert disentanglement.agreement(rows) == pytest.approx(-1.0)
    assert np.isnan(disentanglement.agreement({"1": rows["1.0"]}))
