"""Model files that were damaged, or made by someone who means harm.

    python benchmarks/_fuzz.py --files 1000

Every file is a good one that was changed in one of the ways below, most of them with a
checksum that is right again, so that it is read to the end. `skvae.load` has to refuse
it by a `ModelFileError`; a change of a mere number may also leave a model, which then
transforms rows, or says why not. Prints JSON: how often each, the longest time that one
took, and how far memory rose above what it was before the first.
"""

import argparse
import contextlib
import io
import json
import pickle
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import skvae
from skvae import VAETransformer
from skvae._utils.tensor_file import read_tensor_file, write_tensor_file
from skvae.exceptions import ModelFileError

HOSTILE: tuple[Any, ...] = (
    10**9,
    2**63,
    10**400,
    -1,
    0,
    "x" * 1000,
    "os.system",
    None,
    [],
    {},
    [[[[]]]],
    {"array": "root"},
    {"array": "missing"},
    {"object": ["VAETransformer", {"dict": []}]},
    {"object": ["builtins.eval", "print(1)"]},
    {"float": "nan"},
    {"scalar": ["O", 1]},
    {"objects": ["<U999999999", [1], ["a"]]},
    {"dict": [[{"dict": []}, 1]]},
    True,
    1e308,
)


@dataclass
class Fuzzed:
    """What came of it.

    Attributes
    ----------
    refused, loaded : int
    by_kind : dict of str to list
        How many of each kind of change were refused, and loaded.
    others : list of str
        What else happened: there is to be nothing.
    longest : float
        Seconds that the slowest file took.
    memory : float
        Peak above the first state, MB.
    """

    refused: int = 0
    loaded: int = 0
    by_kind: dict[str, list[int]] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    longest: float = 0.0
    memory: float = 0.0


