import pytest
import torch

from skvae import VAETransformer
from skvae._device import fits, inference_dtype, resolve_device


def test_cpu_and_auto():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "meta", "xpu"])
def test_unknown_devices(name):
    with pytest.raises(ValueError, match=r"device='.*' is not"):
        resolve_device(name)


def test_a_device_beyond_the_last_one():
    with pytest.raises(ValueError, match="CUDA devices here"):
        resolve_device(f"cuda:{torch.cuda.device_count()}")


def test_dtype_of_inference():
    cpu, mps = torch.device("cpu"), torch.device("mps")
    assert inference_dtype("float64", cpu) is torch.float64
    assert inference_dtype("float32", cpu) is torch.float32
    assert inference_dtype("float64", mps) is torch.float32


def test_rows_stay_on_the_host_where_they_would_fill_the_gpu(monkeypatch):
    gigabyte = 2**30
    monkeypatch.setattr(
        torch.cuda, "mem_get_info", lambda device: (8 * gigabyte, 16 * gigabyte)
    )
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert fits(3 * gigabyte, cuda)
    assert not fits(5 * gigabyte, cuda)
    assert fits(5 * gigabyte, cpu)


def test_the_device_of_a_fit_is_the_net_s(small, quick):
    vae = VAETransformer(**quick, device="cpu").fit(small)
    assert vae.net_.device == "cpu"
    assert next(vae.module_.parameters()).device.type == "cpu"
