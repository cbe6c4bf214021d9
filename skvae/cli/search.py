"""The main job: a grid over ``kld_weight`` and ``latent_dim``, ranked by the ELBO."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import joblib
import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing

from .._utils.device import resolve_device
from ..inspection import suggest_kld_weights
from ..metrics import pca_scorer, rate_distortion_scorer
from ..vae import VAETransformer
from .pipeline import make_model, scaler
from .progress import advance, progress_bar
from .runs import fit_and_write, is_finished, recorded_run

# Suggested weights, and how many of them, the smallest, the default grid has: the
# largest leave next to no unit active.
N_SUGGESTED = 6
N_WEIGHTS = 4
DEFAULT_DIMS = (4, 8, 16, 32)
# Share of PCA's variance that is rounding: without noise there is no likelihood.
NO_NOISE = 1e-14
# Share of PCA's likelihood, or nats if that is small, that rounding explains.
SAME_LIKELIHOOD = 1e-6


class ReportScorer:
    """:func:`skvae.metrics.rate_distortion_scorer`, which tells of every fit.

    It notes it in ``progress``, which the bar follows.
    """

    def __init__(self, progress: str | None = None) -> None:
        self.progress = progress

    def __call__(self, estimator, X, y=None) -> dict[str, float]:
        scores = rate_distortion_scorer(estimator, X)
        advance(self.progress)
        return scores


def default_dims(n_features: int, preset_dim: int | None = None) -> list[int]:
    """Latent dimensions to search, below the number of features.

    With a preset, half of its dimensions, its own, and twice them.
    """
    dims: Sequence[int] = DEFAULT_DIMS
    if preset_dim is not None:
        dims = (preset_dim // 2, preset_dim, 2 * preset_dim)
    narrow = [k for k in dims if k < n_features]
    if len(narrow) > 1:
        return narrow
    return sorted({max(1, n_features // 4), max(1, n_features // 2)})


def default_weights(
    X,
    scale: bool,
    dims: Sequence[int],
    seed: int = 0,
    likelihood: str = "gaussian",
) -> list[float]:
    """What :func:`skvae.inspection.suggest_kld_weights` says of X as it is scaled."""
    scaled = scaler(X, scale).fit_transform(X)
    weights = suggest_kld_weights(
        scaled, max(dims), N_SUGGESTED, likelihood=likelihood, random_state=seed
    )
    return [float(f"{weight:.2g}") for weight in weights[:N_WEIGHTS]]


def default_jobs(device: str, n_fits: int) -> int:
    """Processes for so many fits: small ones run on one thread each."""
    if resolve_device(device).type != "cpu":
        return 1
    return min(joblib.cpu_count(), n_fits)


def search(
    X,
    *,
    weights: Sequence[float],
    dims: Sequence[int],
    scale: bool,
    folds: int,
    n_jobs: int,
    params: dict,
    names: Sequence[str] | None = None,
    quiet: bool = False,
    checkpoints: str | None = None,
) -> GridSearchCV:
    """Fit the grid, with a progress bar, and refit the winner on all rows.

    ``checkpoints`` is where fits leave what they are at.
    """
    cv = KFold(folds, shuffle=True, random_state=0)
    n_fits = len(weights) * len(dims) * folds
    model = make_model(X, VAETransformer(**params), scale=scale, names=names)
    # What there is to warn of, every fit of every process would say; the winner's does.
    with warnings.catch_warnings(), progress_bar(n_fits, quiet=quiet) as progress:
        warnings.simplefilter("ignore")
        grid = GridSearchCV(
            model,
            {"vae__kld_weight": list(weights), "vae__latent_dim": list(dims)},
            scoring=ReportScorer(progress),
            refit=False,
            cv=cv,
            n_jobs=n_jobs,
            error_score="raise",
        ).fit(X, vae__checkpoint_dir=checkpoints)
    grid.scorer_.progress = None
    _refit(grid, X, checkpoints)
    return grid


def _refit(grid: GridSearchCV, X, checkpoints: str | None) -> None:
    """What ``refit="elbo"`` does, apart from the search."""
    elbo = grid.cv_results_["mean_test_elbo"]
    grid.refit = "elbo"
    grid.best_index_ = int(np.argmax(elbo))
    grid.best_score_ = elbo[grid.best_index_]
    grid.best_params_ = grid.cv_results_["params"][grid.best_index_]
    winner = clone(grid.estimator).set_params(**grid.best_params_)
    grid.best_estimator_ = winner.fit(X, vae__checkpoint_dir=checkpoints)


def write_runs(
    directory: str, grid: GridSearchCV, X, labels=None, *, quiet: bool = False
) -> list[str]:
    """Write a run directory per candidate, fitted on the first fold's training rows.

    Those that are there stay.

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
    with warnings.catch_warnings(), progress_bar(len(candidates), quiet=quiet) as bar:
        warnings.simplefilter("ignore")
        for name, params in candidates.items():
            model = clone(grid.estimator).set_params(**params)
            scale = repr(model.named_steps["scale"])
            config = {"model": model[-1].get_params(), "scale": scale}
            at = Path(directory) / name
            if is_finished(at):  # by a search that was killed behind it
                advance(bar)
                continue
            try:
                with recorded_run(at, config):
                    fit_and_write(at, model, *parts, config=config)
            except Exception:  # one candidate's, and written down
                failed.append(name)
            advance(bar)
    return failed


