"""The main job: a grid over ``kld_weight`` and ``latent_dim``, ranked by the ELBO."""

import os
import tempfile
import threading
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import _safe_indexing

from ._runs import fit_and_write, recorded_run
from .metrics import _vae, active_units
from .vae import VAETransformer

# Noise variances of the default grid, as shares of the mean variance of a column.
NOISE_SHARES = (0.01, 0.03, 0.1, 0.3)


class ReportScorer:
    """ELBO, rate, distortion and active units of held-out rows.

    Appends a byte to ``progress`` after every fit: workers of whatever joblib backend
    on this machine share the file, and the bar follows its length.
    """

    def __init__(self, progress: str | None = None) -> None:
        self.progress = progress

    def __call__(self, estimator, X, y=None) -> dict[str, float]:
        # Once through the pipeline and the cubature, not once a measure.
        estimator, X = _vae(estimator, X)
        d, r = estimator._terms(X)
        scores = {
            "elbo": -float((d + r).mean()),
            "distortion": float(d.mean()),
            "rate": float(r.mean()),
            "active": float(active_units(estimator, X)),
        }
        _advance(self.progress)
        return scores


def _advance(progress: str | None) -> None:
    if progress is not None:
        with open(progress, "ab") as file:
            file.write(b".")


@contextmanager
def progress_bar(total: int, *, quiet: bool):
    """A bar that follows the length of a file; yields the file's name, or None."""
    if quiet:
        yield None
        return
    from tqdm import tqdm

    handle, path = tempfile.mkstemp(prefix="skvae-progress-")
    os.close(handle)
    done = threading.Event()
    with tqdm(total=total, unit="fit") as bar:

        def follow():
            finished = False
            while not finished:
                finished = done.wait(0.2)
                bar.update(os.path.getsize(path) - bar.n)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield path
        finally:
            done.set()
            thread.join()
            os.unlink(path)


def scaler(X, scale: bool):
    """What stands in front of the model: sparse rows are scaled, never centred."""
    if not scale:
        return FunctionTransformer()
    return StandardScaler(with_mean=not sparse.issparse(X))


def default_weights(X, scale: bool) -> list[float]:
    """Weights that are maximum likelihood at the default grid's noise variances."""
    scaled = scaler(X, scale).fit_transform(X)
    if sparse.issparse(scaled):
        mean = np.asarray(scaled.mean(axis=0))
        variance = float((scaled.multiply(scaled).mean(axis=0) - mean**2).mean())
    else:
        variance = float(np.asarray(scaled).var(axis=0).mean())
    return [float(f"{2 * share * variance / X.shape[1]:.2g}") for share in NOISE_SHARES]


def search(
    X,
    *,
    weights: Sequence[float],
    dims: Sequence[int],
    scale: bool,
    folds: int,
    n_jobs: int,
    params: dict,
    quiet: bool = False,
) -> GridSearchCV:
    """Fit the grid, with a progress bar, and refit the winner on all rows."""
    cv = KFold(folds, shuffle=True, random_state=0)
    n_fits = len(weights) * len(dims) * folds
    model = Pipeline([("scale", scaler(X, scale)), ("vae", VAETransformer(**params))])
    with progress_bar(n_fits, quiet=quiet) as progress:
        grid = GridSearchCV(
            model,
            {"vae__kld_weight": list(weights), "vae__latent_dim": list(dims)},
            scoring=ReportScorer(progress),
            refit="elbo",
            cv=cv,
            n_jobs=n_jobs,
            error_score="raise",
        ).fit(X)
    grid.scorer_.progress = None
    return grid


def write_runs(
    directory: str, grid: GridSearchCV, X, labels=None, *, quiet: bool = False
) -> list[str]:
    """Write a run directory per candidate, fitted on the first fold's training rows.

    One split, not all: a run has one model, and what is held out must be the same for
    all. They are fitted anew, one at a time, because the grid keeps no models, nor
    could it where they are large.

    Returns
    -------
    failed : list of str
        Names of the candidates that could not be fitted or evaluated; their directories
        say why.
    """
    train, test = next(grid.cv.split(X))
    parts = [_safe_indexing(X, rows) for rows in (train, test)]
    if labels is not None:
        parts += [np.asarray(labels)[rows] for rows in (train, test)]
    candidates = {_run_name(p): p for p in grid.cv_results_["params"]}
    failed = []
    with progress_bar(len(candidates), quiet=quiet) as progress:
        for name, params in candidates.items():
            model = clone(grid.estimator).set_params(**params)
            config = {"model": model[-1].get_params(), "scale": repr(model[0])}
            at = Path(directory) / name
            try:
                with recorded_run(at, config):
                    fit_and_write(at, model, *parts, config=config)
            except Exception:  # one candidate's, and written down
                failed.append(name)
            _advance(progress)
    return failed


def _run_name(params: dict) -> str:
    return ",".join(f"{name.split('__')[-1]}={v!r}" for name, v in params.items())


def results(grid: GridSearchCV, X) -> list[dict]:
    """One dict per candidate, in the order of the grid; the same dims share a PCA."""
    cv_results = grid.cv_results_
    pca = {
        k: pca_score(X, k, grid.estimator[0], grid.cv)
        for k in sorted({p["vae__latent_dim"] for p in cv_results["params"]})
    }
    return [
        {
            "kld_weight": p["vae__kld_weight"],
            "latent_dim": p["vae__latent_dim"],
            "elbo": cv_results["mean_test_elbo"][i],
            "elbo_std": cv_results["std_test_elbo"][i],
            "rate": cv_results["mean_test_rate"][i],
            "distortion": cv_results["mean_test_distortion"][i],
            "active": cv_results["mean_test_active"][i],
            "pca": pca[p["vae__latent_dim"]],
            "best": i == grid.best_index_,
        }
        for i, p in enumerate(cv_results["params"])
    ]


def pca_score(X, latent_dim: int, scale, cv) -> float:
    """Held-out log-likelihood of PCA in nats per row, NaN where there is none."""
    if sparse.issparse(X) or latent_dim >= min(X.shape[1], X.shape[0] * 2 // 3):
        return float("nan")
    pca = Pipeline([("scale", scale), ("pca", PCA(latent_dim, random_state=0))])
    return float(cross_val_score(pca, X, cv=cv).mean())


def format_results(rows: list[dict]) -> str:
    """The table that the command line prints; nats per row, held out."""
    head = (
        f"{'kld_weight':>10} {'latent_dim':>10} {'ELBO':>10} {'+-':>7} {'rate':>8} "
        f"{'distortion':>10} {'active':>7} {'PCA':>10}"
    )
    lines = [head, "-" * len(head)]
    for r in rows:
        pca = "-" if np.isnan(r["pca"]) else f"{r['pca']:.2f}"
        lines.append(
            f"{r['kld_weight']:>10.2g} {r['latent_dim']:>10d} {r['elbo']:>10.2f} "
            f"{r['elbo_std']:>7.2f} {r['rate']:>8.2f} {r['distortion']:>10.2f} "
            f"{r['active']:>7.1f} {pca:>10}{'  <- best' if r['best'] else ''}"
        )
    return "\n".join(lines)
