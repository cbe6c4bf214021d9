"""Rows per second of a fitted model, beside hand-written PyTorch loops.

    python benchmarks/inference.py --out inference.json

The loops go through the same tables in chunks of 1,024 rows, in evaluation mode and
without gradients: the plain one as one writes it, the tuned one with batch
normalisation folded into the linear layers and, like skvae, with oneDNN's float32
products where they are exact. Sparse rows are densified a chunk at a time. skvae's
methods do what they always do: check X, return arrays in its units. Medians over
alternating rounds.
"""

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from _machine import machine
from _plain import PlainVAE
from _workloads import WORKLOADS, Workload, dense, make_table
from sklearn.utils import gen_batches
from torch import nn

from skvae import VAETransformer
from skvae._kernels.onednn import onednn_matmul

CHUNK = 1024

Run = Callable[[], np.ndarray]


@torch.no_grad()
def folded(body: nn.Sequential) -> nn.Sequential:
    """The same function in evaluation mode, without normalisation and dropout."""
    layers: list[nn.Module] = []
    for layer in copy.deepcopy(body).eval():
        if isinstance(layer, nn.BatchNorm1d):
            assert layer.running_var is not None
            assert layer.running_mean is not None
            gain = layer.weight / (layer.running_var + layer.eps).sqrt()
            linear = layers[-1]
            assert isinstance(linear, nn.Linear)
            linear.weight.mul_(gain[:, None])
            linear.bias.sub_(layer.running_mean).mul_(gain).add_(layer.bias)
        elif not isinstance(layer, nn.Dropout):
            layers.append(layer)
    return nn.Sequential(*layers)


def tuned(module: PlainVAE) -> PlainVAE:
    module = copy.deepcopy(module)
    module.encoder, module.decoder = folded(module.encoder), folded(module.decoder)
    return module


@torch.no_grad()
def loop(X: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
    """A function of rows, chunk by chunk."""
    parts = [
        function(torch.from_numpy(dense(X[part]))).numpy()
        for part in gen_batches(X.shape[0], CHUNK)
    ]
    return np.concatenate(parts)


def tuned_loop(X: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
    with onednn_matmul():
        return loop(X, function)


def fitted(X: Any, w: Workload, linear_path: str | None) -> VAETransformer:
    """One epoch: rows per second do not depend on the weights."""
    return VAETransformer(
        w.latent_dim,
        hidden_dims=w.hidden_dims,
        linear_path=linear_path,
        kld_weight=1e-9,
        max_epochs=1,
        early_stopping=False,
        random_state=0,
    ).fit(X)


def contenders(X: Any, w: Workload) -> dict[str, dict[str, Run]]:
    """What is timed, by task; the ratios are to the tuned loop."""
    torch.manual_seed(0)
    plain = PlainVAE(w).eval()
    fast = tuned(plain)
    same, default = fitted(X, w, None), fitted(X, w, "pca")
    return {
        "codes": {
            "tuned loop": lambda: tuned_loop(X, lambda x: fast.encode(x)[0]),
            "plain loop": lambda: loop(X, lambda x: plain.encode(x)[0]),
            "transform": lambda: same.transform(X),
            "transform, with the linear path": lambda: default.transform(X),
        },
        "reconstructions": {
            "tuned loop": lambda: tuned_loop(X, lambda x: fast(x)[0]),
            "plain loop": lambda: loop(X, lambda x: plain(x)[0]),
            "reconstruct": lambda: same.reconstruct(X),
            "score_samples": lambda: same.score_samples(X),
        },
    }


def rates(runs: dict[str, Run], n_rows: int, rounds: int) -> dict[str, list[float]]:
    """Rows per second of everything once a round, after one that does not count."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds = time.perf_counter() - start
            if number:
                found[name].append(n_rows / seconds)
    return found


def report(title: str, found: dict[str, list[float]]) -> None:
    print(f"\n{title}\n\n| | rows per second | ratio | of rounds |\n|-|-|-|-|")
    base = found["tuned loop"]
    for name, each in found.items():
        ratios = [rate / b for rate, b in zip(each, base, strict=True)]
        print(
            f"| {name} | {median(each):.0f} | {median(each) / median(base):.2f} | "
            f"{min(ratios):.2f} to {max(ratios):.2f} |"
        )
    sys.stdout.flush()


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=["W2", "W3"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", metavar="JSON", help="also write all of it there")
    args = parser.parse_args(argv)
    if args.rounds < 1:
        parser.error("--rounds must be positive")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parsed(argv)
    whole: dict[str, Any] = {"machine": machine()}
    for name in args.only:
        w = WORKLOADS[name]
        X = make_table(w)
        for task, runs in contenders(X, w).items():
            found = rates(runs, w.rows, args.rounds)
            report(f"{name}, {task}: {w}", found)
            whole.setdefault(name, {})[task] = found
        if args.out is not None:
            Path(args.out).write_text(f"{json.dumps(whole, indent=2)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
