"""The parser of ``python -m skvae``, for sphinx-argparse, which calls it for none."""

from skvae.cli.flags import make_parser


def parser():
    """One whose commands do nothing."""
    return make_parser(*[lambda args: None] * 3)
