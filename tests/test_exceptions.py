import warnings

import pytest

from skvae import VAETransformer
from skvae.exceptions import PosteriorCollapseWarning


def test_a_collapse_that_is_made_an_error_leaves_the_fit(small, quick):
    """It is raised behind the fit: who asked for an error can still look at it."""
    vae = VAETransformer(**quick, kld_weight=10.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", PosteriorCollapseWarning)
        with pytest.raises(PosteriorCollapseWarning, match="lower kld_weight"):
            vae.fit(small)
    assert vae.transform(small).shape == (90, 3)
    assert issubclass(PosteriorCollapseWarning, UserWarning)
