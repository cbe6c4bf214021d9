"""The order of imports: a room imports what stands behind it, nothing before."""

import ast
from pathlib import Path

import pytest

import skvae

ORDER = [
    *(
        "__main__",
        "cli",
        "anndata",
        "files",
        "imputer",
        "outlier",
        "onnx",
        "_onnx",
        "callbacks",
        "inspection",
        "_diagnosis",
        "metrics",
        "_disentanglement",
        "vae",
        "_imputing",
        "_generative",
        "ae",
        "rae",
        "sae",
        "_penalised",
    ),
    *("_base", "_coding", "_inference", "_tables", "_streams"),
    *(
        "_named_columns",
        "presets",
        "exceptions",
        "_training",
        "_engine",
        "_evaluation",
        "_objectives",
    ),
    *("_likelihoods", "_nn", "_linear", "_data", "_kernels", "_utils", "_version"),
]
PACKAGE = Path(skvae.__file__).parent
CATALOGUE = PACKAGE / "__init__.py"  # which imports them all
FILES = sorted(file for file in PACKAGE.rglob("*.py") if file != CATALOGUE)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_every_import_points_down(file):
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == len(parts):
            names = [node.module] if node.module else [a.name for a in node.names]
            for name in names:
                room = name.split(".")[0]
                assert ORDER.index(room) > ORDER.index(parts[0]), f"imports {name}"


def test_skorch_and_the_engine_have_one_door_each():
    for file in FILES:
        room = file.relative_to(PACKAGE).parts[0]
        for node in ast.walk(ast.parse(file.read_text())):
            name = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            if "_engine" in name and room != "_engine":
                assert name == "_engine.stepper", file
            if name.split(".")[0] == "skorch":
                assert file.name == "skorch_parts.py", file
