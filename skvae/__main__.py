"""The command line: ``python -m skvae`` searches, fits and transforms."""

import argparse
import sys

import joblib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.pipeline import Pipeline

from ._files import (
    READABLE,
    WRITABLE,
    Table,
    TableError,
    check_writable,
    make_empty_folder,
    read_table,
    write_table,
)
from ._plots import plot_search
from ._search import (
    default_weights,
    format_results,
    results,
    scaler,
    search,
    write_runs,
)
from ._version import __version__
from .vae import VAETransformer

DIGITS_WEIGHTS = (1e-5, 1e-4, 1e-3, 1e-2)
DIGITS_EPOCHS = 40
DEFAULT_DIMS = (4, 8, 16, 32)

DESCRIPTION = """\
Variational autoencoders for tables.

With no argument at all: a search over kld_weight and latent_dim on the digits that ship
with scikit-learn, ranked by the held-out ELBO, with a table and a picture of it."""

EPILOG = """\
examples:
  python -m skvae                                     the search, on digits
  python -m skvae search cells.h5ad --label cell_type
  python -m skvae search table.csv --numeric-only --latent-dims 2 4 8
  python -m skvae search table.csv --out runs/table
  python -m skvae fit table.csv -o model.joblib --latent-dim 8
  python -m skvae transform model.joblib table.csv -o codes.csv

A .csv starts with a line of names. transform needs the same --label and
--numeric-only as fit.

The ELBO is in nats per row under a calibrated decoder: greater is better, and it
compares across weights, dimensions and with PCA. Rate (KL) near 0 means that units have
collapsed: lower kld_weight. A very large rate means an almost plain autoencoder: raise
it. Exit status: 0 on success, 2 on a bad file or flag."""


def main(argv=None) -> int:
    """Run the command line; returns the exit status."""
    parser = _parser()
    args = parser.parse_args(argv if argv else (sys.argv[1:] or ["search"]))
    try:
        args.run(args)
    except (TableError, ValueError, OSError, FloatingPointError) as error:
        message = " ".join(str(error).split())
        print(f"skvae: error: {message}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m skvae",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=raw,
    )
    parser.add_argument("--version", action="version", version=f"skvae {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_search(commands)
    _add_fit(commands)
    _add_transform(commands)
    return parser


def _add_search(commands) -> None:
    command = commands.add_parser(
        "search",
        help="search kld_weight and latent_dim, print a table, draw a picture",
        description="Grid search ranked by the held-out ELBO (nats per row).",
    )
    command.set_defaults(run=_search)
    command.add_argument(
        "file", nargs="?", help=f"table ({', '.join(READABLE)}); default: digits"
    )
    command.add_argument(
        "--kld-weights",
        nargs="+",
        type=_non_negative,
        metavar="W",
        help="weights to try; default: those that are maximum likelihood (beta = 1) "
        "where noise is 1, 3, 10 and 30 %% of a column's variance",
    )
    command.add_argument(
        "--latent-dims",
        nargs="+",
        type=_positive,
        metavar="K",
        help=f"default: {' '.join(map(str, DEFAULT_DIMS))}",
    )
    command.add_argument("--folds", type=_folds, default=3, help="default: 3")
    command.add_argument(
        "-o",
        "--picture",
        default="skvae-search.png",
        metavar="PNG",
        help="picture to write; default: %(default)s",
    )
    command.add_argument(
        "--model", metavar="FILE", help="also save the winner (.joblib)"
    )
    command.add_argument(
        "--out",
        metavar="DIR",
        help="also fit every candidate on the first fold and write what it is into a "
        "directory of its own in DIR, which must be new or empty",
    )
    command.add_argument(
        "--jobs", type=_positive, default=1, help="processes; default: 1"
    )
    command.add_argument("--quiet", action="store_true", help="no progress bar")

    _add_table_options(command, label="column that holds labels")
    _add_training_options(command)


def _add_fit(commands) -> None:
    command = commands.add_parser("fit", help="fit one model and save it")
    command.set_defaults(run=_fit)
    command.add_argument("file", help=f"table ({', '.join(READABLE)})")
    command.add_argument(
        "-o", "--out", required=True, metavar="MODEL", help="a .joblib file"
    )
    command.add_argument("--latent-dim", type=_positive, default=10, help="default: 10")
    command.add_argument(
        "--kld-weight",
        type=_weight,
        default="auto",
        help='a number or "auto" (default)',
    )
    _add_table_options(command, label="column that holds labels")
    _add_training_options(command)


def _add_transform(commands) -> None:
    command = commands.add_parser(
        "transform",
        help="code rows with a saved model",
        description="Code rows. A .joblib file can run code: load only your own.",
    )
    command.set_defaults(run=_transform)
    command.add_argument("model", help="a .joblib file from fit or search")
    command.add_argument("file", help=f"table ({', '.join(READABLE)})")
    command.add_argument(
        "-o", "--out", required=True, metavar="CODES", help=f"{', '.join(WRITABLE)}"
    )
    _add_table_options(command, label="column to leave out")


def _add_table_options(command, *, label: str) -> None:
    """What every command that reads a table takes."""
    command.add_argument("--label", metavar="NAME", help=label)
    command.add_argument(
        "--numeric-only", action="store_true", help="leave out columns of text"
    )


def _add_training_options(command) -> None:
    """What every command that trains takes."""
    command.add_argument(
        "--no-scale", action="store_true", help="do not standardise the columns"
    )
    command.add_argument(
        "--max-epochs", type=_positive, metavar="N", help="default: the estimator's"
    )
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, mps")
    command.add_argument(
        "--precision",
        default="float32",
        choices=("float32", "bf16"),
        help="of training; default: float32",
    )
    command.add_argument("--seed", type=int, default=0, help="default: 0")


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least}")
    return int(text)


