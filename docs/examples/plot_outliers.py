"""
Outliers, and what makes them odd
=================================

The density that ``score`` measures has two parts: the network, and with a small weight
the linear model that training began at. A row that the network cannot explain is left
to the linear model, and :meth:`~skvae.VAETransformer.background_responsibility` says
so, row by row. :class:`~skvae.VAEOutlierDetector` is made for the task: it scores by
both parts, and says which columns are odd.
"""

# %%
# Digits, and pixels of digits
# ----------------------------
# The outliers are made of pixels of test digits, each drawn from another one: no pixel
# alone gives them away.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from skvae import VAEOutlierDetector, VAETransformer
from skvae.inspection import LatentSpaceDisplay, ReconstructionDisplay

rng = np.random.RandomState(0)
X_train, digits = train_test_split(load_digits().data, random_state=0)
mixed = np.column_stack([rng.permutation(pixel) for pixel in digits.T])[:60]
X_test = np.vstack([digits, mixed])
is_odd = np.repeat([0, 1], [len(digits), len(mixed)])

# %%
# The background's share
# ----------------------
vae = VAETransformer(10, random_state=0).fit(X_train)
share = vae.background_responsibility(X_test)

figure, ax = plt.subplots(layout="constrained")
groups = [share[is_odd == 0], share[is_odd == 1]]
names, colours = ["digits", "mixed pixels"], ["#0072b2", "#d55e00"]
ax.hist(groups, np.linspace(0, 1, 11), label=names, color=colours)
ax.set(xlabel="responsibility of the background", ylabel="rows", yscale="log")
ax.legend()

# %%
# As a score of oddness it is compared with minus the likelihood of the rows.
print(f"AUC of the background's share: {roc_auc_score(is_odd, share):.3f}")
print(f"AUC of minus the ELBO: {roc_auc_score(is_odd, -vae.score_samples(X_test)):.3f}")

# %%
# Digits that the network leaves to the background
# ------------------------------------------------
# Five digits with the largest share, and three of mixed pixels.
oddest = [*np.argsort(-share[is_odd == 0])[:5], *range(len(digits), len(digits) + 3)]
ReconstructionDisplay.from_estimator(vae, X_test, rows=oddest, image_shape=(8, 8))

# %%
# A detector, and its reasons
# ---------------------------
# Trained on the digits with the mixed ones among them. These are odd by how their
# pixels go together, so units have to know much: ``beta=1``, where the default is made
# for rows that are far from the others. What every pixel adds, in nats above what it
# usually costs, is drawn beside three of those, and one digit.
detector = VAEOutlierDetector(VAETransformer(10), random_state=0)
detector.fit(np.vstack([X_train, mixed]))
odd = -detector.score_samples(X_test)
print(
    f"AUC of the detector, trained on outliers, too: {roc_auc_score(is_odd, odd):.3f}"
)

rows = X_test[[0, *oddest[-3:]]]
figure, axes = plt.subplots(2, 4, figsize=(6.4, 3.4), layout="constrained")
for (top, bottom), row, nats in zip(axes.T, rows, detector.reasons(rows), strict=True):
    top.imshow(row.reshape(8, 8), cmap="gray_r")
    drawn = bottom.imshow(nats.reshape(8, 8), cmap="RdBu_r", vmin=-5, vmax=5)
    for ax in (top, bottom):
        ax.set(xticks=[], yticks=[])
axes[0, 0].set_title("a digit", fontsize="medium")
axes[0, 2].set_title("mixed pixels", fontsize="medium")
figure.colorbar(drawn, ax=axes[1], label="nats")

# %%
# Codes alone do not tell: they are somewhere among the others'.
LatentSpaceDisplay.from_estimator(vae, X_test, np.where(is_odd, "mixed", "digit"))
plt.show()
