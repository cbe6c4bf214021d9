"""benchmarks/speed.py: workers, environments and report. Nothing is timed."""

import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from _memory import new_pages
from scipy import sparse
from torch.utils.flop_counter import FlopCounterMode


@pytest.fixture(scope="module")
def scripts(benchmarks):
    """The script and its parts as modules."""
    import _contenders
    import _environments
    import _plain
    import _products
    import _rounds
    import _worker
    import _workloads
    import speed

    return SimpleNamespace(
        speed=speed,
        contenders=_contenders,
        environments=_environments,
        plain=_plain,
        products=_products,
        rounds=_rounds,
        worker=_worker,
        workloads=_workloads,
    )


@pytest.fixture
def tiny(scripts):
    return scripts.workloads.Workload("random", 40, 3, (4,), 5, 16, 2)


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split(" | ")]


def test_contenders_run_and_a_failure_is_listed(
    scripts, tiny, tmp_path, monkeypatch, capsys
):
    """Through real workers, but for the one whose environment cannot be made."""
    contenders = scripts.contenders.CONTENDERS
    broken = contenders["pyod"]._replace(requirements=("./nowhere",))
    monkeypatch.setitem(contenders, "pyod", broken)
    monkeypatch.setattr(scripts.speed, "WORKLOADS", {"tiny": tiny})
    out = tmp_path / "speed.json"
    command = ["--contenders", "skvae", "pyod", "--rounds", "2", "--epochs", "1"]
    command += ["--envs", str(tmp_path / "envs"), "--out", str(out), "--threads", "1"]
    assert scripts.speed.main(command) == 1
    report = json.loads(out.read_text())
    done = report["workloads"]["tiny"]
    assert done["workload"] == {**tiny._asdict(), "hidden_dims": [4], "epochs": 1}
    lengths = {name: len(seconds) for name, seconds in done["seconds"].items()}
    assert lengths == {"skvae": 2, "plain loop": 2}
    assert min(map(min, done["seconds"].values())) > 0
    assert set(done["peak_mb"]) == set(lengths)
    assert done["versions"]["skvae"]["torch"] == torch.__version__
    reason = done["failures"].pop("pyod")
    assert reason.startswith("no environment: ERROR: Invalid requirement")
    assert done["failures"] == {}
    assert report["machine"]["threads"] == 1
    assert report["device"] == "cpu"
    captured = capsys.readouterr()
    assert "for ./nowhere" in captured.err
    printed = captured.out.strip().splitlines()
    assert printed[0].startswith("tiny: 40 x 3 (random), hidden layers 4, 5 units")
    rows = {cells(line)[0]: cells(line) for line in printed[4:]}
    assert [*rows] == ["skvae", "plain loop", "pyod"]
    assert rows["plain loop"][2:4] == ["1.00", "1.00 to 1.00"]
    assert rows["pyod"][1:5] == [""] * 4
    assert rows["pyod"][5] == f"failed: {reason}"


def answers_of_worker(scripts, monkeypatch, w, folder, contender):
    """Answers to one request, of a worker in this process."""
    table = scripts.workloads.save_table(scripts.workloads.make_table(w), folder / "x")
    job = {"contender": contender, "workload": w._asdict(), "table": str(table)}
    monkeypatch.setattr(sys, "argv", ["", json.dumps(job | {"device": "cpu"})])
    monkeypatch.setattr(sys, "stdin", io.StringIO("go\n"))
    replies = io.StringIO()
    monkeypatch.setattr(scripts.worker, "private_stdout", lambda: replies)
    scripts.worker.main()
    return [json.loads(line) for line in replies.getvalue().splitlines()]


def test_a_worker_says_why_it_fails(scripts, tiny, tmp_path, monkeypatch):
    answers = answers_of_worker(scripts, monkeypatch, tiny, tmp_path, "PCA")
    assert [*answers[0]] == ["versions"]
    # Three columns have no five components.
    assert answers[1]["error"].startswith("ValueError: n_components=5 must be")
    assert len(answers) == 2


def test_a_worker_fits_on_request(scripts, tiny, tmp_path, monkeypatch):
    w = tiny._replace(latent_dim=2)
    answers = answers_of_worker(scripts, monkeypatch, w, tmp_path, "PCA")
    assert "scikit-learn" in answers[0]["versions"]
    assert answers[1]["seconds"] > 0
    assert answers[1]["peak_mb"] >= 0
    assert len(answers) == 2


