"""
A first fit, beside PCA
=======================

:class:`~skvae.VAETransformer` stands where :class:`sklearn.decomposition.PCA` stood.
Both turn the 64 pixels of a digit into a few numbers, and both have a likelihood, so
that one number says which of them explains new rows better.
"""

# %%
# Codes
# -----
# ``fit``, ``transform`` and ``inverse_transform`` are PCA's.
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skvae import VAETransformer
from skvae.inspection import LatentSpaceDisplay, ReconstructionDisplay
from skvae.metrics import pca_scorer

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

pca = PCA(8).fit(X_train)
vae = VAETransformer(8, random_state=0).fit(X_train)
print(vae.transform(X_test).shape)

# %%
# Which explains new digits better
# --------------------------------
# ``score`` is the evidence lower bound, in nats per row: a log-likelihood, or a little
# less. :func:`~skvae.metrics.pca_scorer` is the log-likelihood of PCA. The larger, the
# better.
print(f"PCA: {pca_scorer(pca, X_test):.1f} nats per row")
print(f"VAE: {vae.score(X_test):.1f} nats per row")

# %%
# The rows that neither has seen, in the space of their codes
# -----------------------------------------------------------
# Codes of the VAE are in the units of X, as PCA's are, so distances mean the same.
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for model, ax in ((pca, axes[0]), (vae, axes[1])):
    LatentSpaceDisplay.from_estimator(model, X_test, y_test, ax=ax)
    ax.set_title(type(model).__name__)

# %%
# And back
# --------
ReconstructionDisplay.from_estimator(vae, X_test, image_shape=(8, 8))
plt.show()
