"""TrainingCurveDisplay."""

import numpy as np
import pytest
from _drawn import assert_legible, texts_of

from skvae import RAETransformer, VAETransformer
from skvae.inspection import TrainingCurveDisplay


def test_it_draws_the_history(fitted):
    display = TrainingCurveDisplay.from_estimator(fitted)
    for line, name in (
        (display.train_line_, "train_loss"),
        (display.valid_line_, "valid_loss"),
    ):
        np.testing.assert_array_equal(
            line.get_ydata(), [r[name] for r in fitted.history_]
        )
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 16))
    assert display.best_line_.get_xdata()[0] == fitted.best_epoch_
    assert display.ax_.get_ylabel() == "loss (squared units of X)"
    assert_legible(display.figure_)


@pytest.mark.parametrize(
    ("metric", "name", "lines"),
    [
        ("elbo", "ELBO (nats per row)", "v"),
        ("kl_loss", "KL from the prior (nats per row)", "tv"),
        ("kld_weight", "kld_weight", "t"),
    ],
)
def test_any_measure_of_the_history(fitted, metric, name, lines):
    display = TrainingCurveDisplay.from_estimator(fitted, metric=metric)
    assert display.ax_.get_ylabel() == name
    assert (display.train_line_ is not None) == ("t" in lines)
    assert (display.valid_line_ is not None) == ("v" in lines)
    assert_legible(display.figure_)


def test_a_measure_that_is_not_there_names_those_that_are(fitted):
    with pytest.raises(
        ValueError, match=r"metric='accuracy' .* loss, recon_loss, kl_loss"
    ):
        TrainingCurveDisplay.from_estimator(fitted, metric="accuracy")
    with pytest.raises(ValueError, match="no epoch"):
        TrainingCurveDisplay.from_history([])


def test_losses_in_nats(small, quick):
    vae = VAETransformer(**quick).fit(small)
    assert TrainingCurveDisplay.from_estimator(vae).ax_.get_ylabel() == (
        "loss (nats per element)"
    )
    rae = RAETransformer(**quick).fit(small)
    assert TrainingCurveDisplay.from_estimator(rae).ax_.get_ylabel() == (
        "loss (squared units of X)"
    )


def test_no_held_out_rows_and_one_epoch(small, quick):
    params = {**quick, "max_epochs": 1, "early_stopping": False}
    display = TrainingCurveDisplay.from_estimator(VAETransformer(**params).fit(small))
    assert display.valid_line_ is None
    assert display.best_line_ is None  # nothing was chosen
    assert display.train_line_.get_marker() == "o"  # one point is no line
    assert_legible(display.figure_)


def test_an_epoch_that_went_wrong_does_not_squeeze_the_others():
    losses = 1.0 + np.exp(-np.arange(40) / 8)
    history = [{"epoch": i + 1, "train_loss": v} for i, v in enumerate(losses)]
    history[20]["train_loss"] = 1000.0
    history[30]["train_loss"] = np.nan
    ax = TrainingCurveDisplay.from_history(history).ax_
    assert ax.get_ylim()[0] < 1.0
    assert 2.0 < ax.get_ylim()[1] < 2.5  # the first epochs are in it
    assert texts_of(ax) == ["1 of 40 epochs lie outside"]


def test_a_start_that_was_kept_is_epoch_0():
    history = [{"epoch": i + 1, "valid_loss": 1.0 + i} for i in range(5)]
    display = TrainingCurveDisplay.from_history(history, best_epoch=0)
    assert display.best_line_.get_label() == "the start kept"
    assert display.ax_.get_xlim()[0] < 0
    assert_legible(display.figure_)
