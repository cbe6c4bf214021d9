"""The model as one writes it by hand in PyTorch, and two loops that train it."""

from itertools import pairwise
from typing import Any

import torch
from _workloads import DROPOUT, KLD_WEIGHT, LR, Workload, dense
from torch import Tensor, nn

WARM_UP_STEPS = 3


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
    def _body(widths: tuple[int, ...]) -> nn.Sequential:
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            layers += [nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out), nn.GELU()]
            layers.append(nn.Dropout(DROPOUT))
        return nn.Sequential(*layers)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.encoder(x)
        return self.mean(h), self.log_var(h)

    def decode(self, z: Tensor) -> Tensor:
        return self.out(self.decoder(z))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_var = self.encode(x)
        z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
        return self.decode(z), mean, log_var


def vae_loss(output: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
    """Mean squared error over elements, and the weighted KL of a row."""
    reconstruction, mean, log_var = output
    kl = -0.5 * (1 + log_var - mean.square() - log_var.exp()).sum(dim=1).mean()
    return (reconstruction - x).square().mean() + KLD_WEIGHT * kl


def _update(module: PlainVAE, optimizer: torch.optim.Optimizer, x: Tensor) -> None:
    optimizer.zero_grad()
    vae_loss(module(x), x).backward()
    optimizer.step()


def fit_plain(X: Any, w: Workload, device: str) -> PlainVAE:
    """One tensor on the device, permuted indices, Adam."""
    torch.manual_seed(0)
    module = PlainVAE(w).to(device)
    optimizer = torch.optim.Adam(module.parameters(), lr=LR)
    rows = torch.from_numpy(dense(X)).to(device)
    for _ in range(w.epochs):
        order = torch.randperm(len(rows), device=device)
        for start in range(0, len(rows), w.batch_size):
            _update(module, optimizer, rows[order[start : start + w.batch_size]])
    return module


def fit_cuda_graph(X: Any, w: Workload, device: str) -> PlainVAE:
    """The same loop with the whole step in a CUDA graph, by PyTorch's notes on CUDA."""
    torch.manual_seed(0)
    module = PlainVAE(w).to(device)
    optimizer = torch.optim.Adam(module.parameters(), lr=LR, capturable=True)
    rows = torch.from_numpy(dense(X)).to(device)
    size = min(w.batch_size, len(rows))
    static = rows[:size].clone()
    graph = _captured_update(module, optimizer, static)
    for _ in range(w.epochs):
        order = torch.randperm(len(rows), device=device)
        for start in range(0, len(rows), size):
            index = order[start : start + size]
            if len(index) == size:
                torch.index_select(rows, 0, index, out=static)
                graph.replay()
            else:  # a graph has one shape, and the last minibatch has another
                _update(module, optimizer, rows[index])
    return module


def _captured_update(
    module: PlainVAE, optimizer: torch.optim.Optimizer, static: Tensor
) -> torch.cuda.CUDAGraph:
    """A graph of one update on whatever ``static`` then holds."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP_STEPS):
            _update(module, optimizer, static)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # Gradients of the capture have to come from the graph's own memory.
    optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        vae_loss(module(static), static).backward()
        optimizer.step()
    return graph
