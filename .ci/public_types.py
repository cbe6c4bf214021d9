"""Fails where a public name of skvae, or a part of its signature, has no known type.

pyright's ``--verifytypes``, of what the package exports; other packages' types are theirs.
"""

import json
import subprocess
import sys

command = [sys.executable, "-m", "pyright", "--verifytypes", "skvae", "--outputjson"]
command += ["--ignoreexternal", "--pythonpath", sys.executable]
run = subprocess.run(command, capture_output=True, text=True)
try:
    found = json.loads(run.stdout)["typeCompleteness"]
except (ValueError, KeyError):
    sys.exit(f"pyright did not run:\n{run.stdout}{run.stderr}")

public = [symbol for symbol in found["symbols"] if symbol["isExported"]]
bad = [s for s in public if not s["isTypeKnown"] or s["isTypeAmbiguous"]]
for symbol in bad:
    print(symbol["name"])
    for diagnostic in symbol["diagnostics"]:
        print("    " + diagnostic["message"].replace("\n", "\n    "))
print(f"public types: {len(public) - len(bad)} of {len(public)} names are known")
sys.exit(bool(bad) or not public)