def _run_name(params: dict) -> str:
    return ",".join(f"{name.split('__')[-1]}={v!r}" for name, v in params.items())


def results(grid: GridSearchCV, X) -> list[dict]:
    """One dict per candidate, in the order of the grid; the same dims share a PCA."""
    cv_results = grid.cv_results_
    dims = sorted({p["vae__latent_dim"] for p in cv_results["params"]})
    pca = {k: {"pca": np.nan, "pca_sklearn": np.nan} for k in dims}
    if is_density(grid.estimator[-1]):
        pca = {k: pca_scores(X, k, grid.estimator[:-1], grid.cv) for k in dims}
    return [
        {
            "kld_weight": p["vae__kld_weight"],
            "latent_dim": p["vae__latent_dim"],
            "elbo": cv_results["mean_test_elbo"][i],
            "elbo_std": cv_results["std_test_elbo"][i],
            "rate": cv_results["mean_test_rate"][i],
            "distortion": cv_results["mean_test_distortion"][i],
            "active": cv_results["mean_test_active_units"][i],
            **pca[p["vae__latent_dim"]],
            "best": i == grid.best_index_,
        }
        for i, p in enumerate(cv_results["params"])
    ]


def is_density(vae: VAETransformer) -> bool:
    """Whether its score compares with PCA's: not that of counts, bits, categories."""
    return not vae._likelihood_type().is_discrete


def pca_scores(X, latent_dim: int, before, cv) -> dict[str, float]:
    """Held-out log-likelihoods of PCA, in nats per row; NaN where there is none.

    Returns
    -------
    scores : dict
        ``pca``, of probabilistic PCA; ``pca_sklearn``, what ``PCA.score`` says, which
        is far less where there are fewer training rows than columns, and which takes
        no sparse rows.
    """
    n_train = min(len(train) for train, _ in cv.split(X))
    if latent_dim >= min(X.shape[1], n_train):
        return {"pca": np.nan, "pca_sklearn": np.nan}
    pca = PCA(latent_dim, random_state=0)
    model = Pipeline([*clone(before).steps, ("pca", pca)])
    found = cross_validate(model, X, cv=cv, scoring=_pca_likelihoods)
    names = ("pca", "pca_sklearn")
    return {name: float(found[f"test_{name}"].mean()) for name in names}


def _pca_likelihoods(model, X, y=None) -> dict[str, float]:
    fitted = model[-1]
    if fitted.noise_variance_ <= NO_NOISE * fitted.explained_variance_.sum():
        return {"pca": np.nan, "pca_sklearn": np.nan}
    pca = pca_scorer(model, X)
    its_own = np.nan if sparse.issparse(X) else float(model.score(X))
    return {"pca": pca, "pca_sklearn": its_own}


def differs(pca: float, pca_sklearn: float) -> bool:
    """Whether scikit-learn's figure is another one, not the same but for rounding."""
    return abs(pca - pca_sklearn) > SAME_LIKELIHOOD * max(1.0, abs(pca))


def format_results(rows: list[dict]) -> str:
    """The table that the command line prints; nats per row, held out."""
    head = (
        f"{'kld_weight':>10} {'latent_dim':>10} {'ELBO':>10} {'+-':>7} {'rate':>8} "
        f"{'distortion':>10} {'active':>7} {'PCA':>10}"
    )
    both = any(differs(r["pca"], r["pca_sklearn"]) for r in rows)
    if both:
        head += f" {'PCA.score':>10}"
    lines = [head, "-" * len(head)]
    for r in rows:
        line = (
            f"{r['kld_weight']:>10.2g} {r['latent_dim']:>10d} {r['elbo']:>10.2f} "
            f"{r['elbo_std']:>7.2f} {r['rate']:>8.2f} {r['distortion']:>10.2f} "
            f"{r['active']:>7.1f} {_number(r['pca']):>10}"
        )
        if both:
            line += f" {_number(r['pca_sklearn']):>10}"
        lines.append(f"{line}{'  <- best' if r['best'] else ''}")
    lines.append(
        "ELBO, rate, distortion and PCA (its log-likelihood): held out, nats per row."
    )
    if both:
        lines.append(
            "PCA.score is scikit-learn's, which averages the noise over too few "
            "directions where there are fewer rows than columns: compare with PCA."
        )
    return "\n".join(lines)


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f}"


def edges(rows: list[dict], n_features: int) -> str | None:
    """A sentence if the winner is on the edge of the grid, where a better one may be.

    A single value of a parameter has no edge, nor can there be fewer units than one, or
    more than features.
    """
    best = next(r for r in rows if r["best"])
    weights = {r["kld_weight"] for r in rows}
    dims = {r["latent_dim"] for r in rows}
    beyond = []
    weight, dim = best["kld_weight"], best["latent_dim"]
    if len(weights) > 1 and weight in (min(weights), max(weights)) and weight > 0.0:
        side = "below" if weight == min(weights) else "above"
        beyond.append(f"--kld-weights {side} {weight:.2g}")
    if len(dims) > 1 and dim == max(dims) and dim < n_features - 1:
        beyond.append(f"--latent-dims above {dim}")
    if len(dims) > 1 and dim == min(dims) and dim > 1:
        beyond.append(f"--latent-dims below {dim}")
    if not beyond:
        return None
    return (
        "The winner lies on the edge of the grid, and a better one may lie beyond: "
        f"try {' and '.join(beyond)}."
    )
