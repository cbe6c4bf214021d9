"""Choosing ``kld_weight`` before a fit, judging the fit, and pictures of it.

The displays follow scikit-learn's convention: ``from_estimator``, or another
constructor, computes and draws, ``plot`` draws again, and what was drawn is in ``ax_``
and ``figure_``. They need matplotlib (``skvae[plot]``), which is imported where they
draw.
"""

from .._diagnosis import Diagnosis
from ._diagnose import diagnose
from ._latent_space import LatentSpaceDisplay
from ._loadings import LoadingsDisplay
from ._rate_distortion import RateDistortionDisplay
from ._reconstruction import ReconstructionDisplay
from ._search_heatmap import SearchHeatmapDisplay
from ._training_curve import TrainingCurveDisplay
from ._traversal import TraversalDisplay
from ._unit_activity import UnitActivityDisplay
from ._weights import suggest_kld_weights

__all__ = [
    "Diagnosis",
    "LatentSpaceDisplay",
    "LoadingsDisplay",
    "RateDistortionDisplay",
    "ReconstructionDisplay",
    "SearchHeatmapDisplay",
    "TrainingCurveDisplay",
    "TraversalDisplay",
    "UnitActivityDisplay",
    "diagnose",
    "suggest_kld_weights",
]
