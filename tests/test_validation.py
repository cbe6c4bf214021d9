import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse

from skvae import VAETransformer


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"latent_dim": 0}, "latent_dim"),
        ({"latent_dim": -3}, "latent_dim"),
        ({"latent_dim": 2.5}, "latent_dim"),
        ({"hidden_dims": (8, 0)}, "hidden_dims.*positive integers"),
        ({"hidden_dims": (8, -1)}, "hidden_dims.*positive integers"),
        ({"hidden_dims": (8.5,)}, "hidden_dims.*positive integers"),
        ({"hidden_dims": 64}, "hidden_dims"),
        ({"kld_weight": -1e-3}, "kld_weight"),
        ({"kld_weight": "beta"}, "kld_weight"),
        ({"kld_weight": float("nan")}, "kld_weight"),
        ({"weight_decay": -1}, "weight_decay"),
        ({"activation": "tanhh"}, "activation='tanhh' is not known; use one of gelu"),
        ({"dropout_rate": 1.0}, "dropout_rate"),
        ({"linear_path": "ica"}, "linear_path"),
        ({"lr": 0}, "lr"),
        ({"batch_size": 0}, "batch_size"),
        ({"max_epochs": 0}, "max_epochs"),
        ({"gradient_clip_val": 0}, "gradient_clip_val"),
        ({"lr_schedule": "step"}, "lr_schedule"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"device": "tpu9"}, "device='tpu9'"),
        ({"device": "meta"}, "device='meta' is not supported"),
        ({"callbacks": "none"}, "callbacks"),
        ({"callbacks": [print]}, "no skorch.callbacks.Callback"),
        ({"random_state": "seed"}, "random_state"),
    ],
)
def test_bad_parameters(small, quick, params, message):
    vae = VAETransformer(**{**quick, **params})
    with pytest.raises(ValueError, match=message):
        vae.fit(small)
    assert not hasattr(vae, "n_features_in_")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_missing_cuda(small, device):
    with pytest.raises(ValueError, match="torch sees 0 CUDA devices"):
        VAETransformer(device=device).fit(small)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda X: np.where(X.max() == X, np.nan, X), "contains NaN"),
        (lambda X: np.where(X.max() == X, np.inf, X), "contains infinity"),
        (lambda X: X + 1j, "Complex data not supported"),
        (lambda X: torch.tensor(X) + 1j, "Complex data not supported"),
        (lambda X: X.astype(str).astype(object) + "a", "could not convert string"),
        (lambda X: X[0], "Expected 2D array, got 1D array"),
        (lambda X: X[:0], r"0 sample\(s\).*minimum of 2"),
        (lambda X: X[:1], r"1 sample\(s\).*minimum of 2"),
        (lambda X: X[:, :0], r"0 feature\(s\)"),
        (lambda X: sparse.csr_array(np.where(X.max() == X, np.nan, X)), "NaN"),
        (lambda X: torch.full((5, 2), float("nan")), "contains NaN"),
        (lambda X: X[None], "dim 3"),
        (lambda X: X * 1e300, "variance overflows"),
    ],
)
def test_bad_data(small, quick, make, message):
    vae = VAETransformer(**quick)
    with pytest.raises(ValueError, match=message):
        vae.fit(make(small))
    assert not hasattr(vae, "n_features_in_")


def test_wrong_width_after_fit(small, quick):
    vae = VAETransformer(**quick).fit(small)
    for method in (vae.transform, vae.score_samples, vae.reconstruct, vae.partial_fit):
        with pytest.raises(ValueError, match="X has 63 features, but VAETransformer"):
            method(small[:, :63])
    with pytest.raises(ValueError, match=r"X has 4 columns, but codes .* have 3"):
        vae.inverse_transform(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="NaN"):
        vae.inverse_transform(np.full((2, 3), np.nan))


