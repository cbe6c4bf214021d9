"""TensorBoard, Weights & Biases and MLflow, by one set of names.

None of them is imported before its user has: a writer is known by its methods.
"""

import time
from typing import Any, Protocol

from .._utils.optional import optional_import

# MLflow refuses longer values of parameters.
MOST_LETTERS = 500


class Tracker(Protocol):
    """Where numbers, parameters and pictures go."""

    def log_numbers(self, values: dict[str, float], step: int) -> None:
        """Numbers of an epoch."""

    def begin_fit(self, params: dict[str, Any], prefix: str) -> None:
        """Parameters of a fit, before it; names get the prefix."""

    def end_fit(
        self, params: dict[str, Any], prefix: str, results: dict[str, float]
    ) -> None:
        """Parameters of a fit, with what came of it."""

    def log_figure(self, figure, name: str, step: int) -> None:
        """A figure of matplotlib's."""


class TensorBoard:
    """A ``torch.utils.tensorboard.SummaryWriter``."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def log_numbers(self, values, step):
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def begin_fit(self, params, prefix):
        pass  # a run's parameters are written once, together with its results

    def end_fit(self, params, prefix, results):
        # In the writer's own directory; those of later fits below it.
        self._writer.add_hparams(
            {name: _number_or_text(value) for name, value in params.items()},
            {f"hparam/{name.replace('/', '_')}": v for name, v in results.items()},
            run_name=prefix.rstrip("/") or ".",
        )
        self._writer.flush()

    def log_figure(self, figure, name, step):
        self._writer.add_figure(name, figure, step, close=False)
        self._writer.flush()


class WandB:
    """A run of Weights & Biases."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def log_numbers(self, values, step):
        # Its own steps count whatever else the user logs.
        self._run.log({**values, "epoch": step})

    def begin_fit(self, params, prefix):
        config = {f"{prefix}{n}": _number_or_text(v) for n, v in params.items()}
        self._run.config.update(config, allow_val_change=True)

    def end_fit(self, params, prefix, results):
        for name, value in results.items():
            self._run.summary[f"{prefix}best/{name}"] = value

    def log_figure(self, figure, name, step):
        wandb = optional_import("wandb", "tracking")
        self._run.log({name: wandb.Image(figure), "epoch": step})


class MLflow:
    """A run of MLflow's, by a client."""

    def __init__(self, client: Any, run_id: str) -> None:
        self._client, self._run_id = client, run_id

    def log_numbers(self, values, step):
        entities = optional_import("mlflow.entities", "tracking")
        now = int(time.time() * 1000)
        metrics = [entities.Metric(n, v, now, step) for n, v in values.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def begin_fit(self, params, prefix):
        entities = optional_import("mlflow.entities", "tracking")
        # A parameter is logged once: the next fit with this run gets other names.
        known = self._client.get_run(self._run_id).data.params
        listed = [
            entities.Param(f"{prefix}{name}", str(value)[:MOST_LETTERS])
            for name, value in params.items()
        ]
        new = [p for p in listed if known.get(p.key, p.value) == p.value]
        self._client.log_batch(self._run_id, params=new)

    def end_fit(self, params, prefix, results):
        for name, value in results.items():
            self._client.log_metric(self._run_id, f"{prefix}best/{name}", value)

    def log_figure(self, figure, name, step):
        self._client.log_figure(self._run_id, figure, f"{name}.png")


def tracker_of(writer: Any, run_id: str | None = None) -> Tracker:
    """What logs to a writer.

    Raises
    ------
    TypeError
        If it is none of the three.
    ValueError
        If it is a client of MLflow's and there is no run.
    """
    if isinstance(writer, type):
        raise TypeError(f"writer is the class {writer.__name__}; make one of it.")
    if hasattr(writer, "add_scalar") and hasattr(writer, "add_hparams"):
        return TensorBoard(writer)
    if hasattr(writer, "log_batch") and hasattr(writer, "get_run"):
        return MLflow(writer, run_id or _active_run_id())
    if hasattr(getattr(writer, "info", None), "run_id"):
        mlflow = optional_import("mlflow", "tracking")
        return MLflow(mlflow.MlflowClient(), writer.info.run_id)
    if hasattr(writer, "log") and hasattr(writer, "config"):
        return WandB(writer)
    raise TypeError(
        f"writer must be a torch.utils.tensorboard.SummaryWriter, a run of wandb.init, "
        f"a run of mlflow.start_run or an mlflow.MlflowClient, not {writer!r}."
    )


def log_figure(writer, figure, name="charts/rate_distortion", *, step=0, run_id=None):
    """Log a figure, such as the picture of a search.

    For the chart of a search in several processes, whose workers have no writer:
    ``log_figure(writer, RateDistortionDisplay.from_cv_results(search.cv_results_))``.

    Parameters
    ----------
    writer : SummaryWriter, wandb.Run, mlflow.ActiveRun or MlflowClient
        As :class:`GuideLogger` takes it.
    figure : matplotlib.figure.Figure, or a display of :mod:`skvae.inspection`
    name : str, default="charts/rate_distortion"
    step : int, default=0
        Epoch that it belongs to; MLflow's pictures have none.
    run_id : str or None, default=None
        With a client: the run; by default the active one.

    Raises
    ------
    TypeError
        If the writer is none of these.
    ValueError
        If there is no run for a client.
    """
    figure = getattr(figure, "figure_", figure)
    tracker_of(writer, run_id).log_figure(figure, name, step)


def _active_run_id() -> str:
    run = optional_import("mlflow", "tracking").active_run()
    if run is None:
        raise ValueError(
            "writer is a client of MLflow's, and no run is active: pass run_id=, or "
            "start one with mlflow.start_run()."
        )
    return run.info.run_id


def _number_or_text(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)
