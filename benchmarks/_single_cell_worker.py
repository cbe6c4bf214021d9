"""skvae and scikit-learn for ``single_cell.py``.

    python benchmarks/_single_cell_worker.py TASK OUTCOME

Likelihoods of counts get the counts, others dense logarithms of normalised counts.
"""

import warnings

import numpy as np
import torch
from _single_cell import log_counts
from _single_cell_task import Outcome, Task, measured, work
from sklearn.decomposition import PCA, FactorAnalysis

from skvae import VAETransformer

N_UNITS = 10
COUNTS = ("negative_binomial", "zinb", "poisson")
LOG_COUNTS = ("gaussian_diag", "gaussian")
LINEAR = {"PCA": PCA, "FactorAnalysis": FactorAnalysis}


def fitted(task: Task):
    """The contender, fitted, and what it takes for rows."""
    options = {} if task.epochs is None else {"max_epochs": task.epochs}
    if task.contender in LINEAR:
        model = LINEAR[task.contender](N_UNITS, random_state=task.seed)
    else:
        model = VAETransformer(
            N_UNITS, likelihood=task.contender, random_state=task.seed, **options
        )
    takes = _counts if task.contender in COUNTS else _dense_log_counts
    return model.fit(takes(task.train)), takes


def _counts(X):
    return X


def _dense_log_counts(X) -> np.ndarray:
    return log_counts(X).toarray()


def run(task: Task) -> Outcome:
    warnings.simplefilter("ignore")
    torch.set_num_threads(task.threads)
    # Lazy imports are not to be timed.
    fitted(task._replace(train=task.train[:64], epochs=1))
    (model, takes), cost = measured(lambda: fitted(task))
    test = takes(task.test)
    bound = elbo = np.empty(0)
    if task.contender in COUNTS:
        elbo = model.score_samples(test)
        bound = model.log_likelihood(test, task.n_draws)
    own = float(elbo.mean()) if len(elbo) else np.nan
    codes = (model.transform(takes(task.train)), model.transform(test))
    return Outcome(*codes, bound, elbo, own, *cost)


if __name__ == "__main__":
    work(run)
