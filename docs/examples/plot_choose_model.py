"""
Choosing ``latent_dim`` and ``kld_weight`` by the score
=======================================================

The training loss depends on ``kld_weight`` and always prefers the smallest. The score
does not: it is the held-out evidence lower bound with a calibrated decoder and beta =
1. So a grid search over both needs no rule of thumb.
"""

# %%
# Weights that suit the table
# ---------------------------
# Which weights make sense depends on the units of X and on the number of columns.
# :func:`~skvae.inspection.suggest_kld_weights` takes them from the eigenvalues of the
# covariance: the first half leaves all units active, the others fewer, down to one.
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from skvae import VAETransformer
from skvae.inspection import (
    SearchHeatmapDisplay,
    UnitActivityDisplay,
    suggest_kld_weights,
)
from skvae.metrics import elbo_scorer

X = load_digits().data[:700] / 16
weights = suggest_kld_weights(X, latent_dim=16, n=6, random_state=0)[:4]
print(weights)

# %%
# The search
# ----------
search = GridSearchCV(
    VAETransformer(max_epochs=12, random_state=0),
    {"kld_weight": weights, "latent_dim": [4, 8, 16]},
    scoring=elbo_scorer,
    cv=2,
).fit(X)
SearchHeatmapDisplay.from_estimator(search, score_name="held-out ELBO (nats per row)")

# %%
# Larger weights than the best silence units; smaller ones let codes say more of a row
# than the decoder can use. The winner's units:
print(search.best_params_)
UnitActivityDisplay.from_estimator(search, X)
plt.show()
