"""How long a fit takes beside a plain PyTorch loop, in alternating rounds.

    python benchmarks/speed.py --rounds 7 --out speed.json

The same model on both sides (batch normalisation, GELU, dropout 0.1, learning rate
1e-4, ``kld_weight`` 1e-5, no linear path). The loop has one tensor, permuted indices,
no DataLoader, and Adam; skvae is ``VAETransformer.fit``, with its checks, history and
calibration. Printed are ratios of medians, and their range over rounds. Machines are
noisy: trust the ratio of one run, not its seconds.
"""

import argparse
import json
import platform
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from sklearn.datasets import load_digits
from torch import nn

from skvae import VAETransformer

KLD_WEIGHT = 1e-5
LR = 1e-4
DROPOUT = 0.1


class Workload(NamedTuple):
    """A table and a model; ``density`` is the share of nonzeros of a sparse one."""

    rows: int
    columns: int
    hidden_dims: tuple[int, ...]
    latent_dim: int
    batch_size: int
    epochs: int
    density: float | None = None


WORKLOADS = {
    "W1": Workload(1797, 64, (256, 128), 16, 128, 20),
    "W2": Workload(10_000, 784, (512, 256), 32, 256, 5),
    "W3": Workload(4000, 28_231, (1024, 512), 64, 128, 1, density=0.08),
}


def table(name):
    """Float32 rows; W1 is digits, the others are random numbers."""
    w = WORKLOADS[name]
    if name == "W1":
        return (load_digits().data / 16.0).astype(np.float32)
    if w.density is None:
        return np.random.RandomState(0).rand(w.rows, w.columns).astype(np.float32)
    shape = (w.rows, w.columns)
    return sparse.random(
        *shape, density=w.density, format="csr", dtype=np.float32, random_state=0
    )


class PlainVAE(nn.Module):
    """What one writes by hand."""

    def __init__(self, w: Workload) -> None:
        super().__init__()
        self.encoder = self._body((w.columns, *w.hidden_dims))
        self.mean = nn.Linear(w.hidden_dims[-1], w.latent_dim)
        self.log_var = nn.Linear(w.hidden_dims[-1], w.latent_dim)
        self.decoder = self._body((w.latent_dim, *w.hidden_dims[::-1]))
        self.out = nn.Linear(w.hidden_dims[0], w.columns)

    @staticmethod
    def _body(widths):
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            layers += [nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out), nn.GELU()]
            layers.append(nn.Dropout(DROPOUT))
        return nn.Sequential(*layers)

    def forward(self, x):
        h = self.encoder(x)
        mean, log_var = self.mean(h), self.log_var(h)
        z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
        return self.out(self.decoder(z)), mean, log_var


def fit_plain(X, w: Workload) -> None:
    """One tensor, permuted indices, Adam."""
    torch.manual_seed(0)
    module = PlainVAE(w)
    optimizer = torch.optim.Adam(module.parameters(), lr=LR)
    rows = torch.from_numpy(X.toarray() if sparse.issparse(X) else X)
    for _ in range(w.epochs):
        order = torch.randperm(len(rows))
        for start in range(0, len(rows), w.batch_size):
            x = rows[order[start : start + w.batch_size]]
            optimizer.zero_grad()
            reconstruction, mean, log_var = module(x)
            kl = -0.5 * (1 + log_var - mean.square() - log_var.exp()).sum(dim=1).mean()
            error = (reconstruction - x).square().mean()
            (error + KLD_WEIGHT * kl).backward()
            optimizer.step()


def fit_skvae(X, w: Workload) -> None:
    """The public estimator."""
    VAETransformer(
        w.latent_dim,
        hidden_dims=w.hidden_dims,
        dropout_rate=DROPOUT,
        kld_weight=KLD_WEIGHT,
        linear_path=None,
        lr=LR,
        lr_schedule="constant",
        batch_size=w.batch_size,
        max_epochs=w.epochs,
        early_stopping=False,
        device="cpu",
        random_state=0,
    ).fit(X)


CONTENDERS = {"plain loop": fit_plain, "skvae": fit_skvae}


def compare(name, rounds) -> dict[str, list[float]]:
    """Seconds of every contender in every round."""
    X = table(name)
    seconds: dict[str, list[float]] = {contender: [] for contender in CONTENDERS}
    for _ in range(rounds):
        for contender, fit in CONTENDERS.items():
            start = time.perf_counter()
            fit(X, WORKLOADS[name])
            seconds[contender].append(time.perf_counter() - start)
    return seconds


def line(name, seconds) -> str:
    """A row of the Markdown table."""
    plain, ours = (np.array(seconds[c]) for c in CONTENDERS)
    ratio = np.median(ours) / np.median(plain)
    each = ours / plain
    return (
        f"| {name} | {np.median(plain):.2f} | {np.median(ours):.2f} | {ratio:.2f} | "
        f"{each.min():.2f} to {each.max():.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=[*WORKLOADS])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", metavar="JSON", help="also write all of it there")
    args = parser.parse_args()
    # The first fit of a process also pays for what torch imports lazily.
    VAETransformer(2, max_epochs=1).fit(np.random.RandomState(0).rand(20, 3))
    print("| workload | plain loop, s | skvae, s | ratio | of rounds |\n|-|-|-|-|-|")
    results = {}
    for name in args.only:
        results[name] = compare(name, args.rounds)
        print(line(name, results[name]))
        sys.stdout.flush()
    if args.out is not None:
        machine = {
            "platform": platform.platform(),
            "processor": platform.processor(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        text = json.dumps({"machine": machine, "seconds": results}, indent=2)
        Path(args.out).write_text(f"{text}\n")


if __name__ == "__main__":
    main()