def containers(X, tmp_path):
    np.save(tmp_path / "X.npy", X)
    columns = [f"pixel {i}" for i in range(X.shape[1])]
    return {
        "float64": X,
        "float32": X.astype(np.float32),
        "float16": X.astype(np.float16),
        "int64": X.astype(np.int64),
        "uint8": X.astype(np.uint8),
        "bool": X > 8,
        "fortran": np.asfortranarray(X),
        "strided": np.repeat(X, 2, axis=1)[:, ::2],
        "list": X.tolist(),
        "pandas": pd.DataFrame(X, columns=columns),
        "polars": pl.DataFrame(X, schema=columns),
        "csr": sparse.csr_matrix(X),
        "csc": sparse.csc_matrix(X),
        "csr array": sparse.csr_array(X),
        "coo array": sparse.coo_array(X),
        "memmap": np.load(tmp_path / "X.npy", mmap_mode="r"),
        "tensor": torch.tensor(X),
        "float32 tensor": torch.tensor(X, dtype=torch.float32),
        "bfloat16 tensor": torch.tensor(X, dtype=torch.bfloat16),
        "gradient tensor": torch.tensor(X, requires_grad=True),
        "sparse tensor": torch.tensor(X).to_sparse(),
        "sparse csr tensor": torch.tensor(X).to_sparse_csr(),
    }


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support:UserWarning")
def test_every_container(digits, quick, tmp_path):
    X = 16 * digits[:60]  # whole numbers, which every dtype holds
    expected = VAETransformer(**quick).fit(X)
    for name, container in containers(X, tmp_path).items():
        vae = VAETransformer(**quick)
        codes = vae.fit_transform(container)
        assert codes.shape == (60, 3), name
        double = name not in ("float32", "float16", "uint8", "bool") and (
            "float" not in name or name == "float64"
        )
        assert codes.dtype == (np.float64 if double else np.float32), name
        if name == "bool":
            continue
        assert vae.score(container) == pytest.approx(expected.score(X), abs=0.5), name
        if "csr" not in name and "csc" not in name and "sparse" not in name:
            np.testing.assert_allclose(
                np.abs(codes),
                np.abs(expected.transform(X)),
                atol=0.1 * np.abs(codes).max(),
                err_msg=name,
            )


def test_feature_names_are_checked(small, quick):
    frame = pd.DataFrame(small, columns=[f"p{i}" for i in range(64)])
    vae = VAETransformer(**quick).fit(frame)
    with pytest.raises(ValueError, match="feature names"):
        vae.transform(frame[frame.columns[::-1]])


def test_badly_scaled_column_is_named(quick):
    X = np.random.RandomState(0).randn(50, 5)
    X[:, 3] *= 5000
    with pytest.warns(
        UserWarning, match=r"Column 3 of X has \d+ times.*StandardScaler"
    ):
        VAETransformer(**quick).fit(X)
    frame = pd.DataFrame(X, columns=list("abcde"))
    with pytest.warns(UserWarning, match="Column 'd' of X"):
        VAETransformer(**quick).fit(frame)
    with pytest.warns(UserWarning, match="Column 3 of X"):
        VAETransformer(**quick).fit(sparse.csr_array(X))


def test_no_warning_where_scales_are_like(small, quick):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        VAETransformer(**quick).fit(small)


@pytest.mark.parametrize("n_rows", [2, 3, 5])
def test_few_rows(small, quick, n_rows):
    vae = VAETransformer(**quick).fit(small[:n_rows])
    assert np.isfinite(vae.transform(small)).all()
    assert np.isfinite(vae.score(small))


def test_constant_and_single_columns(quick):
    for X in (np.ones((20, 4)), np.zeros((20, 1)), np.arange(20.0)[:, None]):
        vae = VAETransformer(**quick).fit(X)
        assert np.isfinite(vae.transform(X)).all()
        assert np.isfinite(vae.score(X))
        np.testing.assert_allclose(vae.reconstruct(X).mean(), X.mean(), atol=1.0)


@pytest.mark.parametrize(
    "name", ["GELU", "Gelu", "SiLU", "ReLU", "LeakyReLU", "leaky_relu", "SwiGLU"]
)
def test_activation_names_of_old_configurations(small, quick, name):
    assert VAETransformer(**quick, activation=name).fit(small).activation == name


def test_tail_of_one_row_with_batch_norm(small, quick):
    """65 rows in batches of 64: no crash, and no row is dropped."""
    vae = VAETransformer(**quick, batch_size=64, early_stopping=False).fit(small[:65])
    assert np.isfinite(vae.history_[-1]["train_loss"])
