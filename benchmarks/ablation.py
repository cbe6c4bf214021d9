"""What each optimisation of a fit buys: each one off in turn, beside all of them on.

    python benchmarks/ablation.py --rounds 7 --out ablation.json

The fits are those of skvae in ``speed.py``. Variants take turns in one process, a fit
each a round, in another order each round. Ratios are of medians, a piece off to the
same with it on, with the range over rounds: 1.10 means that a fit takes a tenth longer
without the piece. The ratio of the fastest fits is what neighbours disturb least. A
piece that needs another is compared with a variant that has that one off, too. What a
workload or a CPU does not use is not timed.

``--threads 1 --cpu-time`` counts the seconds of one thread on a core: what neighbours
on a busy machine take away is then not counted.
"""

import argparse
import gc
import json
import os
import random
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from unittest import mock

import torch
import torch.nn.functional as F
from _contenders import fit_skvae
from _machine import machine
from _workloads import WORKLOADS, Workload, make_table, small_one

from skvae._data import dataset
from skvae._engine import flat_adamw, gradients
from skvae._kernels import onednn, surroundings, threads, wide
from skvae._kernels import sparse as products
from skvae._nn import autoencoder
from skvae._training import begin, net

ON = "everything on"
HEADER = "| off | seconds | ratio | of rounds | of the fastest |\n|-|-|-|-|-|"
Patch = tuple[Any, str, Any]


def never(*args: Any) -> bool:
    return False


def drawn_masks(x, widths, rate, generator):
    """``dropout_masks``, a draw a unit and a call a layer."""
    return [
        torch.empty(len(x), width, dtype=x.dtype, device=x.device)
        .bernoulli_(1.0 - rate, generator=generator)
        .div_(1.0 - rate)
        for width in widths
    ]


_build_net = begin.build_net


def net_without_fused(**params: Any) -> net.EpochNet:
    """``build_net``, with torch's ``foreach`` in place of its fused kernel."""
    built = _build_net(**params)
    built.set_params(optimizer__fused=False, optimizer__foreach=True)
    return built


class Piece(NamedTuple):
    """What is patched to switch it off, and environment variables likewise.

    ``beside`` is the variant that it is compared with.
    """

    patches: Sequence[Patch] = ()
    environment: dict[str, str] = {}
    used: Callable[[Workload], bool] = lambda w: True
    beside: str = ON

    def off(self) -> AbstractContextManager[Any]:
        """Inside, the piece is off."""
        stack = ExitStack()
        stack.enter_context(mock.patch.dict(os.environ, self.environment))
        for owner, name, replacement in self.patches:
            stack.enter_context(mock.patch.object(owner, name, replacement))
        return stack


def is_sparse(w: Workload) -> bool:
    return w.density is not None


def is_dense(w: Workload) -> bool:
    return not is_sparse(w)


def is_wide(w: Workload) -> bool:
    return wide.BLOCKS_PAY and w.columns >= wide.WIDE


def meets_small(w: Workload) -> bool:
    return w.columns * w.hidden_dims[0] <= products.SMALL


def is_small(w: Workload) -> bool:
    """Whether the update of its network is flat."""
    widths = (w.columns, *w.hidden_dims, w.latent_dim)
    halves = sum(a * b for a, b in pairwise(widths))
    return 2 * halves <= flat_adamw.SMALL


_DERIVED: Patch = (gradients.Gradients, "covered", never)
_FLAT: Patch = (flat_adamw, "_is_plain", never)
_FUSED: Patch = (begin, "build_net", net_without_fused)
_NO_FLAT = "flat update"
# The whole of a large table in one chunk, or block.
_HUGE = sys.maxsize

