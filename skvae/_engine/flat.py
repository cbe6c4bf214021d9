"""Tensors side by side in one, so that one operation takes them all.

On a small network most of the time of an operation goes into starting it.
"""

from collections.abc import Sequence

from torch import Tensor

# Every tensor begins where a cache line of float32 does.
_ALIGNMENT = 16


def _sizes(tensors: Sequence[Tensor]) -> list[int]:
    return [-(-t.numel() // _ALIGNMENT) * _ALIGNMENT for t in tensors]


def side_by_side(tensors: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Memory for all of these tensors, not filled, and views of it in their shapes."""
    sizes = _sizes(tensors)
    flat = tensors[0].new_empty(sum(sizes))
    views = []
    for tensor, part in zip(tensors, flat.split(sizes), strict=True):
        view, gap = part.split([tensor.numel(), len(part) - tensor.numel()])
        gap.zero_()  # for norms of the whole
        views.append(view.view_as(tensor))
    return flat, views
