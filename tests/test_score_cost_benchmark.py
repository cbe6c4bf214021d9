"""benchmarks/score_cost.py: tables for every likelihood, and a run at a small size."""

import json

import numpy as np
import pytest
from scipy import sparse

from skvae._likelihoods.registry import LIKELIHOODS

# A few epochs of a network without a start train nothing, and say so.
pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.exceptions.PosteriorCollapseWarning"
)


@pytest.fixture
def score_cost(benchmarks):
    """The script as a module."""
    import score_cost

    return score_cost


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_tables_are_of_the_likelihood_s_kind(score_cost, name):
    X = score_cost.make_table(name, 60, 8, "float32")
    likelihood = LIKELIHOODS[name].of_rows(X)
    likelihood.check(X)
    assert X.shape == (60, 8)
    assert X.dtype == np.float32
    assert sparse.issparse(X) == likelihood.takes_size
    again = score_cost.make_table(name, 60, 8, "float32")
    assert abs(X - again).max() == 0.0


def test_epochs_are_timed_one_by_one(score_cost):
    X = score_cost.make_table("poisson", 60, 8, "float32")
    clock = score_cost.EpochSeconds()
    score_cost.VAETransformer(
        likelihood="poisson", max_epochs=4, early_stopping=False, callbacks=[clock]
    ).fit(X)
    assert len(clock.seconds) == 4
    assert min(clock.seconds) > 0.0


def test_a_row_has_the_ratio_of_medians(score_cost):
    found = {"epoch": [0.1, 0.2, 0.4], "score": [0.1, 0.3, 0.8], "pairs": 3}
    assert score_cost.ratio(found) == pytest.approx(1.5)
    line = score_cost.row("zinb", found)
    assert line == "| zinb | 3 | 0.200 | 0.300 | 1.50 | 1.00 to 2.00 |"


def test_a_small_run_writes_everything_down(score_cost, tmp_path, capsys):
    out = tmp_path / "score_cost.json"
    sizes = ["--rows", "60", "--columns", "8", "--epochs", "1", "--rounds", "2"]
    only = ["--only", "poisson", "categorical"]
    assert score_cost.main([*sizes, *only, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    found = json.loads(out.read_text())["likelihoods"]
    assert set(found) == {"poisson", "categorical"}
    assert [len(each["score"]) for each in found.values()] == [2, 2]
    assert printed.count("| poisson |") == printed.count("| categorical |") == 1


def test_numbers_must_be_positive(score_cost, capsys):
    with pytest.raises(SystemExit):
        score_cost.main(["--rounds", "0"])
    assert "--rounds must be positive" in capsys.readouterr().err
