"""
Counts of cells from several batches
====================================

Counts need no logarithms: with ``likelihood="negative_binomial"`` the model explains
them as they are, given the size of each row. ``conditions`` are what is known of a row,
such as its batch. The decoder is given them, so that codes need not say them.
"""

# %%
# Simulated cells
# ---------------
# Three kinds of cells, two batches whose genes are read at different rates, and cells
# of very different depths.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import silhouette_score

from skvae import VAETransformer
from skvae.inspection import LatentSpaceDisplay, ReconstructionDisplay

rng = np.random.RandomState(0)
n_cells, n_genes = 400, 40
kind = rng.choice(["B", "NK", "T"], n_cells)
batch = rng.choice(["first", "second"], n_cells)
profile = dict(zip(["B", "NK", "T"], rng.randn(3, n_genes), strict=True))
shift = dict(zip(["first", "second"], 0.8 * rng.randn(2, n_genes), strict=True))
logits = np.array([profile[k] + shift[b] for k, b in zip(kind, batch, strict=True)])
rates = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
depth = rng.lognormal(np.log(400), 0.5, n_cells)
counts = rng.negative_binomial(3, 3 / (3 + depth[:, None] * rates))

# %%
# With and without the batch
# --------------------------
params = {"likelihood": "negative_binomial", "max_epochs": 50, "random_state": 0}
plain = VAETransformer(4, **params).fit(counts)
informed = VAETransformer(4, **params).fit(counts, conditions=batch)

figure, axes = plt.subplots(2, 2, figsize=(10, 7.5), layout="constrained")
for row, vae, given in ((0, plain, None), (1, informed, batch)):
    for column, labels in enumerate((kind, batch)):
        ax = axes[row, column]
        LatentSpaceDisplay.from_estimator(vae, counts, labels, conditions=given, ax=ax)
        ax.set_title("no conditions" if given is None else "conditions=batch")

# %%
# How far batches and kinds lie apart in the codes: 0 is mixed, 1 is apart.
for name, vae in (("no conditions", plain), ("conditions=batch", informed)):
    codes = vae.transform(counts)
    of_batch, of_kind = (silhouette_score(codes, y) for y in (batch, kind))
    print(f"{name:<17} batches {of_batch:5.2f}   kinds {of_kind:5.2f}")

# %%
# Normalised counts, as if of one batch
# -------------------------------------
# ``to=`` asks for rows under other conditions, ``size_factor=`` for one size.
same = informed.reconstruct(counts, conditions=batch, to="first", size_factor=400)
ReconstructionDisplay.from_predictions(
    counts[:2, :20], same[:2, :20], row_names=["cell 0", "cell 1"]
)
plt.show()
