"""A detector of pyod for ``outliers.py``, run in an environment that has it.

    python benchmarks/_pyod_worker.py ROWS SCORES

At its defaults, but for the seed.
"""

import random
import sys
import time

import numpy as np
import torch
from pyod.models.auto_encoder import AutoEncoder
from pyod.models.ecod import ECOD
from pyod.models.knn import KNN
from pyod.models.vae import VAE

SEEDED = {"VAE": VAE, "AutoEncoder": AutoEncoder}
OTHERS = {"ECOD": ECOD, "KNN": KNN}


def main(given: str, made: str) -> None:
    with np.load(given) as data:
        train, test = data["train"], data["test"]
        seed, name = int(data["seed"]), str(data["name"])
    torch.set_num_threads(1)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    start = time.perf_counter()
    if name in SEEDED:
        model = SEEDED[name](random_state=seed, verbose=0)
    else:
        model = OTHERS[name]()
    model.fit(train)
    scores = model.decision_function(test)
    np.savez(made, scores=scores, seconds=time.perf_counter() - start)


if __name__ == "__main__":
    main(*sys.argv[1:])
