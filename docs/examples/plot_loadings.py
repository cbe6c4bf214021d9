"""
Loadings of a table
===================

Which columns does a unit move? ``components_`` has, as PCA's, a number for each unit
and column: how far the reconstruction moves, on average over rows, per unit of the
code.
"""

# %%
# Wines
# -----
# Thirteen measurements of 178 wines, in units of their own, so a scaler stands in
# front.
import matplotlib.pyplot as plt
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer
from skvae.inspection import (
    LatentSpaceDisplay,
    LoadingsDisplay,
    ReconstructionDisplay,
    TraversalDisplay,
)

wine = load_wine(as_frame=True)
X, y = wine.data, wine.target_names[wine.target]
model = make_pipeline(StandardScaler(), VAETransformer(3, random_state=0)).fit(X)

# %%
# Loadings, with names of columns and shares of the variance
# ----------------------------------------------------------
LoadingsDisplay.from_estimator(model)

# %%
# PCA's, for comparison:
LoadingsDisplay.from_estimator(make_pipeline(StandardScaler(), PCA(3)).fit(X))

# %%
# Beyond averages
# ---------------
# A decoder need not be linear. Along each unit, this is how far every column moves away
# from where it is in the middle.
TraversalDisplay.from_estimator(model)

# %%
# The wines by their first two units, and three of them
# -----------------------------------------------------
LatentSpaceDisplay.from_estimator(model, X, y, units=[0, 1], label_name="cultivar")
ReconstructionDisplay.from_estimator(model, X)
plt.show()
