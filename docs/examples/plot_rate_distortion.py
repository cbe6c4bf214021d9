"""
Rate and distortion
===================

A code costs something, the *rate*: how far its distribution is from the prior. It
leaves something unexplained, the *distortion*. Both are in nats per row, and the
evidence lower bound is minus their sum (Alemi et al., 2018). ``beta`` trades one
against the other.
"""

# %%
# A sweep over ``beta``
# ---------------------
# ``beta`` has no units: 1 is maximum likelihood, whatever the table.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split

from skvae import VAETransformer
from skvae.inspection import RateDistortionDisplay, ReconstructionDisplay
from skvae.metrics import rate_distortion_scorer

X_train, X_test = train_test_split(load_digits().data / 16, random_state=0)
betas = np.geomspace(0.1, 10, 5)
fits = [
    VAETransformer(8, beta=beta, max_epochs=12, random_state=0).fit(X_train)
    for beta in betas
]
RateDistortionDisplay.from_estimators(fits, X_test, weight="beta")

# %%
# Dotted lines join what has the same bound. Above beta = 1 codes get cheaper, but the
# distortion grows by more; below it, codes get dearer by more than it falls.

# %%
# What it means for rows
# ----------------------
figure, axes = plt.subplots(2, 1, figsize=(6.4, 3.2), layout="constrained")
for vae, ax in ((fits[0], axes[0]), (fits[-1], axes[1])):
    ReconstructionDisplay.from_estimator(vae, X_test, image_shape=(8, 8), ax=ax)
    ax.set_title(f"beta = {vae.beta:g}")

# %%
# From a search
# -------------
# A search that scores by :func:`~skvae.metrics.rate_distortion_scorer` has both terms
# in its ``cv_results_``.
search = GridSearchCV(
    VAETransformer(max_epochs=8, random_state=0),
    {"beta": [0.3, 1.0, 3.0], "latent_dim": [4, 8]},
    scoring=rate_distortion_scorer,
    refit="elbo",
    cv=2,
).fit(X_train[:500])
RateDistortionDisplay.from_cv_results(search.cv_results_)
plt.show()
