from importlib.metadata import version

import skvae


def test_version_is_that_of_the_package():
    assert skvae.__version__ == version("skvae")
