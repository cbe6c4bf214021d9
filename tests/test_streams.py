"""Rows that are not in memory: the same to the bit, and nothing left behind."""

import os
import tempfile

import anndata
import dask.array as da
import h5py
import numpy as np
import pytest
import zarr
from scipy import sparse
from sklearn.base import clone

from skvae import AETransformer, VAETransformer
from skvae._data import dataset, spool
from skvae.metrics import elbo_scorer, rate

pytestmark = [
    pytest.mark.filterwarnings("ignore::skvae.exceptions.PosteriorCollapseWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:anndata"),
    pytest.mark.filterwarnings("ignore::UserWarning:zarr"),
]
QUICK = {
    "latent_dim": 3,
    "hidden_dims": (12,),
    "batch_size": 40,
    "max_epochs": 3,
    "random_state": 0,
}
DENSE = ("memmap", "hdf5", "hdf5 in chunks", "zarr", "dask", "anndata")
SPARSE = ("csr", "csc")


@pytest.fixture(scope="module")
def X():
    rng = np.random.RandomState(0)
    return (rng.randn(230, 4) @ rng.randn(4, 9)).astype(np.float32)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """So that tables of a test come in many parts."""
    monkeypatch.setattr(dataset, "CHUNK_ENTRIES", 500)
    monkeypatch.setattr(spool, "PART_ENTRIES", 300)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where temporary files go; it has to be empty again."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    yield tmp_path
    assert os.listdir(temporary) == []


@pytest.fixture
def on_disk(folder):
    """Makes a table that is not in memory."""
    opened = []

    def make(kind, X):
        path = folder / f"table of {kind}"
        if kind == "memmap":
            np.save(path, X)
            return np.load(f"{path}.npy", mmap_mode="r")
        if kind.startswith("hdf5"):
            file = h5py.File(path, "w")
            opened.append(file)
            chunks = (37, 4) if "chunks" in kind else None
            return file.create_dataset("X", data=X, chunks=chunks)
        if kind == "zarr":
            array = zarr.create_array(
                str(path), shape=X.shape, dtype=X.dtype, chunks=(37, 4)
            )
            array[:] = X
            return array
        if kind == "dask":
            return da.from_array(
                X, chunks=((100, 0, 60, len(X) - 160), (4, X.shape[1] - 4))
            )
        matrix = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix}.get(kind)
        cells = anndata.AnnData(X if matrix is None else matrix(X))
        cells.write_h5ad(f"{path}.h5ad")
        backed = anndata.read_h5ad(f"{path}.h5ad", backed="r")
        opened.append(backed.file)
        return backed.X

    yield make
    for file in opened:
        file.close()


def table(kind, X):
    return np.maximum(X, 0.0) if kind in SPARSE else X


@pytest.mark.parametrize("kind", [*DENSE, *SPARSE])
def test_fits_are_those_of_the_rows_in_memory(kind, X, on_disk):
    rows = table(kind, X)
    there, here = on_disk(kind, rows), rows
    if kind in SPARSE:
        here = sparse.csr_matrix(rows)
    model = VAETransformer(**QUICK).fit(here)
    streamed = VAETransformer(**QUICK).fit(there)
    for name, value in model._fitted.state.arrays().items():
        np.testing.assert_array_equal(streamed._fitted.state.arrays()[name], value)
    codes = clone(model).fit_transform(there)
    np.testing.assert_array_equal(codes, clone(model).fit_transform(here))
    for apply in APPLIED:
        found, expected = apply(streamed, there), apply(model, here)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


APPLIED = (
    lambda m, X: m.transform(X),
    lambda m, X: np.hstack(m.transform(X, return_std=True)),
    lambda m, X: m.score_samples(X),
    lambda m, X: m.score(X),
    lambda m, X: m.reconstruct(X),
    lambda m, X: m.reconstruction_error(X),
    lambda m, X: m.background_responsibility(X),
    lambda m, X: m.log_likelihood(X, 20, random_state=0),
    elbo_scorer,
    rate,
)


