"""Prints constraints: the lowest versions that pyproject.toml allows.

torch is that of constraints.txt: the wheel of its lowest version is gigabytes of CUDA.
"""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = ("frames", "plot", "safetensors", "test")

project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
wanted = project["dependencies"] + [
    line for extra in EXTRAS for line in project["optional-dependencies"][extra]
]
for line in wanted:
    if ">=" in line and not line.startswith("torch"):
        print(line.replace(">=", "=="))
pinned = (ROOT / "constraints.txt").read_text()
print(*re.findall(r"^torch==.*", pinned, flags=re.M))
