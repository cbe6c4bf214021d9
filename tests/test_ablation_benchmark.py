"""benchmarks/ablation.py: every switch switches, and a run at a small size."""

import json
import os

import numpy as np
import pytest
import torch

# A few steps of a network without a start train nothing, and say so.
pytestmark = [
    pytest.mark.filterwarnings("ignore::skvae.exceptions.PosteriorCollapseWarning"),
    pytest.mark.filterwarnings("ignore:X looks like counts"),
]

PATCHED_BY_FUNCTIONS = (
    "flat update",
    "derived gradients",
    "fused AdamW",
    "derived gradients and flat update",
    "all three",
    "dropout from 16-bit lanes",
    "oneDNN's products",
    "blocks of wide_linear",
    "products of nonzeros",
    "resident rows",
)
OTHERS = (
    "blocks of columns of nonzeros",
    "small weights times all entries",
    "chunks of 2048 rows",
    "threads by the work",
)


@pytest.fixture(scope="module")
def ablation(benchmarks):
    """The script as a module."""
    import ablation

    return ablation


@pytest.fixture
def tables(ablation):
    """A small workload of either kind."""
    kinds = (ablation.WORKLOADS[name] for name in ("W2", "W3"))
    return [ablation.small_one(w) for w in kinds]


def spied(monkeypatch, patches):
    """Count calls of what would be patched."""
    calls = []

    def spy(original, name):
        def counted(*args, **kwargs):
            calls.append(name)
            return original(*args, **kwargs)

        return counted

    for owner, name, _ in patches:
        monkeypatch.setattr(owner, name, spy(getattr(owner, name), name))
    return calls


@pytest.mark.parametrize("name", PATCHED_BY_FUNCTIONS)
def test_what_is_off_is_not_called(ablation, tables, name, monkeypatch):
    """And the fit is the same one, but for the draws of dropout."""
    piece = ablation.PIECES[name]
    dense, counts = tables
    w = counts if name in ("products of nonzeros", "buffer of minibatches") else dense
    X = ablation.make_table(w)
    calls = spied(monkeypatch, piece.patches)
    on = ablation.fit_skvae(X, w, "cpu")
    assert {*calls} == {attribute for _, attribute, _ in piece.patches}
    calls.clear()
    with piece.off():
        off = ablation.fit_skvae(X, w, "cpu")
    assert not calls
    if name != "dropout from 16-bit lanes":
        np.testing.assert_allclose(off.transform(X), on.transform(X), atol=1e-4)
    calls.clear()
    ablation.fit_skvae(X, w, "cpu")
    assert calls, "what was off is on again"


def test_these_are_all_pieces(ablation):
    assert {*ablation.PIECES} == {*PATCHED_BY_FUNCTIONS, *OTHERS}


def test_the_optimiser_is_not_fused(ablation, tables):
    w = tables[0]
    with ablation.PIECES["fused AdamW"].off():
        estimator = ablation.fit_skvae(ablation.make_table(w), w, "cpu")
    (group,) = estimator.net_.optimizer_.param_groups
    assert not group["fused"]
    assert group["foreach"]


def test_nonzeros_are_multiplied_at_once(ablation, tables, monkeypatch):
    """At a size where they are not multiplied densely, and blocks would be many."""
    w = tables[1]._replace(density=0.1)
    X = ablation.make_table(w)
    monkeypatch.setattr(ablation.products, "SMALL", 0)
    monkeypatch.setattr(ablation.products, "BLOCK_ENTRIES", 64)
    calls = spied(monkeypatch, [(ablation.products, "_sums", None)])
    on = ablation.fit_skvae(X, w, "cpu")
    in_blocks = len(calls)
    calls.clear()
    with ablation.PIECES["blocks of columns of nonzeros"].off():
        off = ablation.fit_skvae(X, w, "cpu")
    assert 0 < len(calls) < in_blocks
    np.testing.assert_allclose(off.transform(X), on.transform(X), atol=1e-4)


