"""Callbacks that log training, and that prune it.

They are skorch's, and go into ``callbacks=[...]`` of any estimator. What they hold, a
writer or a trial, is alive: copies made by :func:`sklearn.base.clone` or :mod:`copy`
share it, since a search or a cross-validation clones the estimator before every fit.
Pickles leave it out, so that models with such callbacks can be written to files; in
workers of another process (``n_jobs``) nothing is logged or pruned, with a warning.

scikit-learn's own callbacks (1.9 and newer) go to ``set_callbacks`` of the estimator
instead.
"""

from ._trackers import log_figure
from .guide_logger import GuideLogger
from .optuna_pruning import PruneWithOptuna

__all__ = ["GuideLogger", "PruneWithOptuna", "log_figure"]
