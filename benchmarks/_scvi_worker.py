"""SCVI of scvi-tools for ``single_cell.py``, run in an environment that has it.

    python benchmarks/_scvi_worker.py TASK OUTCOME

Everything is at SCVI's defaults: 10 units, one hidden layer of 128, dropout 0.1, the
number of epochs by its heuristic, a tenth of the training rows left out, and no early
stopping but where the contender's name says so. Its decoder is given the observed size
of a cell, the sum of its counts, and so are bounds: they are of ``p(counts | size)``.
"""

import warnings

import anndata
import numpy as np
import scvi
import torch
from _single_cell_task import Outcome, Task, measured, work

GENE_LIKELIHOODS = {"SCVI": "zinb", "SCVI, NB": "nb", "SCVI, stopped": "zinb"}
CHUNK = 256


def fitted(task: Task) -> "scvi.model.SCVI":
    """SCVI, trained."""
    cells = anndata.AnnData(task.train)
    scvi.model.SCVI.setup_anndata(cells)
    model = scvi.model.SCVI(cells, gene_likelihood=GENE_LIKELIHOODS[task.contender])
    model.train(
        max_epochs=task.epochs,
        early_stopping=task.contender.endswith("stopped"),
        accelerator="cpu",
        enable_progress_bar=False,
        logger=False,
        enable_checkpointing=False,
    )
    return model


@torch.inference_mode()
def bounds(model, counts, n_draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Importance-weighted bound and ELBO of every row in nats, from the same draws.

    SCVI has ``get_marginal_ll``, which gives the former's mean, only.
    """
    module = model.module.eval()
    found: list[list[np.ndarray]] = [[], []]
    for start in range(0, counts.shape[0], CHUNK):
        x = torch.from_numpy(counts[start : start + CHUNK].toarray())
        batch = torch.zeros(len(x), 1)
        posterior = module.inference(x, batch)["qz"]
        library = x.sum(dim=1, keepdim=True).log()
        prior = torch.distributions.Normal(0.0, 1.0)
        weights, nats = [], []
        for _ in range(n_draws):
            z = posterior.sample()
            decoded = module.generative(z, library, batch)["px"]
            of_counts = decoded.log_prob(x).double().sum(dim=1)
            log_q = posterior.log_prob(z).double().sum(dim=1)
            weights.append(of_counts + prior.log_prob(z).double().sum(dim=1) - log_q)
            nats.append(of_counts)
        stacked = torch.stack(weights)
        kl = torch.distributions.kl_divergence(posterior, prior).sum(dim=1)
        found[0].append((stacked.logsumexp(0) - np.log(n_draws)).numpy())
        found[1].append((torch.stack(nats).mean(0) - kl).numpy())
    bound, elbo = (np.concatenate(parts) for parts in found)
    return bound, elbo


def run(task: Task) -> Outcome:
    warnings.simplefilter("ignore")
    torch.set_num_threads(task.threads)
    scvi.settings.seed = task.seed
    scvi.settings.verbosity = 30
    # Lazy imports are not to be timed.
    fitted(task._replace(train=task.train[:256], epochs=1))
    model, cost = measured(lambda: fitted(task))
    cells = anndata.AnnData(task.test)
    bound, elbo = bounds(model, task.test, task.n_draws)
    return Outcome(
        model.get_latent_representation(),
        model.get_latent_representation(cells),
        bound,
        elbo,
        float(model.get_elbo(cells)),
        *cost,
    )


if __name__ == "__main__":
    work(run)
