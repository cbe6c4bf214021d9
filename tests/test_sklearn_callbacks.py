"""scikit-learn's callbacks: what they are told, given, and may stop."""

import copy
import pickle
import signal
import warnings
from functools import partial

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from skorch.callbacks import EarlyStopping

import skvae
from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer
from skvae._training import fit as fit_module
from skvae.metrics import elbo_scorer

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn 1.9 and newer")

ESTIMATORS = (VAETransformer, AETransformer, RAETransformer, SAETransformer)
OF_A_FIT = {"_callback_fit_ctx", "_skl_callbacks_to_teardown", "_parent_callback_ctx"}


class Follows:
    """Notes what it is told; stops after ``stop_after`` epochs."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.events = []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context):
        self.events.append(("end", context.task_name, context.task_id))
        return context.task_name == "epoch" and context.task_id + 1 == self.stop_after


class Takes(Follows):
    """Takes the fitted estimators, and whatever else comes, too."""

    def __init__(self, stop_after=None):
        super().__init__(stop_after)
        self.before, self.after, self.given = [], [], []

    def on_fit_task_begin(self, estimator, context, *, fitted_estimator):
        self.before.append(fitted_estimator)
        super().on_fit_task_begin(estimator, context)

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        self.after.append(fitted_estimator)
        self.given.append((X, y, metadata))
        return super().on_fit_task_end(estimator, context)


class Fails(Follows):
    """Does something in the hook of an epoch."""

    def __init__(self, fail):
        super().__init__()
        self.fail = fail

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "epoch":
            self.fail()


class Propagates(Follows):
    """Is handed on to sub-estimators, and notes the path of every epoch."""

    max_propagation_depth = None

    def on_fit_task_begin(self, estimator, context):
        path = []
        while context is not None:
            path.append(context.task_name)
            context = context.parent
        if path[0] == "epoch":
            self.events.append(tuple(path[::-1]))

    def on_fit_task_end(self, estimator, context):
        pass


def tasks(n_epochs):
    epochs = [
        (edge, "epoch", number)
        for number in range(n_epochs)
        for edge in ("begin", "end")
    ]
    return ["setup", ("begin", "fit", 0), *epochs, ("end", "fit", 0), "teardown"]


def assert_same_fit(one, other, X):
    """To the bit, and in every public fitted attribute."""
    np.testing.assert_array_equal(one.transform(X), other.transform(X))
    np.testing.assert_array_equal(one.reconstruct(X), other.reconstruct(X))
    assert one.score(X) == other.score(X)
    names = {name for name in vars(other) if name.endswith("_")}
    assert {name for name in vars(one) if name.endswith("_")} == names
    for name in sorted(names - {"net_", "history_", "density_"}):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
    timeless = [
        [{k: v for k, v in row.items() if k != "epoch_time"} for row in m.history_]
        for m in (one, other)
    ]
    assert timeless[0] == timeless[1]


# -- what they are told ----------------------------------------------------------------


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize("method", ["fit", "fit_transform"])
def test_every_epoch_is_a_task_of_the_fit(Estimator, method, small, quick):
    follows = Follows()
    model = Estimator(**quick)
    assert model.set_callbacks(follows) is model
    getattr(model, method)(small)
    assert follows.events == tasks(3)
    assert not OF_A_FIT & set(vars(model))


def test_a_chunk_is_a_task_without_parts(small, quick):
    follows = Follows()
    model = VAETransformer(**quick).set_callbacks(follows)
    model.partial_fit(small).partial_fit(small)
    assert follows.events == 2 * tasks(0)


@pytest.mark.parametrize("skorchs", [False, True])
def test_every_task_that_begins_ends(skorchs, digits, quick):
    """Also the epoch at which patience ends, here or in a callback of skorch's."""
    follows = Follows()
    params = {**quick, "max_epochs": 20, "lr": 1e-12}
    if skorchs:
        params["callbacks"] = [EarlyStopping(patience=2)]
    else:
        params["n_iter_no_change"] = 2
    model = AETransformer(**params).set_callbacks(follows).fit(digits[:200])
    assert model.n_iter_ < 20
    assert follows.events == tasks(model.n_iter_)


