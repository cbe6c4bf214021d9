import importlib.metadata
import runpy

from packaging.version import Version

import skvae
from skvae import _version


def test_version_is_that_of_the_package():
    assert skvae.__version__ == importlib.metadata.version("skvae")
    assert Version(skvae.__version__) >= Version("0.1.0.dev0")


def test_a_copy_that_was_never_installed_says_so(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert runpy.run_path(_version.__file__)["__version__"] == "0+unknown"