def test_small_weights_meet_nonzeros(ablation, tables, monkeypatch):
    w = tables[1]._replace(density=0.1)
    X = ablation.make_table(w)
    calls = spied(monkeypatch, [(ablation.products, "_sums", None)])
    ablation.fit_skvae(X, w, "cpu")
    assert not calls
    with ablation.PIECES["small weights times all entries"].off():
        ablation.fit_skvae(X, w, "cpu")
    assert calls


def test_constants_and_environment_are_patched(ablation):
    dataset, threads = ablation.dataset, ablation.threads
    with ablation.PIECES["chunks of 2048 rows"].off():
        assert dataset.chunk_rows(64) == dataset.rows_at_once(64) > 2048
    assert dataset.chunk_rows(64) == 2048
    with ablation.PIECES["threads by the work"].off():
        assert threads.worthwhile_threads(0) == os.cpu_count()


def test_masks_drawn_layer_by_layer(ablation):
    generator = torch.Generator().manual_seed(0)
    masks = ablation.drawn_masks(torch.zeros(500, 3), [7, 9], 0.2, generator)
    assert [mask.shape for mask in masks] == [(500, 7), (500, 9)]
    for mask in masks:
        assert {*mask.unique().tolist()} == {0.0, 1.25}
        assert float(mask.mean()) == pytest.approx(1.0, abs=0.05)


def test_what_is_compared_is_timed(ablation, tables):
    """A piece that needs another is compared with a fit that has that one off."""
    dense, counts = tables
    chosen = ["derived gradients", "products of nonzeros", "resident rows"]
    names = ["everything on", "flat update", "derived gradients"]
    assert [*ablation.variants_of(dense, chosen)] == [*names, "resident rows"]
    assert [*ablation.variants_of(counts, chosen)] == [*names, "products of nonzeros"]
    found = {"everything on": [1.0] * 3, "flat update": [2.0, 3.0, 4.0]}
    found["derived gradients"] = [6.0, 3.0, 6.0]
    assert ablation.row("flat update", found) == (
        "| flat update | 3.00 | 3.00 | 2.00 to 4.00 | 2.00 |"
    )
    derived = "| derived gradients, without flat update | 6.00 | 2.00 | 1.00 to 3.00 "
    assert ablation.row("derived gradients", found) == f"{derived}| 1.50 |"
    unused = "| resident rows | | not used | | |"
    assert ablation.row("resident rows", found) == unused


def test_flat_updates_are_those_of_small_networks(ablation):
    used = ablation.PIECES["flat update"].used
    found = {name: used(w) for name, w in ablation.WORKLOADS.items()}
    assert found == {"W1": True, "W2": True, "W3": False}


def test_a_small_run_writes_everything_down(
    ablation, tables, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(ablation, "WORKLOADS", {"tiny": tables[0]})
    out = tmp_path / "ablation.json"
    command = ["--rounds", "2", "--threads", "1", "--cpu-time", "--out", str(out)]
    command += ["--pieces", "flat update", "threads by the work"]
    assert ablation.main([*command, "products of nonzeros"]) == 0
    whole = json.loads(out.read_text())
    # Which a number of threads overrules.
    assert [*whole["tiny"]] == ["everything on", "flat update"]
    assert {len(each) for each in whole["tiny"].values()} == {2}
    assert min(map(min, whole["tiny"].values())) > 0
    assert whole["machine"]["threads"] == 1
    printed = capsys.readouterr().out
    assert "| everything on | " in printed
    assert "| products of nonzeros | | not used | | |" in printed


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["--rounds", "0"], "--rounds must be positive"),
        (["--cpu-time"], "it needs --threads 1"),
    ],
)
def test_arguments_are_checked(ablation, command, message, capsys):
    with pytest.raises(SystemExit):
        ablation.main(command)
    assert message in capsys.readouterr().err
