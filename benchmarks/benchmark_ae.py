"""Compare runs: a table, in CSV and Markdown, and pictures of the best.

    python benchmarks/benchmark_ae.py --dir RUNS

RUNS is a directory that ``benchmarks/train.py`` or ``python -m skvae search --out``
wrote, or one above. All measures are of held-out rows, in the units that the model saw:
``elbo``, ``iw_bound`` (importance-weighted, 64 samples) and ``rate`` (KL) in nats per
row; ``mse`` over elements; ``pearson_rows`` between rows and their reconstructions, a
mean; ``pearson_features`` between the means of features and of their reconstructions;
``knn_accuracy`` of 15 nearest neighbours on the codes. Exit status: 0 on success, 1 if
every run failed, 2 if there is no run or a file cannot be written.
"""

import argparse
import csv
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _pictures import draw_codes, draw_features, draw_rate_distortion

from skvae.cli.runs import FinishedRun, RunError, find_runs, read_run

# Column: how the Markdown table prints it.
COLUMNS = {
    "estimator": "",
    "kld_weight": ".2g",
    "beta": ".3g",
    "latent_dim": "d",
    "elbo": ".2f",
    "iw_bound": ".2f",
    "rate": ".2f",
    "active_units": "d",
    "mse": ".4g",
    "pearson_rows": ".3f",
    "pearson_features": ".3f",
    "knn_accuracy": ".3f",
    "n_iter": "d",
    "seconds": ".1f",
}
RULE = "|-"
DIFFERENT_ROWS = (
    "The runs held out different rows: ELBO and MSE compare only between runs of the "
    "same table and seed."
)


class Failure(NamedTuple):
    """A directory that holds no finished run."""

    directory: Path
    reason: str


def collect(root: Path) -> tuple[list[FinishedRun], list[Failure]]:
    """Finished runs, best first, and the others.

    Best is by held-out ELBO; models that have none come behind, by held-out MSE.
    """
    runs, failures = [], []
    for directory in find_runs(root):
        try:
            runs.append(read_run(directory))
        except RunError as error:
            failures.append(Failure(directory, str(error)))
    return sorted(runs, key=_rank), failures


def _rank(run: FinishedRun) -> tuple[bool, float]:
    elbo = run.metrics["elbo"]
    return (True, run.metrics["mse"]) if elbo is None else (False, -elbo)


def best_by_elbo(runs: list[FinishedRun]) -> FinishedRun | None:
    """The run to mark: None where no model has a likelihood."""
    return runs[0] if runs and runs[0].metrics["elbo"] is not None else None


def same_rows(runs: list[FinishedRun]) -> bool:
    """Whether the runs held out the same rows, as far as means and variances tell."""
    first = runs[0].arrays
    return all(
        run.arrays[name].shape == first[name].shape
        and np.allclose(run.arrays[name], first[name], rtol=1e-4, atol=1e-7)
        for run in runs
        for name in ("mean", "variance")
    )


def name_of(directory: Path, root: Path) -> str:
    return directory.relative_to(root).as_posix() if directory != root else root.name


def write_csv(path: Path, root: Path, runs, failures) -> None:
    """One line a run, numbers in full; failures with their reason."""
    best = best_by_elbo(runs)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["run", "best", *COLUMNS, "error"])
        for run in runs:
            values = ["" if (v := run.metrics.get(c)) is None else v for c in COLUMNS]
            writer.writerow([name_of(run.directory, root), run is best, *values, ""])
        for directory, reason in failures:
            blank = [""] * len(COLUMNS)
            writer.writerow([name_of(directory, root), False, *blank, reason])


def markdown(root: Path, runs, failures) -> str:
    """The table, then what failed."""
    best = best_by_elbo(runs)
    lines = []
    if runs:
        shown = [c for c in COLUMNS if any(r.metrics.get(c) is not None for r in runs)]
        lines += [_line(["run", *shown]), RULE * (len(shown) + 1) + "|"]
        for run in runs:
            name = _escaped(name_of(run.directory, root))
            cells = [_cell(run.metrics.get(c), COLUMNS[c]) for c in shown]
            lines.append(_line([f"**{name}** (best)" if run is best else name, *cells]))
        lines += ["", "Held out; ELBO, bound and rate in nats per row. Best: by ELBO."]
        if best is None:
            lines[-1] = "Held out. No run has an ELBO, so none is marked as the best."
        if not same_rows(runs):
            lines += ["", f"**{DIFFERENT_ROWS}**"]
    if failures:
        lines += [""] * bool(lines)
        lines += [_line(["no result", "reason"]), RULE * 2 + "|"]
        for directory, reason in failures:
            lines.append(_line([_escaped(name_of(directory, root)), _escaped(reason)]))
    return "\n".join(lines) + "\n"


def _line(cells) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value, style: str) -> str:
    return "" if value is None else f"{value:{style}}"


def _escaped(text: str) -> str:
    return text.replace("|", r"\|")


def draw(out: Path, root: Path, runs: list[FinishedRun]) -> list[Path]:
    """The pictures that these runs have; returns their paths."""
    shown = runs[0]
    title = name_of(shown.directory, root)
    drawn = [out / "features.png", out / "latent.png"]
    draw_features(drawn[0], shown, title)
    draw_codes(drawn[1], shown, title)
    if best_by_elbo(runs) is not None:
        drawn.append(out / "rate_distortion.png")
        draw_rate_distortion(drawn[-1], runs)
    return drawn


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dir", required=True, metavar="RUNS", help="where runs are")
    parser.add_argument("--out", metavar="DIR", help="where to write; default: RUNS")
    args = parser.parse_args(argv)
    root, out = Path(args.dir), Path(args.out or args.dir)
    try:
        return compare(root, out)
    except (OSError, RunError) as error:
        print(f"benchmark_ae.py: error: {error}", file=sys.stderr)
        return 2


def compare(root: Path, out: Path) -> int:
    """Write the table and the pictures; returns the exit status.

    Raises
    ------
    RunError
        If there is nothing to compare.
    """
    if not root.is_dir():
        raise RunError(f"{root}: no such directory")
    runs, failures = collect(root)
    if not runs and not failures:
        raise RunError(f"{root}: no run in it (no directory with a config.json)")
    out.mkdir(parents=True, exist_ok=True)
    written = [out / "benchmark.csv", out / "benchmark.md"]
    write_csv(written[0], root, runs, failures)
    text = markdown(root, runs, failures)
    written[1].write_text(text, encoding="utf-8")
    print(text)
    if runs:
        written += draw(out, root, runs)
        if best_by_elbo(runs) is None:
            print("no rate_distortion.png: no run has a rate")
    print(f"wrote {', '.join(map(str, written))}")
    return 0 if runs else 1


if __name__ == "__main__":
    sys.exit(main())
