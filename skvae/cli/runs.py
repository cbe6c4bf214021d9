"""A run: a directory with a fitted model, what it was fitted with, and how good it is.

``metrics.json`` is written last, so a directory without it holds a run that failed, in
which case ``error.txt`` says why, or one that was cut short.
"""

import csv
import json
import os
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from scipy import sparse
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.utils import _safe_indexing, gen_batches

from .._data.dataset import chunk_rows
from ..files import save
from ..metrics import _final, log_likelihood_scorer
from ..vae import VAETransformer

CONFIG = "config.json"
MODEL = "model.safetensors"
# Of an estimator that is none of ours.
OTHER_MODEL = "model.joblib"
HISTORY = "history.csv"
ARRAYS = "arrays.npz"
METRICS = "metrics.json"
ERROR = "error.txt"
FILES = (CONFIG, MODEL, HISTORY, ARRAYS, METRICS, ERROR)

N_NEIGHBOURS = 15
# Points of the picture of the codes: more would only lie on top of each other.
MAX_POINTS = 2000

_MOMENTS = ("mean", "variance", "reconstructed_mean", "reconstructed_variance")


class RunError(ValueError):
    """A run directory that cannot be used, in one line that says why."""


@dataclass(frozen=True)
class FinishedRun:
    """What a finished run left; ``model.safetensors`` stays shut.

    Attributes
    ----------
    directory : Path
    config : dict
        What the model was made from.
    metrics : dict
        As :func:`evaluate` gives them; None where a measure has no meaning.
    history : list of dict
        One row of numbers an epoch.
    arrays : dict of ndarray
        As :func:`evaluate` gives them.
    """

    directory: Path
    config: dict[str, Any]
    metrics: dict[str, Any]
    history: list[dict[str, float]]
    arrays: dict[str, np.ndarray]


# -- writing ---------------------------------------------------------------------------


def is_finished(directory) -> bool:
    """Whether a directory holds a run that was written to its end."""
    return (Path(directory) / METRICS).exists()


def start_run(directory, config: dict) -> None:
    """Make a run directory and write the configuration into it.

    What a failed or interrupted run left there makes way.

    Raises
    ------
    RunError
        If it holds a finished run, which is left as it is.
    """
    directory = Path(directory)
    if is_finished(directory):
        raise RunError(f"{directory}: already holds a finished run")
    directory.mkdir(parents=True, exist_ok=True)
    for name in (*FILES, OTHER_MODEL):
        (directory / name).unlink(missing_ok=True)
    _write_json(directory / CONFIG, config)


@contextmanager
def recorded_run(directory, config: dict) -> Iterator[None]:
    """Start a run, and write down the error that ends it early, if one does.

    Raises
    ------
    RunError
        If the directory holds a finished run.
    Exception
        Whatever the block raises.
    """
    start_run(directory, config)
    try:
        yield
    except Exception as error:
        write_failure(directory, config, error)
        raise


def fit_and_write(
    directory, model, X_train, X_test, y_train=None, y_test=None, *, config: dict
) -> dict[str, Any]:
    """Fit a model on training rows and write its run, as :func:`write_run` does.

    Returns
    -------
    metrics : dict
    """
    start = time.perf_counter()
    model.fit(X_train)
    return write_run(
        directory,
        model,
        X_test,
        y_test,
        X_train=X_train,
        y_train=y_train,
        config=config,
        seconds=time.perf_counter() - start,
    )


def write_run(
    directory,
    model,
    X_test,
    y_test=None,
    *,
    X_train=None,
    y_train=None,
    config: dict,
    seconds: float,
) -> dict[str, Any]:
    """Evaluate a fitted model on held-out rows and write all of it down.

    Parameters
    ----------
    directory : path-like
        Made if need be.
    model : estimator, or a Pipeline that ends in one
        Fitted.
    X_test : {ndarray, sparse matrix, DataFrame} of shape (n_samples, n_features)
        Held-out rows, at least two.
    y_test : array-like of shape (n_samples,), optional
        Their labels.
    X_train, y_train : optional
        Rows and labels for the nearest neighbours.
    config : dict
        What the model was made from.
    seconds : float
        How long fitting took.

    Returns
    -------
    metrics : dict

    Raises
    ------
    RunError
        If the directory holds a finished run, or a measure is not finite.
    """
    directory = Path(directory)
    start_run(directory, config)
    metrics, arrays = evaluate(model, X_test, y_test, X_train=X_train, y_train=y_train)
    metrics["seconds"] = float(seconds)
    _write_model(directory, model)
    _write_history(directory / HISTORY, _final_estimator(model).history_)
    with _replacing(directory / ARRAYS) as file:
        np.savez_compressed(file, **arrays)
    _write_json(directory / METRICS, metrics)
    return metrics


def _write_model(directory: Path, model) -> None:
    try:
        save(model, directory / MODEL)
    except (TypeError, ValueError):  # it holds code
        with _replacing(directory / OTHER_MODEL) as file:
            joblib.dump(model, file)


