"""
In a pipeline, before a classifier
==================================

An autoencoder is a transformer: it scales, cross-validates and is searched as a step of
a :class:`~sklearn.pipeline.Pipeline`, here in front of a logistic regression.
"""

# %%
# PCA's place
# -----------
# Pixels share a unit, so one noise variance for all of them ("gaussian") is apt.
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from skvae import VAETransformer
from skvae.inspection import LatentSpaceDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
pca = PCA(10, random_state=0)
vae = VAETransformer(10, likelihood="gaussian", max_epochs=20, random_state=0)
for coder in (pca, vae):
    model = make_pipeline(MinMaxScaler(), coder, LogisticRegression(max_iter=2000))
    accuracy = cross_val_score(model, X_train, y_train, cv=2).mean()
    print(f"{type(coder).__name__}, 10 units: {accuracy:.3f}")

# %%
# A search by accuracy
# --------------------
# The parameters of a step have the names that :func:`~sklearn.pipeline.make_pipeline`
# gives them.
search = GridSearchCV(model, {"vaetransformer__latent_dim": [5, 15]}, cv=2)
search.fit(X_train, y_train)
print(search.best_params_, f"{search.score(X_test, y_test):.3f}")
ConfusionMatrixDisplay.from_estimator(search, X_test, y_test, colorbar=False)

# %%
# The steps before the classifier are a pipeline, too
# ---------------------------------------------------
LatentSpaceDisplay.from_estimator(search.best_estimator_[:-1], X_test, y_test)
plt.show()
