import pytest
import torch
import torch.nn.functional as F

from skvae._kernels import wide as module_under_test
from skvae._kernels.wide import wide_linear
from skvae._nn.autoencoder import Linear


@pytest.fixture
def narrow_blocks(monkeypatch):
    """Blocks of three columns, the last of them shorter, whatever CPU this is."""
    monkeypatch.setattr(module_under_test, "BLOCKS_PAY", True)
    monkeypatch.setattr(module_under_test, "WIDE", 10)
    monkeypatch.setattr(module_under_test, "BLOCK", 3)


@pytest.fixture
def products(monkeypatch):
    """The widths of the products that were taken."""
    widths = []

    def recorded(x, weight, bias=None):
        widths.append(len(weight))
        return torch.addmm(bias, x, weight.T) if bias is not None else x @ weight.T

    monkeypatch.setattr(F, "linear", recorded)
    return widths


def problem(n_out, dtype=torch.float64, n_rows=5):
    generator = torch.Generator().manual_seed(0)
    shapes = ((n_rows, 4), (n_out, 4), (n_out,))
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_rows", [0, 1, 5])
@pytest.mark.parametrize("has_bias", [True, False])
def test_blocks_are_the_whole(narrow_blocks, dtype, n_rows, has_bias):
    x, weight, bias = problem(11, dtype, n_rows)
    bias = bias if has_bias else None
    y = wide_linear(x, weight, bias)
    assert y.dtype is dtype
    torch.testing.assert_close(y, F.linear(x, weight, bias))


@torch.no_grad()
@pytest.mark.parametrize(("n_out", "widths"), [(9, [9]), (10, [3, 3, 3, 1])])
def test_a_narrow_product_is_one(narrow_blocks, products, n_out, widths):
    wide_linear(*problem(n_out))
    assert products == widths


@torch.no_grad()
def test_where_blocks_do_not_pay_a_product_is_one(narrow_blocks, products, monkeypatch):
    monkeypatch.setattr(module_under_test, "BLOCKS_PAY", False)
    wide_linear(*problem(10))
    assert products == [10]


def test_autograd_sees_one_product(narrow_blocks, products):
    x, weight, bias = problem(11)
    weight.requires_grad_()
    wide_linear(x, weight, bias).sum().backward()
    assert products == [11]
    torch.testing.assert_close(weight.grad, x.sum(dim=0).expand(11, -1))


def test_a_layer_is_wide_in_evaluation(narrow_blocks, products):
    layer, (x, weight, bias) = Linear(4, 11), problem(11, torch.float32)
    layer.load_state_dict({"weight": weight, "bias": bias})
    with torch.no_grad():
        y = layer(x)
    assert products == [3, 3, 3, 2]
    torch.testing.assert_close(y, layer(x).detach())
