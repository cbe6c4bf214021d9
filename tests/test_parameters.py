"""One table of the shared parameters, and what the estimators make of it."""

import inspect
import re
from pathlib import Path

import pytest

import skvae
from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer
from skvae._training.parameters import SHARED, documented

ESTIMATORS = (VAETransformer, AETransformer, RAETransformer, SAETransformer)


def entries(doc, section):
    """Names of a numpydoc section, in their order, each with a text."""
    head = f"{section}\n{'-' * len(section)}\n"
    body = doc[doc.index(head) + len(head) :]
    body = re.split(r"\n\n[A-Z][\w ]+\n-{3,}\n", body)[0]
    found = re.findall(r"^(\w+) : .+\n(?:    .+\n?)+", body, flags=re.M)
    assert len(found) == len(re.findall(r"^\w", body, flags=re.M))
    return found


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_every_parameter_is_documented_in_its_order(Estimator):
    doc = inspect.getdoc(Estimator)
    assert "%(" not in doc
    assert entries(doc, "Parameters") == list(inspect.signature(Estimator).parameters)
    assert {"net_", "module_", "history_", "n_iter_"} < {*entries(doc, "Attributes")}
    assert max(map(len, doc.splitlines())) <= 84


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_defaults_are_those_that_are_documented(Estimator):
    doc = inspect.getdoc(Estimator)
    for name, parameter in inspect.signature(Estimator).parameters.items():
        (kind,) = re.findall(rf"^{name} : (.+)$", doc, flags=re.M)
        (default,) = re.findall(r"default=(.+)$", kind)
        assert eval(default) == parameter.default


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_the_table_is_what_estimators_share(Estimator):
    parameters = inspect.signature(Estimator).parameters
    assert set(SHARED) <= set(parameters)
    for name, parameter in SHARED.items():
        assert Estimator._parameter_constraints[name] == parameter.constraint


def test_a_training_parameter_is_named_where_it_is_declared_and_where_it_acts():
    """Declared in the table and the signatures; nothing in between passes it on."""
    package = Path(skvae.__file__).parent
    signatures = {"vae.py", "ae.py", "rae.py", "sae.py", "_penalised.py"}
    declared = {"_training/parameters.py", *signatures}
    for name in ("n_iter_no_change", "tol", "max_epochs", "weight_decay"):
        pattern = re.compile(rf"\b{name}\b")
        files = {
            str(file.relative_to(package))
            for file in package.rglob("*.py")
            if pattern.search(_code(file))
        }
        acts = files - declared - {"presets.py", "cli/flags.py", "cli/commands.py"}
        assert declared <= files
        assert {file.split("/")[0] for file in acts} <= {"_training", "_engine"}
        assert not acts & {"_training/settings.py", "_training/continued.py"}


def _code(file):
    """A file without its docstrings, messages and comments."""
    text = re.sub(r'""".*?"""', "", file.read_text(), flags=re.S)
    text = re.sub(r"#.*", "", text)
    return text if file.name in ("parameters.py",) else re.sub(r'"[^"\n]*"', "", text)


def test_a_class_without_docstring_stays_without():
    """As ``python -OO`` has it."""

    class Bare:
        pass

    assert documented(Bare) is Bare
    assert Bare.__doc__ is None
