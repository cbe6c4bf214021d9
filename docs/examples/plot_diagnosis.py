"""
Reading a diagnosis
===================

A variational autoencoder can fail without an error: its codes may say nothing of the
rows (*collapse*), or training may have been too short.
:func:`~skvae.inspection.diagnose` compares a fit with what linear theory expects, and
says what to change.
"""

# %%
# A weight that is too large
# --------------------------
# The fit warns on its own; here the warning is caught, to look at the diagnosis
# instead.
import warnings

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skvae import VAETransformer
from skvae.exceptions import PosteriorCollapseWarning
from skvae.inspection import UnitActivityDisplay, diagnose, suggest_kld_weights

X_train, X_test = train_test_split(load_digits().data / 16, random_state=0)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", PosteriorCollapseWarning)
    collapsed = VAETransformer(8, kld_weight=0.1, max_epochs=20, random_state=0).fit(
        X_train
    )
print(diagnose(collapsed, X_test))

# %%
# A weight for this table
# -----------------------
# The smallest of the suggested weights leaves all units active.
weight = suggest_kld_weights(X_train, latent_dim=8, random_state=0)[0]
fitted = VAETransformer(8, kld_weight=weight, max_epochs=20, random_state=0)
fitted.fit(X_train)
print(diagnose(fitted, X_test))

# %%
# Unit by unit
# ------------
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for vae, ax in ((collapsed, axes[0]), (fitted, axes[1])):
    UnitActivityDisplay.from_estimator(vae, X_test, ax=ax)
    ax.set_title(f"kld_weight = {vae.kld_weight:.2g}")

# %%
# More units than the rows need
# -----------------------------
# Units that the rows do not need stay at the prior. They cost nothing but time.
wide = VAETransformer(40, beta=2.0, max_epochs=20, random_state=0).fit(X_train)
print(diagnose(wide, X_test).verdict)
UnitActivityDisplay.from_estimator(wide, X_test)
plt.show()
