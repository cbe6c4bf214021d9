import numpy as np
import pytest
import torch
from _make import elbo, minibatch
from scipy import sparse

from skvae import SAETransformer, VAETransformer
from skvae._engine.gradients import Gradients
from skvae._kernels import sparse as module_under_test
from skvae._kernels.sparse import SparseRows, as_tensor, multiplies_nonzeros
from skvae._kernels.threads import threads_worth
from skvae._nn.autoencoder import VAE

SCALE = 1.7


@pytest.fixture
def blocks(monkeypatch):
    """Nonzeros are multiplied in any table, and many blocks of columns at that."""
    monkeypatch.setattr(module_under_test, "SMALL", 0)
    monkeypatch.setattr(module_under_test, "BLOCK_ENTRIES", 64)


def never():
    raise AssertionError("the rows were densified")


def counts(n_rows=23, n_columns=31, density=0.1, seed=0):
    """A table with an empty row and an empty column."""
    X = sparse.random(
        n_rows, n_columns, density=density, random_state=seed, dtype=np.float32
    ).tolil()
    X[3], X[:, 5] = 0.0, 0.0
    return X.tocsr()


def twice_stored():
    """Entries that add up, in an order of their own."""
    parts = ([1.0, 2.0, 4.0, 8.0], [6, 2, 6, 0], [0, 3, 4, 4])
    return sparse.csr_matrix(parts, shape=(3, 7), dtype=np.float32)


def long_indices():
    X = sparse.csr_array(counts())
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


TABLES = {
    "matrix": counts(),
    "array": sparse.csr_array(counts()),
    "float64": counts().astype(np.float64),
    "long indices": long_indices(),
    "one row": counts()[:1],
    "no nonzeros": sparse.csr_matrix((4, 9), dtype=np.float32),
    "full": sparse.csr_matrix(np.random.RandomState(0).rand(5, 20)),
    "stored twice": twice_stored(),
}


def rows_of(X, densify=never, centred=True):
    """Sparse rows, and the same in float64 with all their entries."""
    mean = np.random.RandomState(1).rand(X.shape[1])
    mean[0] = 0.0
    if not centred:
        exact = torch.from_numpy(X.toarray().astype(np.float64) / SCALE)
        return SparseRows(X, None, SCALE, densify), exact
    exact = torch.from_numpy((X.toarray().astype(np.float64) - mean) / SCALE)
    return SparseRows(X, mean, SCALE, densify), exact


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("n_out", [1, 20, 100])
@pytest.mark.parametrize("centred", [True, False])
def test_products_are_those_of_the_dense_rows(blocks, name, n_out, centred):
    rows, exact = rows_of(TABLES[name], centred=centred)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(rows.shape[1], n_out, generator=generator)
    expected = exact @ weight.double()
    torch.testing.assert_close((rows @ weight).double(), expected, rtol=0, atol=2e-6)

    g = torch.randn(len(rows), n_out, generator=generator)
    out = torch.full((rows.shape[1], n_out), torch.nan)
    rows.transposed_product(g, out)
    expected = exact.T @ g.double()
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=1e-5)


def test_rows_do_not_depend_on_their_neighbours_nor_on_threads(blocks):
    X = counts(200, 300)
    weight = torch.randn(300, 40)
    (rows, _), (part, _) = rows_of(X), rows_of(X[50:53])
    assert torch.equal((rows @ weight)[50:53], part @ weight)
    with threads_worth(0):
        alone = rows @ weight
    assert torch.equal(rows @ weight, alone)


def test_a_small_product_is_one_of_all_entries():
    X = counts()
    dense = torch.randn(X.shape)
    rows, _ = rows_of(X, lambda: dense)
    weight, out = torch.randn(X.shape[1], 4), torch.empty(X.shape[1], 4)
    assert torch.equal(rows @ weight, dense @ weight)
    rows.transposed_product(torch.ones(len(rows), 4), out)
    torch.testing.assert_close(out[:, 0], dense.sum(dim=0))
    assert as_tensor(rows) is dense
    assert as_tensor(dense) is dense


def test_nonzeros_are_multiplied_where_that_is_faster_and_exact(monkeypatch):
    X = counts(50, 400)
    mean = np.asarray(X.mean(axis=0)).ravel()
    assert multiplies_nonzeros(X, mean, scale=1.0)
    assert not multiplies_nonzeros(counts(50, 400, density=0.3), mean, scale=1.0)
    # A full column of large numbers, such as the total count of a cell.
    mean[7] = 1e4
    assert not multiplies_nonzeros(X, mean, scale=1.0)
    assert multiplies_nonzeros(X, mean, scale=1e4)
    mean[7] = 0.0
    monkeypatch.setattr(module_under_test, "_has_fbgemm", lambda: False)
    assert not multiplies_nonzeros(X, mean, scale=1.0)
    monkeypatch.undo()
    assert multiplies_nonzeros(X, None, scale=1e-9)  # nothing is subtracted


@pytest.mark.parametrize("hidden_dims", [(), (12,)])
@pytest.mark.parametrize("linear_path", [True, False])
def test_gradients_are_those_of_the_dense_rows(blocks, hidden_dims, linear_path):
    X = counts()
    dense = rows_of(X)[1].float()
    rows, _ = rows_of(X, lambda: dense)  # for the loss
    terms, gradients = [], []
    for x in (rows, dense):
        module = VAE(
            X.shape[1], 3, hidden_dims=hidden_dims, dropout_rate=0.2, activation="silu"
        )
        derived = Gradients(module, elbo(X.shape[1], 0.1))
        derived.attach()
        derived.flat.zero_()
        terms.append(derived.compute(minibatch(x), torch.Generator().manual_seed(1)))
        gradients.append(derived.flat.clone())
    torch.testing.assert_close(*terms)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("kind", [VAETransformer, SAETransformer])
@pytest.mark.parametrize("use_batch_norm", [True, False])
def test_a_fit_is_that_of_the_dense_table(blocks, monkeypatch, kind, use_batch_norm):
    X = counts(120, 90, density=0.08)
    estimator = kind(
        2,
        hidden_dims=(8,),
        use_batch_norm=use_batch_norm,
        max_epochs=3,
        batch_size=32,
        random_state=0,
    )
    used = []
    product = SparseRows.__matmul__
    monkeypatch.setattr(
        SparseRows, "__matmul__", lambda rows, w: used.append(0) or product(rows, w)
    )
    on_sparse = estimator.fit(X)
    assert used
    del used[:]
    codes, reconstruction = on_sparse.transform(X), on_sparse.reconstruct(X)
    assert used
    del used[:]
    on_dense = kind(**estimator.get_params()).fit(X.toarray())
    np.testing.assert_allclose(
        on_sparse.history_[-1]["train_loss"],
        on_dense.history_[-1]["train_loss"],
        rtol=1e-4,
    )
    expected = on_sparse.transform(X.toarray())
    np.testing.assert_allclose(codes, expected, rtol=1e-3, atol=1e-5)
    expected = on_sparse.reconstruct(X.toarray())
    np.testing.assert_allclose(reconstruction, expected, rtol=1e-3, atol=1e-5)
    assert not used
