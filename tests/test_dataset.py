from itertools import product

import numpy as np
import pytest
import torch
from _make import dataset
from scipy import sparse

from skvae._data.dataset import (
    Minibatch,
    batch_bounds,
    chunk_rows,
    densified,
    is_memory_mapped,
)
from skvae._kernels.sparse import SparseRows

CPU = torch.device("cpu")


def make(X, **options):
    return dataset(X, np.arange(X.shape[1], dtype=float), 2.0, **options)


@pytest.fixture
def X():
    return np.random.RandomState(0).randn(50, 4)


def kinds(X, tmp_path):
    np.save(tmp_path / "X.npy", X)
    return {
        "dense": X,
        "float32": X.astype(np.float32),
        "fortran": np.asfortranarray(X),
        "memmap": np.load(tmp_path / "X.npy", mmap_mode="r"),
        "csr array": sparse.csr_array(X),
        "csr matrix": sparse.csr_matrix(X),
    }


@pytest.mark.parametrize("resident", [True, False])
def test_every_kind_gives_the_same_rows(X, tmp_path, resident):
    index = np.array([7, 3, 40])
    expected = (X - np.arange(4)) / 2.0
    for name, source in kinds(X, tmp_path).items():
        rows = make(source, resident=resident)
        np.testing.assert_allclose(rows[:], expected, rtol=1e-5, err_msg=name)
        some = make(source, index=index, resident=resident)
        assert len(some) == 3
        np.testing.assert_allclose(some[:], expected[index], rtol=1e-5, err_msg=name)
        picked = some[torch.tensor([2, 0])]
        np.testing.assert_allclose(picked, expected[[40, 7]], rtol=1e-5, err_msg=name)


def test_an_epoch_has_every_row_once(X):
    rows = make(X)
    batches = list(rows.shuffled(16, torch.Generator().manual_seed(0)))
    assert max(len(b) for b in batches) <= 16
    seen = torch.cat([batch.target for batch in batches])
    assert not torch.equal(seen, rows[:])
    np.testing.assert_array_equal(
        np.sort(seen.numpy(), axis=0), np.sort(rows[:].numpy(), axis=0)
    )


def shuffled(rows, seed):
    return rows.shuffled(7, torch.Generator().manual_seed(seed))


def test_order_is_that_of_the_generator(X):
    rows = make(X)
    first, again, other = (
        torch.cat([batch.target for batch in shuffled(rows, seed)])
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "min_rows", "sizes"),
    [
        (10, 4, 1, [3, 4, 3]),
        (129, 128, 1, [64, 65]),
        (5, 1, 1, [1] * 5),
        (5, 1, 2, [2, 3]),  # a batch of one is none for batch normalisation
        (3, 100, 2, [3]),
        (1, 100, 2, [1]),
    ],
)
def test_batches_are_nearly_equal(n_rows, batch_size, min_rows, sizes):
    got = np.diff(batch_bounds(n_rows, batch_size, min_rows))
    assert sorted(got) == sorted(sizes)


def test_a_large_mean_does_not_drown_a_small_spread():
    X = 1e8 + np.random.RandomState(0).randn(100, 1)
    rows = dataset(X, X.mean(axis=0))
    np.testing.assert_allclose(rows[:], X - X.mean(axis=0), atol=1e-5)


def test_chunks_are_bounded_and_in_order(X):
    many = np.repeat(X, 100, axis=0)
    for source, resident in product((many, sparse.csr_array(many)), (True, False)):
        rows = make(source, resident=resident)
        chunks = [chunk.target.clone() for chunk in rows.batches()]
        assert [len(chunk) for chunk in chunks] == [2048, 2048, 904]
        assert torch.equal(torch.cat(chunks), rows[:])
    assert chunk_rows(28_231) * 28_231 <= 8_388_608
    assert chunk_rows(10**9) == 1


