"""The pictures of ``benchmark_ae.py``."""

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from skvae.cli.runs import FinishedRun
from skvae.inspection import LatentSpaceDisplay, RateDistortionDisplay
from skvae.inspection._drawing import label_decades


def _figure(width: float, height: float) -> Figure:
    """The object-oriented interface: no global state, no window system."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_rate_distortion(path: Path, runs: list[FinishedRun]) -> None:
    """Held-out error against rate, one point a run, the best one ringed.

    Parameters
    ----------
    path : Path
    runs : list of FinishedRun
        Best first. Those without a rate (plain autoencoders) are lines at their error.
    """
    points = [r.metrics for r in runs if r.metrics["rate"] is not None]
    figure = _figure(7.6, 5.0)
    axis = figure.subplots()
    # Best first: the ring is around the first.
    display = RateDistortionDisplay(
        rate=[m["rate"] for m in points],
        distortion=[m["mse"] for m in points],
        elbo=-np.arange(len(points)),
        weights=[m["kld_weight"] for m in points],
        latent_dims=[m["latent_dim"] for m in points],
        distortion_name="held-out mean squared error (squared units of X)",
        fit_name="runs",
    ).plot(axis)
    lines = _plain_lines(axis, runs)
    if lines:
        errors = [line.get_ydata()[0] for line in lines]
        low, high = axis.get_ylim()
        axis.set_ylim(min(low, 0.98 * min(errors)), max(high, 1.02 * max(errors)))
        handles = [*display.legend_.legend_handles, *lines]
        axis.legend(handles=handles, fontsize=8)
    axis.set_title("Rate and distortion of held-out rows")
    figure.savefig(path, dpi=120)


def _plain_lines(axis, runs: list[FinishedRun]) -> list:
    """A line at the least error of every kind of model that has no rate."""
    errors: dict[str, list[float]] = {}
    for run in runs:
        if run.metrics["rate"] is None:
            errors.setdefault(run.metrics["estimator"], []).append(run.metrics["mse"])
    styles = ("--", "-.", ":")
    return [
        axis.axhline(
            min(values), color="grey", linestyle=styles[i % 3], label=name, zorder=1
        )
        for i, (name, values) in enumerate(errors.items())
    ]


def draw_features(path: Path, run: FinishedRun, title: str) -> None:
    """Mean and variance of every feature, of held-out rows and reconstructions."""
    arrays = run.arrays
    figure = _figure(9.6, 4.9)
    figure.suptitle(_wrapped(title, 100), fontsize=10)
    left, right = figure.subplots(1, 2)
    _draw_against(left, arrays["mean"], arrays["reconstructed_mean"], "mean")
    variance = arrays["variance"], arrays["reconstructed_variance"]
    positive = np.concatenate([v[v > 0] for v in variance])
    if not positive.size:
        _draw_against(right, *variance, "variance")
    else:
        # A variance far below all others, or 0, must not take the axes from them.
        floor = max(positive.min(), positive.max() * 1e-6)
        _draw_against(right, *(np.maximum(v, floor) for v in variance), "variance")
        right.set(xscale="log", yscale="log")
        label_decades(right.xaxis)
        label_decades(right.yaxis)
        n_low = int(((variance[0] < floor) | (variance[1] < floor)).sum())
        if n_low:
            low = f"{floor:.1g}"
            note = f"{n_low} with a variance below {low}\nare drawn at {low}"
            corner = {"transform": right.transAxes, "ha": "right", "va": "bottom"}
            right.text(0.98, 0.03, note, fontsize=9, **corner)
    figure.savefig(path, dpi=120)


def _draw_against(axis, real, rebuilt, what: str) -> None:
    """Reconstructed against real, with the diagonal."""
    # Two points of the diagonal that differ, even if all features are alike.
    low, high = float(real.min()), float(real.max())
    high = high if high > low else abs(low) * 2 + 1.0
    axis.axline((low, low), (high, high), color="grey", linewidth=1, label="equal")
    alpha = 0.6 if len(real) < 500 else 0.3
    style = {"s": 14, "alpha": alpha, "linewidths": 0, "label": "a feature"}
    axis.scatter(real, rebuilt, **style)
    axis.grid(alpha=0.3)
    units = "units of X" if what == "mean" else "squared units of X"
    axis.set(
        xlabel=f"{what}, held-out rows ({units})",
        ylabel=f"{what}, reconstructions ({units})",
        title=f"{what.capitalize()} of each of {len(real)} features",
    )
    legend = axis.legend(fontsize=9, loc="upper left")
    legend.legend_handles[-1].set_alpha(1.0)


def draw_codes(path: Path, run: FinishedRun, title: str) -> None:
    """Codes of held-out rows in two dimensions, coloured by label if there are any."""
    codes, labels = run.arrays["codes"], run.arrays.get("labels")
    figure = _figure(7.4, 5.4)
    axis = figure.subplots()
    own = run.metrics["latent_dim"] <= 2
    names = ("unit 0", "unit 1") if own else ("component 1", "component 2")
    LatentSpaceDisplay(
        codes, labels=labels, axis_names=[f"{name} (units of X)" for name in names]
    ).plot(axis)
    what = "Codes" if own else "Principal components of the codes"
    axis.set_title(
        f"{what} of {len(codes)} held-out rows\n{_wrapped(title, 60)}", fontsize=10
    )
    figure.savefig(path, dpi=120)


def _wrapped(title: str, width: int) -> str:
    """Lines of about ``width`` that end at commas: names and numbers stay whole."""
    spaced = title.replace(",", ", ")
    whole = {"break_on_hyphens": False, "break_long_words": False}
    return "\n".join(textwrap.wrap(spaced, width, **whole))
