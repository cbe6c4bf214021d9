"""Fails where a public name of skvae, or a part of its signature, has no known type.

pyright's ``--verifytypes``, of the names in ``__all__`` of the public modules, and of
the public members of their classes, wherever these stand. That classes of scikit-learn
and torch have no types of their own is theirs to change.
"""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "_ext"))

from public_api import public_modules  # noqa: E402

THEIRS = ("Type of metaclass unknown", "Type of base class")
# A torch module, which has parts that are private.
LEFT_OUT = {"skvae._inference.Inference.module_"}


def public_names() -> tuple[set[str], set[str]]:
    """Public objects by where they are defined, and classes whose members they have."""
    objects, classes = set(), set()
    for module, names in public_modules():
        for name in names:
            found = getattr(module, name)
            home = getattr(found, "__module__", module.__name__)
            objects.add(f"{home}.{getattr(found, '__qualname__', name)}")
            for kind in inspect.getmro(found) if inspect.isclass(found) else ():
                if kind.__module__.startswith("skvae"):
                    classes.add(f"{kind.__module__}.{kind.__qualname__}")
    return objects, classes


def is_public(name: str, objects: set[str], classes: set[str]) -> bool:
    """Whether a dotted name is one of the objects, or a public member of a class."""
    owner, _, member = name.rpartition(".")
    shown = not member.startswith("_") or member == "__init__"
    return name in objects or (owner in classes and shown)


def main() -> int:
    """The exit status: 0 where all types are known."""
    command = [sys.executable, "-m", "pyright", "--verifytypes", "skvae"]
    command += ["--outputjson", "--ignoreexternal", "--pythonpath", sys.executable]
    # Editable installations are found by an import hook, which pyright does not run.
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    try:
        symbols = json.loads(run.stdout)["typeCompleteness"]["symbols"]
    except (ValueError, KeyError):
        sys.exit(f"pyright did not run:\n{run.stdout}{run.stderr}")
    names = public_names()
    symbols = [s for s in symbols if is_public(s["name"], *names)]
    symbols = [s for s in symbols if s["name"] not in LEFT_OUT]
    n_bad = 0
    for symbol in symbols:
        messages = [d["message"] for d in symbol["diagnostics"]]
        messages = [m for m in messages if not m.startswith(THEIRS)]
        if messages:
            n_bad += 1
            print(symbol["name"], *messages, sep="\n    ")
    print(f"public types: {len(symbols) - n_bad} of {len(symbols)} names are known")
    return int(n_bad > 0 or len(symbols) < len(names[0]))


if __name__ == "__main__":
    sys.exit(main())