def test_they_are_given_what_the_user_gave(small, quick):
    takes, frame = Takes(), pd.DataFrame(small).add_prefix("pixel_")
    batch = np.repeat(["a", "b"], 45)
    model = VAETransformer(**quick, likelihood="gaussian").set_callbacks(takes)
    model.fit(frame, conditions=batch)
    assert len(takes.given) == 4
    for X, y, metadata in takes.given:
        assert X is frame
        assert y is frame  # the targets of an autoencoder
        assert list(metadata) == ["conditions"]
        assert metadata["conditions"] is batch
    for fitted in takes.after:  # whose names of columns are there: no warning
        fitted.score(frame, conditions=batch)
    labels = np.arange(90)
    model.set_callbacks(takes := Takes()).fit(frame, labels)
    assert all(y is labels and given is None for _, y, given in takes.given)


# -- the estimator that they are given -------------------------------------------------

PARAMS = [
    {},
    {"early_stopping": False},
    {"linear_path": None},
    {"early_stopping": False, "lr_schedule": "constant", "dropout_rate": 0.2},
]
LEARNS = {"max_epochs": 6, "hidden_dims": (16,), "latent_dim": 3, "lr": 0.02}


@pytest.fixture(scope="module")
def some_digits(digits):
    return digits[:150]


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize("params", PARAMS)
@pytest.mark.filterwarnings("ignore::skvae.exceptions.PosteriorCollapseWarning")
def test_fitted_estimator_is_the_fit_that_stops_there(Estimator, params, some_digits):
    X = some_digits
    new = partial(Estimator, **LEARNS, **params, random_state=0)
    plain = new().fit(X)
    takes = Takes()
    model = new().set_callbacks(takes).fit(X)
    assert_same_fit(model, plain, X)  # asking for it changes nothing
    assert_same_fit(takes.after[-1], plain, X)
    assert_same_fit(takes.after[-2], plain, X)  # of the last epoch
    for n_epochs in (1, 4):
        stopped = new().set_callbacks(Follows(n_epochs)).fit(X)
        assert stopped.n_iter_ == n_epochs
        assert_same_fit(takes.after[n_epochs - 1], stopped, X)
        assert_same_fit(takes.before[n_epochs + 1], stopped, X)  # of the next epoch
    assert takes.before[0] is None
    assert takes.before[1].n_iter_ == 0


@pytest.mark.parametrize(
    ("name", "likelihood", "params"),
    [
        ("counts", "negative_binomial", {"latent_dim": 2}),
        ("counts", "multinomial", {"n_importance_samples": 2}),
        ("digits", "student_t", {}),
        ("digits", "gaussian", {"kld_weight": 1e-3, "kld_schedule": "linear"}),
    ],
)
@pytest.mark.filterwarnings("ignore::skvae.exceptions.PosteriorCollapseWarning")
def test_fitted_estimator_of_other_likelihoods(
    name, likelihood, params, some_digits, rng
):
    counts = rng.poisson(np.exp(rng.randn(150, 2) @ rng.randn(2, 8)))
    X = {"counts": counts, "digits": some_digits}[name]
    params = {**LEARNS, **params, "likelihood": likelihood, "random_state": 0}
    model = VAETransformer(**params).set_callbacks(takes := Takes()).fit(X)
    assert_same_fit(model, VAETransformer(**params).fit(X), X)
    stopped = VAETransformer(**params).set_callbacks(Follows(3)).fit(X)
    assert_same_fit(takes.after[2], stopped, X)


def test_fitted_estimator_of_a_warm_start(some_digits):
    X, params = some_digits, {**LEARNS, "random_state": 0, "warm_start": True}
    for tol in (0.01, 1e9):  # with which the last fit is kept
        model, other = (AETransformer(**params, tol=tol).fit(X) for _ in range(2))
        model.set_callbacks(takes := Takes()).fit(X)
        other.set_callbacks(Follows(2)).fit(X)
        assert_same_fit(takes.after[1], other, X)
        assert takes.before[1].n_iter_ == 0


def test_the_best_epoch_is_kept_when_training_is_stopped(digits):
    params = {**LEARNS, "max_epochs": 20, "lr": 0.05, "lr_schedule": "constant"}
    params = {**params, "batch_size": 32, "likelihood": "gaussian", "random_state": 0}
    plain = VAETransformer(**params).fit(digits[:200])
    best = plain.best_epoch_
    assert 0 < best < plain.n_iter_
    model = VAETransformer(**params).set_callbacks(Follows(best + 1)).fit(digits[:200])
    assert (model.n_iter_, model.best_epoch_) == (best + 1, best)
    np.testing.assert_array_equal(
        model.transform(digits[:200]), plain.transform(digits[:200])
    )


