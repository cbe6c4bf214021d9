"""GuideLogger against the real trackers: what they read back."""

import copy
import json
import pickle
import struct
import sys
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback

from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer
from skvae.callbacks import GuideLogger, log_figure

ESTIMATORS = (VAETransformer, AETransformer, RAETransformer, SAETransformer)
# As old dashboards have them.
NAMES = {"train/recon_loss", "train/kl_loss", "train/loss", "val/loss"}
CHART = "charts/rate_distortion"
BLOCK = 32 * 1024

tensorboard = pytest.importorskip("torch.utils.tensorboard")
# Of the trackers' own.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def events(directory):
    """A run of TensorBoard's, read back."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(directory), size_guidance={"images": 0}).Reload()


def curve(run, name):
    return [(event.step, event.value) for event in run.Scalars(name)]


def expected(model, column):
    return [
        (number, pytest.approx(row[column], rel=1e-6))
        for number, row in enumerate(model.history_, start=1)
    ]


@pytest.fixture
def writer(tmp_path):
    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        yield writer


# -- TensorBoard -----------------------------------------------------------------------


def test_tensorboard_has_the_curves_by_their_old_names(small, quick, writer, tmp_path):
    vae = VAETransformer(**quick, callbacks=[GuideLogger(writer)]).fit(small)
    run = events(tmp_path)
    assert set(run.Tags()["scalars"]) == {
        *NAMES,
        *("val/recon_loss", "val/kl_loss", "val/elbo", "train/kld_weight"),
        "hparam/val_loss",
    }
    for name, column in {
        "train/loss": "train_loss",
        "train/recon_loss": "train_recon_loss",
        "train/kl_loss": "train_kl_loss",
        "val/loss": "valid_loss",
        "val/elbo": "valid_elbo",
        "train/kld_weight": "kld_weight",
    }.items():
        assert curve(run, name) == expected(vae, column), name


def hyperparameters(directory):
    from tensorboard.plugins.hparams.metadata import (
        SESSION_START_INFO_TAG,
        parse_session_start_info_plugin_data,
    )

    content = events(directory).SummaryMetadata(SESSION_START_INFO_TAG)
    found = parse_session_start_info_plugin_data(content.plugin_data.content).hparams
    return {name: getattr(v, v.WhichOneof("kind")) for name, v in found.items()}


def test_tensorboard_has_the_parameters(small, quick, writer, tmp_path):
    params = {**quick, "beta": 2.0, "hidden_dims": (8, 4), "gradient_clip_val": None}
    vae = VAETransformer(**params, callbacks=[GuideLogger(writer)]).fit(small)
    found = hyperparameters(tmp_path)
    own = set(vae.get_params(deep=False)) - {"callbacks"}
    more = {"estimator", "n_features", "n_train_rows", "n_held_out_rows"}
    assert set(found) == own | more
    assert found["beta"] == 2.0
    assert found["hidden_dims"] == "(8, 4)"
    assert found["gradient_clip_val"] == "None"
    assert found["use_batch_norm"] == 1.0  # numbers and texts are all that it has
    assert found["estimator"] == "VAETransformer"
    assert found["likelihood"] == "gaussian_diag"  # what "auto" stands for
    sizes = (found["n_features"], found["n_train_rows"], found["n_held_out_rows"])
    assert sizes == (64, 81, 9)
    best = min(row["valid_objective"] for row in vae.net_.history)
    row = next(r for r in vae.net_.history if r["valid_objective"] == best)
    logged = events(tmp_path).Scalars("hparam/val_loss")
    assert [e.value for e in logged] == [pytest.approx(row["valid_loss"])]


def test_the_chart_is_a_picture_of_all_fits(small, quick, writer, tmp_path):
    logger = GuideLogger(writer)
    for beta in (0.5, 2.0):
        VAETransformer(**quick, beta=beta, callbacks=[logger]).fit(small)
    pictures = events(tmp_path).Images(CHART)
    assert [(p.step, p.width, p.height) for p in pictures] == [
        (3, 640, 480),
        (6, 640, 480),
    ]
    assert pictures[0].encoded_image_string != pictures[1].encoded_image_string
    rates, distortions, weights, dims = zip(*logger._ledger.points, strict=True)
    assert rates[0] > rates[1]
    assert distortions[0] < distortions[1]
    assert weights == pytest.approx([0.5 / 64, 2.0 / 64])
    assert dims == (3, 3)


def test_a_search_goes_on_counting(small, quick, writer, tmp_path):
    vae = VAETransformer(
        **quick, likelihood="gaussian", callbacks=[GuideLogger(writer)]
    )
    grid = {"latent_dim": [2, 3], "callbacks__GuideLogger__chart": [False]}
    search = GridSearchCV(vae, grid, cv=2, error_score="raise").fit(small)
    run, n_fits = events(tmp_path), 5
    assert [step for step, _ in curve(run, "train/loss")] == list(
        range(1, 3 * n_fits + 1)
    )
    assert not run.Tags()["images"]
    last = curve(run, "val/loss")[-3:]
    history = search.best_estimator_.history_
    assert [v for _, v in last] == pytest.approx([row["valid_loss"] for row in history])
    dims = [hyperparameters(tmp_path / f"fit_{n}")["latent_dim"] for n in (2, 3)]
    assert dims == [2, 3]


@pytest.mark.parametrize("Estimator", ESTIMATORS[1:])
def test_other_estimators_have_their_own_terms(
    Estimator, small, quick, writer, tmp_path
):
    model = Estimator(**quick, early_stopping=False, callbacks=[GuideLogger(writer)])
    model.fit(small)
    run = events(tmp_path)
    terms = {n.removeprefix("train_") for n in model.history_[0] if "train" in n}
    assert set(run.Tags()["scalars"]) == {
        *(f"train/{term}" for term in terms),
        "hparam/train_loss",
    }
    assert not run.Tags()["images"]


def test_chunks_are_one_fit(small, quick, writer, tmp_path):
    vae = VAETransformer(**quick, callbacks=[GuideLogger(writer)])
    for _ in range(3):
        vae.partial_fit(small)
    writer.flush()  # there may be another chunk: nobody has told it to
    run = events(tmp_path)
    assert curve(run, "train/loss") == expected(vae, "train_loss")
    assert len(run.Scalars("hparam/train_loss")) == 1
    assert not run.Tags()["images"]
    assert not (tmp_path / "fit_2").exists()


def test_logging_changes_no_bit(small, quick, writer):
    plain = VAETransformer(**quick).fit(small)
    vae = VAETransformer(**quick, callbacks=[GuideLogger(writer)]).fit(small)
    np.testing.assert_array_equal(vae.transform(small), plain.transform(small))
    assert set(vae.history_[0]) == set(plain.history_[0])


class IsKilled(Callback):
    """Once, in the third epoch."""

    def __init__(self, file):
        self.file = file

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 3 and not self.file.exists():
            self.file.touch()
            raise LookupError


def test_a_fit_that_goes_on_goes_on_counting(
    small, quick, writer, tmp_path, monkeypatch
):
    pytest.importorskip("safetensors")
    monkeypatch.setattr("skvae._training.resume.SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr("skvae._training.resume.TIMES_COST", 0.0)

    def fit():
        callbacks = [GuideLogger(writer, chart=False), IsKilled(tmp_path / "killed")]
        model = AETransformer(**quick, callbacks=callbacks)
        return model.fit(small, checkpoint_dir=tmp_path / "checkpoints")

    with pytest.raises(LookupError):
        fit()
    model = fit()
    found = curve(events(tmp_path), "train/loss")
    assert found == expected(model, "train_loss")


class StopsBefore(Callback):
    def on_train_begin(self, net, **kwargs):
        raise KeyboardInterrupt


def test_training_that_never_begins(small, quick, writer, tmp_path):
    callbacks = [GuideLogger(writer), StopsBefore()]
    AETransformer(**quick, callbacks=callbacks).fit(small)
    assert events(tmp_path).Tags()["scalars"] == []


# -- copies, files, mistakes -----------------------------------------------------------


def test_copies_share_the_writer(small, quick, writer, tmp_path):
    logger = GuideLogger(writer, chart=False)
    model = AETransformer(**quick, callbacks=[("log", logger)])
    for other in (clone(clone(model)), copy.deepcopy(model), copy.copy(model)):
        own = other.get_params()["callbacks__log"]
        assert own is not None
        assert own.writer is writer
        other.fit(small)
    steps = [step for step, _ in curve(events(tmp_path), "train/loss")]
    assert steps == list(range(1, 10))


def test_files_have_no_writer(small, quick, writer, tmp_path):
    vae = VAETransformer(**quick, callbacks=[GuideLogger(writer)]).fit(small)
    joblib.dump(vae, tmp_path / "vae.joblib")
    loaded = joblib.load(tmp_path / "vae.joblib")
    np.testing.assert_array_equal(loaded.transform(small), vae.transform(small))
    with pytest.warns(UserWarning, match="GuideLogger has no writer"):
        loaded.partial_fit(small)
    loaded.set_params(callbacks__GuideLogger__writer=writer)
    loaded.fit(small)
    steps = [step for step, _ in curve(events(tmp_path), "train/loss")]
    assert steps == [1, 2, 3, 1, 2, 3]
    assert pickle.loads(pickle.dumps(GuideLogger(writer))).writer is None


@pytest.mark.parametrize("wrong", ["runs/1", object(), 3])
def test_what_is_no_writer_is_refused(wrong, small, quick):
    with pytest.raises(TypeError, match=r"writer must be a torch\.utils\.tensorboard"):
        AETransformer(**quick, callbacks=[GuideLogger(wrong)]).fit(small)
    with pytest.raises(TypeError, match="class SummaryWriter; make one of it"):
        GuideLogger(tensorboard.SummaryWriter).initialize()


def test_the_chart_needs_matplotlib(small, quick, writer, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"skvae\[plot\]"):
        VAETransformer(**quick, callbacks=[GuideLogger(writer)]).fit(small)
    VAETransformer(**quick, callbacks=[GuideLogger(writer, chart=False)]).fit(small)
    assert set(events(tmp_path).Tags()["scalars"]) >= NAMES


def test_any_picture_can_be_logged(writer, tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(2, 1), dpi=100)

    class Display:
        figure_ = figure

    log_figure(writer, figure, "mine", step=4)
    log_figure(writer, Display())
    run = events(tmp_path)
    (own,), (display,) = run.Images("mine"), run.Images(CHART)
    assert (own.step, own.width, own.height) == (4, 200, 100)
    assert display.step == 0


# -- Weights & Biases ------------------------------------------------------------------


@pytest.fixture
def wandb(monkeypatch, tmp_path):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    yield wandb
    wandb.teardown()


def records(directory):
    """What an offline run has written: records in a log of LevelDB's format.

    Blocks of 32 KiB, the first of which begins with seven bytes of W&B's. Before every
    part of a record stand its checksum, its length, and whether it is the whole (1),
    the first (2), one in the middle (3) or the last (4).
    """
    from wandb.proto import wandb_internal_pb2

    (file,) = Path(directory).rglob("*.wandb")
    data, at, parts = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = BLOCK - at % BLOCK
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def values(items):
    return {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items}


def test_wandb_has_it_offline(small, quick, wandb, tmp_path):
    settings = wandb.Settings(silent=True, disable_git=True, x_disable_stats=True)
    run = wandb.init(mode="offline", dir=str(tmp_path), settings=settings)
    logger = GuideLogger(run)
    vae = VAETransformer(**quick, callbacks=[logger]).fit(small)
    run.log({"of the user's": 1.0})
    VAETransformer(**{**quick, "latent_dim": 2}, callbacks=[logger]).fit(small)
    run.finish()
    wandb.teardown()  # the file is written to the end
    rows, config = [], {}
    for record in records(tmp_path):
        if record.WhichOneof("record_type") == "history":
            rows.append(values(record.history.item))
        if record.WhichOneof("record_type") == "config":
            config |= values(record.config.update)
    losses = [row for row in rows if "train/loss" in row]
    assert set(losses[0]) >= {*NAMES, "val/recon_loss", "val/kl_loss"}
    assert [row["epoch"] for row in losses] == [1, 2, 3, 4, 5, 6]
    assert [(r["epoch"], r["val/loss"]) for r in losses[:3]] == expected(
        vae, "valid_loss"
    )
    assert (config["latent_dim"], config["fit_2/latent_dim"]) == (3, 2)
    assert config["estimator"] == "VAETransformer"
    charts = [row for row in rows if any(key.startswith(CHART) for key in row)]
    assert len(charts) == 2
    assert len(list(tmp_path.rglob("*.png"))) == 2


# -- MLflow ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory):
    """MLflow with a database of its own, which takes it seconds to make."""
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")  # which mlflow-skinny leaves to others
    directory, before = tmp_path_factory.mktemp("mlflow"), mlflow.get_tracking_uri()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        mlflow.set_tracking_uri(f"sqlite:///{directory}/mlflow.db")
        number = mlflow.create_experiment("skvae", (directory / "files").as_uri())
        mlflow.set_experiment(experiment_id=number)
    yield mlflow
    mlflow.set_tracking_uri(before)


def metric(client, run_id, name):
    found = client.get_metric_history(run_id, name)
    return sorted((m.step, m.value) for m in found)


@pytest.mark.parametrize("kind", ["run", "client", "client and id", "module"])
def test_mlflow_has_it_in_a_database(kind, small, quick, mlflow):
    client = mlflow.MlflowClient()
    with mlflow.start_run() as run:
        run_id = run.info.run_id
        logger = {
            "run": lambda: GuideLogger(run),
            "client": lambda: GuideLogger(client),
            "client and id": lambda: GuideLogger(client, run_id=run_id),
            "module": lambda: GuideLogger(mlflow.active_run()),
        }[kind]()
        vae = VAETransformer(**quick, callbacks=[logger]).fit(small)
    assert metric(client, run_id, "train/kl_loss") == expected(vae, "train_kl_loss")
    assert metric(client, run_id, "val/loss") == expected(vae, "valid_loss")
    data = client.get_run(run_id).data
    assert set(data.metrics) >= {*NAMES, "best/val/loss"}
    assert data.params["latent_dim"] == "3"
    assert data.params["hidden_dims"] == "(16,)"
    assert [f.path for f in client.list_artifacts(run_id, "charts")] == [f"{CHART}.png"]


def test_a_second_fit_with_a_run_of_mlflow_has_parameters_of_its_own(
    small, quick, mlflow
):
    with mlflow.start_run() as run:
        logger = GuideLogger(run, chart=False)
        for beta in (1.0, 2.0):
            VAETransformer(**quick, beta=beta, callbacks=[logger]).fit(small)
        # Another logger knows nothing of these, and a parameter is logged once.
        AETransformer(**quick, callbacks=[GuideLogger(run)]).fit(small)
    params = mlflow.get_run(run.info.run_id).data.params
    assert (params["beta"], params["fit_2/beta"]) == ("1.0", "2.0")


def test_a_client_of_mlflow_needs_a_run(small, quick, mlflow):
    with pytest.raises(ValueError, match=r"no run is active: pass run_id="):
        AETransformer(**quick, callbacks=[GuideLogger(mlflow.MlflowClient())]).fit(
            small
        )
