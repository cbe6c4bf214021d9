"""What holds a table, or will, is no X: one line says what to pass."""

from pathlib import Path

import anndata
import h5py
import numpy as np
import polars
import pyarrow
import pytest
import torch
import zarr
from scipy import sparse
from torch.utils.data import DataLoader, TensorDataset

from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer
from skvae.inspection import diagnose, suggest_kld_weights
from skvae.metrics import elbo_scorer, reconstruction_scorer

X = np.random.RandomState(0).rand(30, 6).round()
ESTIMATORS = (AETransformer, RAETransformer, SAETransformer, VAETransformer)
METHODS = (
    "fit",
    "fit_transform",
    "partial_fit",
    "transform",
    "inverse_transform",
    "reconstruct",
    "reconstruction_error",
    "score",
    "score_samples",
)


def lookalike(module, name):
    """Of a package that is not here: only the names of its class are looked at."""
    return type(name, (), {"__module__": module, "__array__": lambda self: X})()


def on_disk(tmp_path, matrix):
    path = tmp_path / f"{type(matrix).__name__}.h5ad"
    anndata.AnnData(matrix).write_h5ad(path)
    return anndata.read_h5ad(path, backed="r")


@pytest.fixture(scope="module")
def containers(tmp_path_factory):
    """Containers, and what their message has to name."""
    folder = tmp_path_factory.mktemp("containers")
    backed_dense = on_disk(folder, X)
    tensors = TensorDataset(torch.from_numpy(X))
    with h5py.File(folder / "X.h5", "w") as file:
        file["X"] = X
        yield [
            (
                anndata.AnnData(X),
                r"anndata AnnData; .*skvae\.anndata\.fit_transform.*adata\.X",
            ),
            (
                anndata.AnnData(X)[:9],
                r"anndata AnnData; .*skvae\.anndata\.fit_transform.*adata\.X",
            ),
            (
                backed_dense,
                r"anndata AnnData; .*skvae\.anndata\.fit_transform.*adata\.X",
            ),
            (file, r"h5py File; .*X\[name\]"),
            (polars.DataFrame(X).lazy(), r"polars LazyFrame, .*X\.collect\(\)"),
            (pyarrow.table({"a": X[:, 0]}), r"pyarrow Table; .*X\.to_pandas\(\)"),
            (tensors, "torch TensorDataset; .*one array"),
            (DataLoader(tensors), "torch DataLoader; .*one array"),
            ("rows.csv", r"'rows\.csv', the name of a file; read it"),
            (Path("rows.csv"), r"'rows\.csv', the name of a file; read it"),
            (
                lookalike("dask.dataframe.dask_expr._collection", "DataFrame"),
                r"dask DataFrame, .*X\.compute\(\)",
            ),
            (lookalike("xarray.core.dataset", "Dataset"), "xarray Dataset; .*values"),
            (lookalike("pyspark.sql.dataframe", "DataFrame"), r"X\.toPandas\(\)"),
            (lookalike("mudata._core.mudata", "MuData"), r"X\[name\]\.X"),
            (lookalike("cupy", "ndarray"), r"on a GPU; pass X\.get\(\)"),
        ]


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_every_method_says_what_to_pass(Estimator, containers, quick):
    model = Estimator(**{**quick, "latent_dim": 2}).fit(X)
    before = model.transform(X)
    for container, message in containers:
        for name in METHODS:
            if not hasattr(model, name):
                continue
            with pytest.raises(TypeError, match=message) as caught:
                getattr(model, name)(container)
            assert "\n" not in str(caught.value), name
        with pytest.raises(TypeError, match=message):
            Estimator(**quick).fit(container)
    np.testing.assert_array_equal(model.transform(X), before)


def test_functions_say_so_too(containers, quick):
    vae = VAETransformer(**{**quick, "latent_dim": 2}).fit(X)
    for container, message in containers:
        for function in (
            lambda X: suggest_kld_weights(X, 2),
            lambda X: diagnose(vae, X),
            lambda X: elbo_scorer(vae, X),
            lambda X: reconstruction_scorer(vae, X),
        ):
            with pytest.raises(TypeError, match=message):
                function(container)


def test_what_they_say_to_pass_is_taken(quick):
    expected = VAETransformer(**quick).fit(X).transform(X)
    data = anndata.AnnData(X)
    data.layers["same"] = X
    tables = [data.X, data.layers["same"], data[:30].X, polars.DataFrame(X)]
    for table in tables:
        codes = VAETransformer(**quick).fit(table).transform(table)
        np.testing.assert_allclose(np.abs(codes), np.abs(expected), atol=1e-3)
    view = anndata.AnnData(sparse.csr_matrix(X))[:30].X
    assert VAETransformer(**quick).fit(view).transform(view).shape == (30, 3)


def test_matrices_on_disk_are_no_codes(quick):
    """Rows may be on disk (see test_streams), codes are small."""
    model = VAETransformer(**quick).fit(X)
    stored = zarr.array(model.transform(X))
    with pytest.raises(TypeError, match=r"zarr Array, which is on disk; .*X\[:\]"):
        model.inverse_transform(stored)
    np.testing.assert_array_equal(
        model.inverse_transform(stored[:]), model.inverse_transform(model.transform(X))
    )
