"""What no training of the model can do without: the matrix products of its steps."""

from typing import Any

import torch
from _plain import PlainVAE
from _workloads import Workload
from torch import Tensor, nn


class LayerProducts:
    """Three products of a linear layer and a minibatch, into memory that is there."""

    def __init__(
        self, layer: nn.Linear, n_rows: int, device: str, *, faces_table: bool
    ) -> None:
        def ones(*shape: int) -> Tensor:
            return torch.ones(shape, device=device)

        n_in, n_out = layer.in_features, layer.out_features
        self._x, self._y = ones(n_rows, n_in), ones(n_rows, n_out)
        self._weight, self._gradient = ones(n_out, n_in), ones(n_out, n_in)
        # Nobody asks for the gradient of X.
        self._pulled_back = None if faces_table else ones(n_rows, n_in)

    def forward(self, n: int) -> None:
        torch.mm(self._x[:n], self._weight.T, out=self._y[:n])

    def backward(self, n: int) -> None:
        torch.mm(self._y[:n].T, self._x[:n], out=self._gradient)
        if self._pulled_back is not None:
            torch.mm(self._y[:n], self._weight, out=self._pulled_back[:n])


def fit_nothing(X: Any, w: Workload, device: str) -> None:
    """Products of as many steps as a fit has, by torch's fastest float32 ones."""
    from skvae._kernels.onednn import onednn_matmul

    with torch.device("meta"):
        layers = [m for m in PlainVAE(w).modules() if isinstance(m, nn.Linear)]
    size = min(w.batch_size, w.rows)
    products = [
        LayerProducts(layer, size, device, faces_table=layer is layers[0])
        for layer in layers
    ]
    with torch.no_grad(), onednn_matmul():
        for _ in range(w.epochs):
            for start in range(0, w.rows, size):
                n = min(size, w.rows - start)
                for layer in products:
                    layer.forward(n)
                for layer in reversed(products):
                    layer.backward(n)
