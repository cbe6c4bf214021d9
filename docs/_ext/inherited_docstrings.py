"""Docstrings that come from scikit-learn point into its manual, which is not ours."""

import re

GUIDE = "https://scikit-learn.org/stable/"
PAGES = {
    "metadata_routing": "metadata_routing.html",
    "sphx_glr_auto_examples_miscellaneous_plot_set_output.py": (
        "auto_examples/miscellaneous/plot_set_output.html"
    ),
}
ROLE = re.compile(r":(?:ref|term):`(?P<text>[^`<]+?)(?:\s*<(?P<label>[^>]+)>)?`")


def _link(found: re.Match) -> str:
    text, label = found["text"], found["label"] or found["text"]
    if label not in PAGES:
        return text
    shown = text if found["label"] else "an example"
    return f"`{shown} <{GUIDE}{PAGES[label]}>`__"


def link_to_guide(app, what, name, obj, options, lines) -> None:
    """Make such references links, or plain words."""
    lines[:] = ROLE.sub(_link, "\n".join(lines)).split("\n")


def setup(app) -> dict:
    """After numpydoc, which goes first."""
    app.connect("autodoc-process-docstring", link_to_guide, priority=900)
    return {"parallel_read_safe": True}
