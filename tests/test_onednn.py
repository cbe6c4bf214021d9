import pytest
import torch

from skvae._kernels import onednn as _matmul
from skvae._kernels.onednn import _setting, is_exact, onednn_matmul

needs_setting = pytest.mark.skipif(
    _setting() is None, reason="this torch has no such setting"
)


@pytest.fixture(autouse=True)
def _fresh():
    is_exact.cache_clear()
    yield
    is_exact.cache_clear()


@needs_setting
def test_setting_is_put_back_whatever_happens():
    assert _setting().fp32_precision == "none"
    with onednn_matmul():
        assert _setting().fp32_precision == ("bf16" if is_exact() else "none")
    assert _setting().fp32_precision == "none"
    with pytest.raises(RuntimeError), onednn_matmul():
        raise RuntimeError
    assert _setting().fp32_precision == "none"


@needs_setting
def test_inexact_products_are_not_taken(monkeypatch):
    """On a CPU with bfloat16 products: errors of a thousandth, once allowed."""
    monkeypatch.setattr(
        _matmul,
        "_error",
        lambda *shape: 1e-3 if _setting().fp32_precision == "bf16" else 1e-7,
    )
    with onednn_matmul():
        assert _setting().fp32_precision == "none"


@needs_setting
def test_a_user_s_precision_stays():
    _setting().fp32_precision = "ieee"
    try:
        with onednn_matmul():
            assert _setting().fp32_precision == "ieee"
        assert _setting().fp32_precision == "ieee"
    finally:
        _setting().fp32_precision = "none"


@needs_setting
def test_the_last_one_out_puts_it_back():
    with onednn_matmul():
        inside = _setting().fp32_precision
        with onednn_matmul():
            pass
        assert _setting().fp32_precision == inside
    assert _setting().fp32_precision == "none"


def test_products_stay_float32_products():
    generator = torch.Generator().manual_seed(1)
    a = torch.randn(200, 700, generator=generator)
    b = torch.randn(700, 300, generator=generator)
    with onednn_matmul():
        product = a @ b
    exact = a.double() @ b.double()
    assert (product - exact).norm() / exact.norm() < 2e-6


def test_no_setting_is_no_error(monkeypatch):
    monkeypatch.setattr(_matmul, "_setting", lambda: None)
    with onednn_matmul():
        pass
