"""benchmarks/synthetic.py: what it measures, of rows whose answer is known."""

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="module")
def synthetic(benchmarks):
    import synthetic

    return synthetic


@pytest.fixture(scope="module")
def census():
    """Rows like the census table's."""
    rng = np.random.RandomState(0)
    wealth = rng.randn(800)
    return pd.DataFrame(
        {
            "age": (40 + 10 * rng.randn(800)).round().astype(int),
            "gain": np.exp(3.0 + wealth),
            "job": np.where(wealth + 0.3 * rng.randn(800) > 0.0, "clerk", "smith"),
            "income": np.where(wealth + 0.5 * rng.randn(800) > 0.5, ">50K", "<=50K"),
        }
    )


def test_copies_are_found(synthetic, census):
    train, test = census[:400], census[400:]
    own, other = (synthetic.of_copies(train, test, rows) for rows in (train, test))
    assert own == {"copies": 1.0, "closeness": 0.0}
    assert other["copies"] == 0.0
    assert other["closeness"] > 1e9
    half = pd.concat([train[:200], test[:200]])
    assert synthetic.of_copies(train, test, half)["copies"] == 0.5


def test_income_is_learnt_from_rows_that_know_it(synthetic, census):
    train, test = census[:400], census[400:]
    real = synthetic.of_income(train, test)
    assert real["auc"] > 0.8
    other = train["income"].sample(frac=1.0, random_state=0).to_numpy()
    assert synthetic.of_income(train.assign(income=other), test)["auc"] < 0.65
    one = train.assign(income="<=50K")
    assert np.isnan(synthetic.of_income(one, test)["auc"])


@pytest.mark.filterwarnings("ignore::skvae.exceptions.PosteriorCollapseWarning")
def test_it_prints_a_line_a_contender(synthetic, census, tmp_path, capsys):
    census.assign(job=census["job"].where(census.index % 9 > 0, "?")).to_csv(
        tmp_path / "adult.csv", index=False
    )
    out = tmp_path / "found.json"
    synthetic.main(
        [
            "--data",
            str(tmp_path / "adult.csv"),
            "--rows",
            "200",
            "--seeds",
            "1",
            "--epochs",
            "2",
            "--out",
            str(out),
        ]
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| training rows",
        "| held out",
        "| skvae",
    ]
    assert out.exists()
