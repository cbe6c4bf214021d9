import pytest

from skvae._utils.names import repeated, some


@pytest.mark.parametrize(
    ("names", "most", "text"),
    [
        ([], 5, ""),
        (["a"], 5, "a"),
        ([1, 2, 3], 3, "1, 2, 3"),
        (range(7), 5, "0, 1, 2, 3, 4 and 2 more"),
        ((n for n in "abc"), 1, "a and 2 more"),
    ],
)
def test_some_names(names, most, text):
    assert some(names, most) == text


def test_names_that_are_there_more_than_once():
    assert repeated(["b", "a", "b", "c", "a", "b"]) == ["b", "a"]
    assert repeated(["b", "a"]) == []
