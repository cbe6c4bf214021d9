"""Every block of Python in the README and in the manual runs, from top to bottom."""

from pathlib import Path

import pytest

document = pytest.importorskip("sybil.document")
myst = pytest.importorskip("sybil.parsers.myst")

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]


def blocks_of(page: Path) -> list:
    parsers = [myst.PythonCodeBlockParser(), myst.SkipParser()]
    return list(document.Document.parse(str(page), *parsers).examples())


@pytest.mark.parametrize(
    "page", filter(blocks_of, PAGES), ids=lambda page: str(page.relative_to(ROOT))
)
def test_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for block in blocks_of(page):
        block.evaluate()


def test_there_are_pages_that_run():
    assert sum(bool(blocks_of(page)) for page in PAGES) > 10