PIECES = {
    _NO_FLAT: Piece([_FLAT], used=is_small),
    "derived gradients": Piece([_FLAT, _DERIVED], beside=_NO_FLAT),
    "fused AdamW": Piece([_FLAT, _FUSED], beside=_NO_FLAT),
    "derived gradients and flat update": Piece([_DERIVED]),
    "all three": Piece([_DERIVED, _FUSED]),
    "dropout from 16-bit lanes": Piece([(autoencoder, "dropout_masks", drawn_masks)]),
    "oneDNN's products": Piece(
        [(surroundings, "onednn_matmul", nullcontext)],
        used=lambda w: onednn.is_exact(),
    ),
    "blocks of wide_linear": Piece(
        [(m, "wide_linear", F.linear) for m in (autoencoder, gradients)], used=is_wide
    ),
    "products of nonzeros": Piece(
        [(dataset, "multiplies_nonzeros", never)], used=is_sparse
    ),
    "blocks of columns of nonzeros": Piece(
        [(products, "BLOCK_ENTRIES", _HUGE)], used=is_sparse
    ),
    "small weights times all entries": Piece(
        [(products, "SMALL", 0)], used=lambda w: is_sparse(w) and meets_small(w)
    ),
    "resident rows": Piece([(dataset, "fits", never)], used=is_dense),
    "chunks of 2048 rows": Piece([(dataset, "CHUNK_ROWS", _HUGE)]),
    "threads by the work": Piece(
        environment={threads.OVERRIDE: str(os.cpu_count() or 1)}
    ),
}


def seconds(
    w: Workload, variants: dict[str, Piece], rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds of a fit with each piece off, once a round."""
    X, small = make_table(w), small_one(w)
    found: dict[str, list[float]] = {name: [] for name in variants}
    for piece in variants.values():  # for lazy imports
        with piece.off():
            fit_skvae(make_table(small), small, "cpu")
    names = [*variants]
    for number in range(rounds):
        random.Random(number).shuffle(names)
        for name in names:
            gc.collect()
            with variants[name].off():
                start = clock()
                fit_skvae(X, w, "cpu")
                found[name].append(clock() - start)
    return found


def variants_of(w: Workload, chosen: Iterable[str]) -> dict[str, Piece]:
    """The pieces to switch off in turn, and what they are compared with."""
    used = {name: PIECES[name] for name in chosen if PIECES[name].used(w)}
    beside = {piece.beside for piece in used.values()} - {ON}
    return {ON: Piece(), **{name: PIECES[name] for name in beside}, **used}


def row(name: str, found: dict[str, list[float]]) -> str:
    """A line of the Markdown table."""
    if name not in found:
        return f"| {name} | | not used | | |"
    beside = PIECES[name].beside if name in PIECES else ON
    each = [a / b for a, b in zip(found[name], found[beside], strict=True)]
    ratio = median(found[name]) / median(found[beside])
    fastest = min(found[name]) / min(found[beside])
    label = name if beside == ON else f"{name}, without {beside}"
    return (
        f"| {label} | {median(found[name]):.2f} | {ratio:.2f} | "
        f"{min(each):.2f} to {max(each):.2f} | {fastest:.2f} |"
    )


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=[*WORKLOADS])
    parser.add_argument("--pieces", nargs="+", choices=PIECES, default=[*PIECES])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, help="instead of the workload's")
    parser.add_argument("--threads", type=int, help="instead of skvae's own choice")
    parser.add_argument("--cpu-time", action="store_true", help="with --threads 1")
    parser.add_argument("--out", metavar="JSON", help="also write all of it there")
    args = parser.parse_args(argv)
    for name in ("rounds", "epochs", "threads"):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f"--{name} must be positive")
    if args.cpu_time and args.threads != 1:
        parser.error("--cpu-time adds up threads that wait: it needs --threads 1")
    if args.threads is not None:
        args.pieces = [n for n in args.pieces if not PIECES[n].environment]
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parsed(argv)
    limit = {} if args.threads is None else {threads.OVERRIDE: str(args.threads)}
    whole: dict[str, Any] = {"machine": machine(args.threads), **vars(args)}
    for key in args.only:
        w = WORKLOADS[key]
        if args.epochs is not None:
            w = w._replace(epochs=args.epochs)
        clock = time.process_time if args.cpu_time else time.perf_counter
        with mock.patch.dict(os.environ, limit), warnings.catch_warnings():
            # So few steps from nowhere train nothing, and say so.
            warnings.simplefilter("ignore")
            found = seconds(w, variants_of(w, args.pieces), args.rounds, clock)
        print(f"\n{key}: {w}\n\n{HEADER}")
        names = [*found, *(n for n in args.pieces if n not in found)]
        print("\n".join(row(name, found) for name in names), flush=True)
        whole[key] = found
        if args.out is not None:
            Path(args.out).write_text(f"{json.dumps(whole, indent=2)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
