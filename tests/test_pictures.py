"""The pictures of benchmarks/benchmark_ae.py, beyond what its own tests see."""

from types import SimpleNamespace

import numpy as np
import pytest


@pytest.fixture
def pictures(benchmarks):
    import _pictures

    return _pictures


@pytest.fixture
def drawn(pictures, monkeypatch):
    """The figures that are drawn, unsaved."""
    figures = []
    original = pictures._figure

    def kept(width, height):
        figures.append(original(width, height))
        monkeypatch.setattr(figures[-1], "savefig", lambda *args, **kwargs: None)
        return figures[-1]

    monkeypatch.setattr(pictures, "_figure", kept)
    return figures


def run(rate, mse, weight=1e-5, dim=4):
    names = ("rate", "mse", "kld_weight", "latent_dim")
    metrics = dict(zip(names, (rate, mse, weight, dim), strict=True))
    return SimpleNamespace(metrics=metrics, arrays={})


def test_runs_that_coincide_are_rings_of_their_own(pictures, drawn):
    heap = [run(5.0, 0.1), run(5.01, 0.1001, 1e-4), run(5.0, 0.1, 1e-3, dim=8)]
    pictures.draw_rate_distortion("", [*heap, run(1.0, 0.5), run(3.0, 0.2)])
    axis = drawn[0].axes[0]
    assert [text.get_text() for text in axis.texts] == ["3 runs"]
    points = [
        c for c in axis.collections if np.ndim(c.get_array()) and len(c.get_array())
    ]
    sizes = {float(c.get_sizes()[0]): c.get_zorder() for c in points}
    assert len(points) == 5
    assert len(sizes) == 3
    # the larger, the lower
    assert sorted(sizes) == sorted(sizes, key=lambda size: -sizes[size])


def test_a_title_breaks_at_commas_alone(pictures):
    title = "9_model.kld_weight=1e-05,model.latent_dim=16,model.lr=0.002,model=vae_beta"
    lines = pictures._wrapped(title, 30).split("\n")
    assert len(lines) > 1
    assert [part for line in lines for part in line.rstrip(",").split(", ")] == (
        title.split(",")
    )


def test_an_odd_row_does_not_squeeze_the_codes(pictures, drawn):
    codes = np.random.RandomState(0).randn(200, 2)
    codes[7] = [1000.0, -3000.0]
    best = SimpleNamespace(arrays={"codes": codes}, metrics={"latent_dim": 2})
    pictures.draw_codes("", best, "run")
    axis = drawn[0].axes[0]
    others = np.delete(codes, 7, axis=0)
    for limits, values in zip(
        (axis.get_xlim(), axis.get_ylim()), others.T, strict=True
    ):
        assert limits[0] < values.min()
        assert limits[1] > values.max()
        assert np.ptp(limits) < 1.2 * np.ptp(values)
    assert [text.get_text() for text in axis.texts] == ["1 of 200 rows lie outside"]