def test_fitted_estimator_is_of_its_own(small, quick):
    """It pickles, has no part in the fit, and goes on by itself."""
    model = VAETransformer(**quick).set_callbacks(takes := Takes()).fit(small)
    codes = model.transform(small)
    fitted = takes.after[1]
    assert not OF_A_FIT & set(vars(fitted))
    other = pickle.loads(pickle.dumps(fitted.set_callbacks()))
    np.testing.assert_array_equal(other.transform(small), fitted.transform(small))
    fitted.partial_fit(small).fit(small)
    np.testing.assert_array_equal(model.transform(small), codes)


def test_chunks_give_the_fitted_estimator_at_the_end(small, quick):
    model = VAETransformer(**quick).set_callbacks(takes := Takes())
    for chunk in (small, small[:40]):
        model.partial_fit(chunk)
        assert_same_fit(takes.after[-1], model, small)
    plain = VAETransformer(**quick).partial_fit(small).partial_fit(small[:40])
    np.testing.assert_array_equal(model.transform(small), plain.transform(small))


def test_nothing_is_made_that_nobody_takes(small, quick, monkeypatch):
    def refuse(*args):
        raise AssertionError("made a fitted estimator")

    monkeypatch.setattr(fit_module, "as_if_stopped", refuse)
    VAETransformer(**quick).set_callbacks(Follows()).fit(small)
    monkeypatch.setattr(fit_module, "EpochTasks", refuse)
    VAETransformer(**quick).set_callbacks(Follows()).set_callbacks().fit(small)
    with pytest.raises(AssertionError, match="made a fitted"):
        VAETransformer(**quick).set_callbacks(Takes()).fit(small)


# -- scikit-learn's own ----------------------------------------------------------------


def test_scoring_monitor_has_a_score_of_every_epoch(some_digits):
    monitor = callback.ScoringMonitor(scoring={"elbo": elbo_scorer})
    vae = VAETransformer(**LEARNS, likelihood="gaussian", random_state=0)
    vae.set_callbacks(monitor).fit(some_digits)
    scores = {row["task_id_path"]: row["elbo"] for row in monitor.get_logs().data}
    of_epochs = [scores.pop((0, epoch)) for epoch in range(vae.n_iter_)]
    assert scores == {(0,): vae.score(some_digits)}
    assert of_epochs[-1] == vae.score(some_digits)
    assert of_epochs[0] < of_epochs[-1]


@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_scoring_monitor_of_a_search_in_workers(n_jobs, some_digits):
    monitor = callback.ScoringMonitor(scoring={"elbo": elbo_scorer})
    vae = VAETransformer(2, max_epochs=2, hidden_dims=(8,), likelihood="gaussian")
    pipe = make_pipeline(StandardScaler(), vae.set_callbacks(monitor))
    grid = {"vaetransformer__latent_dim": [2, 3]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # columns that are all the same in a fold
        GridSearchCV(pipe, grid, cv=2, n_jobs=n_jobs, error_score="raise").fit(
            some_digits
        )
    logs = monitor.get_logs()
    assert logs.estimator_name == "GridSearchCV"
    # Two candidates, two splits and a refit, of two epochs each and the whole.
    assert len(logs.data) == (2 * 2 + 1) * 3
    epochs = [row for row in logs.data if row["task_name"] == "epoch"]
    assert len({row["task_id_path"] for row in epochs}) == (2 * 2 + 1) * 2


def test_progress_bar_counts_epochs(small, quick, capsys):
    pytest.importorskip("rich")
    bar = callback.ProgressBar()
    VAETransformer(**quick).set_callbacks(bar).fit(small)
    out = capsys.readouterr().out
    assert "VAETransformer - fit" in out
    assert "100%" in out


def test_epochs_are_nested_in_searches_and_pipelines(small, quick):
    follows = Propagates()
    vae = VAETransformer(**quick, likelihood="gaussian", kld_weight=1e-3)
    pipe = make_pipeline(StandardScaler(), vae, LogisticRegression(max_iter=1000))
    grid = {"vaetransformer__latent_dim": [2, 3]}
    search = GridSearchCV(pipe, grid, cv=2, error_score="raise")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search.set_callbacks(follows).fit(small, np.arange(90) % 2)
    paths = [path for path in follows.events if isinstance(path, tuple)]
    of_splits = ("fit", "search", "fit", "fit", "epoch")
    of_the_refit = ("fit", "fit", "fit", "epoch")
    assert paths == 4 * 3 * [of_splits] + 3 * [of_the_refit]
    assert follows.events[0] == "setup"
    assert follows.events[-1] == "teardown"
    assert len(follows.events) == len(paths) + 2


# -- clones, files, failures -----------------------------------------------------------


def test_clones_share_them_and_files_have_them(small, quick, tmp_path):
    follows = Follows()
    model = VAETransformer(**quick).set_callbacks(follows)
    clone(model).fit(small)
    assert follows.events == tasks(3)
    model.fit(small)
    joblib.dump(model, tmp_path / "model.joblib")
    for other in (joblib.load(tmp_path / "model.joblib"), copy.deepcopy(model)):
        np.testing.assert_array_equal(other.transform(small), model.transform(small))
        own = other._skl_callbacks[0]
        assert own is not follows
        own.events.clear()
        other.fit(small)
        assert own.events == tasks(3)
    assert follows.events == 2 * tasks(3)


def test_files_without_code_leave_them_out(small, quick, tmp_path):
    pytest.importorskip("safetensors")
    vae = VAETransformer(**quick, likelihood="gaussian").set_callbacks(Follows())
    pipe = make_pipeline(StandardScaler().set_callbacks(Follows()), vae).fit(small)
    skvae.save(pipe.set_callbacks(Follows()), tmp_path / "model.safetensors")
    loaded = skvae.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.transform(small), pipe.transform(small))
    for part in (loaded, *loaded):
        assert not hasattr(part, "_skl_callbacks")


