"""
Bits, and what a unit means
===========================

With ``likelihood="bernoulli"`` every pixel is a coin whose probability the decoder
says. Moving along one unit of the code and decoding shows what that unit stands for.
"""

# %%
# Digits as bits
# --------------
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skvae import VAETransformer
from skvae.inspection import ReconstructionDisplay, TraversalDisplay

digits = load_digits()
bits = (digits.data > 7).astype(float)
X_train, X_test = train_test_split(bits, random_state=0)
vae = VAETransformer(6, likelihood="bernoulli", max_epochs=80, random_state=0)
vae.fit(X_train)

# %%
# The score is the logarithm of a probability: at most 0 nats. A model with no code, a
# coin a pixel, is what it has to beat.
p = np.clip(X_train.mean(axis=0), 1e-3, 1 - 1e-3)
coins = (X_test * np.log(p) + (1 - X_test) * np.log1p(-p)).sum(axis=1).mean()
print(f"coins: {coins:.1f}, VAE: {vae.score(X_test):.1f} nats per digit")

# %%
# Reconstructions are probabilities
# ---------------------------------
ReconstructionDisplay.from_estimator(vae, X_test, image_shape=(8, 8))

# %%
# Along the units of the prior
# ----------------------------
# Each strip moves one unit from -2 to 2 standard deviations of the prior, while the
# others stay at its mean.
TraversalDisplay.from_estimator(vae, image_shape=(8, 8))

# %%
# From a digit
# ------------
# The same, but starting at the code of one row.
TraversalDisplay.from_estimator(vae, X_test[:1], image_shape=(8, 8), units=[0, 1, 2])

# %%
# New digits
# ----------
# ``sample`` draws codes from the prior, and then bits; ``noise=False`` leaves it at
# their probabilities.
drawn = vae.sample(8, random_state=0)
likely = vae.sample(8, random_state=0, noise=False)
display = ReconstructionDisplay.from_predictions(drawn, likely, image_shape=(8, 8))
display.ax_.set_yticks(display.ax_.get_yticks(), ["drawn", "probabilities"])
plt.show()
