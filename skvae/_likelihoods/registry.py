"""Likelihoods by the names that estimators call them."""

from .base import Likelihood
from .bernoulli import Bernoulli
from .categorical import Categorical
from .gaussian import Gaussian
from .gaussian_diag import GaussianDiag
from .log_normal import LogNormal
from .mixed import Mixed
from .multinomial import Multinomial
from .negative_binomial import NegativeBinomial
from .ordinal import Ordinal
from .poisson import Poisson
from .student_t import StudentT
from .zinb import ZeroInflatedNegativeBinomial

LIKELIHOODS: dict[str, type[Likelihood]] = {
    likelihood.name: likelihood
    for likelihood in (
        Gaussian,
        GaussianDiag,
        StudentT,
        Bernoulli,
        Poisson,
        NegativeBinomial,
        ZeroInflatedNegativeBinomial,
        Multinomial,
        Categorical,
        Ordinal,
        LogNormal,
        Mixed,
    )
}

# What "auto" is where the weight of the KL is fitted, too.
AUTO = "gaussian_diag"


def likelihood_named(name: str) -> type[Likelihood]:
    """The class of that name, of this package or of whoever has derived one.

    Raises
    ------
    ValueError
        If there is none.
    """
    found = LIKELIHOODS.get(name) or _derived(Likelihood).get(name)  # type: ignore[type-abstract]
    if found is None:
        known = ", ".join(map(repr, LIKELIHOODS))
        raise ValueError(f"likelihood={name!r} is not known; use one of {known}.")
    return found


def _derived(kind: type[Likelihood]) -> dict[str, type[Likelihood]]:
    """All subclasses that have been defined so far, by their names."""
    found: dict[str, type[Likelihood]] = {}
    for child in kind.__subclasses__():
        found |= {child.name: child, **_derived(child)}
    return found
