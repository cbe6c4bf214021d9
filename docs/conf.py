"""How the manual is built: ``sphinx-build -W -n -b html docs docs/_build/html``.

Nothing is asked of the network. ``-t online`` links names of other packages to their
manuals, which takes their inventories from the web.
"""

import sys
import warnings
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

import skvae  # noqa: E402

project = "skvae"
author = "the skvae developers"
copyright = f"2026, {author}"
version = release = skvae.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxarg.ext",
    "public_api",
    "inherited_docstrings",
]
exclude_patterns = ["_build", "examples", "gallery/**/*.ipynb"]
templates_path = ["_templates"]
nitpick_ignore_regex = [
    # Without inventories nothing is known of other packages.
    (r"py:mod", r"copy|pickle"),
    (
        r"py:.*",
        r"(sklearn|skorch|torch|numpy|scipy|pandas|anndata|optuna|matplotlib|skops)\..*",
    ),
]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autosummary_ignore_module_all = False
numpydoc_show_class_members = False
autodoc_typehints = "none"  # docstrings say what types mean, too

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = f"skvae {version.partition('+')[0]}"
html_show_sourcelink = False
html_theme_options = {
    "navbar_align": "left",
    "show_nav_level": 2,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"install": [], "first-steps": [], "how-the-score-works": []}

if (HERE / "examples").is_dir():
    extensions.append("sphinx_gallery.gen_gallery")
    sphinx_gallery_conf = {
        "examples_dirs": "examples",
        "gallery_dirs": "gallery",
        "filename_pattern": r"[\\/]plot_",
        "backreferences_dir": None,
        "download_all_examples": False,
        "show_memory": False,
        "show_signature": False,
        "abort_on_example_error": True,
        "min_reported_time": 10,
    }
    # What an example warns of is a fault of the example, as in the tests.
    warnings.filterwarnings("error", module=r"skvae")

if tags.has("online"):  # noqa: F821, which Sphinx defines
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "skorch": ("https://skorch.readthedocs.io/en/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "anndata": ("https://anndata.readthedocs.io/en/stable", None),
    }
linkcheck_timeout = 20
linkcheck_anchors_ignore_for_url = ["https://github.com/.*"]
