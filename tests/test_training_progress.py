"""What verbose shows of training."""

import re
import signal
import sys
from types import SimpleNamespace

import pytest
from skorch.callbacks import Callback

from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer
from skvae._training import progress
from skvae._training.history import rate_and_distortion
from skvae._training.progress import clock

ESTIMATORS = (VAETransformer, AETransformer, RAETransformer, SAETransformer)


class Terminal:
    """A standard output that is a terminal, and what was written to it."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    def isatty(self):
        return True


@pytest.fixture
def on_a_terminal(monkeypatch):
    """What gives standard output to a terminal, from where it is called on."""

    def begin(seconds_between=0.0):
        monkeypatch.setattr("sys.stdout", Terminal())
        monkeypatch.setattr(progress, "SECONDS_BETWEEN", seconds_between)
        return sys.stdout

    return begin


@pytest.fixture
def clockwork(monkeypatch):
    """A clock that is a second on whenever somebody looks."""
    seconds = iter(range(10_000))
    fake = SimpleNamespace(monotonic=lambda: float(next(seconds)))
    monkeypatch.setattr(progress, "time", fake)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_in_a_log_there_are_few_lines(Estimator, small, quick, capsys):
    model = Estimator(**{**quick, "max_epochs": 40}, n_iter_no_change=40, verbose=1)
    model.fit(small)
    *lines, kept = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        f"epoch {number}/40" for number in (1, 10, 20, 30, 40)
    ]
    assert all(re.search(r"\d+:\d\d left at most$", line) for line in lines[:-1])
    assert "left" not in lines[-1]
    assert ("rate" in lines[0]) == (Estimator is VAETransformer)
    row = model.history_[-1]
    assert (
        f"loss {row['train_loss']:.4g}  held out {row['valid_loss']:.4g}" in lines[-1]
    )
    assert "was kept" in kept


def test_the_last_epoch_is_shown_where_patience_ends(digits, quick, capsys):
    params = {**quick, "max_epochs": 40, "n_iter_no_change": 2, "lr": 1e-12}
    model = AETransformer(**params, verbose=1).fit(digits[:200])
    assert model.n_iter_ == 2
    *lines, _ = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["1/40", "2/40"]


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_diag", "student_t"])
def test_rate_and_distortion_are_the_elbo(early_stopping, likelihood, digits, quick):
    vae = VAETransformer(
        **quick, early_stopping=early_stopping, likelihood=likelihood
    ).fit(digits[:400])
    row = vae.net_.history[-1]
    found = rate_and_distortion(row, vae.net_.criterion_)
    assert found.rate == row["valid_kl_loss" if early_stopping else "train_kl_loss"]
    if early_stopping:
        elbo = row["valid_elbo"]
        assert -(found.rate + found.distortion) == pytest.approx(elbo, rel=1e-4)
    else:  # of the epoch's weights, and near those that it left
        elbo = vae.score(digits[:400])
        assert -(found.rate + found.distortion) == pytest.approx(elbo, abs=3.0)


def test_rows_with_nothing_in_them_have_neither(small, quick):
    net = VAETransformer(**quick).fit(small).net_
    assert rate_and_distortion({"epoch": 1}, net.criterion_) is None
    net = AETransformer(**quick).fit(small).net_
    assert rate_and_distortion(net.history[-1], net.criterion_) is None


def test_a_terminal_has_one_line_that_is_written_over(on_a_terminal, small, quick):
    terminal = on_a_terminal()
    VAETransformer(**quick, verbose=1).fit(small)
    live, kept, rest = terminal.text.split("\n")
    states = live.split("\r")
    assert states[0] == ""
    assert [state.split()[1] for state in states[1:]] == ["1/3", "2/3", "3/3"]
    assert all(state.endswith("\x1b[K") for state in states[1:])
    assert "was kept" in kept
    assert rest == ""


def test_a_fast_fit_does_not_wait_for_the_terminal(
    on_a_terminal, small, quick, clockwork
):
    terminal = on_a_terminal(seconds_between=1000.0)
    VAETransformer(**quick, verbose=1).fit(small)
    states = terminal.text.split("\n")[0].split("\r")[1:]
    assert [state.split()[1] for state in states] == ["1/3", "3/3"]


def test_the_time_that_is_left(on_a_terminal, small, quick, clockwork):
    terminal = on_a_terminal()
    AETransformer(**{**quick, "max_epochs": 10}, verbose=1).fit(small)
    states = terminal.text.split("\n")[0].split("\r")[1:]
    # The clock was looked at once to begin with, and twice for the first epoch.
    assert states[0].endswith("0:18 left at most\x1b[K")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0:00"), (59.7, "1:00"), (61, "1:01"), (3700, "1:01:40")],
)
def test_clock(seconds, text):
    assert clock(seconds) == text


class FailsInTheSecondEpoch(Callback):
    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 2:
            raise LookupError


def test_a_fit_that_fails_leaves_the_line(on_a_terminal, small, quick):
    terminal = on_a_terminal()
    with pytest.raises(LookupError):
        VAETransformer(**quick, callbacks=[FailsInTheSecondEpoch()], verbose=1).fit(
            small
        )
    assert terminal.text.startswith("\repoch 1/3")
    assert terminal.text.endswith("\x1b[K\n")


def test_an_interrupted_fit_leaves_the_line(on_a_terminal, small, quick, monkeypatch):
    terminal = on_a_terminal()
    shown = progress.Progress._show

    def interrupted(self, net, done):
        shown(self, net, done)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(progress.Progress, "_show", interrupted)
    with pytest.raises(KeyboardInterrupt):
        VAETransformer(**quick, verbose=1).fit(small)
    assert terminal.text.startswith("\repoch 1/3")
    assert terminal.text.endswith("\x1b[K\n")


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_a_chunk_has_a_line(Estimator, small, quick, capsys):
    model = Estimator(**quick, verbose=1)
    for number in (1, 2):
        model.partial_fit(small)
        assert capsys.readouterr().out.startswith(f"epoch {number}  loss ")


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_two_is_a_row_an_epoch(Estimator, small, quick, capsys):
    model = Estimator(**quick, verbose=2).fit(small)
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 2 + 3 + 1
    assert lines[0].split()[0] == "epoch"
    assert set(lines[0].split()) >= {"train_loss", "train_recon_loss", "valid_loss"}
    assert "was kept" in lines[-1]
    model.set_params(verbose=0).fit(small).partial_fit(small)
    assert capsys.readouterr().out == ""


def test_the_row_at_which_patience_ends_is_printed(digits, quick, capsys):
    params = {**quick, "max_epochs": 40, "n_iter_no_change": 2, "lr": 1e-12}
    AETransformer(**params, verbose=2).fit(digits[:200])
    assert len(capsys.readouterr().out.strip().splitlines()) == 2 + 2 + 1


def test_a_fit_that_goes_on_counts_the_epochs_that_it_trains(
    small, quick, clockwork, capsys, tmp_path
):
    """Nine are left, of the seconds that one takes, not of those of forty."""
    pytest.importorskip("safetensors")

    class Killed(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 31 and not (tmp_path / "killed").exists():
                (tmp_path / "killed").touch()
                raise LookupError

    params = {**quick, "max_epochs": 40, "n_iter_no_change": 40}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skvae._training.resume.SECONDS_BETWEEN", 0.0)
        patch.setattr("skvae._training.resume.TIMES_COST", 0.0)
        with pytest.raises(LookupError):
            AETransformer(**params, callbacks=[Killed()]).fit(
                small, checkpoint_dir=tmp_path
            )
    AETransformer(**params, callbacks=[Killed()], verbose=1).fit(
        small, checkpoint_dir=tmp_path
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Going on from epoch 30")
    assert [line.split("  ")[0] for line in lines[1:3]] == [
        "epoch 31/40",
        "epoch 40/40",
    ]
    assert "left at most" in lines[1]
    seconds = int(re.search(r"0:(\d\d) left", lines[1])[1])
    assert 9 <= seconds <= 27  # the clock goes a second whenever somebody looks
