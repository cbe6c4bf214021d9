import numpy as np
import pytest
import torch

from skvae import VAETransformer
from skvae._utils.device import fits, inference_dtype, resolve_device
from skvae.metrics import log_likelihood_scorer


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
    reserved, allocated = 0, 0
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: reserved)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: allocated)
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert fits(3 * gigabyte, cuda)
    assert not fits(5 * gigabyte, cuda)
    assert fits(5 * gigabyte, cpu)
    # What torch keeps for its next tensor is as good as free.
    reserved, allocated = 4 * gigabyte, gigabyte
    assert fits(5 * gigabyte, cuda)


def test_the_device_of_a_fit_is_the_net_s(small, quick):
    vae = VAETransformer(**quick, device="cpu").fit(small)
    assert vae.net_.device == "cpu"
    assert next(vae.module_.parameters()).device.type == "cpu"


def test_torch_s_default_device_does_not_matter(small, quick):
    """Nothing on the meta device has a value: a GPU as the default is not at hand."""
    estimator = VAETransformer(**quick, dropout_rate=0.1, device="cpu")
    expected = estimator.fit(small)
    codes, scores = expected.transform(small), expected.score_samples(small)
    with torch.device("meta"):
        vae = estimator.fit(small)
        np.testing.assert_array_equal(vae.transform(small), codes)
        np.testing.assert_array_equal(vae.score_samples(small), scores)
        assert np.isfinite(log_likelihood_scorer(vae, small))
