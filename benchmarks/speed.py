"""How long a fit takes beside the same model in other hands, in alternating rounds.

    python benchmarks/speed.py --rounds 5 --out speed.json

The same model (batch normalisation, GELU, dropout 0.1, Adam with a learning rate of
1e-4, ``kld_weight`` 1e-5) trained by skvae, by a plain PyTorch loop (one tensor,
permuted indices, no DataLoader), by skorch, and by libraries that are in part made for
something else: where one cannot take the model, its note says what it takes instead.
Libraries get virtual environments of their own, made on first use.

Timed is a fit from the table in memory, an array or a CSR matrix, to the fitted model.
Contenders take turns, one fit each a round, in processes that have paid for imports
with a small fit before. Ratios are of medians, to the plain loop, with the range over
rounds; memory is the peak of the process above what it had before its first fit, or on
a GPU that of torch's allocations. Machines are noisy: trust the ratios of one run, not
its seconds.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from _contenders import CONTENDERS, REFERENCE
from _environments import EnvironmentFailed, environment
from _machine import machine
from _rounds import Job, Results, alternate
from _workloads import WORKLOADS, Workload, make_table, save_table

HEADER = (
    "| contender | seconds | ratio | of rounds | peak memory, MB | note |\n"
    "|-|-|-|-|-|-|"
)


def pythons(names: Iterable[str], envs: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Interpreters by contender, and why there is none."""
    found, failures = {}, {}
    for name in names:
        requirements = CONTENDERS[name].requirements
        try:
            found[name] = (
                environment(envs / name, requirements)
                if requirements
                else Path(sys.executable)
            )
        except (EnvironmentFailed, OSError) as error:
            failures[name] = f"no environment: {error}"
    return found, failures


def compare(
    w: Workload,
    interpreters: Mapping[str, Path],
    args: argparse.Namespace,
    failures: Mapping[str, str],
) -> Results:
    """Rounds of one workload with everyone who can take its table."""
    missing = {n: why for n, why in failures.items() if w.kind in CONTENDERS[n].kinds}
    with tempfile.TemporaryDirectory() as folder:
        table = save_table(make_table(w), Path(folder) / "table")
        jobs = [
            Job(python, name, w, table, device_of(name, args.device))
            for name, python in interpreters.items()
            if w.kind in CONTENDERS[name].kinds
        ]
        return alternate(
            jobs, args.rounds, Path(folder), threads=args.threads, failures=missing
        )


def device_of(name: str, device: str) -> str:
    """Where a contender computes: not all can on a GPU."""
    return device if device in CONTENDERS[name].devices else "cpu"


def lines(
    names: Iterable[str], w: Workload, results: Results, device: str
) -> Iterator[str]:
    """Rows of the Markdown table."""
    reference = results.seconds.get(REFERENCE, [])
    for name in names:
        figures = _figures(results.seconds.get(name, []), reference)
        peak = results.peak_mb.get(name)
        figures.append("" if peak is None else f"{peak:.0f}")
        note = _note(name, w, results, device).replace("|", "\\|")
        yield f"| {' | '.join([name, *figures, note])} |"


def _figures(seconds: Sequence[float], reference: Sequence[float]) -> list[str]:
    """Seconds, their ratio to the reference, and its range; "" where there is none."""
    if not seconds:
        return ["", "", ""]
    cells = [_rounded(median(seconds))]
    # One of the two may have failed in a later round.
    both = list(zip(seconds, reference, strict=False))
    if not both:
        return [*cells, "", ""]
    each = [ours / plain for ours, plain in both]
    ratio = median(seconds) / median(reference)
    return [*cells, _rounded(ratio), f"{_rounded(min(each))} to {_rounded(max(each))}"]


def _rounded(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def _note(name: str, w: Workload, results: Results, device: str) -> str:
    """In what a contender differs, or why there are no figures."""
    contender = CONTENDERS[name]
    if w.kind not in contender.kinds:
        return f"not run: it models {' and '.join(contender.kinds)}"
    if name in results.failures:
        return f"failed: {results.failures[name]}"
    parts = [contender.note]
    if device != device_of(name, device):
        parts.append("on the CPU, and memory is the host's")
    torches = [results.versions.get(n, {}).get("torch") for n in (name, REFERENCE)]
    if all(torches) and torches[0] != torches[1]:
        parts.append(f"torch {torches[0]}")
    return "; ".join(parts)


def report(args: argparse.Namespace, workloads: Mapping[str, Any]) -> None:
    """Write all of it as JSON."""
    whole = {
        "machine": machine(args.threads),
        "device": args.device,
        "rounds": args.rounds,
        "reference": REFERENCE,
        "workloads": workloads,
    }
    Path(args.out).write_text(f"{json.dumps(whole, indent=2)}\n")


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=[*WORKLOADS])
    parser.add_argument(
        "--contenders",
        nargs="+",
        choices=CONTENDERS,
        help=f"some of them; the {REFERENCE} always runs",
    )
    parser.add_argument("--rounds", type=_positive, default=5)
    parser.add_argument("--epochs", type=_positive, help="instead of the workload's")
    parser.add_argument("--threads", type=_positive, help="of every contender")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    envs = Path(__file__).with_name(".envs")
    parser.add_argument("--envs", metavar="DIR", type=Path, default=envs)
    parser.add_argument("--out", metavar="JSON", help="also write all of it there")
    args = parser.parse_args(argv)
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error(f"--device cuda: torch {torch.__version__} sees no GPU here")
    for name in args.contenders or ():
        if args.device == "cpu" and "cpu" not in CONTENDERS[name].devices:
            parser.error(f"the {name} needs --device cuda")
    return args


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number


def main(argv: Sequence[str] | None = None) -> int:
    args = parsed(argv)
    names = [
        name
        for name, contender in CONTENDERS.items()
        if (args.contenders is None or name in {*args.contenders, REFERENCE})
        and not (args.device == "cpu" and "cpu" not in contender.devices)
    ]
    kinds = {WORKLOADS[key].kind for key in args.only}
    needed = [name for name in names if kinds & {*CONTENDERS[name].kinds}]
    interpreters, failures = pythons(needed, args.envs)
    finished: dict[str, Any] = {}
    if args.out is not None:
        # A path that cannot be written to is to fail now, and not after an hour.
        report(args, finished)
    for key in args.only:
        w = WORKLOADS[key]
        if args.epochs is not None:
            w = w._replace(epochs=args.epochs)
        results = compare(w, interpreters, args, failures)
        print(f"\n{key}: {w}\n\n{HEADER}")
        print("\n".join(lines(names, w, results, args.device)), flush=True)
        finished[key] = {"workload": w._asdict(), **results._asdict()}
        if args.out is not None:
            report(args, finished)
    return int(any(done["failures"] for done in finished.values()))


if __name__ == "__main__":
    sys.exit(main())
