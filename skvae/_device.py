"""Where a model runs."""

import torch

# Share of a GPU's free memory that rows may take: the network needs the rest.
_ROWS_SHARE = 0.5


def resolve_device(device: str) -> torch.device:
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


def inference_dtype(X_dtype, device: torch.device) -> torch.dtype:
    """float64 in, float64 out where the device can; float32 otherwise."""
    if X_dtype == "float64" and device.type != "mps":
        return torch.float64
    return torch.float32


def fits(n_bytes: int, device: torch.device) -> bool:
    """Whether rows of this size should be on the device as a whole."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return n_bytes <= _ROWS_SHARE * free
