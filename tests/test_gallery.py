"""The gallery's examples run, draw what can be read, and use the public API alone."""

import ast
import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from _drawn import assert_legible

EXAMPLES = sorted((Path(__file__).parents[1] / "docs" / "examples").glob("*.py"))
MOST_LINES = 85


def test_there_are_ten_or_more():
    assert len(EXAMPLES) >= 10
    assert all(path.name.startswith("plot_") for path in EXAMPLES)


@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path, capsys):
    runpy.run_path(str(path), run_name="__main__")
    numbers = plt.get_fignums()
    assert numbers
    for number in numbers:
        figure = plt.figure(number)
        if figure.get_size_inches()[0] < 8:  # wider ones are scaled down by the theme
            assert_legible(figure)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_short_script_of_the_gallery(path):
    text = path.read_text(encoding="utf-8")
    title, rule = ast.get_docstring(ast.parse(text)).splitlines()[:2]
    assert rule == "=" * len(title)
    assert len(text.splitlines()) <= MOST_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            names = [*node.module.split("."), *(alias.name for alias in node.names)]
            assert not any(name.startswith("_") for name in names)
