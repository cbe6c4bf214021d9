"""Names in messages."""

from collections import Counter
from collections.abc import Iterable


def some(names: Iterable, most: int = 5) -> str:
    """Names for a message: all of them, or the first and how many more there are."""
    names = list(map(str, names))
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"


def repeated(names: Iterable[str]) -> list[str]:
    """Those that appear more than once, in the order of their first appearance."""
    return [name for name, n in Counter(names).items() if n > 1]
