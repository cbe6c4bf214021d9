"""benchmarks/outliers.py: what it splits, and that it prints what it found."""

import json

import numpy as np
import pytest


@pytest.fixture(scope="module")
def outliers(benchmarks):
    import outliers

    return outliers


@pytest.fixture
def folder(tmp_path, rng):
    X = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 6))
    X += 0.5 * rng.normal(size=(300, 6))
    y = (np.arange(300) < 20).astype(int)
    X[:20] = 3.0 * rng.normal(size=(20, 6))
    np.savez(tmp_path / "adbench_38_thyroid.npz", X=X, y=y)
    return tmp_path


def test_halves(outliers, folder):
    path = folder / "adbench_38_thyroid.npz"
    train, test, y, others = outliers.load(path, 200, 0)
    assert len(train) == len(test) == len(y) == len(others) == 100
    np.testing.assert_allclose(train.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(train.std(axis=0), 1.0)
    again = outliers.load(path, 200, 0)[0]
    np.testing.assert_array_equal(train, again)
    assert not np.array_equal(train, outliers.load(path, 200, 1)[0])


def test_it_prints_means_over_seeds(outliers, folder, monkeypatch, capsys):
    quick = {"PCA", "factor analysis", "IsolationForest"}
    own = {name: odd for name, odd in outliers.CONTENDERS.items() if name in quick}
    monkeypatch.setattr(outliers, "CONTENDERS", own)
    out = folder / "found.json"
    outliers.main(
        [
            "--data",
            str(folder),
            "--tables",
            "38_thyroid",
            "--seeds",
            "2",
            "--out",
            str(out),
        ]
    )
    printed = capsys.readouterr().out
    for title in ("ROC-AUC", "Average precision", "Seconds"):
        assert title in printed
    found = json.loads(out.read_text())["tables"]["38_thyroid"]
    assert set(found) == quick
    for rows in found.values():
        assert len(rows) == 2
        assert all(0.3 < row["auc"] <= 1.0 for row in rows), rows
        assert all(0.0 < row["precision"] <= 1.0 for row in rows)
    mean = np.mean([row["auc"] for row in found["PCA"]])
    assert f"| PCA | {mean:.3f} | {mean:.3f} |" in printed
