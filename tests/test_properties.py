"""Whatever goes in: finite output of the right shape, or a clear error."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer

LAYOUTS = {
    "c": np.ascontiguousarray,
    "fortran": np.asfortranarray,
    "strided": lambda X: np.repeat(X, 2, axis=0)[::2],
    "csr": sparse.csr_matrix,
    "csc array": sparse.csc_array,
}

tables = st.builds(
    lambda n, d, dtype, layout, scale, shift, seed: LAYOUTS[layout](
        (scale * np.random.RandomState(seed).randn(n, d) + shift).astype(dtype)
    ),
    n=st.integers(2, 40),
    d=st.integers(1, 12),
    dtype=st.sampled_from(["float32", "float64", "int32", "int64"]),
    layout=st.sampled_from(sorted(LAYOUTS)),
    scale=st.sampled_from([0.0, 1e-6, 1.0, 1e6]),
    shift=st.sampled_from([0.0, -3.0, 1e4]),
    seed=st.integers(0, 5),
)
network = {
    "latent_dim": st.integers(1, 15),
    "hidden_dims": st.lists(st.integers(1, 9), max_size=2).map(tuple),
    "activation": st.sampled_from(["gelu", "silu", "ReLU", "LeakyReLU", "swiglu"]),
    "dropout_rate": st.sampled_from([0.0, 0.5]),
    "use_batch_norm": st.booleans(),
    "linear_path": st.sampled_from(["pca", None]),
    "batch_size": st.integers(1, 50),
    "early_stopping": st.booleans(),
    "validation_fraction": st.sampled_from([0.01, 0.5, 0.99]),
    "lr_schedule": st.sampled_from(["constant", "cosine"]),
}
params = st.fixed_dictionaries(
    {
        **network,
        "kld_weight": st.sampled_from(["auto", 0.0, 1e-5, 10.0]),
        "kld_schedule": st.sampled_from(["constant", "linear", "cyclical"]),
        "free_bits": st.sampled_from([0.0, 0.1]),
        "whiten": st.booleans(),
        "precision": st.sampled_from(["float32", "bf16"]),
    }
)
deterministic = st.one_of(
    st.builds(AETransformer, **network),
    st.builds(
        RAETransformer,
        **network,
        reg_weight=st.sampled_from([0.0, 1e-4, 1.0]),
        decoder_penalty=st.sampled_from([None, "l2", "gradient", "spectral"]),
        decoder_penalty_weight=st.sampled_from([0.0, 1e-4]),
    ),
    st.builds(SAETransformer, **network, reg_weight=st.sampled_from([0.0, 0.1])),
)


@settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(X=tables, params=params)
@pytest.mark.filterwarnings("ignore::skvae.exceptions.PosteriorCollapseWarning")
def test_fit_and_apply(X, params):
    n, d = X.shape
    vae = VAETransformer(**params, max_epochs=2, random_state=0).fit(X)
    codes = vae.transform(X)
    k = params["latent_dim"]
    assert codes.shape == (n, k)
    double = X.dtype.itemsize > 4 or X.dtype.kind == "i"
    assert codes.dtype == (np.float64 if double else np.float32)
    for output, shape in (
        (codes, (n, k)),
        (vae.inverse_transform(codes), (n, d)),
        (vae.reconstruct(X), (n, d)),
        (vae.sample(3, random_state=0), (3, d)),
        (vae.score_samples(X), (n,)),
    ):
        assert output.shape == shape
        assert np.isfinite(output).all()
    tolerance = {"rtol": 1e-3, "atol": 1e-3 * (np.abs(vae.reconstruct(X)).max() + 1e-9)}
    np.testing.assert_allclose(
        vae.inverse_transform(codes), vae.reconstruct(X), **tolerance
    )
    assert np.all(vae.noise_variance_ > 0)
    assert vae.beta_ >= 0


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(X=tables, model=deterministic)
def test_fit_and_apply_without_a_likelihood(X, model):
    n, d = X.shape
    model.set_params(max_epochs=2, random_state=0).fit(X)
    codes = model.transform(X)
    for output, shape in (
        (codes, (n, model.latent_dim)),
        (model.inverse_transform(codes), (n, d)),
        (model.reconstruct(X), (n, d)),
    ):
        assert output.shape == shape
        assert np.isfinite(output).all()
    assert model.score(X) <= 0.0
    if isinstance(model, RAETransformer):
        assert np.isfinite(model.sample(3, random_state=0)).all()
