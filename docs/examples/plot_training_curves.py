"""
Training curves and early stopping
==================================

A fit holds out a tenth of its rows, and keeps the epoch that explains them best. Its
``history_`` has a row an epoch.
"""

# %%
# Loss of training rows and of held-out rows
# ------------------------------------------
import matplotlib.pyplot as plt
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer
from skvae.inspection import TrainingCurveDisplay

X = StandardScaler().fit_transform(load_breast_cancer().data)
vae = VAETransformer(8, max_epochs=150, lr_schedule="constant", random_state=0).fit(X)
print(f"{vae.n_iter_} epochs, the best is number {vae.best_epoch_}")
TrainingCurveDisplay.from_estimator(vae)

# %%
# The epoch is chosen by the evidence lower bound of the held-out rows, with the linear
# background that ``score`` has in it. The history has the network's own, which a few
# odd rows can move, so that its peak may lie elsewhere.
TrainingCurveDisplay.from_estimator(vae, metric="elbo")

# %%
# Any column of the history
# -------------------------
# A warm-up begins without the KL term, and lets codes grow before they are paid for.
warm = VAETransformer(
    8, max_epochs=60, kld_schedule="linear", kld_warmup=0.5, random_state=0
).fit(X)
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
TrainingCurveDisplay.from_estimator(warm, metric="kld_weight", ax=axes[0])
TrainingCurveDisplay.from_estimator(warm, metric="kl_loss", ax=axes[1])

# %%
# Without early stopping
# ----------------------
# All rows are trained on, for all epochs, and the last is kept.
whole = VAETransformer(8, max_epochs=60, early_stopping=False, random_state=0).fit(X)
TrainingCurveDisplay.from_estimator(whole)
plt.show()
