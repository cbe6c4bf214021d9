import pytest

from skvae._utils.optional import MissingExtraError, optional_import


def test_what_is_there_is_imported():
    assert optional_import("json", "frames").loads("[1]") == [1]


def test_what_is_not_is_named_with_its_extra():
    for kind in (ImportError, ValueError, MissingExtraError):
        with pytest.raises(kind, match=r"this needs nowhere: pip install 'skvae\[x\]'"):
            optional_import("nowhere", "x")