def ctrl_c():
    signal.raise_signal(signal.SIGINT)


def wrong():
    raise LookupError("in a hook")


@pytest.mark.parametrize("method", ["fit", "fit_transform"])
@pytest.mark.parametrize(
    ("fail", "error"), [(wrong, LookupError), (ctrl_c, KeyboardInterrupt)]
)
def test_a_hook_that_fails_leaves_the_estimator_as_it_was(
    method, fail, error, small, quick
):
    model = VAETransformer(**quick).fit(small)
    codes, fails = model.transform(small), Fails(fail)
    model.set_callbacks(fails)
    names = set(vars(model))
    with pytest.raises(error):
        getattr(model, method)(small[:50])
    assert set(vars(model)) == names
    np.testing.assert_array_equal(model.transform(small), codes)
    assert fails.events.count("teardown") == 1
    model.set_callbacks(follows := Follows()).fit(small)  # and nothing is in the way
    assert follows.events == tasks(3)


@pytest.mark.parametrize("method", ["fit", "fit_transform", "partial_fit"])
@pytest.mark.parametrize("fitted", [False, True])
def test_a_fit_that_fails_tears_them_down(method, fitted, small, quick):
    model = VAETransformer(**quick)
    if fitted:
        model.fit(small)
    follows = Follows()
    model.set_callbacks(follows)
    names = set(vars(model))
    with pytest.raises(ValueError, match="NaN"):
        getattr(model, method)(np.full_like(small, np.nan))
    assert (follows.events[0], follows.events[-1]) == ("setup", "teardown")
    assert follows.events.count("teardown") == 1
    assert set(vars(model)) == names


def test_a_scoring_error_at_the_end_of_a_chunk_undoes_it(small, quick):
    class FailsAtTheEnd(Follows):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator):
            fitted_estimator.score(small[:, :3])

    model = VAETransformer(**quick).partial_fit(small)
    codes = model.transform(small)
    model.set_callbacks(FailsAtTheEnd())
    with pytest.raises(ValueError, match="3 features"):
        model.partial_fit(small)
    np.testing.assert_array_equal(model.transform(small), codes)
    assert model.n_iter_ == 1


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize(
    "item", [Follows(), Follows, ("mine", Follows()), ("mine", Follows)]
)
def test_callbacks_takes_skorch_s_alone(Estimator, item, small, quick):
    with pytest.raises(ValueError, match=r"callbacks= takes skorch's.*set_callbacks\("):
        Estimator(**quick, callbacks=[item]).fit(small)


@pytest.mark.filterwarnings("ignore::skvae.exceptions.PosteriorCollapseWarning")
@pytest.mark.filterwarnings("ignore:Column .* of X has:UserWarning")
@pytest.mark.slow
@parametrize_with_checks(
    [VAETransformer(2, hidden_dims=(8,), max_epochs=2).set_callbacks(Takes())]
)
def test_sklearn_checks_with_callbacks(estimator, check):
    check(estimator)
