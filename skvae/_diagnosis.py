"""What a diagnosis of a fitted model says, and how it prints."""

import html
import math
import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._evaluation.information import COMPARED_ROWS
from ._likelihoods.registry import likelihood_named
from ._utils.optional import optional_import


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """What a fitted model does with rows, and what to change.

    As :func:`skvae.inspection.diagnose` returns it. It prints as a table, and shows as
    one in a notebook.

    Attributes
    ----------
    verdict : str
        "diverged", "collapsed", "untrained", "nearly deterministic", "worse than
        linear", "too few units", "too many units" or "healthy".
    advice : str
        What to change, by the names of parameters.
    n_rows, n_features, latent_dim : int
    elbo : float
        What ``score`` gives: nats per row.
    rate : float
        Mean KL of the posteriors from the prior, nats per row.
    distortion : float
        Minus the expected log-likelihood of rows given their codes, nats per row:
        ``elbo = -(distortion + rate)``.
    kl_per_unit : ndarray of shape (latent_dim,)
        Mean KL of every unit, nats per row.
    kl_of_choice : float
        Mean KL of the choice between the network and the background (see
        ``VAETransformer.score_samples``), nats per row, 0 where there is none:
        ``rate = sum of kl_per_unit + kl_of_choice``.
    squared_error : float
        Mean squared error of the network's reconstruction of a posterior draw, per
        element of X, in squared units of X. With another likelihood than "gaussian",
        what ``reconstruction_error`` gives: of the posterior's mean, and of discrete
        ones the deviance.
    active_units : int
        Units whose posterior mean, in the network, has a variance above 0.01 over rows.
    mutual_information : float
        I(x; z) in nats between rows and the network's codes, under the aggregate
        posterior of at most 2,048 rows, evenly spaced. It cannot exceed the logarithm
        of their number (7.6): a value near that says only that posteriors do not
        overlap.
    shuffle_loss : float
        Nats per row that the network's ELBO falls by when rows exchange their codes,
        with the noise variance as it is. A decoder that ignores codes loses nothing.
        From at most 4,096 rows, evenly spaced, fewer if rows are very wide.
    beta : float
        ``beta_`` of the model: its weight over that of maximum likelihood.
    kld_weight : float
        ``kld_weight_`` of the model: in squared units of X per nat with "gaussian",
        else without a unit.
    noise_variance : float
        ``noise_variance_`` of the model, in squared units of X, the mean over features
        where each has its own; NaN of a discrete likelihood.
    expected_elbo : float
        ELBO of these rows in the linear model of the likelihood with as many units,
        nats per row: probabilistic PCA, or factor analysis where every feature has a
        noise of its own. Of a discrete likelihood, in its model with no code. Fitted
        to the training rows, where fitting began at it (``linear_path="pca"``);
        otherwise to these rows, each fifth of them scored by a model of the others, of
        at most half as many units as features, which is no comparison where they are of
        another distribution than the training rows. NaN where there is too little to
        fit.
    expected_rate : float
        Rate of the optimal linear model of these rows at this weight, nats per row;
        infinite at a weight of 0; NaN where the likelihood has no linear theory.
    expected_active_units : int or None
        Its number of active units.
    likelihood : str
        ``likelihood_`` of the model.
    guide : str
        What fixed bounds would say, whatever the data: a KL under 1 nat is collapsed,
        10 to 100 healthy, over 500 nearly deterministic.
    """

    verdict: str
    advice: str
    n_rows: int
    n_features: int
    latent_dim: int
    elbo: float
    rate: float
    distortion: float
    kl_per_unit: np.ndarray
    kl_of_choice: float
    squared_error: float
    active_units: int
    mutual_information: float
    shuffle_loss: float
    beta: float
    kld_weight: float
    noise_variance: float
    expected_elbo: float
    expected_rate: float
    expected_active_units: int | None
    likelihood: str
    guide: str

    def to_frame(self) -> Any:
        """The numbers as a data frame. Needs pandas (``skvae[frames]``).

        Returns
        -------
        frame : pandas.DataFrame
            A row a quantity, named in the index; columns ``value``, ``expected`` (by
            linear theory, None where it says nothing) and ``unit``. The KL per unit is
            there as its least and its greatest.

        Raises
        ------
        ValueError
            If pandas is not installed.
        """
        pandas = optional_import("pandas", "frames")
        words = [
            ("guide", self.guide, None, ""),
            ("verdict", self.verdict, None, ""),
            ("advice", self.advice, None, ""),
        ]
        names, *columns = zip(*self._quantities(), *words, strict=True)
        data = dict(zip(("value", "expected", "unit"), columns, strict=True))
        return pandas.DataFrame(
            data, index=pandas.Index(names, name="quantity"), dtype=object
        )

    def _quantities(self) -> list[tuple]:
        """Name, value, what linear theory expects, and unit."""
        nats = "nats per row"
        bound = math.log(min(self.n_rows, COMPARED_ROWS))
        return [
            ("n_rows", self.n_rows, None, "rows"),
            ("n_features", self.n_features, None, "features"),
            ("latent_dim", self.latent_dim, None, "units"),
            ("elbo", self.elbo, self.expected_elbo, nats),
            ("distortion", self.distortion, None, nats),
            ("rate", self.rate, self.expected_rate, nats),
            ("kl_of_weakest_unit", float(self.kl_per_unit.min()), None, nats),
            ("kl_of_strongest_unit", float(self.kl_per_unit.max()), None, nats),
            (
                "mutual_information",
                self.mutual_information,
                None,
                f"nats, at most {bound:.2f}",
            ),
            ("shuffle_loss", self.shuffle_loss, None, nats),
            ("active_units", self.active_units, self.expected_active_units, "units"),
            ("squared_error", self.squared_error, None, self._unit_of_error()),
            ("noise_variance", self.noise_variance, None, "squared units of X"),
            ("kld_weight", self.kld_weight, None, self._unit_of_weight()),
            ("beta", self.beta, 1.0, ""),
        ]

    def _unit_of_error(self) -> str:
        is_discrete = likelihood_named(self.likelihood).is_discrete
        return "deviance" if is_discrete else "squared units of X"

    def _unit_of_weight(self) -> str:
        return "squared units of X per nat" if self.likelihood == "gaussian" else ""

    def _table(self) -> list[tuple[str, ...]]:
        """Head and rows as text."""
        is_discrete = likelihood_named(self.likelihood).is_discrete
        head = ("", "measured", "no code" if is_discrete else "linear theory", "")
        return [head] + [
            (name, _number(value), _number(expected), unit)
            for name, value, expected, unit in self._quantities()
        ]

    def _guide_line(self) -> str:
        return (
            f"Bounds that are the same for all data (KL under 1 collapsed, 10 to 100 "
            f"healthy, over 500 nearly deterministic) say: {self.guide}."
        )

    def __repr__(self) -> str:
        lines = [
            f"{name:<20} {value:>10} {expected:>13}  {unit}".rstrip()
            for name, value, expected, unit in self._table()
        ]
        verdict = [f"Diagnosis: {self.verdict}", *textwrap.wrap(self.advice, 78)]
        return "\n".join([*verdict, "", *lines, "", *textwrap.wrap(self._guide_line())])

    def _repr_html_(self) -> str:
        head, *rows = self._table()
        cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in rows
        )
        return (
            f"<p><b>{html.escape(self.verdict)}</b>: {html.escape(self.advice)}</p>"
            f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
            f"<p>{html.escape(self._guide_line())}</p>"
        )


def _number(value) -> str:
    if value is None or value != value:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.4g}"
