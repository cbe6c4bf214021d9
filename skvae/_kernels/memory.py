"""A device that is out of memory: what to do about it, and a device that is usable."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_TRAINING = ("fit", "fit_transform", "partial_fit")


@contextmanager
def out_of_memory_explained(name: str, args: tuple) -> Iterator[None]:
    """Say what to try where a call runs out of memory, and free what it held.

    ``name`` and ``args`` are those of a method of an estimator, or of a function.

    Raises
    ------
    torch.OutOfMemoryError
        With the sizes at hand, in place of torch's.
    """
    try:
        yield
        return
    except torch.OutOfMemoryError as error:
        if getattr(error, "is_explained", False):
            raise
        reason = str(error).partition("\n")[0]
        # Its frames hold the tensors that there was no memory beside.
        traceback.clear_frames(error.__traceback__)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    explained = torch.OutOfMemoryError(f"{advice(name, args)} ({reason})")
    explained.is_explained = True  # type: ignore[attr-defined]
    raise explained


def advice(name: str, args: tuple) -> str:
    """What to try, by how large things are."""
    params: dict[str, Any] = {}
    if args and hasattr(args[0], "get_params"):
        params = args[0].get_params(deep=False)
    sizes = [f"{key}={params[key]!r}" for key in ("hidden_dims",) if key in params]
    shape = getattr(args[1], "shape", None) if len(args) > 1 else None
    if shape is not None and len(shape) == 2:
        sizes.insert(0, f"{shape[0]} rows of {shape[1]} columns")
    of = f", with {' and '.join(sizes)}" if sizes else ""
    said = f"The device has not enough memory for {name}{of}. "
    if name not in _TRAINING:
        return f"{said}Pass fewer rows at once, or free what else is on the device."
    batch = f"batch_size={params['batch_size']} " if "batch_size" in params else ""
    return (
        f"{said}Lower {batch}(half of it, say) or hidden_dims, or set "
        "precision='bf16' or device='cpu'; nothing that was fitted before is lost."
    )
