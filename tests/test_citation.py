"""CITATION.cff has what version 1.2.0 of the format requires, and says what is true."""

import tomllib
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[1]


def test_citation_has_what_the_format_requires():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert cited["cff-version"] == "1.2.0"
    assert cited["title"].startswith(project["name"])
    assert cited["license"] == project["license"]
    assert cited["authors"]
    assert cited["message"]
    for work in cited["references"]:
        assert {"type", "title", "authors"} <= set(work)
