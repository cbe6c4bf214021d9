"""benchmarks/synthetic.py: what it measures, and a run at a small size."""

import json
from pathlib import Path

import numpy as np
import pytest

pd = pytest.importorskip("pandas")

# Few epochs of few rows: how far the models get is not the point.
pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.exceptions.PosteriorCollapseWarning",
    "ignore:Mean of empty slice",  # of accuracies that there are none of
)


@pytest.fixture(scope="module")
def synthetic(benchmarks):
    """The script as a module."""
    import synthetic

    return synthetic


def census(n, seed=0):
    """Rows with words, holes and numbers, and an income that follows from them."""
    rng = np.random.RandomState(seed)
    hours = rng.randint(10, 60, n)
    work = np.array(["office", "farm", "?"])[rng.randint(3, size=n)]
    rich = hours + 30 * (work == "office") + 3 * rng.randn(n) > 55
    return pd.DataFrame(
        {
            "hours": hours,
            "weight": rng.lognormal(10.0, 1.0, n).round(2),
            "work": work,
            "income": np.where(rich, ">50K", "<=50K"),
        }
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("census") / "adult.csv"
    census(600).to_csv(path, index=False)
    return path


@pytest.fixture
def halves(synthetic, path):
    return synthetic.load(path, 250, seed=0)


def test_halves_share_no_row_and_have_holes(synthetic, path, halves):
    train, test = halves
    assert len(train) == len(test) == 250
    assert not set(train["weight"]) & set(test["weight"])
    assert set(train["work"].dropna()) == {"office", "farm"}
    assert 0.2 < train["work"].isna().mean() < 0.5
    again, _ = synthetic.load(path, 250, seed=0)
    pd.testing.assert_frame_equal(train, again)
    assert not train.equals(synthetic.load(path, 250, seed=1)[0])


def test_copies_are_told(synthetic, halves):
    train, test = halves
    found = synthetic.of_copies(train, test, train)
    assert found == {"copies": 1.0, "closeness": 0.0}
    others = census(400, seed=1).replace("?", np.nan)
    found = synthetic.of_copies(train, test, pd.concat([train[:50], others[:150]]))
    assert found["copies"] == 0.25
    found = synthetic.of_copies(train, test, test)
    assert found["copies"] == 0.0
    assert found["closeness"] > 1e6  # held-out rows themselves
    found = synthetic.of_copies(train, test, others)
    assert found["copies"] == 0.0
    assert found["closeness"] == pytest.approx(1.0, abs=0.2)


def test_rows_that_are_nearly_learnt_by_heart_are_close(synthetic, halves):
    train, test = halves
    nearly = train.assign(weight=train["weight"] * 1.001)
    found = synthetic.of_copies(train, test, nearly)
    assert found["copies"] == 0.0
    assert found["closeness"] < 0.2


def test_income_is_predicted_for_real_rows(synthetic, halves):
    train, test = halves
    good = synthetic.of_income(train, test)
    assert good["auc"] > 0.9
    assert good["accuracy"] > 0.8
    labels = train["income"].sample(frac=1.0, random_state=0).to_numpy()
    bad = synthetic.of_income(train.assign(income=labels), test)
    assert bad["auc"] < 0.7
    one = synthetic.of_income(train.assign(income="<=50K"), test)
    assert np.isnan(one["auc"])


def test_a_run_without_sdv(synthetic, path, tmp_path, capsys):
    out = tmp_path / "found.json"
    given = ["--data", str(path), "--rows", "200", "--seeds", "1", "--epochs", "2"]
    synthetic.main([*given, "--out", str(out)])
    lines = capsys.readouterr().out.splitlines()
    names = [line.split("|")[1].strip() for line in lines[2:]]
    assert names == ["training rows", "held out", "skvae"]
    rows = json.loads(out.read_text())["rows"]
    assert rows["training rows"][0]["copies"] == 1.0
    assert rows["skvae"][0]["copies"] < 0.1
    assert rows["skvae"][0]["seconds"] > 0.0
    assert "shapes" not in rows["skvae"][0]


def test_rows_made_up_are_a_frame_like_the_training_rows(synthetic, halves):
    train, _ = halves
    made = synthetic.of_skvae(train, seed=0, epochs=2)
    assert list(made.columns) == list(train.columns)
    assert list(made.dtypes) == list(train.dtypes)
    assert len(made) == len(train)
    pd.testing.assert_frame_equal(made, synthetic.of_skvae(train, seed=0, epochs=2))


def test_other_contenders_are_run_and_judged_elsewhere(
    synthetic, path, monkeypatch, capsys
):
    asked = []

    def run(python, task, *arguments):
        asked.append((python, task))
        if task == "make":
            name, seed, given, made = arguments
            asked[-1] += (name, seed)
            Path(made).write_text(Path(given).read_text())
        else:
            known = {"shapes": 0.9, "trends": 0.8, "columns": {"hours": 0.7}}
            Path(arguments[-1]).write_text(json.dumps(known))

    monkeypatch.setattr(synthetic, "_run", run)
    given = ["--data", str(path), "--rows", "150", "--seeds", "2", "--epochs", "1"]
    synthetic.main([*given, "--sdv", "other"])
    made = [call[2:] for call in asked if call[1] == "make"]
    assert made == [(n, s) for s in "01" for n in ("TVAE", "GaussianCopula")]
    assert sum(call[1] == "judge" for call in asked) == 10
    assert {call[0] for call in asked} == {"other"}
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("| GaussianCopula | 0.900 | 0.800 |")


def test_a_contender_that_fails_is_an_error(synthetic, halves, tmp_path):
    import sys

    with pytest.raises(RuntimeError, match="No module named 'sd"):
        synthetic.of_sdv(sys.executable, "TVAE", halves[0], seed=0)
