"""benchmarks/train.py and benchmarks/benchmark_ae.py."""

import csv
import importlib
import json
import shutil
import subprocess
import sys
from itertools import product
from types import SimpleNamespace

import hydra
import numpy as np
import pytest
import yaml
from matplotlib.image import imread
from scipy import sparse
from sklearn.model_selection import train_test_split

import skvae
from skvae.cli.runs import RunError, read_run, write_failure
from skvae.presets import SWEEP

# Networks without a start are not trained in a few epochs, and say so.
pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.exceptions.PosteriorCollapseWarning"
)

QUICK = ["model.hidden_dims=[16]", "model.max_epochs=2", "data.n_rows=300"]
PICTURES = ("rate_distortion.png", "features.png", "latent.png")


@pytest.fixture(scope="module")
def scripts(benchmarks):
    """The scripts as modules: a process each would take most of the time."""
    import benchmark_ae
    import train

    return SimpleNamespace(benchmark_ae=benchmark_ae, train=train)


@pytest.fixture
def benchmark_ae(scripts):
    return scripts.benchmark_ae


@pytest.fixture
def train(scripts, benchmarks):
    """One run, given the overrides of a command line."""

    def run(directory, *overrides):
        conf = str(benchmarks / "conf")
        with hydra.initialize_config_dir(conf, version_base="1.3"):
            cfg = hydra.compose("config", overrides)
        return scripts.train.train(cfg, directory)

    return run


@pytest.fixture(scope="module")
def swept(tmp_path_factory, benchmarks):
    """A sweep of 2 x 2 with two runs that fail, from the shell; do not change it."""
    folder = tmp_path_factory.mktemp("swept")
    grid = ["model.kld_weight=1e-4,1e-2", "model.latent_dim=0,2", "model.lr=1e-2"]
    command = [sys.executable, str(benchmarks / "train.py"), "-m", *QUICK, *grid]
    command.append("hydra.sweep.dir=runs")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return folder / "runs", done


@pytest.fixture
def runs(swept, tmp_path):
    """The sweep, to be changed."""
    shutil.copytree(swept[0], tmp_path / "runs")
    return tmp_path / "runs"


# -- train.py --------------------------------------------------------------------------

STANDARD = ([2048, 1024, 512], 64, 0.1, "gelu")


@pytest.mark.parametrize(
    ("name", "estimator", "network", "own"),
    [
        ("vae", "VAETransformer", STANDARD, {"kld_weight": 1e-5}),
        (
            "vae_beta",
            "VAETransformer",
            ([4096, 2048, 1024, 512], 128, 0.15, "gelu"),
            {"kld_weight": 1e-3},
        ),
        (
            "vae_lightweight",
            "VAETransformer",
            ([1024, 512], 32, 0.05, "leaky_relu"),
            {"kld_weight": 1e-5},
        ),
        ("ae", "AETransformer", STANDARD, {}),
        ("rae", "RAETransformer", STANDARD, {"reg_weight": 1e-4}),
        (
            "sae",
            "SAETransformer",
            STANDARD,
            {"code_penalty": "l1", "reg_weight": 1e-4},
        ),
    ],
)
def test_models_are_those_of_the_old_configurations(
    benchmarks, name, estimator, network, own
):
    model = yaml.safe_load((benchmarks / "conf/model" / f"{name}.yaml").read_text())
    expected = {
        "_target_": f"skvae.{estimator}",
        "use_batch_norm": True,
        "gradient_clip_val": 1.0,
        "linear_path": None,
        "lr": 1e-4,
        "weight_decay": 1e-5,
        "random_state": "${seed}",
        **own,
    }
    keys = ("hidden_dims", "latent_dim", "dropout_rate", "activation")
    expected |= dict(zip(keys, network, strict=True))
    assert {key: model[key] for key in expected} == expected
    assert ("kld_weight" in model) == (estimator == "VAETransformer")


def test_a_run_is_what_its_configuration_says(tmp_path, train):
    metrics = train(tmp_path / "run", "model=vae_lightweight", "seed=3", *QUICK)
    assert read_run(tmp_path / "run").metrics == metrics
    run = read_run(tmp_path / "run")
    assert run.config["seed"] == 3
    assert run.metrics["n_test"] == 60
    assert run.metrics["knn_accuracy"] > 0.2  # ten classes
    params = skvae.load(tmp_path / "run" / "model.safetensors").get_params()
    written = {k: v for k, v in run.config["model"].items() if not k.startswith("_")}
    assert {key: params[key] for key in written} == written
    assert params["activation"] == "leaky_relu"
    assert params["hidden_dims"] == [16]
    assert params["random_state"] == 3


