"""Rows that are made up: ``VAETransformer(likelihood="mixed")`` beside SDV's.

    python benchmarks/synthetic.py --data adult.csv --sdv PYTHON --out synthetic.json

Of the census table, in which "?" is a missing value, ``--rows`` rows are trained on and
as many are held out; every contender makes as many rows up. ``--sdv`` names an
interpreter that has sdv (2), which fits TVAE and GaussianCopula at their defaults and
judges all tables; without it there are the measures that need none.

- shapes, trends: SDMetrics' column shapes and column pair trends, 0 to 1, against the
  training rows; of "held out", what other real rows have.
- accuracy, AUC: of income, predicted for the held-out rows by gradient boosting that
  was trained on the made-up rows (on real ones: "training rows").
- copies: share of the made-up rows that are a training row, every column of it.
- closeness: median distance to the closest training row over that to the closest
  held-out row; below 1 where training rows are learnt by heart. Numbers count by their
  ranks, and every other column is the same or not.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _machine import machine
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, QuantileTransformer

from skvae import VAETransformer

HERE = Path(__file__).parent
TARGET = "income"
SDV = ("TVAE", "GaussianCopula")
MEASURES = ("shapes", "trends", "accuracy", "auc", "copies", "closeness", "seconds")
# Rows whose closest ones are looked for.
MOST_COMPARED = 2000


def load(path: Path, n_rows: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training rows, and as many others."""
    table = pd.read_csv(path, na_values="?", skipinitialspace=True)
    drawn = table.sample(min(2 * n_rows, len(table)), random_state=seed)
    half = len(drawn) // 2
    return drawn[:half].reset_index(drop=True), drawn[half:].reset_index(drop=True)


def of_skvae(train: pd.DataFrame, seed: int, epochs: int | None) -> pd.DataFrame:
    params = {} if epochs is None else {"max_epochs": epochs}
    vae = VAETransformer(likelihood="mixed", random_state=seed, **params).fit(train)
    return vae.sample(len(train), random_state=seed)


def of_sdv(python: str, name: str, train: pd.DataFrame, seed: int) -> pd.DataFrame:
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder, "train.csv"), Path(folder, "made.csv")
        train.to_csv(given, index=False)
        _run(python, "make", name, str(seed), str(given), str(made))
        return pd.read_csv(made)


def judged(python: str, real: pd.DataFrame, made: pd.DataFrame) -> dict[str, Any]:
    """Column shapes and pair trends, and the shapes of every column."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("real.csv", "made.csv", "found.json")]
        for table, path in zip((real, made), paths, strict=False):
            table.to_csv(path, index=False)
        _run(python, "judge", *map(str, paths))
        return json.loads(paths[2].read_text())


def _run(python: str, *arguments: str) -> None:
    worker = [python, str(HERE / "_sdv_worker.py"), *arguments]
    done = subprocess.run(worker, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2])


def of_income(train: pd.DataFrame, test: pd.DataFrame) -> dict[str, float]:
    """How well gradient boosting that was trained on some rows predicts others."""
    words = make_column_selector(dtype_exclude=np.number)
    coded = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    model = make_pipeline(
        make_column_transformer((coded, words), remainder="passthrough"),
        HistGradientBoostingClassifier(random_state=0),
    )
    labels = train[TARGET] == ">50K"
    if labels.nunique() < 2:
        return {"accuracy": float("nan"), "auc": float("nan")}
    model.fit(train.drop(columns=TARGET), labels)
    chance = model.predict_proba(test.drop(columns=TARGET))[:, 1]
    truth = test[TARGET] == ">50K"
    return {
        "accuracy": float(accuracy_score(truth, chance > 0.5)),
        "auc": float(roc_auc_score(truth, chance)),
    }


def of_copies(
    train: pd.DataFrame, test: pd.DataFrame, made: pd.DataFrame
) -> dict[str, float]:
    """Share of copies, and how much closer training rows are than others."""
    known = set(map(tuple, train.astype(str).to_numpy()))
    copies = [tuple(row) in known for row in made.astype(str).to_numpy()]
    words = make_column_selector(dtype_exclude=np.number)
    numbers = make_column_selector(dtype_include=np.number)
    encoder = make_column_transformer(
        (QuantileTransformer(n_quantiles=200), numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), words),
    ).fit(pd.concat([train, test]))
    few = made[:MOST_COMPARED]
    own, other = (
        NearestNeighbors(n_neighbors=1, metric="manhattan")
        .fit(np.nan_to_num(encoder.transform(rows[:MOST_COMPARED])))
        .kneighbors(np.nan_to_num(encoder.transform(few)))[0][:, 0]
        for rows in (train, test)
    )
    return {
        "copies": float(np.mean(copies)),
        "closeness": float(np.median(own) / max(np.median(other), 1e-12)),
    }


def measured(
    train: pd.DataFrame, test: pd.DataFrame, made: pd.DataFrame, python: str | None
) -> dict[str, Any]:
    found: dict[str, Any] = {**of_income(made, test), **of_copies(train, test, made)}
    if python is not None:
        found |= judged(python, train, made)
    return found


def rounds(args) -> dict[str, list[dict[str, Any]]]:
    """Numbers of all contenders, one a seed."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for seed in range(args.seeds):
        train, test = load(args.data, args.rows, seed)
        made = {"training rows": (train, 0.0), "held out": (test, 0.0)}
        for name in ("skvae", *(SDV if args.sdv else ())):
            start = time.perf_counter()
            if name == "skvae":
                found = of_skvae(train, seed, args.epochs)
            else:
                found = of_sdv(args.sdv, name, train, seed)
            made[name] = found, time.perf_counter() - start
        for name, (table, seconds) in made.items():
            numbers = measured(train, test, table, args.sdv)
            if name == "held out":  # which predictions are made for
                del numbers["accuracy"], numbers["auc"], numbers["closeness"]
            rows.setdefault(name, []).append({**numbers, "seconds": seconds})
            print(seed, name, rows[name][-1], file=sys.stderr, flush=True)
    return rows


def as_table(rows: dict[str, list[dict[str, Any]]]) -> str:
    """Means over seeds in Markdown."""
    lines = [f"| | {' | '.join(MEASURES)} |", "|-" * (1 + len(MEASURES)) + "|"]
    for name, found in rows.items():
        cells = []
        for key in MEASURES:
            values = [row[key] for row in found if key in row]
            digits = 1 if key == "seconds" else 3
            cells.append(f"{np.mean(values):.{digits}f}" if values else "")
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines)


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="adult.csv")
    parser.add_argument("--sdv", help="interpreter that has sdv")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="of skvae")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    rows = rounds(args)
    print(as_table(rows))
    if args.out is not None:
        args.out.write_text(json.dumps({"machine": machine(1), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
