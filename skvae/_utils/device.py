"""Where a model runs, and how precisely."""

from contextlib import AbstractContextManager, nullcontext

import torch

# Share of a GPU's free memory that rows may take: the network needs the rest.
_ROWS_SHARE = 0.5


def resolve_device(device: str | torch.device) -> torch.device:
    """The torch device of a ``device`` parameter, checked to be there.

    Raises
    ------
    ValueError
        If the name is none that torch knows or this machine has no such device.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"device={device!r} is not a device; use 'auto', 'cpu', 'cuda', 'cuda:1' "
            "or 'mps'."
        ) from error
    if resolved.type == "cuda":
        n_devices = torch.cuda.device_count()
        if (resolved.index or 0) >= n_devices:
            raise ValueError(
                f"device={device!r}, but torch sees {n_devices} CUDA devices here. Use "
                "device='auto' or 'cpu', or install a CUDA build of torch."
            )
    elif resolved.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(
            "device='mps', but torch has no Metal here; use device='auto' or 'cpu'."
        )
    elif resolved.type not in ("cpu", "cuda", "mps"):
        raise ValueError(
            f"device={device!r} is not supported; use 'auto', 'cpu', 'cuda' or 'mps'."
        )
    return resolved


def device_or_cpu(device: str) -> str:
    """A device that a model was fitted on, or the CPU where it is not here."""
    try:
        resolve_device(device)
    except ValueError:
        return "cpu"
    return device


def inference_dtype(X_dtype, device: torch.device) -> torch.dtype:
    """float64 in, float64 out where the device can; float32 otherwise."""
    if X_dtype == "float64" and device.type != "mps":
        return torch.float64
    return torch.float32


def in_float64(x: torch.Tensor) -> torch.Tensor:
    """A tensor in float64, where its device has that; otherwise on the CPU."""
    return x.cpu().double() if x.device.type == "mps" else x.double()


def fits(n_bytes: int, device: torch.device) -> bool:
    """Whether rows of this size should be on the device as a whole."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    # torch keeps what was freed, for whoever comes next.
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return n_bytes <= _ROWS_SHARE * (free + kept)


def checked_precision(precision: str, device: torch.device) -> str:
    """A ``precision`` parameter, checked to be one of the device.

    Raises
    ------
    ValueError
        If the device has no bfloat16 of its own.
    """
    if precision == "bf16" and not _has_bfloat16(device):
        raise ValueError(
            f"precision='bf16', but there is no training in bfloat16 on '{device}' "
            "here; use precision='float32', or a CUDA device of compute capability 8.0 "
            "or newer."
        )
    return precision


def _has_bfloat16(device: torch.device) -> bool:
    if device.type != "cuda":
        return device.type == "cpu"
    # torch asks the current device. One that emulates bfloat16 would take longer than
    # in float32, for less.
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)


def products_in(precision: str, device: torch.device) -> AbstractContextManager:
    """What to compute inside, for matrix products of this precision."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