def _positive(text: str) -> int:
    return _whole(text, 1)


def _folds(text: str) -> int:
    return _whole(text, 2)


def _non_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0")
    return value


def _weight(text: str) -> float | str:
    return "auto" if text == "auto" else _non_negative(text)


def _params(args) -> dict:
    """Parameters of the estimator that the flags set."""
    params = {
        "device": args.device,
        "precision": args.precision,
        "random_state": args.seed,
    }
    if args.max_epochs is not None:
        params["max_epochs"] = args.max_epochs
    return params


def _search(args) -> None:
    check_writable(args.picture, (".png", ".pdf", ".svg"))
    if args.model is not None:
        check_writable(args.model, (".joblib",))
    if args.file is None:
        table, image_shape, scale = _digits(), (8, 8), False
        weights = args.kld_weights or DIGITS_WEIGHTS
        args.max_epochs = args.max_epochs or DIGITS_EPOCHS
        name = "digits (1797 x 64, pixels 0 to 1)"
    else:
        table = read_table(args.file, label=args.label, numeric_only=args.numeric_only)
        image_shape, scale = None, not args.no_scale
        weights = args.kld_weights or default_weights(table.X, scale)
        name = f"{args.file} ({table.X.shape[0]} x {table.X.shape[1]})"
    if args.out is not None:
        make_empty_folder(args.out)
    weights = list(dict.fromkeys(weights))
    X, dims = table.X, list(dict.fromkeys(args.latent_dims or DEFAULT_DIMS))
    print(f"{name}: {len(weights)} x {len(dims)} grid, {args.folds} folds")
    grid = search(
        X,
        weights=weights,
        dims=dims,
        scale=scale,
        folds=args.folds,
        n_jobs=args.jobs,
        params=_params(args),
        quiet=args.quiet,
    )
    rows = results(grid, X)
    print(format_results(rows))
    print("ELBO, rate, distortion and PCA's score: held out, nats per row.")
    best = grid.best_params_
    if grid.best_score_ < max((r["pca"] for r in rows), default=0.0):
        print(
            "PCA scores higher than any of these: try other weights, more epochs, or "
            "fit's default, which fits the weight."
        )
    print(
        f"winner: VAETransformer({best['vae__latent_dim']}, "
        f"kld_weight={best['vae__kld_weight']:.2g})"
    )
    if args.model is not None:
        _dump(grid.best_estimator_, args.model)
    if args.out is not None:
        _write_runs(args, grid, table)
    try:
        plot_search(args.picture, grid, rows, X, table.labels, image_shape)
    except TableError as error:
        print(f"skvae: no picture: {error}", file=sys.stderr)
    else:
        print(f"wrote {args.picture}")


def _write_runs(args, grid, table: Table) -> None:
    failed = write_runs(args.out, grid, table.X, table.labels, quiet=args.quiet)
    for name in failed:
        print(f"skvae: {name} failed; its error.txt says why", file=sys.stderr)
    print(f"wrote a directory per candidate into {args.out}")


def _digits() -> Table:
    digits = load_digits()
    return Table(digits.data / 16.0, list(digits.feature_names), digits.target)


def _fit(args) -> None:
    check_writable(args.out, (".joblib",))
    table = read_table(args.file, label=args.label, numeric_only=args.numeric_only)
    vae = VAETransformer(args.latent_dim, kld_weight=args.kld_weight, **_params(args))
    model = Pipeline([("scale", scaler(table.X, not args.no_scale)), ("vae", vae)])
    model.fit(table.X)
    _dump(model, args.out)
    print(
        f"{vae.n_iter_} epochs, best {vae.best_epoch_}; ELBO on the training rows "
        f"{model.score(table.X):.2f} nats per row; kld_weight {vae.kld_weight_:.3g} "
        f"(beta {vae.beta_:.3g})"
    )


def _dump(model, path: str) -> None:
    joblib.dump(model, path)
    print(f"wrote {path}")


def _transform(args) -> None:
    check_writable(args.out, WRITABLE)
    table = read_table(args.file, label=args.label, numeric_only=args.numeric_only)
    try:
        model = joblib.load(args.model)
    except FileNotFoundError as error:
        raise TableError(f"{args.model}: no such file") from error
    except Exception as error:
        raise TableError(f"{args.model}: not a model that skvae saved") from error
    if not hasattr(model, "transform"):
        raise TableError(f"{args.model}: not a model that skvae saved")
    codes = np.asarray(model.transform(table.X))
    write_table(args.out, codes, model.get_feature_names_out())
    print(f"wrote {args.out} ({codes.shape[0]} x {codes.shape[1]})")


if __name__ == "__main__":
    sys.exit(main())