def test_a_sweep_goes_on_when_a_run_fails(swept):
    folder, done = swept
    assert done.returncode == 1
    assert done.stderr.count("train.py: error: ") == 2
    assert "Traceback" not in done.stderr
    assert done.stdout.count(": elbo ") == 2
    finished = {}
    for directory in sorted(path for path in folder.iterdir() if path.is_dir()):
        config = json.loads((directory / "config.json").read_text())["model"]
        key = (config["kld_weight"], config["latent_dim"])
        try:
            finished[key] = read_run(directory).metrics["kld_weight"]
        except RunError as error:
            finished[key] = str(error)
    assert [finished[w, 2] for w in (1e-4, 1e-2)] == pytest.approx([1e-4, 1e-2])
    for weight in (1e-4, 1e-2):
        assert "training failed: InvalidParameterError" in finished[weight, 0]


def test_a_table_of_counts_is_log_normalised(tmp_path, train):
    counts = np.random.RandomState(0).poisson(2.0, (80, 12))
    counts[0] = 0
    kinds = np.arange(80) % 3 - 1  # -1 is unlabelled
    np.savez(tmp_path / "counts.npz", X=counts, y=kinds, names=["a", "b"])
    data = ["data=pbmc3k", "data.label_names=names", "data.n_columns=5"]
    data += [f"data.path={tmp_path / 'counts.npz'}", "test_fraction=0.5"]
    metrics = train(tmp_path / "run", *data, *QUICK)
    logs = np.log1p(counts[1:] / counts[1:].sum(axis=1, keepdims=True) * 1e4)
    widest = np.argsort(-logs.var(axis=0))[:5]
    logs = logs[kinds[1:] >= 0][:, widest]
    _, test = train_test_split(np.arange(len(logs)), test_size=0.5, random_state=0)
    assert metrics["n_test"] == len(test)
    run = read_run(tmp_path / "run")
    np.testing.assert_allclose(run.arrays["mean"], logs[test].mean(axis=0), rtol=1e-5)
    names = np.array(["a", "b"])[kinds[1:][kinds[1:] >= 0]]
    assert list(run.arrays["labels"]) == list(names[test])


def test_columns_are_chosen_and_scaled(tmp_path, train):
    X = np.random.RandomState(0).randn(60, 4) * [1, 5, 3, 2] + 7
    np.save(tmp_path / "x.npy", X)
    data = ["data=file", f"data.path={tmp_path / 'x.npy'}", "data.n_columns=2"]
    metrics = train(tmp_path / "run", *data, *QUICK[:2])
    assert metrics["n_features"] == 2
    assert metrics["knn_accuracy"] is None
    scaler = skvae.load(tmp_path / "run" / "model.safetensors")[0]
    rows, _ = train_test_split(X[:, [1, 2]], test_size=0.2, random_state=0)
    np.testing.assert_allclose(scaler.mean_, rows.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(scaler.scale_, rows.std(axis=0), rtol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=pbmc3k"], r"set data\.path=\.\.\."),
        (["data=file", "data.path=no.csv"], "no.csv: no such file"),
        (["data.scale=much"], "data.scale='much' is not one of none, centre"),
        (["data.log_normalise=true", "data=negative"], "some are negative"),
        (["data.label_names=names", "data=negative"], "no array 'names'"),
        (["model.lr=1e30", *QUICK], "The training loss became nan"),
        (["+model.colour=red"], "unexpected keyword argument 'colour'"),
    ],
)
def test_a_failure_is_written_down(tmp_path, train, overrides, message):
    if "data=negative" in overrides:
        np.savez(tmp_path / "x.npz", X=-np.ones((9, 2)), y=np.zeros(9, int))
        data = ["data=file", f"data.path={tmp_path / 'x.npz'}", "data.label=y"]
        overrides = [overrides[0], *data]
    with pytest.raises(Exception, match=message):
        train(tmp_path / "run", *overrides)
    with pytest.raises(RunError, match=f"training failed: .*{message}"):
        read_run(tmp_path / "run")


OLD_NAMES = {
    "ae_stage1_vae": "vae",
    "ae_stage1_beta_vae": "vae_beta",
    "ae_stage1_lightweight_vae": "vae_lightweight",
    "ae_stage1_ae": "ae",
    "ae_stage1_rae": "rae",
    "ae_stage1_sae": "sae",
}