class Fuzzer:
    """Changes a good file, with draws from ``seed``."""

    def __init__(self, good: Path, seed: int) -> None:
        self.content = good.read_bytes()
        self.header, self.arrays = read_tensor_file(good)
        self.rng = np.random.RandomState(seed)
        self.kinds: tuple[Callable[[Path], None], ...] = (
            self.cut,
            self.flipped,
            self.other_bytes,
            self.longer_than_said,
            self.renamed,
            self.of_another_shape,
            self.of_another_dtype,
            self.hostile_value,
            self.hostile_value,
            self.hostile_value,
            self.hostile_text,
            self.nested,
            self.of_another_format,
        )

    def write(self, path: Path) -> str:
        """Write a changed file; returns what was changed."""
        change = self.kinds[self.rng.randint(len(self.kinds))]
        change(path)
        return change.__name__

    def cut(self, path: Path) -> None:
        path.write_bytes(self.content[: self.rng.randint(len(self.content))])

    def flipped(self, path: Path) -> None:
        content = bytearray(self.content)
        for _ in range(self.rng.randint(1, 20)):
            content[self.rng.randint(len(content))] ^= 1 << self.rng.randint(8)
        path.write_bytes(content)

    def other_bytes(self, path: Path) -> None:
        archive = io.BytesIO()
        np.savez(archive, x=np.ones(3))
        contents = (
            b"",
            b"\x89PNG\r\n\x1a\n" + self.rng.bytes(100),
            pickle.dumps([1, 2, 3]),
            archive.getvalue(),
            self.rng.bytes(5000),
            self.content + self.rng.bytes(100),
        )
        path.write_bytes(contents[self.rng.randint(len(contents))])

    def longer_than_said(self, path: Path) -> None:
        length = int(self.rng.choice([2**62, 2**40, 10**8, len(self.content), 9, 0]))
        path.write_bytes(length.to_bytes(8, "little") + self.content[8:])

    def renamed(self, path: Path) -> None:
        names = list(self.arrays)
        one, other = self.rng.choice(len(names), 2, replace=False)
        arrays = dict(self.arrays)
        # Two of the same shape and dtype may take each other's place.
        taken = arrays.pop(names[one])
        if self.rng.rand() < 0.5:
            arrays[names[one] + "x"] = taken
        else:
            arrays[names[one]], arrays[names[other]] = arrays[names[other]], taken
        write_tensor_file(path, self.header, arrays)

    def of_another_shape(self, path: Path) -> None:
        name = self._name()
        array = self.arrays[name]
        shapes = (array.reshape(-1), array[None], np.concatenate([array.ravel()] * 2))
        changed = shapes[self.rng.randint(3)]
        write_tensor_file(path, self.header, {**self.arrays, name: changed})

    def of_another_dtype(self, path: Path) -> None:
        name = self._name()
        dtype = self.rng.choice(["f2", "f4", "f8", "i1", "i8", "?"])
        with np.errstate(all="ignore"):
            changed = self.arrays[name].astype(dtype)
        write_tensor_file(path, self.header, {**self.arrays, name: changed})

    def hostile_value(self, path: Path) -> None:
        header = json.loads(json.dumps(self.header))
        places = list(_places(header))
        owner, key = places[self.rng.randint(len(places))]
        owner[key] = HOSTILE[self.rng.randint(len(HOSTILE))]
        self._write_text(path, json.dumps(header))

    def hostile_text(self, path: Path) -> None:
        text = json.dumps(self.header)
        at = self.rng.randint(1, len(text))
        texts = (
            text[:at],
            text.replace(":", ": NaN,", 1),
            text.replace("1", "1" * 5000, 1),
            f'{{"format": 1, {text[1:]}',
            "[]",
            '"text"',
            "",
            text[:at] + "\x00" + text[at:],
        )
        self._write_text(path, texts[self.rng.randint(len(texts))])

    def nested(self, path: Path) -> None:
        depth = int(self.rng.choice([50, 500, 5000, 200_000]))
        opened, closed = [("[", "]"), ('{"tuple": [', "]}")][self.rng.randint(2)]
        inner = f"{opened * depth}{closed * depth}"
        header = {**self.header, "root": ["VAETransformer", "INNER"]}
        self._write_text(path, json.dumps(header).replace('"INNER"', inner))

    def of_another_format(self, path: Path) -> None:
        value = (2, 10**9, 0, -1, None, "1", [1])[self.rng.randint(7)]
        write_tensor_file(path, {**self.header, "format": value}, self.arrays)

    def _name(self) -> str:
        names = list(self.arrays)
        return names[self.rng.randint(len(names))]

    def _write_text(self, path: Path, text: str) -> None:
        """As a header, with a checksum that is right."""
        from safetensors.numpy import save

        from skvae._utils import tensor_file as files

        digest = files._checksum(text, self.arrays)
        metadata = {files.KEY: text, files.CHECKSUM: digest}
        path.write_bytes(save(self.arrays, metadata=metadata))


def _places(node: Any):
    """Every place in JSON that holds a value, as its owner and its key there."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in list(items):
        yield node, key
        if isinstance(value, dict | list):
            yield from _places(value)


def fuzz(n_files: int, seed: int = 0) -> Fuzzed:
    """Load so many changed files."""
    X = np.random.RandomState(0).randn(80, 5)
    model = VAETransformer(2, hidden_dims=(6,), max_epochs=40, random_state=0).fit(X)
    found = Fuzzed()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.safetensors"
        skvae.save(model, path)
        skvae.load(path).transform(X)
        fuzzer = Fuzzer(path, seed)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(n_files):
            kind = fuzzer.write(path)
            begun = time.process_time()
            outcome = _outcome(path, X)
            found.longest = max(found.longest, time.process_time() - begun)
            counts = found.by_kind.setdefault(kind, [0, 0])
            if outcome == "refused":
                found.refused += 1
                counts[0] += 1
            elif outcome == "loaded":
                found.loaded += 1
                counts[1] += 1
            else:
                found.others.append(f"{number}, {kind}: {outcome}")
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found.memory = (after - before) / 1024.0
    return found


def _outcome(path: Path, X: np.ndarray) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = skvae.load(path)
        except ModelFileError as error:
            text = str(error)
            return "refused" if "\n" not in text and len(text) < 1000 else text
        except BaseException as error:
            return repr(error)[:200]
        # What it says then is of a number that makes no sense.
        with contextlib.suppress(Exception):
            model.transform(X)
        return "loaded"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    found = fuzz(args.files, args.seed)
    print(json.dumps(asdict(found), indent=2))
    return 1 if found.others else 0


if __name__ == "__main__":
    sys.exit(main())