def test_ratios_are_of_medians(scripts, tiny):
    results = scripts.rounds.Results(
        seconds={
            "plain loop": [2.0, 1.0, 4.0],
            "skvae": [1.0, 2.0, 5.0],
            "PCA": [0.01],
        },
        peak_mb={"plain loop": 12.3, "skvae": 45.6},
        versions={"skvae": {"torch": "2.6.0"}, "plain loop": {"torch": "2.13.0"}},
        failures={"PCA": "RuntimeError: a | b", "pyod": "no environment: ERROR: none"},
    )
    names = ["skvae", "PCA", "pyod", "scvi-tools"]
    ours, pca, pyod, scvi = scripts.speed.lines(names, tiny, results, "cpu")
    assert cells(ours)[:5] == ["skvae", "2.00", "1.00", "0.50 to 2.00", "46"]
    assert ours.endswith("; torch 2.6.0 |")
    assert cells(pca)[:4] == ["PCA", "0.01", "0.005", "0.005 to 0.005"]
    assert pca.endswith(r"failed: RuntimeError: a \| b |")
    assert pyod.endswith("| failed: no environment: ERROR: none |")
    assert scvi.endswith("| not run: it models counts |")


WORKER = """
import json, sys
job = json.loads(sys.argv[1])
if job["contender"] == "dead":
    sys.exit("no such luck")
print(json.dumps({"versions": {}}), flush=True)
for n, _ in enumerate(sys.stdin):
    if job["contender"] == "tired" and n == 1:
        print(json.dumps({"error": "RuntimeError: tired"}), flush=True)
        break
    with open(job["table"], "a") as log:
        log.write(job["contender"] + "\\n")
    print(json.dumps({"seconds": 1.0 + n, "peak_mb": n}), flush=True)
"""


def test_who_fails_is_out_and_the_others_go_on(scripts, tiny, tmp_path, monkeypatch):
    fake = tmp_path / "worker.py"
    fake.write_text(WORKER)
    monkeypatch.setattr(scripts.rounds, "WORKER", fake)
    log = tmp_path / "log"
    python = {"lost": tmp_path / "no-python"}
    jobs = [
        scripts.rounds.Job(
            python.get(name, Path(sys.executable)), name, tiny, log, "cpu"
        )
        for name in ("a", "tired", "dead", "lost", "b")
    ]
    results = scripts.rounds.alternate(
        jobs, 3, tmp_path, threads=None, failures={"early": "no environment"}
    )
    assert log.read_text().split() == ["a", "tired", "b", "a", "b", "a", "b"]
    assert results.seconds == {
        "a": [1.0, 2.0, 3.0],
        "tired": [1.0],
        "b": [1.0, 2.0, 3.0],
    }
    assert results.peak_mb == {"a": 2, "tired": 0, "b": 2}
    assert results.failures.pop("lost").startswith("[Errno 2]")
    assert results.failures == {
        "early": "no environment",
        "tired": "RuntimeError: tired",
        "dead": "died with status 1: no such luck",
    }


def test_chatter_of_libraries_is_no_answer(scripts, capfd):
    replies = scripts.worker.private_stdout()
    os.write(1, b"chatter\n")
    print("answer", file=replies)
    os.dup2(replies.fileno(), 1)
    replies.close()
    assert capfd.readouterr() == ("answer\n", "chatter\n")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux only")
def test_memory_is_the_peak_above_the_start(scripts):
    memory = scripts.worker.Memory("cpu")
    assert memory.peak_mb() < 20
    with new_pages(80_000_000):
        pass
    assert 75 < memory.peak_mb() < 100


