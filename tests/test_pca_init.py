import numpy as np
import pytest
from _make import elbo
from scipy import sparse

from skvae._data.rows import Rows
from skvae._nn.autoencoder import VAE
from skvae._training import pca_init as module_under_test
from skvae._training.pca_init import PCAInit
from skvae._training.settings import Settings
from skvae._training.state import FittedState
from skvae._training.variational import Variational
from skvae._utils.seeds import Seeds


def make(X, latent_dim=3):
    n_features = X.shape[1]
    state = FittedState(VAE(n_features, latent_dim), elbo(n_features))
    state.likelihood.fit_inputs(np.zeros(n_features), np.full(n_features, 4.0))
    settings = Settings(strategy=Variational(None), network={"latent_dim": latent_dim})
    return PCAInit(Rows(X), state, settings, Seeds(0))


def assert_same(one, other):
    for a, b in zip(one.components, other.components, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    assert one.init_noise == pytest.approx(other.init_noise, rel=1e-9)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("shape", [(400, 8), (60, 20), (300, 400)])
def test_the_model_of_all_rows_is_that_of_the_whole_table(kind, shape):
    X = np.random.RandomState(0).rand(*shape)
    order = np.random.RandomState(1).permutation(shape[0])
    first, others = order[:-30], order[-30:]
    init = make(kind(X))
    init.of(first)
    assert_same(init.of_all(first, others), make(kind(X)).of(order))


def test_a_tall_table_is_read_once(monkeypatch):
    """The rows that were held out are added to the covariance of the others."""
    X = np.random.RandomState(0).rand(500, 8)
    seen, scatter_of = [], module_under_test.scatter_of

    def watched(rows):
        seen.append(len(rows))
        return scatter_of(rows)

    monkeypatch.setattr(module_under_test, "scatter_of", watched)
    init = make(X)
    init.of(np.arange(50, 500))
    init.of_all(np.arange(50, 500), np.arange(50))
    assert seen == [450, 50]


def test_models_are_in_model_units():
    X = np.random.RandomState(0).randn(500, 5) * [6.0, 4.0, 2.0, 2.0, 2.0]
    model = make(X, 2).of(np.arange(500))
    eigenvalues = np.linalg.eigvalsh(np.cov(X.T, bias=True))[::-1]
    np.testing.assert_allclose(model.components.eigenvalues, eigenvalues[:2] / 4.0)
    assert model.init_noise == pytest.approx(eigenvalues[2:].mean() / 4.0)
