"""Fits that go on from a checkpoint end at the same bits."""

import errno
import os

import numpy as np
import pytest
from _kinds import NAMES, rows_for
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EarlyStopping, LRScheduler

from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer
from skvae._training import resume

pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.exceptions.PosteriorCollapseWarning"
)

QUICK = {
    "latent_dim": 3,
    "hidden_dims": (12, 8),
    "batch_size": 40,
    "max_epochs": 8,
    "lr": 5e-3,
    "random_state": 0,
}


class KilledError(Exception):
    """What a test ends a fit with, as a kill would."""


@pytest.fixture
def killed_in(monkeypatch):
    """Sets the epoch behind whose checkpoint fits are killed; 0 is never."""
    monkeypatch.setattr(resume, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(resume, "TIMES_COST", 0.0)
    at = [0]
    write = resume.Resume.on_epoch_end

    def write_and_die(self, net, **kwargs):
        write(self, net, **kwargs)
        if net.history[-1, "epoch"] == at[0]:
            raise KilledError

    monkeypatch.setattr(resume.Resume, "on_epoch_end", write_and_die)

    def set_epoch(epoch):
        at[0] = epoch

    return set_epoch


@pytest.fixture(scope="module")
def digits():
    return load_digits().data[:300]


def assert_resumed(make, killed_in, directory, X, *, epochs=(3,), **given):
    """A fit that is killed, once or more, is one that never was, to the bit."""
    whole = make().fit(X, **given)
    for epoch in epochs:
        killed_in(epoch)
        model = make()
        with pytest.raises(KilledError):
            model.fit(X, checkpoint_dir=directory, **given)
        assert not hasattr(model, "net_")
    killed_in(0)
    resumed = make().fit(X, checkpoint_dir=directory, **given)
    assert len(os.listdir(directory)) == 1
    assert_same(resumed, whole, X, **given)
    killed_in(1)  # an epoch would be the end of it
    again = make().fit(X, checkpoint_dir=directory, **given)
    assert_same(again, whole, X, **given)
    killed_in(0)
    if not whole.get_params()["callbacks"]:
        resumed.partial_fit(X, **given)
        again.partial_fit(X, **given)
        np.testing.assert_array_equal(again.transform(X), resumed.transform(X))


def assert_same(one, other, X, **given):
    """To the bit, but for the time that epochs took."""
    for row, expected in zip(one.history_, other.history_, strict=True):
        assert {**row, "epoch_time": 0} == {**expected, "epoch_time": 0}
    assert one.n_iter_ == other.n_iter_
    assert one.best_epoch_ == other.best_epoch_
    for name, value in other._fitted.state.arrays().items():
        np.testing.assert_array_equal(one._fitted.state.arrays()[name], value, name)
    np.testing.assert_array_equal(one.components_, other.components_)
    np.testing.assert_array_equal(one.transform(X), other.transform(X))
    if isinstance(other, VAETransformer):
        assert one.score(X, **given) == other.score(X, **given)
    if hasattr(other, "sample"):
        of_one = {name: value[:4] for name, value in given.items()}
        drawn = (m.sample(4, random_state=1, **of_one) for m in (one, other))
        np.testing.assert_array_equal(*drawn)


VARIANTS = {
    "default": {},
    "gaussian": {"likelihood": "gaussian"},
    "all rows": {"early_stopping": False},
    "no linear path": {"linear_path": None},
    "cosine": {"lr_schedule": "cosine"},
    "warmup": {"kld_warmup": 0.5},
    "cycle": {"kld_schedule": "cyclical"},
    "dropout": {"dropout_rate": 0.3},
    "batch norm": {"use_batch_norm": True},
    "importance": {"n_importance_samples": 3},
    "weight": {"kld_weight": 1e-3},
    "clipped": {"gradient_clip_val": 0.1, "free_bits": 0.1},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_killed_fit_goes_on_as_if_it_never_was(variant, killed_in, tmp_path, digits):
    def make():
        return VAETransformer(**{**QUICK, **VARIANTS[variant]})

    assert_resumed(make, killed_in, tmp_path, digits)


@pytest.mark.parametrize("name", NAMES)
def test_with_every_likelihood(name, killed_in, tmp_path):
    def make():
        return VAETransformer(**QUICK, likelihood=name)

    assert_resumed(make, killed_in, tmp_path, rows_for(name, n=200), epochs=(1, 6))


@pytest.mark.parametrize(
    "make",
    [
        lambda: AETransformer(**QUICK),
        lambda: RAETransformer(**QUICK, decoder_penalty="gradient"),
        lambda: RAETransformer(**QUICK, decoder_penalty="spectral"),
        lambda: SAETransformer(**QUICK, reg_weight="scale"),
    ],
    ids=["ae", "rae", "spectral", "sae"],
)
def test_with_every_estimator(make, killed_in, tmp_path, digits):
    assert_resumed(make, killed_in, tmp_path, digits, epochs=(2, 5))


def test_conditions_and_sizes(killed_in, tmp_path, rng):
    X = rows_for("negative_binomial", n=200)

    def make():
        return VAETransformer(**QUICK, likelihood="negative_binomial")

    batch = np.array(["a", "b"])[rng.randint(2, size=200)]
    given = {"conditions": batch, "size_factor": X.sum(axis=1) + 1.0}
    whole = make().fit(X, **given)
    killed_in(4)
    with pytest.raises(KilledError):
        make().fit(X, checkpoint_dir=tmp_path, **given)
    killed_in(0)
    resumed = make().fit(X, checkpoint_dir=tmp_path, **given)
    assert resumed.score(X, **given) == whole.score(X, **given)
    other = {**given, "conditions": batch[::-1]}
    make().fit(X, checkpoint_dir=tmp_path, **other)
    assert len(os.listdir(tmp_path)) == 2


@pytest.mark.parametrize("kind", [np.float32, sparse.csr_array])
def test_other_tables(kind, killed_in, tmp_path, digits):
    assert_resumed(lambda: VAETransformer(**QUICK), killed_in, tmp_path, kind(digits))


@pytest.mark.parametrize(
    "callback",
    [
        lambda: LRScheduler(policy="ExponentialLR", gamma=0.7),
        lambda: LRScheduler(
            policy="ReduceLROnPlateau", monitor="train_loss", patience=1
        ),
        lambda: EarlyStopping(patience=4, threshold=0.1, load_best=True),
    ],
    ids=["schedule", "plateau", "early stopping"],
)
def test_callbacks_go_on_with_what_they_know(callback, killed_in, tmp_path, digits):
    def make():
        return VAETransformer(**QUICK, callbacks=[callback()])

    assert_resumed(make, killed_in, tmp_path, digits)


def test_patience_goes_on(killed_in, tmp_path, digits):
    def make():
        params = {"max_epochs": 80, "n_iter_no_change": 3, "lr": 0.02, "tol": 0.3}
        return VAETransformer(**{**QUICK, **params})

    whole = make().fit(digits)
    assert 4 < whole.n_iter_ < 80
    assert_resumed(make, killed_in, tmp_path, digits, epochs=(2, whole.n_iter_ - 1))


def test_fresh_entropy_is_drawn_once(killed_in, tmp_path, digits):
    params = {**QUICK, "random_state": None}
    killed_in(3)
    with pytest.raises(KilledError):
        VAETransformer(**params).fit(digits, checkpoint_dir=tmp_path)
    killed_in(0)
    found = [
        VAETransformer(**params).fit_transform(digits, checkpoint_dir=tmp_path)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*found)
    fresh = VAETransformer(**params).fit_transform(digits)
    assert not np.array_equal(fresh, found[0])


def test_a_warm_start_has_a_checkpoint_of_its_own(killed_in, tmp_path, digits):
    def once_more(directory):
        model = VAETransformer(**QUICK, warm_start=True).fit(digits)
        return model.set_params(lr=1e-3).fit(digits, checkpoint_dir=directory)

    whole = once_more(None)
    killed_in(3)
    with pytest.raises(KilledError):
        once_more(tmp_path)
    killed_in(0)
    resumed = once_more(tmp_path)
    np.testing.assert_array_equal(resumed.transform(digits), whole.transform(digits))


def test_searches_share_a_directory(killed_in, tmp_path, digits):
    pipeline = make_pipeline(StandardScaler(), VAETransformer(**QUICK))
    grid = {"vaetransformer__latent_dim": [2, 3]}
    search = GridSearchCV(pipeline, grid, cv=2, refit=False)
    expected = search.fit(digits).cv_results_["mean_test_score"]
    given = {"vaetransformer__checkpoint_dir": str(tmp_path)}
    for _ in range(2):
        found = search.fit(digits, **given).cv_results_["mean_test_score"]
        np.testing.assert_array_equal(found, expected)
    assert len(os.listdir(tmp_path)) == 4


@pytest.mark.parametrize(
    "changed", [{"lr": 1e-3}, {"random_state": 1}, {"likelihood": "gaussian"}]
)
def test_another_fit_begins_anew(changed, killed_in, tmp_path, digits):
    killed_in(3)
    with pytest.raises(KilledError):
        VAETransformer(**QUICK).fit(digits, checkpoint_dir=tmp_path)
    killed_in(0)
    other = VAETransformer(**{**QUICK, **changed})
    expected = other.fit_transform(digits)
    found = other.fit_transform(digits, checkpoint_dir=tmp_path)
    np.testing.assert_array_equal(found, expected)


def test_verbose_says_where_it_goes_on(killed_in, tmp_path, digits, capsys):
    killed_in(3)
    for verbose in (0, 1):
        with pytest.raises(KilledError):
            VAETransformer(**QUICK).fit(digits, checkpoint_dir=tmp_path)
        killed_in(0)
        model = VAETransformer(**QUICK, verbose=verbose)
        model.fit(digits, checkpoint_dir=tmp_path)
        said = capsys.readouterr().out
        assert ("Going on from epoch 3 of " in said) == bool(verbose)
        (file,) = tmp_path.iterdir()
        file.unlink()
        killed_in(3)


# -- what can go wrong -----------------------------------------------------------------


def test_a_broken_file_is_an_error_before_training(killed_in, tmp_path, digits):
    model = VAETransformer(**QUICK).fit(digits, checkpoint_dir=tmp_path)
    codes = model.transform(digits)
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    for broken in (b"", content[: len(content) // 2], b"\0" * 100):
        file.write_bytes(broken)
        with pytest.raises(ValueError, match=r"cannot be read .*Delete it"):
            model.fit(digits, checkpoint_dir=tmp_path)
    np.testing.assert_array_equal(model.transform(digits), codes)


@pytest.mark.parametrize("n_good", [0, 3])
def test_a_full_disk_leaves_the_last_one(
    n_good, killed_in, tmp_path, digits, monkeypatch
):
    written = []
    fsync = os.fsync

    def full(number):
        written.append(number)
        if len(written) > n_good:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(number)

    monkeypatch.setattr(os, "fsync", full)
    model = VAETransformer(**QUICK)
    left = f"that of epoch {n_good} is left" if n_good else "there was none yet"
    with pytest.raises(OSError, match=f"No space left .* Make room.*{left}") as caught:
        model.fit(digits, checkpoint_dir=tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert not hasattr(model, "net_")
    assert len(os.listdir(tmp_path)) == bool(n_good)
    monkeypatch.setattr(os, "fsync", fsync)
    resumed = model.fit(digits, checkpoint_dir=tmp_path)
    assert_same(resumed, VAETransformer(**QUICK).fit(digits), digits)


def test_a_directory_that_cannot_be_made(tmp_path, digits):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        VAETransformer(**QUICK).fit(digits, checkpoint_dir=tmp_path / "file")


def test_halves_of_files_are_removed_in_time(tmp_path, digits):
    model = VAETransformer(**QUICK).fit(digits, checkpoint_dir=tmp_path)
    (file,) = tmp_path.iterdir()
    old, young = (tmp_path / f".{file.name}.{end}" for end in ("old", "young"))
    for half in (old, young):
        half.write_text("")
    os.utime(old, (0, 0))
    model.fit(digits, checkpoint_dir=tmp_path)
    assert {*tmp_path.iterdir()} == {file, young}


def test_checkpoints_of_quick_epochs_are_rare(tmp_path, digits, monkeypatch):
    written = []
    write = resume.FitCheckpoint.write

    def noted(self, *args, has_ended):
        written.append(has_ended)
        write(self, *args, has_ended=has_ended)

    monkeypatch.setattr(resume.FitCheckpoint, "write", noted)
    monkeypatch.setattr(resume, "SECONDS_BETWEEN", 1e6)
    VAETransformer(**QUICK).fit(digits, checkpoint_dir=tmp_path)
    assert written == [True]


class Noting(Callback):
    """Knows things of every kind, and one that cannot be written."""

    def initialize(self):
        self.file_ = None
        self.seen_ = {"rows": (), "codes": None}
        return self

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.file_ = open(os.devnull)  # noqa: SIM115

    def on_epoch_end(self, net, **kwargs):
        rows = (*self.seen_["rows"], float("inf"))
        self.seen_ = {"rows": rows, "codes": np.arange(len(rows)), 3: "three"}

    def on_train_end(self, net, X=None, y=None, **kwargs):
        self.file_.close()
        net.history.record("n_seen", len(self.seen_["rows"]))
        assert self.seen_["codes"].tolist() == list(range(8))
        assert self.seen_[3] == "three"


def test_callbacks_of_the_user_s(killed_in, tmp_path, digits):
    killed_in(4)
    noting = Noting()
    with pytest.raises(KilledError):
        VAETransformer(**QUICK, callbacks=[noting]).fit(digits, checkpoint_dir=tmp_path)
    noting.file_.close()
    killed_in(0)
    model = VAETransformer(**QUICK, callbacks=[Noting()])
    model.fit(digits, checkpoint_dir=tmp_path)
    assert model.history_[-1]["n_seen"] == 8
