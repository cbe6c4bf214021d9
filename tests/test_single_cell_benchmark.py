"""benchmarks/single_cell.py: its parts on made-up cells, and a run at a small size."""

import json

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import nbinom


@pytest.fixture(scope="module")
def parts(benchmarks):
    import _single_cell

    return _single_cell


@pytest.fixture(scope="module")
def single_cell(benchmarks):
    """The script as a module."""
    import single_cell

    return single_cell


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two types of 60 cells with 30 genes, three cells without a type, one empty."""
    rng = np.random.RandomState(0)
    y = np.repeat([0, 1, -1], [60, 60, 3])
    rates = rng.gamma(1.0, 2.0, (3, 30))
    counts = rng.poisson(rates[y]).astype(np.uint16)
    counts[5] = 0
    X = sparse.csr_matrix(counts)
    path = tmp_path_factory.mktemp("cells")
    np.savez(
        path / "made_up.npz",
        data=X.data,
        indices=X.indices,
        indptr=X.indptr,
        shape=np.array(X.shape),
        y=y.astype(np.int8),
    )
    return path


def test_cells_are_labelled_and_none_is_empty(parts, folder):
    cells = parts.load_cells(folder / "made_up.npz", 20)
    assert cells.X.shape == (119, 20)
    assert set(cells.y) == {0, 1}
    assert (parts.sizes(cells.X) > 0).all()
    assert np.array_equal(cells.X.data, cells.X.data.round())  # still counts


def test_a_split_is_of_the_seed_and_of_all_cells(parts, folder):
    cells = parts.load_cells(folder / "made_up.npz", 20)
    first, again, other = (parts.split(cells, seed) for seed in (0, 0, 1))
    assert (first.test.X != again.test.X).nnz == 0
    assert (first.test.X != other.test.X).nnz > 0
    assert first.train.X.shape[0] + first.test.X.shape[0] == 119
    assert np.bincount(first.test.y).tolist() == [12, 12]


def test_log_counts_have_no_size(parts):
    X = sparse.csr_matrix(np.array([[1.0, 3.0, 0.0], [2.0, 6.0, 0.0]], np.float32))
    logs = parts.log_counts(X).toarray()
    assert np.allclose(logs[0], np.log1p([2500.0, 7500.0, 0.0]))
    assert np.allclose(logs[0], logs[1])


def test_codes_that_are_labels_have_full_scores(parts):
    y = np.repeat([0, 1], 30)
    codes = 10.0 * y[:, None] + np.linspace(0.0, 0.1, 60)[:, None]
    assert parts.code_scores(codes, codes, y, y, 0) == pytest.approx((1.0, 1, 1), 0.02)
    rng = np.random.RandomState(0)
    noise = parts.code_scores(rng.randn(60, 2), rng.randn(60, 2), y, y, 0)
    assert max(noise) < 0.8


def test_codes_that_say_nothing_have_scores_too(parts):
    y, codes = np.repeat([0, 1], 30), np.zeros((60, 2))
    scores = parts.code_scores(codes, codes, y, y, 0)
    assert scores.accuracy == 0.5
    assert scores.silhouette == scores.ari == 0.0


def test_no_code_is_the_best_negative_binomial_of_sizes_alone(parts):
    rng = np.random.RandomState(0)
    size, r = rng.uniform(50.0, 150.0, 4000), np.array([0.5, 3.0, 20.0])
    shares = np.array([0.2, 0.5, 0.3])
    mean = size[:, None] * shares
    X = rng.poisson(rng.gamma(r, mean / r)).astype(np.float64)
    own = X.sum(axis=1, keepdims=True)
    X, own = X[own[:, 0] > 0], own[own[:, 0] > 0]
    train, test = sparse.csr_matrix(X[:3000]), sparse.csr_matrix(X[3000:])
    found = parts.no_code(train, test).mean()
    rates = X[:3000].sum(axis=0) / X[:3000].sum()

    def held_out(r):
        mean = own[3000:] * rates
        return nbinom.logpmf(X[3000:], r, r / (r + mean)).sum(axis=1).mean()

    # A coarse grid of dispersions, a gene after the other, finds none much better.
    grid = np.exp(np.linspace(-3.0, 5.0, 17))
    best = np.ones(3)
    for gene in range(3):
        tried = [held_out(np.where(np.arange(3) == gene, r, best)) for r in grid]
        best[gene] = grid[int(np.argmax(tried))]
    assert held_out(best) - 0.02 < found < held_out(best) + 0.05


def test_tasks_and_outcomes_survive_a_file(benchmarks, tmp_path):
    from _single_cell_task import Outcome, Task

    X = sparse.csr_matrix(np.eye(4, dtype=np.float32))
    task = Task("PCA", X, X[:2], seed=3, n_draws=7, threads=1)
    task.write(tmp_path / "task.npz")
    read = Task.read(tmp_path / "task.npz")
    assert (read.train != X).nnz == 0
    assert read.test.shape == (2, 4)
    assert read[3:] == (3, 7, 1, None)
    made = Outcome(
        np.ones((4, 2)), np.ones((2, 2)), np.empty(0), np.empty(0), 1, 2, 3, 4
    )
    made.write(tmp_path / "outcome.npz")
    found = Outcome.read(tmp_path / "outcome.npz")
    assert found.train_codes.shape == (4, 2)
    assert len(found.bound) == 0
    assert found[4:] == (1, 2, 3, 4)


def test_cells_of_a_table(single_cell):
    rows = {
        "counts": [{"bound": -1000.0, "seconds": 1.0}, {"bound": -1002.0}],
        "codes": [{"accuracy": 0.5}],
    }
    header, _, counts, codes = single_cell.as_table(rows).splitlines()
    assert counts.startswith("| counts | 2 | -1,001.0 ± 1.4 |  |")
    assert "| 0.500 |" in codes
    assert header.count("|") == counts.count("|") == codes.count("|")


def test_a_contender_that_is_not_known_is_refused(single_cell, folder, capsys):
    with pytest.raises(SystemExit):
        single_cell.main(["--data", str(folder), "--contenders", "umap"])
    assert "umap" in capsys.readouterr().err


def test_a_run_at_a_small_size(single_cell, folder, tmp_path, capsys):
    out, work = tmp_path / "out.json", tmp_path / "work"
    arguments = [
        *("--data", str(folder), "--tables", "made_up", "--genes", "20"),
        *("--contenders", "negative_binomial", "SCVI", "--seeds", "1"),
        *("--epochs", "15", "--draws", "5", "--threads", "1"),
        *("--out", str(out), "--work", str(work)),
    ]
    single_cell.main(arguments)
    printed = capsys.readouterr().out
    assert "119 cells, 20 genes" in printed
    assert "| negative_binomial |" in printed
    assert "SCVI" not in printed  # no interpreter has it
    rows = json.loads(out.read_text())["tables"]["made_up"]
    fit = rows["negative_binomial"][0]
    assert np.isfinite(fit["bound"])
    assert fit["bound"] >= fit["elbo"] - 0.5
    assert rows["no code"][0]["bound"] < 0.0
    assert fit["accuracy"] > 0.5
    # What was computed is there for the next run.
    assert len(list(work.iterdir())) == 1
    single_cell.main(arguments)
    assert json.loads(out.read_text())["tables"]["made_up"] == rows


@pytest.mark.parametrize("contender", ["PCA", "FactorAnalysis", "gaussian_diag"])
def test_others_get_logarithms(parts, folder, contender):
    import _single_cell_worker
    from _single_cell_task import Task

    cells = parts.load_cells(folder / "made_up.npz", 20)
    task = Task(contender, cells.X, cells.X, 0, n_draws=2, threads=1, epochs=1)
    model, takes = _single_cell_worker.fitted(task)
    assert takes(cells.X).max() < 10.0
    assert model.transform(takes(cells.X)).shape == (119, 10)