def write_failure(directory, config: dict, error: BaseException) -> None:
    """Write down why there is no result: one line, then the traceback."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    _write_json(directory / CONFIG, config)
    reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    with _replacing(directory / ERROR) as file:
        trace = "".join(traceback.format_exception(error))
        file.write(f"{reason}\n\n{trace}".encode())


@contextmanager
def _replacing(path: Path):
    """A file under another name, which gets its own once it is complete."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_json(path: Path, value) -> None:
    text = json.dumps(_plain(value), indent=2, allow_nan=False)
    with _replacing(path) as file:
        file.write(f"{text}\n".encode())


def _plain(value):
    """The same in types that JSON has; what it has no type for, as text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and np.isfinite(value):
        return value
    return repr(value)


def _write_history(path: Path, history: list[dict]) -> None:
    columns = list(dict.fromkeys(key for row in history for key in row))
    with _replacing(path) as file:
        lines = [",".join(columns)]
        for row in history:
            values = (float(row[key]) if key in row else "" for key in columns)
            lines.append(",".join(map(str, values)))
        file.write(("\n".join(lines) + "\n").encode())


# -- evaluating ------------------------------------------------------------------------


def evaluate(model, X_test, y_test=None, *, X_train=None, y_train=None):
    """Measure a fitted model on held-out rows.

    Everything is in the units that the final estimator sees, behind the other steps of
    a pipeline.

    Returns
    -------
    metrics : dict
        ``elbo``, ``iw_bound`` and ``rate`` in nats per row; ``mse`` over elements;
        ``pearson_rows``, between rows and their reconstructions, and
        ``pearson_features``, between the means of features and of their
        reconstructions; ``knn_accuracy`` on codes; and what the estimator says of
        itself. None where there is no such measure: a likelihood of a plain
        autoencoder, neighbours without labels.
    arrays : dict of ndarray
        Means and variances of features and of their reconstructions; ``codes``, of at
        most 2000 rows, two columns at most; their ``labels``, if there are any.

    Raises
    ------
    RunError
        If there are fewer than two rows, or a measure is not finite.
    """
    final, rows = _final(model, X_test)
    if rows.shape[0] < 2:
        raise RunError("needs at least two held-out rows")
    metrics, arrays = _reconstruction(final, rows)
    metrics |= _likelihood(final, rows) | _facts(final)
    metrics["n_test"] = int(rows.shape[0])
    codes = np.asarray(final.transform(rows), dtype=np.float64)
    metrics["knn_accuracy"] = None
    if y_test is not None:
        y_test = np.asarray(y_test).astype(str)
        if X_train is not None and y_train is not None:
            train_codes = np.asarray(model.transform(X_train), dtype=np.float64)
            y_train = np.asarray(y_train).astype(str)
            metrics["knn_accuracy"] = _accuracy(train_codes, y_train, codes, y_test)
    arrays |= _picture(codes, y_test)
    for name, value in metrics.items():
        if isinstance(value, float) and not np.isfinite(value):
            raise RunError(f"the held-out {name} is {value}")
    return metrics, arrays


def _final_estimator(model):
    return model[-1] if hasattr(model, "steps") else model


def _reconstruction(final, rows) -> tuple[dict, dict]:
    """Error, correlations and moments, without holding all reconstructions at once."""
    real, rebuilt = StandardScaler(), StandardScaler()
    squares, correlations = [], []
    for chunk in gen_batches(rows.shape[0], chunk_rows(rows.shape[1])):
        part = _safe_indexing(rows, chunk)
        x, xhat = _dense(part), _dense(final.reconstruct(part))
        squares.append(np.square(x - xhat).mean(axis=1))
        if not np.isfinite(squares[-1]).all():
            raise RunError("some held-out rows' reconstructions are not finite")
        correlations.append(_pearson(x, xhat))
        real.partial_fit(x)
        rebuilt.partial_fit(xhat)
    values = (real.mean_, real.var_, rebuilt.mean_, rebuilt.var_)
    metrics = {
        "mse": float(np.concatenate(squares).mean()),
        "pearson_rows": _mean_or_none(np.concatenate(correlations)),
        "pearson_features": _mean_or_none(_pearson(real.mean_, rebuilt.mean_)),
        "n_features": int(rows.shape[1]),
    }
    return metrics, dict(zip(_MOMENTS, values, strict=True))


def _dense(X) -> np.ndarray:
    return np.asarray(X.toarray() if sparse.issparse(X) else X, dtype=np.float64)


def _pearson(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation along the last axis; NaN where either has no spread."""
    # Rounding can leave a constant row with a spread after centring, so ask before.
    spread = (np.ptp(a, axis=-1) > 0) & (np.ptp(b, axis=-1) > 0)
    a = a - a.mean(axis=-1, keepdims=True)
    b = b - b.mean(axis=-1, keepdims=True)
    scale = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
    # The product of two tiny spreads can underflow.
    usable = spread & (scale > 0)
    return np.where(usable, (a * b).sum(axis=-1) / np.where(usable, scale, 1.0), np.nan)


