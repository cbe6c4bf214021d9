import numpy as np
import pytest

from skvae import VAETransformer
from skvae._likelihoods.poisson import Poisson
from skvae._likelihoods.registry import AUTO, LIKELIHOODS, likelihood_named


def test_names_are_the_classes_own():
    assert all(kind.name == name for name, kind in LIKELIHOODS.items())
    assert all(likelihood_named(name) is kind for name, kind in LIKELIHOODS.items())
    assert AUTO in LIKELIHOODS


def test_classes_of_others_are_found_by_their_names():
    """At any depth; what was saved needs it, and a parameter does not take it."""

    class Derived(Poisson):
        name = "derived for a test"

    class Again(Derived):
        name = "derived again for a test"

    assert likelihood_named("derived for a test") is Derived
    assert likelihood_named("derived again for a test") is Again
    with pytest.raises(ValueError, match="likelihood"):
        VAETransformer(likelihood="derived for a test").fit(np.eye(4))


def test_none_of_theirs_takes_the_place_of_ours():
    class Other(Poisson):  # which has the name of its parent
        pass

    assert Other.name == "poisson"
    assert likelihood_named("poisson") is Poisson


def test_an_unknown_name_is_told_the_known_ones():
    with pytest.raises(
        ValueError, match=r"'gaussian', 'gaussian_diag'.* 'categorical'"
    ):
        likelihood_named("gauss")