def composed(benchmarks, *overrides):
    conf = str(benchmarks / "conf")
    with hydra.initialize_config_dir(conf, version_base="1.3"):
        return hydra.compose("config", overrides)


@pytest.mark.parametrize("name", OLD_NAMES)
def test_names_of_the_old_code_base(benchmarks, name):
    own = composed(benchmarks, f"model={OLD_NAMES[name]}")
    assert composed(benchmarks, f"model={name}").model == own.model
    experiment = composed(benchmarks, "experiment=stage1_ae", f"model={name}")
    assert experiment.model == own.model


def test_the_experiment_has_a_model_of_its_own(benchmarks):
    found = composed(benchmarks, "experiment=stage1_ae").model
    assert found == composed(benchmarks, "model=ae_stage1_vae").model


def sweep(folder, benchmarks, *arguments):
    """Configurations of the runs of a command line."""
    command = [sys.executable, str(benchmarks / "train.py"), *arguments, *QUICK]
    command += ["model.max_epochs=1", "data.n_rows=60", "hydra.sweep.dir=runs"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return [read_run(at).config for at in (folder / "runs").glob("*/")]


@pytest.mark.slow
def test_the_sweep_of_the_old_code_base(tmp_path, benchmarks):
    """Sixteen runs, without -m."""
    configs = sweep(tmp_path, benchmarks, "experiment=stage1_vae_sweep")
    grid = [(c["model"]["kld_weight"], c["model"]["latent_dim"]) for c in configs]
    expected = product(SWEEP["kld_weight"], SWEEP["latent_dim"])
    assert sorted(grid) == sorted(expected)


def test_a_grid_over_models_of_the_old_code_base(tmp_path, benchmarks):
    models = "model=ae_stage1_vae,ae_stage1_beta_vae"
    configs = sweep(tmp_path, benchmarks, "-m", models, "model.latent_dim=64,128")
    grid = [(c["model"]["kld_weight"], c["model"]["latent_dim"]) for c in configs]
    assert sorted(grid) == [(1e-5, 64), (1e-5, 128), (1e-3, 64), (1e-3, 128)]


@pytest.mark.parametrize("scale", ["none", "standardise"])
def test_a_table_of_all_genes_is_never_densified(tmp_path, train, monkeypatch, scale):
    rng = np.random.RandomState(0)
    counts = sparse.random_array((400, 3000), density=0.02, format="csr", rng=rng)
    counts.data = np.ceil(9.0 * counts.data)
    path = tmp_path / "counts.npz"
    parts = {name: getattr(counts, name) for name in ("data", "indices", "indptr")}
    np.savez(path, **parts, shape=counts.shape, y=np.arange(400) % 2)
    largest = []

    def watched(X, *args, **kwargs):
        largest.append(X.shape[0])
        return original(X, *args, **kwargs)

    for kind in (sparse.csr_array, sparse.csr_matrix):
        original = kind.toarray
        monkeypatch.setattr(kind, "toarray", watched)
    bounds = ("cli.runs.chunk_rows", "_data.dataset.chunk_rows")
    for bound in (*bounds, "_evaluation.calibration.rows_at_once"):
        monkeypatch.setattr(f"skvae.{bound}", lambda width: 50)
    metrics = train(
        tmp_path / "run",
        "data=pbmc3k",
        f"data.path={path}",
        "data.n_columns=null",
        "data.label_names=null",
        "data.unlabelled=null",
        f"data.scale={scale}",
        "model.hidden_dims=[16]",
        "model.max_epochs=1",
    )
    assert metrics["n_features"] == 3000
    # Minibatches, and chunks of 50: not the 320 rows of training, nor the 80 others.
    assert max(largest) <= 128
    assert 80 not in largest


def test_without_hydra_the_extra_is_named(scripts, monkeypatch):
    monkeypatch.setitem(sys.modules, "hydra", None)
    monkeypatch.delitem(sys.modules, "train")
    with pytest.raises(SystemExit, match=r"pip install 'skvae\[bench\]'"):
        importlib.import_module("train")


# -- benchmark_ae.py -------------------------------------------------------------------


def table(folder):
    with (folder / "benchmark.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_best_elbo_is_first_and_failures_are_last(
    runs, tmp_path, benchmark_ae, capsys
):
    assert benchmark_ae.main(["--dir", str(runs), "--out", str(tmp_path / "out")]) == 0
    rows = table(tmp_path / "out")
    assert [row["best"] for row in rows] == ["True", "False", "False", "False"]
    assert float(rows[0]["elbo"]) > float(rows[1]["elbo"])
    for row in rows[:2]:
        metrics = read_run(runs / row["run"]).metrics
        assert {c: row[c] for c in benchmark_ae.COLUMNS} == {
            c: str(metrics[c]) for c in benchmark_ae.COLUMNS
        }
    for row in rows[2:]:
        assert row["elbo"] == ""
        assert row["error"].startswith("training failed: InvalidParameterError")
    text = (tmp_path / "out" / "benchmark.md").read_text()
    assert text.count("(best)") == 1
    assert f"| **{rows[0]['run']}** (best) |" in text
    assert text.count("training failed") == 2
    assert "different rows" not in text
    assert text in capsys.readouterr().out
    for name in PICTURES:
        assert imread(tmp_path / "out" / name)[..., :3].std() > 0.05


def test_half_written_runs_are_listed(runs, benchmark_ae):
    done = [path for path in runs.iterdir() if (path / "metrics.json").exists()]
    (done[0] / "metrics.json").unlink()
    (done[1] / "arrays.npz").write_bytes(b"PK")
    (runs / "lost").mkdir()
    (runs / "lost" / "metrics.json").write_text("{}")
    assert benchmark_ae.main(["--dir", str(runs)]) == 1
    reasons = {row["run"]: row["error"] for row in table(runs)}
    assert len(reasons) == 5
    assert reasons[done[0].name].startswith("half-written: no metrics.json")
    assert reasons[done[1].name].startswith("arrays.npz cannot be read")
    assert reasons["lost"].startswith("no config.json")
    assert not any((runs / name).exists() for name in PICTURES)


def plain(directory, copy_of, **metrics):
    """A copy of a run with the metrics that a plain autoencoder has."""
    shutil.copytree(copy_of, directory)
    path = directory / "metrics.json"
    none = dict.fromkeys(("elbo", "iw_bound", "rate", "active_units", "kld_weight"))
    old = json.loads(path.read_text())
    path.write_text(json.dumps(old | none | {"estimator": "AETransformer"} | metrics))


def test_models_without_elbo_come_behind_by_error(runs, benchmark_ae, capsys):
    done = next(path for path in runs.iterdir() if (path / "metrics.json").exists())
    for name, error in (("worse", 0.5), ("better", 1e-6)):
        plain(runs / name, done, mse=error)
    assert benchmark_ae.main(["--dir", str(runs)]) == 0
    rows = table(runs)
    assert [row["run"] for row in rows[2:4]] == ["better", "worse"]
    assert [row["best"] for row in rows] == ["True"] + ["False"] * 5
    assert (runs / "rate_distortion.png").exists()


def test_without_any_elbo_none_is_the_best(runs, tmp_path, benchmark_ae, capsys):
    done = next(path for path in runs.iterdir() if (path / "metrics.json").exists())
    plain(tmp_path / "plain" / "a", done)
    assert benchmark_ae.main(["--dir", str(tmp_path / "plain")]) == 0
    assert [row["best"] for row in table(tmp_path / "plain")] == ["False"]
    assert "no rate_distortion.png: no run has a rate" in capsys.readouterr().out
    assert not (tmp_path / "plain" / "rate_distortion.png").exists()
    assert (tmp_path / "plain" / "latent.png").exists()


def test_runs_of_different_rows_are_flagged(runs, benchmark_ae, capsys):
    done = next(path for path in runs.iterdir() if (path / "metrics.json").exists())
    arrays = dict(np.load(done / "arrays.npz"))
    np.savez(done / "arrays.npz", **arrays | {"mean": arrays["mean"] + 1})
    assert benchmark_ae.main(["--dir", str(runs)]) == 0
    assert "The runs held out different rows" in (runs / "benchmark.md").read_text()


def test_a_bar_in_a_reason_does_not_break_the_table(tmp_path, benchmark_ae):
    write_failure(tmp_path / "run", {}, ValueError("a | b"))
    assert benchmark_ae.main(["--dir", str(tmp_path)]) == 1
    assert r"ValueError: a \| b |" in (tmp_path / "benchmark.md").read_text()


@pytest.mark.parametrize(
    ("folder", "message"), [("empty", "no run in it"), ("nowhere", "no such directory")]
)
def test_nothing_to_compare_is_one_line_and_status_2(
    tmp_path, benchmark_ae, capsys, folder, message
):
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    assert benchmark_ae.main(["--dir", str(tmp_path / folder)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("benchmark_ae.py: error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / folder / "benchmark.csv").exists()
