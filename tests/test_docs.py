"""Docstrings that are put together from shared entries."""

import inspect
import re

import pytest

from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer
from skvae._utils.docs import filled

ESTIMATORS = (VAETransformer, AETransformer, RAETransformer, SAETransformer)
METHODS = [
    (Estimator, name)
    for Estimator in ESTIMATORS
    for name, method in inspect.getmembers(Estimator, inspect.isfunction)
    if not name.startswith(("_", "set_"))
    and "conditions" in inspect.signature(method).parameters
]


def test_an_entry_takes_the_indentation_of_its_place():
    @filled({"given": "\nx : int\n    What it is.\n"})
    def function(x):
        """Do.

        Parameters
        ----------
        %(given)s
        y : %(given)s of another kind

            %(given)s
        """

    assert function.__doc__ == (
        "Do.\n\nParameters\n----------\nx : int\n    What it is.\n"
        "y : %(given)s of another kind\n\n    x : int\n        What it is."
    )


def test_what_has_no_docstring_stays_without():
    """As all is under python -OO."""

    @filled({"given": "x : int"})
    def function(x):
        pass

    assert function.__doc__ is None


def test_an_entry_that_is_not_there_is_an_error():
    with pytest.raises(KeyError, match="other"):

        @filled({"given": "x : int"})
        def function():
            """%(other)s"""


@pytest.mark.parametrize(("Estimator", "name"), METHODS)
def test_what_comes_with_rows_is_documented(Estimator, name):
    """Every argument, in its order, and with a text."""
    method = getattr(Estimator, name)
    doc = inspect.getdoc(method)
    assert "%(" not in doc
    parameters = doc.split("Parameters\n----------\n")[1].split("\n\n")[0]
    found = re.findall(r"^(\w+) : .+\n    \S", parameters + "\n", flags=re.M)
    found += re.findall(r"^(y) : Ignored", parameters, flags=re.M) * ("y" not in found)
    expected = [p for p in inspect.signature(method).parameters if p != "self"]
    assert sorted(found) == sorted(expected)
    assert max(map(len, doc.splitlines())) <= 88
