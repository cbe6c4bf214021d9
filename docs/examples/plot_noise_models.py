"""
Noise models compared
=====================

``likelihood`` says how rows scatter around the reconstruction. One variance for the
whole table ("gaussian"), one for each column ("gaussian_diag", the default), or heavier
tails ("student_t"). All three are densities of the same rows, so their scores compare.
"""

# %%
# A table with columns of different noise, and wild values
# --------------------------------------------------------
import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split

from skvae import VAETransformer
from skvae.inspection import LatentSpaceDisplay

rng = np.random.RandomState(0)
angle = rng.uniform(0, 1.5 * np.pi, 900)
curve = np.column_stack([np.cos(angle), np.sin(angle), angle])
signal = curve @ rng.randn(3, 12)
noise = rng.standard_normal(signal.shape) * np.geomspace(0.05, 1.0, 12)
wild = rng.uniform(size=signal.shape) < 0.01
X = signal + np.where(wild, 20 * noise, noise)
X_train, X_test, _, signal_test, _, angle_test = train_test_split(
    X, signal, angle, random_state=0
)

# %%
# The score decides
# -----------------
names = ["gaussian", "gaussian_diag", "student_t"]
fits = {}
for name in names:
    vae = VAETransformer(2, likelihood=name, max_epochs=100, random_state=0)
    fits[name] = vae.fit(X_train)
    rebuilt = vae.reconstruct(X_test)
    print(
        f"{name:<14} {vae.score(X_test):6.1f} nats per row, "
        f"R2 with the noiseless rows {r2_score(signal_test, rebuilt):.3f}"
    )

# %%
# The noise that they found
# -------------------------
figure, ax = plt.subplots(layout="constrained")
columns = np.arange(12)
ax.plot(
    columns, np.geomspace(0.05, 1.0, 12) ** 2, "k--", label="true, without the wild"
)
for name, colour in zip(names, ["#0072b2", "#e69f00", "#009e73"], strict=True):
    variance = np.broadcast_to(fits[name].noise_variance_, 12)
    ax.plot(columns, variance, "o-", label=name, color=colour)
ax.set(xlabel="column", ylabel="variance (squared units of X)", yscale="log")
ax.legend()

# %%
# The codes, by the angle that made the rows
# ------------------------------------------
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for name, ax in (("gaussian", axes[0]), ("student_t", axes[1])):
    LatentSpaceDisplay.from_estimator(
        fits[name], X_test, angle_test, label_name="angle", ax=ax
    )
    ax.set_title(name)
plt.show()
