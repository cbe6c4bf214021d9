"""SDV for ``synthetic.py``, run in an environment that has it.

    python benchmarks/_sdv_worker.py make NAME SEED TRAIN MADE
    python benchmarks/_sdv_worker.py judge REAL MADE FOUND

Synthesizers are at their defaults, and on the CPU.
"""

import json
import random
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sdmetrics.reports.single_table import QualityReport
from sdv.metadata import Metadata
from sdv.single_table import GaussianCopulaSynthesizer, TVAESynthesizer


def metadata_of(table: pd.DataFrame) -> Metadata:
    found = Metadata()
    found.add_table("rows")
    for name, column in table.items():
        kind = "numerical" if column.dtype.kind in "if" else "categorical"
        found.add_column(table_name="rows", column_name=name, sdtype=kind)
    return found


def make(name: str, seed: str, given: str, made: str) -> None:
    random.seed(int(seed))
    np.random.seed(int(seed))
    torch.manual_seed(int(seed))
    table = pd.read_csv(given)
    if name == "TVAE":
        model = TVAESynthesizer(metadata_of(table), enable_gpu=False)
    else:
        model = GaussianCopulaSynthesizer(metadata_of(table))
    model.fit({"rows": table})
    model.sample(len(table))["rows"].to_csv(made, index=False)


def judge(real: str, made: str, found: str) -> None:
    tables = [pd.read_csv(path) for path in (real, made)]
    metadata = metadata_of(tables[0]).to_dict()["tables"]["rows"]
    report = QualityReport()
    report.generate(*tables, metadata, verbose=False)
    scores = report.get_properties().set_index("Property")["Score"]
    shapes = report.get_details("Column Shapes").set_index("Column")["Score"]
    numbers = {
        "shapes": float(scores["Column Shapes"]),
        "trends": float(scores["Column Pair Trends"]),
        "columns": {name: float(value) for name, value in shapes.items()},
    }
    Path(found).write_text(json.dumps(numbers))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    {"make": make, "judge": judge}[sys.argv[1]](*sys.argv[2:])
