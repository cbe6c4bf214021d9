"""Data for the tests, made or shipped with scikit-learn."""

import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer


@pytest.fixture(scope="session", autouse=True)
def _lazy_imports():
    """Pay once, here, for what torch imports at the first step of an optimiser."""
    VAETransformer(2, max_epochs=1).fit(np.random.RandomState(0).randn(8, 3))


@pytest.fixture(autouse=True)
def _no_open_figures():
    """Close what displays draw by pyplot, which warns of more than twenty figures."""
    yield
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")


@pytest.fixture(scope="module")
def benchmarks():
    """The directory of the benchmarks; while it is asked for, they can be imported."""
    directory = Path(__file__).parents[1] / "benchmarks"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(directory)
        yield directory


@pytest.fixture
def rng():
    """A generator of the test's own."""
    return np.random.RandomState(0)


@pytest.fixture(scope="session")
def digits():
    """Digits with pixels from 0 to 1, (1797, 64)."""
    return load_digits().data / 16.0


@pytest.fixture(scope="session")
def breast_cancer():
    return StandardScaler().fit_transform(load_breast_cancer().data)


@pytest.fixture(scope="session")
def wine():
    return StandardScaler().fit_transform(load_wine().data)


@pytest.fixture
def small(digits):
    """Ninety digits: enough for a fit that means nothing."""
    return digits[:90]


@pytest.fixture
def quick():
    """Parameters of a fit that takes a tenth of a second."""
    return {"max_epochs": 3, "hidden_dims": (16,), "latent_dim": 3, "random_state": 0}


@pytest.fixture(scope="session")
def fitted(digits):
    """A real, if short, fit on digits. Tests must not change it."""
    vae = VAETransformer(6, max_epochs=15, likelihood="gaussian", random_state=0)
    return vae.fit(digits[:1200])
