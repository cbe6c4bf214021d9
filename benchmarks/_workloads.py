"""The tables and the model that all contenders of ``speed.py`` are given."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

KLD_WEIGHT = 1e-5
LR = 1e-4
DROPOUT = 0.1


class Workload(NamedTuple):
    """A table and a model; ``density`` is the share of nonzeros of counts."""

    kind: str  # "digits", "random", or "counts" in a CSR matrix
    rows: int
    columns: int
    hidden_dims: tuple[int, ...]
    latent_dim: int
    batch_size: int
    epochs: int
    density: float | None = None

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Workload":
        return cls(**fields | {"hidden_dims": tuple(fields["hidden_dims"])})

    def __str__(self) -> str:
        filled = "" if self.density is None else f", {self.density:.0%} nonzeros"
        hidden = ", ".join(map(str, self.hidden_dims))
        return (
            f"{self.rows} x {self.columns} ({self.kind}{filled}), hidden layers "
            f"{hidden}, {self.latent_dim} units, batches of {self.batch_size}, "
            f"{self.epochs} epoch{'s' if self.epochs != 1 else ''}"
        )


WORKLOADS = {
    "W1": Workload("digits", 1797, 64, (256, 128), 16, 128, 20),
    "W2": Workload("random", 10_000, 784, (512, 256), 32, 256, 5),
    "W3": Workload("counts", 4000, 28_231, (1024, 512), 64, 128, 1, density=0.08),
}


def make_table(w: Workload) -> Any:
    """Float32 rows: digits, random numbers, or a CSR matrix of counts."""
    if w.kind == "digits":
        # Not every environment has scikit-learn, nor does every worker make a table.
        from sklearn.datasets import load_digits

        return (load_digits().data / 16.0).astype(np.float32)
    generator = np.random.RandomState(0)
    if w.kind == "random":
        return generator.rand(w.rows, w.columns).astype(np.float32)
    return sparse.random(
        w.rows,
        w.columns,
        density=w.density,
        format="csr",
        dtype=np.float32,
        random_state=generator,
        data_rvs=lambda n: generator.poisson(1.0, n) + 1,
    )


def save_table(X: Any, stem: Path) -> Path:
    """Write a table, so that all contenders read the same bits."""
    if sparse.issparse(X):
        path = stem.with_suffix(".npz")
        sparse.save_npz(path, X, compressed=False)
    else:
        path = stem.with_suffix(".npy")
        np.save(path, X)
    return path


def load_table(path: Path) -> Any:
    """What :func:`save_table` wrote."""
    return sparse.load_npz(path) if path.suffix == ".npz" else np.load(path)


def small_one(w: Workload) -> Workload:
    """A workload of the same kind that takes no time: for lazy imports."""
    return w._replace(
        kind="random" if w.density is None else "counts",
        rows=64,
        columns=32,
        hidden_dims=(16, 8),
        latent_dim=4,
        batch_size=16,
        epochs=1,
        density=None if w.density is None else 0.5,
    )


def dense(X: Any) -> np.ndarray:
    """X for a library that takes no sparse rows."""
    return X.toarray() if sparse.issparse(X) else X
