import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer
from skvae._data.counts import looks_like_counts


@pytest.fixture
def cells(rng):
    """Counts of 120 cells and 60 genes, of which some are rare."""
    mean = np.exp(rng.normal(0.0, 1.5, 60))
    return rng.poisson(rng.gamma(1.0, mean, (120, 60)))


KINDS = {
    "int": lambda X: X,
    "uint8": lambda X: np.minimum(X, 255).astype(np.uint8),
    "float": lambda X: X.astype(np.float64),
    "csr": lambda X: sparse.csr_matrix(X),
    "csr of floats": lambda X: sparse.csr_array(X.astype(np.float32)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_counts_draw_one_warning(cells, quick, kind, method):
    model = VAETransformer(**quick)
    with pytest.warns(UserWarning, match=r"looks like counts.*log1p") as got:
        getattr(model, method)(KINDS[kind](cells))
    assert len(got) == 1


@pytest.mark.parametrize(
    "Estimator", [AETransformer, RAETransformer, SAETransformer, VAETransformer]
)
def test_every_estimator_warns_and_logarithms_are_fine(cells, quick, Estimator):
    with pytest.warns(UserWarning, match="looks like counts"):
        model = Estimator(**quick).fit(cells)
    model.fit(np.log1p(1e2 * cells / cells.sum(axis=1, keepdims=True)))


def test_a_chunk_after_the_first_is_not_looked_at(cells, quick):
    model = VAETransformer(**quick)
    with pytest.warns(UserWarning, match="looks like counts"):
        model.partial_fit(cells)
    model.partial_fit(cells[:50])


def test_words_and_deeply_sequenced_genes(rng):
    words = sparse.random_array((300, 400), density=0.03, format="csr", rng=rng)
    words.data = np.ceil(rng.pareto(1.2, words.nnz) + 1e-9)
    assert looks_like_counts(words)
    assert looks_like_counts(rng.negative_binomial(2, 0.002, (60, 300)))


def not_counts(rng):
    digits = load_digits().data
    borders = np.where(rng.rand(200, 100) < 0.8, 0, rng.randint(0, 256, (200, 100)))
    return {
        "pixels to 16": digits,
        "pixels to 255": borders,
        "standardised": StandardScaler().fit_transform(digits),
        "logarithms": np.log1p(borders),
        "bits": (rng.rand(200, 50) < 0.05).astype(float),
        "answers from 1 to 5": rng.randint(1, 6, (200, 40)),
        "answers from 0 to 10": rng.randint(0, 11, (200, 40)),
        "signed": rng.negative_binomial(2, 0.1, (200, 40)) - 5,
        "a few columns": rng.negative_binomial(1, 0.05, (200, 6)),
        "nothing": np.zeros((20, 30)),
        "nothing, sparse": sparse.csr_array((20, 30)),
        "uniform": rng.rand(100, 30),
        "a single row": digits[:1],
    }


@pytest.mark.parametrize("name", not_counts(np.random.RandomState(0)))
def test_what_is_no_count(name, rng):
    assert not looks_like_counts(not_counts(rng)[name])


def test_a_pipeline_that_takes_logarithms_is_silent(cells, quick):
    make_pipeline(FunctionTransformer(np.log1p), VAETransformer(**quick)).fit(cells)
