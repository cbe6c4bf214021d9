"""The command line: ``python -m skvae`` searches, fits and transforms."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import ShuffleSplit
from sklearn.utils import _safe_indexing

from .._data.counts import looks_like_counts, warn_if_counts
from .._evaluation.advice import what_was_kept
from .._likelihoods.registry import LIKELIHOODS
from .._utils import routing
from ..ae import AETransformer
from ..presets import ESTIMATORS, preset_params
from ..rae import RAETransformer
from ..sae import SAETransformer
from ..vae import VAETransformer
from .cells import refuse_conditions, refuse_input, write_cells
from .files import (
    CELLS,
    WRITABLE,
    Table,
    TableError,
    check_writable,
    read_table,
    write_table,
)
from .flags import make_parser
from .model_files import MODEL_ENDINGS, dump_model, load_model, place_of_rows
from .pipeline import make_model, order_of_columns
from .plots import plot_search
from .resume import begin_search, end_search
from .search import (
    default_dims,
    default_jobs,
    default_weights,
    differs,
    edges,
    format_results,
    is_density,
    pca_scores,
    results,
    search,
    write_runs,
)
from .table import ending, some

DIGITS_EPOCHS = 40
DEFAULT_DIM = 10
FAMILY = (VAETransformer, AETransformer, RAETransformer, SAETransformer)


def main(argv=None) -> int:
    """Run the command line; returns the exit status."""
    parser = make_parser(search=_search, fit=_fit, transform=_transform)
    args = parser.parse_args(argv if argv else (sys.argv[1:] or ["search"]))
    try:
        with _warnings_in_one_line():
            args.run(args)
    except (TableError, ValueError, OSError, FloatingPointError) as error:
        message = " ".join(str(error).split())
        print(f"skvae: error: {message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("skvae: interrupted", file=sys.stderr)
        return 130
    return 0


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Where in the package a warning comes from says nothing to a shell."""

    def show(message, category, filename, lineno, file=None, line=None):
        text = " ".join(str(message).split())
        print(f"skvae: warning: {text}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


# -- what the flags say ----------------------------------------------------------------


def _read(args) -> Table:
    table = read_table(
        args.file,
        label=args.label,
        index=args.index,
        numeric_only=args.numeric_only,
        sep=args.sep,
        decimal=args.decimal,
        layer=args.layer,
        conditions=getattr(args, "condition", ()),
    )
    if table.left_out:
        print(f"left out, not numbers: {some(table.left_out)}")
    if not getattr(args, "no_scale", True) and args.likelihood is None:
        # Standardised, they are no whole numbers, and no estimator would see it.
        if looks_like_counts(table.X):
            print(
                "X looks like counts: --likelihood negative_binomial fits them as they "
                "are."
            )
        warn_if_counts(table.X)
    return table


def _scales(args) -> bool:
    """Whether columns are standardised: not those that have to be what they are."""
    if args.likelihood is not None:
        kind = LIKELIHOODS[args.likelihood]
        if kind.is_discrete or kind.is_nonnegative:
            return False
    return not args.no_scale


def _params(args) -> dict:
    """Parameters of the estimator that the flags set."""
    params = {}
    if args.preset is not None:
        params = preset_params(args.preset, ESTIMATORS[args.preset], args.likelihood)
    params |= {
        "device": args.device,
        "precision": args.precision,
        "random_state": args.seed,
    }
    if args.max_epochs is not None:
        params["max_epochs"] = args.max_epochs
    if args.hidden_dims is not None:
        params["hidden_dims"] = tuple(args.hidden_dims)
    if args.likelihood is not None:
        params["likelihood"] = args.likelihood
    return params


def _estimator(args):
    """What ``fit`` fits."""
    params = _params(args)
    if args.latent_dim is not None:
        params["latent_dim"] = args.latent_dim
    owner = "VAETransformer" if args.preset is None else ESTIMATORS[args.preset]
    for flag in ("kld_weight", "likelihood"):
        value = getattr(args, flag)
        if value is not None and owner != "VAETransformer":
            raise ValueError(
                f"--{flag.replace('_', '-')} is for a VAETransformer, and --preset "
                f"{args.preset} is of {owner}; leave one out."
            )
    if args.kld_weight is not None:
        params["kld_weight"] = args.kld_weight
    return next(kind for kind in FAMILY if kind.__name__ == owner)(**params)


def _digits() -> Table:
    digits = load_digits()
    return Table(digits.data / 16.0, list(digits.feature_names), digits.target)


# -- search ----------------------------------------------------------------------------


def _search(args) -> None:
    check_writable(args.picture, (".png", ".pdf", ".svg"))
    if args.model is not None:
        check_writable(args.model, MODEL_ENDINGS)
    if args.preset is not None and ESTIMATORS[args.preset] != "VAETransformer":
        raise ValueError(
            "search ranks by the ELBO, which needs a VAETransformer, and --preset "
            f"{args.preset} is of {ESTIMATORS[args.preset]}; fit takes it."
        )
    if args.file is None:
        table, image_shape, scale = _digits(), (8, 8), False
        args.max_epochs = args.max_epochs or DIGITS_EPOCHS
        name = "digits (1797 x 64, pixels 0 to 1)"
    else:
        table = _read(args)
        image_shape, scale = None, _scales(args)
        name = f"{args.file} ({table.X.shape[0]} x {table.X.shape[1]})"
    X, params = table.X, _params(args)
    preset_dim, _ = params.pop("latent_dim", None), params.pop("kld_weight", None)
    dims = args.latent_dims or default_dims(X.shape[1], preset_dim)
    dims = list(dict.fromkeys(dims))
    weights = args.kld_weights or default_weights(
        X, scale, dims, args.seed, args.likelihood or "gaussian"
    )
    weights = list(dict.fromkeys(weights))
    checkpoints = _checkpoints(
        args,
        X,
        weights=weights,
        dims=dims,
        folds=args.folds,
        scale=scale,
        params={k: repr(v) for k, v in params.items()},
        names=table.feature_names,
    )
    print(f"{name}: {len(weights)} x {len(dims)} grid, {args.folds} folds", flush=True)
    n_fits = len(weights) * len(dims) * args.folds
    grid = search(
        X,
        weights=weights,
        dims=dims,
        scale=scale,
        folds=args.folds,
        n_jobs=args.jobs or default_jobs(args.device, n_fits),
        params=params,
        names=table.feature_names,
        quiet=args.quiet,
        checkpoints=checkpoints,
    )
    rows = results(grid, X)
    print(format_results(rows))
    _print_winner(grid, rows, X.shape[1])
    if args.model is not None:
        dump_model(grid.best_estimator_, args.model, layer=args.layer)
    if args.out is not None:
        _write_runs(args, grid, table)
        end_search(args.out)
    try:
        plot_search(args.picture, grid, X, table.labels, image_shape)
    except TableError as error:
        print(f"skvae: no picture: {error}", file=sys.stderr)
    else:
        print(f"wrote {args.picture}")


def _checkpoints(args, X, **settings) -> str | None:
    """Where the fits of a search with these settings leave what they are at, if any."""
    if args.out is not None:
        return begin_search(args.out, resumes=args.resume, X=X, **settings)
    if args.resume:
        raise ValueError("--resume is for a search that was begun with --out DIR.")
    return None


def _print_winner(grid, rows: list[dict], n_features: int) -> None:
    best = grid.best_params_
    likelihood = grid.best_estimator_[-1].likelihood
    own = "" if likelihood == "auto" else f", likelihood={likelihood!r}"
    print(
        f"winner: VAETransformer({best['vae__latent_dim']}, "
        f"kld_weight={best['vae__kld_weight']:.2g}{own})"
    )
    _print_start(grid.best_estimator_[-1])
    beyond = edges(rows, n_features)
    if beyond is not None:
        print(beyond)
    if grid.best_score_ < np.nanmax([r["pca"] for r in rows] + [-np.inf]):
        print(
            "PCA scores higher than any of these: try other weights, more epochs, or "
            "fit's default, which fits the weight."
        )


def _write_runs(args, grid, table: Table) -> None:
    failed = write_runs(args.out, grid, table.X, table.labels, quiet=args.quiet)
    for name in failed:
        print(f"skvae: {name} failed; its error.txt says why", file=sys.stderr)
    print(f"wrote a directory per candidate into {args.out}")


# -- fit -------------------------------------------------------------------------------


def _fit(args) -> None:
    for out in args.out:
        check_writable(out, (*MODEL_ENDINGS, CELLS))
        refuse_input(args.file, out)
    estimator = _estimator(args)
    table = _read(args)
    X = table.X
    if args.latent_dim is None and args.preset is None:
        estimator.set_params(latent_dim=max(1, min(DEFAULT_DIM, X.shape[1] - 1)))
    model = make_model(X, estimator, scale=_scales(args), names=table.feature_names)
    conditions = table.conditions
    refuse_conditions(model, conditions)
    print(f"{args.file} ({X.shape[0]} x {X.shape[1]})", flush=True)
    if args.test_fraction > 0.0:
        shown = _held_out(model, X, args.test_fraction, args.seed, conditions)
        print(shown, flush=True)
    routing.fit(model, X, conditions)
    for out in args.out:
        if ending(out) == CELLS:
            codes = routing.call(model, "transform", X, conditions)
            write_cells(out, table, model, codes, args.layer)
            print(f"wrote {out}")
        else:
            dump_model(model, out, layer=args.layer, conditions=args.condition)
    fitted = model[-1]
    print(
        f"{fitted.n_iter_} epochs, best {fitted.best_epoch_}; "
        f"{_score(model, X, conditions)} on the training rows{_weights(fitted)}"
    )
    _print_start(fitted)


def _held_out(model, X, fraction: float, seed: int, conditions=None) -> str:
    """What a fit on the other rows makes of some rows, in a line."""
    n_test = int(np.ceil(fraction * X.shape[0]))
    if X.shape[0] - n_test < 2:
        return f"no rows held out: {X.shape[0]} are too few for --test-fraction"
    split = ShuffleSplit(1, test_size=n_test, random_state=seed)
    train, test = next(split.split(X))
    other = routing.fit(clone(model), *_rows(X, conditions, train))
    shown = _score(other, *_rows(X, conditions, test))
    line = f"held out, {n_test} rows: {shown}"
    if isinstance(other[-1], VAETransformer) and is_density(other[-1]):
        found = pca_scores(X, other[-1].latent_dim, model[:-1], split)
        if not np.isnan(found["pca"]):
            line += f"; PCA {found['pca']:.2f}"
        if differs(**found):
            line += f" (scikit-learn's PCA.score: {found['pca_sklearn']:.2f})"
    return f"{line}. By a fit on the other rows; the saved model is of all rows."


def _rows(X, conditions, index) -> tuple:
    """Some rows, and their conditions, if there are any."""
    part = None if conditions is None else _safe_indexing(conditions, index)
    return _safe_indexing(X, index), part


def _score(model, X, conditions=None) -> str:
    score = routing.call(model, "score", X, conditions)
    if isinstance(model[-1], VAETransformer):
        return f"ELBO {score:.2f} nats per row"
    return f"mean squared error {-score:.4g}"


def _weights(fitted) -> str:
    if not isinstance(fitted, VAETransformer):
        return ""
    return f"; kld_weight {fitted.kld_weight_:.3g} (beta {fitted.beta_:.3g})"


def _print_start(fitted) -> None:
    """Say so if nothing that was trained is in the model."""
    if not fitted.early_stopping or fitted.best_epoch_ > 0:
        return
    print(what_was_kept(0, fitted.n_iter_, fitted._fitted.state.start))


# -- transform -------------------------------------------------------------------------


def _transform(args) -> None:
    check_writable(args.out, (*WRITABLE, CELLS))
    fitted = load_model(args.model)
    model = fitted.estimator
    refuse_input(args.file, args.out)
    refuse_conditions(model, args.condition or None)
    args.layer, args.condition = place_of_rows(
        fitted, args.layer, args.condition, is_cells=ending(args.file) == CELLS
    )
    table = _read(args)
    conditions = table.conditions
    try:
        X = _as_fitted(model, table, args.file)
        codes = np.asarray(routing.call(model, "transform", X, conditions))
    except ValueError as error:
        raise TableError(f"{args.file}: {error}") from error
    if ending(args.out) == CELLS:
        write_cells(args.out, table, model, codes, args.layer)
    else:
        # Not the pipeline's, which fails if a step before the last has none.
        final = model[-1] if hasattr(model, "steps") else model
        write_table(args.out, codes, final.get_feature_names_out(), table.row_names)
    print(f"wrote {args.out} ({codes.shape[0]} x {codes.shape[1]})")


def _as_fitted(model, table: Table, path: str):
    """X with its columns in the order of the model's, if both have names."""
    fitted = getattr(model, "feature_names_in_", None)
    if fitted is None:
        return table.X
    # They are compared here; scikit-learn asks for a data frame, and there is none.
    warnings.filterwarnings("ignore", "X does not have valid feature names")
    if table.feature_names is None:
        print(
            f"skvae: warning: {path} has no names of columns, the model has; they are "
            "taken as they come",
            file=sys.stderr,
        )
        return table.X
    order = order_of_columns(list(map(str, fitted)), table.feature_names)
    return table.X if order is None else table.X[:, order]
