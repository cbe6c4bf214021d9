"""Docstring entries that several functions share, filled in where they are defined."""

import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

_T = TypeVar("_T", bound=Callable[..., Any])


def filled(entries: Mapping[str, str]) -> Callable[[_T], _T]:
    """A decorator that puts ``entries["name"]`` where a docstring has ``%(name)s``.

    On a line of its own, whose indentation all lines of the entry get. Under ``python
    -OO`` there is no docstring, and nothing is done.
    """

    def decorate(documented: _T) -> _T:
        if documented.__doc__ is None:
            return documented
        lines = []
        for line in inspect.cleandoc(documented.__doc__).splitlines():
            name = line.strip().removeprefix("%(").removesuffix(")s")
            if line.strip() == f"%({name})s":
                indent = line[: len(line) - len(line.lstrip())]
                line = textwrap.indent(entries[name].strip(), indent)
            lines.append(line)
        documented.__doc__ = "\n".join(lines)
        return documented

    return decorate