def test_an_environment_is_reused_until_its_requirements_change(
    scripts, tmp_path, monkeypatch, capsys
):
    environments = scripts.environments
    ran = []

    def run(*arguments):
        ran.append(arguments)
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()

    monkeypatch.setattr(environments, "_run", run)
    folder = tmp_path / "envs" / "peer"
    python = environments.python_of(folder)
    for requirements, n_runs in ((["peer==1"], 2), (["peer==1"], 2), (["peer==2"], 4)):
        assert environments.environment(folder, requirements) == python
        assert len(ran) == n_runs
    assert ran[0][:2] == ("-m", "venv")
    constrained = ("--constraint", str(environments.CONSTRAINTS), "peer==1")
    assert ran[1][-3:] == constrained
    (folder / environments.STAMP).unlink()  # as after an interruption
    environments.environment(folder, ["peer==2"])
    assert len(ran) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--contenders", "PCA", "abacus"], "invalid choice: 'abacus'"),
        (["--only", "W9"], "invalid choice: 'W9'"),
        (["--rounds", "0"], "0 is not positive"),
        (["--contenders", "cuda graph loop"], "cuda graph loop needs --device cuda"),
        (["--device", "cuda"], "sees no GPU here"),
    ],
)
def test_what_cannot_be_run_is_refused(
    scripts, monkeypatch, capsys, arguments, message
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as stopped:
        scripts.speed.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_the_tables_are_as_described(scripts, tmp_path):
    workloads = scripts.workloads
    digits = workloads.make_table(workloads.WORKLOADS["W1"])
    assert digits.shape == workloads.WORKLOADS["W1"][1:3]
    w = workloads.WORKLOADS["W3"]._replace(rows=100, columns=500)
    counts = workloads.make_table(w)
    assert counts.dtype == np.float32
    assert counts.nnz == 4000
    assert (counts.data == np.rint(counts.data)).all()
    assert counts.data.min() == 1
    for X in (digits, counts):
        again = workloads.load_table(workloads.save_table(X, tmp_path / "table"))
        assert sparse.issparse(again) == sparse.issparse(X)
        np.testing.assert_array_equal(workloads.dense(again), workloads.dense(X))
    as_json = json.loads(json.dumps(w._asdict()))
    assert workloads.Workload.from_json(as_json) == w


@pytest.mark.filterwarnings("ignore::skvae.exceptions.PosteriorCollapseWarning")
@pytest.mark.parametrize("name", ["W1", "W3"])
def test_contenders_of_this_environment_train_the_same_model(scripts, name):
    w = scripts.workloads.small_one(scripts.workloads.WORKLOADS[name])
    X = scripts.workloads.make_table(w)
    contenders = scripts.contenders.CONTENDERS
    sizes = []
    for contender, module in (
        ("plain loop", lambda fitted: fitted),
        ("plain skorch", lambda fitted: fitted.module_),
        ("skvae", lambda fitted: fitted.module_),
    ):
        fitted = module(contenders[contender].fit(X, w, "cpu"))
        # skvae has no biases that batch normalisation would take away again.
        sizes.append(sum(p.numel() for p in fitted.parameters() if p.ndim == 2))
    assert sizes == sizes[:1] * 3
    mlp = contenders["MLPRegressor"].fit(X, w, "cpu")
    assert [len(bias) for bias in mlp.intercepts_] == [16, 8, 4, 8, 16, 32]
    assert mlp.n_iter_ == w.epochs
    assert contenders["PCA"].fit(X, w, "cpu").n_components_ == w.latent_dim


def losses(scripts, fit, w, device):
    """Of a model hardly trained, and of a trained one."""
    x = torch.from_numpy(scripts.workloads.make_table(w)).to(device)
    for epochs in (1, w.epochs):
        module = fit(x.cpu().numpy(), w._replace(epochs=epochs), device).eval()
        with torch.no_grad():
            yield float(scripts.plain.vae_loss(module(x), x))


def test_the_plain_loop_learns(scripts, tiny):
    """Its figures are of no use if it does nothing."""
    w = tiny._replace(columns=8, hidden_dims=(32,), epochs=300)
    first, last = losses(scripts, scripts.plain.fit_plain, w, "cpu")
    assert last < 0.7 * first


def test_products_alone_are_those_of_the_plain_loop(scripts, tiny):
    """Forty rows are two minibatches of 16 and one of 8."""
    X = scripts.workloads.make_table(tiny)
    flops = []
    for fit in (scripts.plain.fit_plain, scripts.products.fit_nothing):
        with FlopCounterMode(display=False) as counter:
            fit(X, tiny, "cpu")
        flops.append(counter.get_total_flops())
    assert flops[0] == flops[1] > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_graph_loop_learns_what_the_plain_one_does(scripts, tiny):
    w = tiny._replace(columns=8, hidden_dims=(32,), epochs=300)
    _, plain = losses(scripts, scripts.plain.fit_plain, w, "cuda")
    first, last = losses(scripts, scripts.plain.fit_cuda_graph, w, "cuda")
    assert last < 0.7 * first
    assert last == pytest.approx(plain, rel=0.3)


def test_the_graph_loop_sees_every_row_once_an_epoch(scripts, tiny, monkeypatch):
    """With a graph that only looks: 40 rows are two minibatches of 16 and one of 8."""
    seen = []

    def capture(module, optimizer, static):
        return SimpleNamespace(replay=lambda: seen.append(static.clone()))

    monkeypatch.setattr(scripts.plain, "_captured_update", capture)
    monkeypatch.setattr(scripts.plain, "_update", lambda m, o, x: seen.append(x))
    X = scripts.workloads.make_table(tiny)
    scripts.plain.fit_cuda_graph(X, tiny, "cpu")
    assert [len(x) for x in seen] == [16, 16, 8] * 2
    for epoch in (seen[:3], seen[3:]):
        rows = torch.cat(epoch).numpy()
        np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(X, axis=0))
