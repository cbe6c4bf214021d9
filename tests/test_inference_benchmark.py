"""benchmarks/inference.py: what it compares, and a run at a small size."""

import json

import pytest
import torch

# A few epochs of a network without a start train nothing, and say so.
pytestmark = [
    pytest.mark.filterwarnings("ignore::skvae.exceptions.PosteriorCollapseWarning"),
    pytest.mark.filterwarnings("ignore:X looks like counts"),
]


@pytest.fixture(scope="module")
def inference(benchmarks):
    """The script as a module."""
    import inference

    return inference


def test_the_tuned_loop_computes_what_the_plain_one_does(inference):
    w = inference.WORKLOADS["W1"]
    torch.manual_seed(0)
    plain = inference.PlainVAE(w)
    x = torch.rand(200, w.columns)
    for _ in range(20):  # statistics that are not those of the start
        plain(x)
    plain.eval()
    fast = inference.tuned(plain)
    assert not any(isinstance(m, torch.nn.BatchNorm1d) for m in fast.modules())
    torch.testing.assert_close(fast.encode(x)[0], plain.encode(x)[0])
    code = torch.randn(200, w.latent_dim)
    torch.testing.assert_close(fast.decode(code), plain.decode(code))


@pytest.mark.parametrize("name", ["W2", "W3"])
def test_the_report_has_every_contender(inference, name, monkeypatch, tmp_path, capsys):
    w = inference.WORKLOADS[name]._replace(rows=60, columns=40, hidden_dims=(8, 6))
    monkeypatch.setitem(inference.WORKLOADS, name, w)
    out = tmp_path / "inference.json"
    setting = torch.backends.mkldnn.matmul
    before = setting.fp32_precision
    assert inference.main(["--only", name, "--rounds", "2", "--out", str(out)]) == 0
    assert setting.fp32_precision == before

    text = capsys.readouterr().out
    for label in ("plain loop", "transform", "reconstruct", "score_samples"):
        assert f"| {label} |" in text
    assert text.count("| 1.00 | 1.00 to 1.00 |") == 2  # the tuned loop's
    found = json.loads(out.read_text())
    assert found["machine"]["torch"] == torch.__version__
    assert [len(rates) for rates in found[name]["codes"].values()] == [2] * 4


def test_rounds_must_be_positive(inference, capsys):
    with pytest.raises(SystemExit):
        inference.main(["--rounds", "0"])
    assert "--rounds must be positive" in capsys.readouterr().err
