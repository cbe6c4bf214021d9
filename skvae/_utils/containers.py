"""Tables that are no array yet: what to pass instead of them.

They are known by the names of their classes, so that nothing is imported. numpy would
make one object of them, or load in silence what is on disk for its size.
"""

import os

_IN_CHUNKS = "or chunks of it to partial_fit"
# By package and class, of which theirs may be a subclass.
_ADVICE = {
    ("anndata", "AnnData"): (
        "use skvae.anndata.fit_transform and skvae.anndata.transform, or pass its "
        "matrix, adata.X, or a layer, adata.layers[name]"
    ),
    ("anndata", "Raw"): "pass its matrix, X.X",
    ("anndata", "BaseCompressedSparseDataset"): (
        f"which is on disk; pass X[:] (all in memory), {_IN_CHUNKS}"
    ),
    ("mudata", "MuData"): (
        "use skvae.anndata.fit_transform with one modality, X[name], or pass its "
        "matrix, X[name].X"
    ),
    ("h5py", "Dataset"): f"which is on disk; pass X[:] (all in memory), {_IN_CHUNKS}",
    ("h5py", "Group"): "pass one of its datasets, X[name][:]",
    ("zarr", "Array"): f"which is on disk; pass X[:] (all in memory), {_IN_CHUNKS}",
    ("zarr", "Group"): "pass one of its arrays, X[name][:]",
    ("polars", "LazyFrame"): f"which is only a plan; pass X.collect(), {_IN_CHUNKS}",
    ("dask", "Array"): f"which is only a plan; pass X.compute(), {_IN_CHUNKS}",
    ("dask", "DataFrame"): f"which is only a plan; pass X.compute(), {_IN_CHUNKS}",
    ("dask_expr", "DataFrame"): f"which is only a plan; pass X.compute(), {_IN_CHUNKS}",
    ("xarray", "Dataset"): "pass one of its variables, X[name].values",
    ("pyarrow", "Table"): "pass X.to_pandas()",
    ("pyspark", "DataFrame"): f"pass X.toPandas(), {_IN_CHUNKS}",
    ("cudf", "DataFrame"): "which is on a GPU; pass X.to_pandas()",
    ("cupy", "ndarray"): "which is on a GPU; pass X.get()",
    ("torch", "Dataset"): f"pass its rows as one array or tensor, {_IN_CHUNKS}",
    ("torch", "DataLoader"): "pass its rows as one array or tensor, or its batches to "
    "partial_fit",
}


def kinds_of(X) -> list[tuple[str, str]]:
    """Package and name of the class of X, and of those that it is a subclass of."""
    return [(k.__module__.partition(".")[0], k.__name__) for k in type(X).__mro__]


def refuse_containers(X) -> None:
    """Say what to pass instead of a container that holds a table, or will.

    Raises
    ------
    TypeError
        If X is one.
    """
    if isinstance(X, str | os.PathLike):
        raise TypeError(
            f"X is {os.fspath(X)!r}, the name of a file; read it first, for instance "
            "with pandas.read_csv, numpy.load or anndata.read_h5ad."
        )
    for package, kind in kinds_of(X):
        advice = _ADVICE.get((package, kind))
        if advice is not None:
            name = f"{package} {type(X).__name__.lstrip('_')}"
            join = ", " if advice.startswith("which") else "; "
            raise TypeError(f"X is of type {name}{join}{advice}.")