def test_sparse_rows_are_made_dense_from_their_parts():
    X = sparse.random(5, 7, density=0.3, format="csr", random_state=0)
    sent = []
    x = densified(X, lambda part: sent.append(len(part)) or part)
    np.testing.assert_array_equal(x.numpy(), X.toarray())
    assert sent == [X.nnz, X.nnz]
    assert x.dtype == torch.float64
    empty = sparse.csr_matrix((3, 4), dtype=np.float32)
    assert not densified(empty, lambda part: part).any()
    twice = sparse.csr_matrix(([1.0, 2.0], [1, 1], [0, 2]), shape=(1, 3))
    np.testing.assert_array_equal(densified(twice, lambda p: p), [[0.0, 3.0, 0.0]])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("fit_in", [True, False])
def test_rows_on_a_gpu_are_those_on_the_cpu(X, kind, fit_in, monkeypatch):
    monkeypatch.setattr("skvae._data.dataset.fits", lambda n_bytes, device: fit_in)
    epochs = []
    for device in ("cpu", "cuda"):
        rows = make(kind(X), device=torch.device(device))
        order = torch.Generator().manual_seed(0)
        batches = rows.shuffled(7, order)
        epochs.append(torch.cat([b.target.cpu().clone() for b in batches]))
    torch.testing.assert_close(*epochs)


def test_memory_maps_stay_on_disk(X, tmp_path):
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    for source in (mapped, np.asarray(mapped), np.asarray(mapped)[3:]):
        assert is_memory_mapped(source)
        assert make(source)._resident is None
    assert not is_memory_mapped(X)
    assert make(X)._resident is not None


class AsTheyAre:
    """A likelihood that leaves rows alone, and whose encoder sees their logarithm."""

    inputs_are_rows = False

    def encode_target(self, x, out=None):
        return x

    def encode_inputs(self, target, mask=None, covariates=None):
        return torch.log1p(target)

    def encode_sparse(self, X, size):
        return X

    def input_affine(self):
        return None


def test_inputs_and_targets_are_the_likelihood_s(X, tmp_path):
    X = np.abs(X)
    for name, source in kinds(X, tmp_path).items():
        for resident in (True, False):
            rows = dataset(source, likelihood=AsTheyAre(), resident=resident)
            for batch in rows.batches():
                expected = torch.from_numpy(X).float()
                torch.testing.assert_close(batch.target, expected, msg=name)
                torch.testing.assert_close(batch.inputs, expected.log1p(), msg=name)
                assert batch.mask is None
    np.testing.assert_array_equal(X, np.abs(X))


class Uncentred(AsTheyAre):
    inputs_are_rows = True

    def encode_inputs(self, target, mask=None, covariates=None):
        return target

    def input_affine(self):
        return None, 1.0


def test_sparse_rows_that_need_no_centring_are_never_centred(monkeypatch):
    X = sparse.random(40, 300, density=0.05, format="csr", random_state=0)
    X = X.astype(np.float32)
    monkeypatch.setattr("skvae._kernels.sparse._has_fbgemm", lambda: True)
    rows = dataset(X, likelihood=Uncentred(), resident=False)
    for kind in (rows.batch(slice(None)), next(iter(rows.batches()))):
        assert isinstance(kind.inputs, SparseRows)
        columns = kind.inputs._columns
        assert columns.nnz == X.nnz  # no row of means
        assert columns.shape == X.shape
        np.testing.assert_array_equal(kind.target, X.toarray())


def test_some_of_a_minibatch():
    x, mask = torch.arange(12.0).view(4, 3), torch.ones(4, 3, dtype=torch.bool)
    batch = Minibatch(x + 1, x, mask)
    part = batch[torch.tensor([2, 0])]
    assert torch.equal(part.inputs, x[[2, 0]] + 1)
    assert torch.equal(part.target, x[[2, 0]])
    assert part.mask.shape == (2, 3)
    assert len(part) == 2
    assert batch.dense() is batch