def _mean_or_none(values) -> float | None:
    values = np.atleast_1d(values)
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else None


def _likelihood(final, rows) -> dict[str, float | int | None]:
    """What only a model with a likelihood has."""
    if not isinstance(final, VAETransformer):
        return dict.fromkeys(("elbo", "iw_bound", "rate", "active_units"))
    found = final._evaluate(rows)
    return {
        "elbo": float(found.elbo.mean()),
        "iw_bound": float(log_likelihood_scorer(final, rows)),
        "rate": float(found.rate.mean()),
        "active_units": found.active_units,
    }


def _facts(final) -> dict[str, Any]:
    facts = {
        "estimator": type(final).__name__,
        "latent_dim": int(final.latent_dim),
        "n_iter": int(final.n_iter_),
        "best_epoch": int(final.best_epoch_),
    }
    for name in ("kld_weight", "beta", "noise_variance"):
        value = getattr(final, f"{name}_", None)
        # Of a noise a feature, its mean.
        facts[name] = None if value is None else float(np.mean(value))
    return facts


def _accuracy(codes, y, test_codes, y_test) -> float | None:
    """Accuracy of nearest neighbours; None if the labels are no classes."""
    if len(np.unique(y)) > len(y) / 2:  # numbers to regress on, or names of rows
        return None
    neighbours = KNeighborsClassifier(min(N_NEIGHBOURS, len(codes)))
    return float(neighbours.fit(codes, y).score(test_codes, y_test))


def _picture(codes: np.ndarray, labels) -> dict[str, np.ndarray]:
    """Codes to draw: themselves if they are flat, else their principal components."""
    if codes.shape[1] > 2:
        centred = codes - codes.mean(axis=0)
        # Not PCA, which divides by the variance, and a collapsed model's is 0.
        directions = np.linalg.svd(centred, full_matrices=False)[2]
        codes = centred @ directions[:2].T
    if len(codes) <= MAX_POINTS:
        kept = np.arange(len(codes))
    else:
        chosen = np.random.RandomState(0).permutation(len(codes))[:MAX_POINTS]
        kept = np.sort(chosen)
    arrays = {"codes": codes[kept]}
    return arrays if labels is None else arrays | {"labels": labels[kept]}


# -- reading ---------------------------------------------------------------------------


def find_runs(root) -> list[Path]:
    """Every directory under ``root``, itself included, with a file of a run in it."""
    found = (Path(at) for at, _, names in os.walk(root) if {*FILES} & {*names})
    return sorted(found)


def read_run(directory) -> FinishedRun:
    """Read a finished run.

    Raises
    ------
    RunError
        In one line, without the directory's name: if training failed, was cut short, or
        a file is missing or broken.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise RunError("no such directory")
    if not (directory / METRICS).is_file():
        raise RunError(_why_unfinished(directory))
    missing = [n for n in FILES if n != ERROR and not (directory / n).is_file()]
    if (directory / OTHER_MODEL).is_file():
        missing = [name for name in missing if name != MODEL]
    if missing:
        raise RunError(f"no {', '.join(missing)}")
    return FinishedRun(
        directory,
        _read_json(directory / CONFIG),
        _read_metrics(directory / METRICS),
        _read_history(directory / HISTORY),
        _read_arrays(directory / ARRAYS),
    )


def _why_unfinished(directory: Path) -> str:
    error = directory / ERROR
    if error.is_file():
        lines = error.read_text(encoding="utf-8", errors="replace").splitlines()
        return f"training failed: {lines[0] if lines else 'no reason was written'}"
    return f"half-written: no {METRICS}; training was cut short or still runs"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path.name} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise RunError(f"{path.name} holds no object")
    return value


def _read_metrics(path: Path) -> dict[str, Any]:
    metrics = _read_json(path)
    for name in ("estimator", "latent_dim", "mse", "elbo"):
        if name not in metrics:
            raise RunError(f"{path.name} has no {name}")
    for name, value in metrics.items():
        optional = value is None and name != "mse"
        number = isinstance(value, int | float) and np.isfinite(value)
        if not (optional or number or name == "estimator"):
            raise RunError(f"{path.name}: {name} is {value!r}, not a number")
    return metrics


def _read_history(path: Path) -> list[dict[str, float]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                {key: float(value) for key, value in row.items() if value != ""}
                for row in csv.DictReader(file)
            ]
    except (TypeError, ValueError) as error:
        raise RunError(f"{path.name} is no table of numbers ({error})") from error


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path) as parts:
            arrays = dict(parts)
    except Exception as error:  # zipfile, zlib and numpy each have their own
        raise RunError(f"{path.name} cannot be read ({error})") from error
    missing = [name for name in (*_MOMENTS, "codes") if name not in arrays]
    if missing:
        raise RunError(f"{path.name} has no {', '.join(missing)}")
    return arrays