@pytest.mark.parametrize("kind", ["hdf5", "zarr", "dask", "csr"])
def test_chunks_of_partial_fit(kind, X, on_disk):
    rows = table(kind, X)
    there = on_disk(kind, rows)
    model, streamed = AETransformer(**QUICK), AETransformer(**QUICK)
    for start in (0, 100):
        part = rows[start : start + 100]
        model.partial_fit(sparse.csr_matrix(part) if kind == "csr" else part)
        streamed.partial_fit(there[start : start + 100])
    np.testing.assert_array_equal(streamed.transform(rows), model.transform(rows))


@pytest.mark.parametrize("kind", ["hdf5", "dask"])
def test_conditions_go_with_their_rows(kind, on_disk):
    rng = np.random.RandomState(0)
    counts = rng.poisson(3.0, (230, 6)).astype(np.float32)
    there = on_disk(kind, counts)
    batch = np.array(["a", "b"])[rng.randint(2, size=230)]
    given = {"conditions": batch, "size_factor": counts.sum(axis=1) + 1.0}
    params = {**QUICK, "likelihood": "poisson"}
    model = VAETransformer(**params).fit(counts, **given)
    streamed = VAETransformer(**params).fit(there, **given)
    for method in ("score_samples", "reconstruct"):
        np.testing.assert_allclose(
            getattr(streamed, method)(there, **given),
            getattr(model, method)(counts, **given),
            rtol=1e-5,
        )
    found, expected = (
        m.reconstruct(table, **given, to="a")
        for m, table in ((streamed, there), (model, counts))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    with pytest.raises(ValueError, match="conditions has 7 rows"):
        streamed.score_samples(there, conditions=batch[:7])


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.uint8, bool, np.float16])
def test_other_numbers(dtype, X, on_disk):
    rows = (10.0 * np.abs(X)).astype(dtype)
    there = on_disk("hdf5", rows)
    model = VAETransformer(**QUICK).fit(rows)
    codes = VAETransformer(**QUICK).fit_transform(there)
    np.testing.assert_array_equal(codes, model.transform(rows))
    assert codes.dtype == model.transform(rows).dtype


@pytest.mark.parametrize("kind", ["hdf5", "zarr", "dask", "csr"])
def test_what_is_not_finite_is_found_before_training(kind, X, on_disk):
    rows = table(kind, X).copy()
    rows[-1, 3] = np.nan
    there = on_disk(kind, rows)
    with pytest.raises(ValueError, match="contains NaN"):
        VAETransformer(**QUICK).fit(there)
    model = VAETransformer(**QUICK).fit(np.nan_to_num(rows))
    with pytest.raises(ValueError, match="contains NaN"):
        model.transform(there)


def test_what_is_no_table(folder, X):
    with h5py.File(folder / "x", "w") as file:
        for name, value, match in (
            ("flat", X[0], r"Expected 2D array, got a Dataset of shape \(9,\)"),
            ("cube", X[None], "Expected 2D array"),
            ("text", np.array([[b"a"]]), "not of numbers"),
        ):
            there = file.create_dataset(name, data=value)
            with pytest.raises(ValueError, match=match):
                VAETransformer(**QUICK).fit(there)
    lazy = da.from_array(X, chunks=50)
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        VAETransformer(**QUICK).fit(lazy[lazy[:, 0] > 0])
    model = VAETransformer(**QUICK).fit(X)
    with pytest.raises(ValueError, match="expecting 9 features"):
        model.transform(lazy[:, :4])


def test_a_disk_that_is_too_small(X, on_disk, monkeypatch):
    there = on_disk("zarr", X)
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(spool.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(
        OSError, match="name another folder in the environment variable"
    ):
        VAETransformer(**QUICK).fit(there)


def test_chunks_are_read_once(X):
    """A part of a Dask array is a whole number of its chunks."""
    seen = []

    def note(block):
        seen.append(block.shape)
        return block

    lazy = da.from_array(X, chunks=(100, -1)).map_blocks(note, meta=X[:0])
    VAETransformer(**QUICK).fit(lazy)
    assert sorted(seen) == [(30, 9), (100, 9), (100, 9)]
