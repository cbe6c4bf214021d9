"""The flags of ``python -m skvae``: what they are called and what they take."""

import argparse
from collections.abc import Callable

from .._likelihoods.registry import LIKELIHOODS
from .._version import __version__
from ..presets import ESTIMATORS
from .files import CELLS, READABLE, WRITABLE
from .search import DEFAULT_DIMS

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
  python -m skvae fit table.csv -o model.safetensors --latent-dim 8
  python -m skvae fit german.csv -o model.safetensors --sep ';' --decimal ','
  python -m skvae transform model.safetensors table.csv -o codes.csv
  python -m skvae fit cells.h5ad --layer log1p -o model.safetensors -o coded.h5ad

Text (.csv, .tsv, .csv.gz) starts with a line of names. A first column without a name
holds names of rows. Names of rows are kept in the codes. A model keeps the names of its
columns: transform takes them in any order, and neither fewer nor others.

The ELBO is in nats per row under a calibrated decoder: greater is better, and it
compares across weights, dimensions and with PCA. Rate (KL) near 0 means that units have
collapsed: lower kld_weight. A very large rate means an almost plain autoencoder: raise
it. Exit status: 0 on success, 2 on a bad file or flag."""

Command = Callable[[argparse.Namespace], None]


def make_parser(search: Command, fit: Command, transform: Command):
    """The parser; what it returns has the command to call in ``run``."""
    parser = argparse.ArgumentParser(
        prog="python -m skvae",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"skvae {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_search(commands).set_defaults(run=search)
    _add_fit(commands).set_defaults(run=fit)
    _add_transform(commands).set_defaults(run=transform)
    return parser


def _add_search(commands) -> argparse.ArgumentParser:
    command = commands.add_parser(
        "search",
        help="search kld_weight and latent_dim, print a table, draw a picture",
        description="Grid search ranked by the held-out ELBO (nats per row).",
    )
    command.add_argument(
        "file", nargs="?", help=f"table ({', '.join(READABLE)}); default: digits"
    )
    command.add_argument(
        "--kld-weights",
        nargs="+",
        type=_non_negative,
        metavar="W",
        help="weights to try; default: the four smallest of six that "
        "skvae.inspection.suggest_kld_weights has for the largest latent dimension",
    )
    command.add_argument(
        "--latent-dims",
        nargs="+",
        type=_positive,
        metavar="K",
        help=f"default: {' '.join(map(str, DEFAULT_DIMS))}, as far as they are fewer "
        "than columns; with --preset half, once and twice its own",
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
        "--model", metavar="FILE", help="also save the winner (.safetensors)"
    )
    command.add_argument(
        "--out",
        metavar="DIR",
        help="also fit every candidate on the first fold and write what it is into a "
        "directory of its own in DIR, which must be new or empty",
    )
    command.add_argument(
        "--resume",
        action="store_true",
        help="go on with a search that was begun with the same --out and was killed",
    )
    command.add_argument(
        "--jobs",
        type=_positive,
        help="processes; default: one a core, and one alone for a GPU",
    )
    command.add_argument("--quiet", action="store_true", help="no progress bar")
    _add_table_options(command)
    _add_training_options(command)
    return command


def _add_fit(commands) -> argparse.ArgumentParser:
    command = commands.add_parser(
        "fit",
        help="fit one model and save it",
        description="Fit a model, on all rows, and save it. What it scores on held-out "
        "rows is measured with another one, fitted on the rest of the rows before.",
    )
    command.add_argument("file", help=f"table ({', '.join(READABLE)})")
    command.add_argument(
        "-o",
        "--out",
        required=True,
        action="append",
        metavar="FILE",
        help="a .safetensors file for the model, which holds no code; or, if the table "
        f"is of {CELLS}, another one for the table with the codes in obsm; repeat it "
        "for both",
    )
    command.add_argument(
        "--latent-dim",
        type=_positive,
        metavar="K",
        help="default: 10, or one fewer than columns if that is less; or the preset's",
    )
    command.add_argument(
        "--kld-weight",
        type=_weight,
        metavar="W",
        help='a number or "auto"; default: auto, or the preset\'s',
    )
    command.add_argument(
        "--test-fraction",
        type=_fraction,
        default=0.1,
        metavar="F",
        help="share of the rows to measure a first fit on; 0 saves the time and gives "
        "no figure; default: 0.1",
    )
    _add_table_options(command)
    _add_conditions(command)
    _add_training_options(command)
    return command


def _add_transform(commands) -> argparse.ArgumentParser:
    command = commands.add_parser(
        "transform",
        help="code rows with a saved model",
        description="Code rows. A .safetensors file holds no code; a .joblib file can "
        "run some: load only your own.",
    )
    command.add_argument("model", help="a file from fit or search")
    command.add_argument("file", help=f"table ({', '.join(READABLE)})")
    command.add_argument(
        "-o",
        "--out",
        required=True,
        metavar="CODES",
        help=f"{', '.join(WRITABLE)}; or {CELLS}, if the table is one, for all of it "
        "with the codes in obsm",
    )
    _add_table_options(command)
    _add_conditions(command)
    return command


def _add_table_options(command) -> None:
    """What every command that reads a table takes."""
    command.add_argument(
        "--label", metavar="NAME", help="column that holds labels, no feature"
    )
    command.add_argument(
        "--index",
        metavar="NAME",
        help="column that holds names of rows; default: a first column without a name",
    )
    command.add_argument(
        "--numeric-only", action="store_true", help="leave out columns of text"
    )
    command.add_argument(
        "--sep",
        type=_separator,
        metavar="CHAR",
        help="what separates columns of text; default: a comma, or a tab in .tsv",
    )
    command.add_argument(
        "--decimal",
        choices=(".", ","),
        metavar="CHAR",
        default=".",
        help="decimal point of text; default: .",
    )
    command.add_argument(
        "--layer", metavar="NAME", help=f"layer of {CELLS} to read in place of X"
    )


def _add_conditions(command) -> None:
    """What every command that passes conditions to the model takes."""
    command.add_argument(
        "--condition",
        action="append",
        default=[],
        metavar="OBS",
        help=f"column of obs of {CELLS} that the model gets as a condition; repeat it "
        "for more",
    )


def _add_training_options(command) -> None:
    """What every command that trains takes."""
    command.add_argument(
        "--preset",
        choices=tuple(ESTIMATORS),
        help="parameters to start from, as in from_preset; other flags overrule them",
    )
    command.add_argument(
        "--likelihood",
        # Tables of the command line are of numbers.
        choices=tuple(name for name in LIKELIHOODS if name != "mixed"),
        help="noise of a VAETransformer; counts, bits and categories are taken as they "
        "are, not standardised; default: the estimator's",
    )
    command.add_argument(
        "--hidden-dims",
        nargs="*",
        type=_positive,
        metavar="H",
        help="widths of the hidden layers; no number at all is a linear model",
    )
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
    command.add_argument("--seed", type=_seed, default=0, help="default: 0")


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least}")
    return int(text)


def _positive(text: str) -> int:
    return _whole(text, 1)


def _folds(text: str) -> int:
    return _whole(text, 2)


def _seed(text: str) -> int:
    seed = _whole(text, 0)
    if seed >= 2**32:
        raise argparse.ArgumentTypeError(f"{text} is not below 2**32")
    return seed


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


def _fraction(text: str) -> float:
    value = _non_negative(text)
    if value >= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not below 1")
    return value


def _separator(text: str) -> str:
    text = {"\\t": "\t", "tab": "\t"}.get(text, text)
    if len(text) != 1 or text in "\r\n\"'" or text.isalnum():
        raise argparse.ArgumentTypeError(f"{text!r} is not a character that separates")
    return text
