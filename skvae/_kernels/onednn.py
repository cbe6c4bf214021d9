"""Faster float32 products, where they stay float32 products.

On AMD's CPUs the BLAS that torch ships with multiplies float32 matrices at half the
rate of oneDNN. torch takes oneDNN once reduced precision is allowed, which on CPUs with
bfloat16 units may mean bfloat16 products: so it is allowed only where a measurement
shows the error of float32, only around skvae's own work, and never against a precision
that the user has set.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

import torch

# A product in bfloat16 is off by 10,000 times as much as one in float32, one that adds
# in another order by less than 2 times.
TOLERATED = 4.0
# (rows, inner, columns) of small products that go through different kernels.
_SHAPES = ((128, 512, 256), (512, 128, 64), (64, 2048, 512))


def _setting() -> Any:
    """torch's setting for oneDNN's products, or None if this torch has none."""
    backend = torch.backends.mkldnn
    matmul = getattr(backend, "matmul", None)
    known = hasattr(matmul, "fp32_precision") and backend.is_available()
    return matmul if known else None


def _error(rows: int, inner: int, columns: int) -> float:
    """Relative error of a float32 product of fixed random matrices."""
    generator = torch.Generator().manual_seed(0)
    draws: dict[str, Any] = {
        "generator": generator,
        "dtype": torch.float32,
        "device": "cpu",
    }
    a = torch.randn(rows, inner, **draws)
    b = torch.randn(inner, columns, **draws)
    exact = a.double() @ b.double()
    return float((a @ b - exact).norm() / exact.norm())


@cache
def is_exact() -> bool:
    """Whether products with reduced precision allowed err as float32 does here."""
    setting = _setting()
    before = setting.fp32_precision
    plain = [_error(*shape) for shape in _SHAPES]
    setting.fp32_precision = "bf16"
    try:
        allowed = [_error(*shape) for shape in _SHAPES]
    finally:
        setting.fp32_precision = before
    return all(a <= TOLERATED * p for a, p in zip(allowed, plain, strict=True))


_lock = Lock()
_inside = 0


@contextmanager
def onednn_matmul() -> Iterator[None]:
    """Let oneDNN multiply float32 matrices inside, if that is exact on this CPU.

    The setting is the whole process's. Work of several threads shares it: the last one
    out puts it back, so that none sees it change under way.
    """
    setting = _setting()
    taken = setting is not None and _enter(setting)
    try:
        yield
    finally:
        if taken:
            _leave(setting)


def _enter(setting: Any) -> bool:
    global _inside
    with _lock:
        if _inside == 0:
            if setting.fp32_precision != "none" or not is_exact():
                return False
            setting.fp32_precision = "bf16"
        _inside += 1
        return True


def _leave(setting: Any) -> None:
    global _inside
    with _lock:
        _inside -= 1
        if _inside == 0:
            setting.fp32_precision = "none"
