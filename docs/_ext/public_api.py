"""Writes ``api/index.rst``: every public name of the package, and nothing by hand.

A public module is one without an underscore that has an ``__all__`` with more in it
than the catalogue, ``skvae.__all__``, has already.
"""

import importlib
import pkgutil
from pathlib import Path

import skvae

#: Modules that have pages of their own, or none.
ELSEWHERE = {"cli"}
HEAD = """\
.. Written by _ext/public_api.py.

API reference
=============

Every public name. The :doc:`command line </guide/command-line>` has a page of its own.

"""
SECTION = """\
.. _api-{module}:

{title}
{line}

.. automodule:: {module}
   :no-members:

.. currentmodule:: {module}

.. autosummary::
   :toctree: generated
   :nosignatures:

{names}

"""


def public_modules() -> list:
    """The package and its public modules, each with the names that are its own."""
    catalogue = [name for name in skvae.__all__ if not name.startswith("_")]
    found = [(skvae, catalogue)]
    for info in pkgutil.iter_modules(skvae.__path__):
        if info.name.startswith("_") or info.name in ELSEWHERE:
            continue
        module = importlib.import_module(f"skvae.{info.name}")
        names = [n for n in getattr(module, "__all__", []) if n not in catalogue]
        if names:
            found.append((module, names))
    return found


def write_pages(app, config) -> None:
    """Write the page where it is not what it should be."""
    parts = [HEAD]
    for module, names in public_modules():
        title = module.__name__
        listed = "\n".join(f"   {name}" for name in sorted(names))
        part = SECTION.format(
            module=module.__name__, title=title, line="-" * len(title), names=listed
        )
        parts.append(part)
    page = Path(app.srcdir) / "api" / "index.rst"
    text = "".join(parts)
    if not page.exists() or page.read_text() != text:
        page.parent.mkdir(exist_ok=True)
        page.write_text(text)


def setup(app) -> dict:
    """Before Sphinx looks for pages, in which autosummary then finds the names."""
    app.connect("config-inited", write_pages)
    return {"parallel_read_safe": True}
