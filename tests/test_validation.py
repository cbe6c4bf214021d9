import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.decomposition import PCA

from skvae import AETransformer, VAETransformer
from skvae.inspection import diagnose, suggest_kld_weights
from skvae.metrics import pca_scorer


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
    vae = VAETransformer(**{**quick, **params}, likelihood="gaussian")
    with pytest.raises(ValueError, match=message):
        vae.fit(small)
    assert not hasattr(vae, "n_features_in_")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_missing_cuda(small, device):
    with pytest.raises(ValueError, match="torch sees 0 CUDA devices"):
        VAETransformer(device=device, likelihood="gaussian").fit(small)


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
    vae = VAETransformer(**quick, likelihood="gaussian")
    with pytest.raises(ValueError, match=message):
        vae.fit(make(small))
    assert not hasattr(vae, "n_features_in_")


def test_wrong_width_after_fit(small, quick):
    vae = VAETransformer(**quick, likelihood="gaussian").fit(small)
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
    expected = VAETransformer(**quick, likelihood="gaussian").fit(X)
    for name, container in containers(X, tmp_path).items():
        vae = VAETransformer(**quick, likelihood="gaussian")
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
    vae = VAETransformer(**quick, likelihood="gaussian").fit(frame)
    with pytest.raises(ValueError, match="feature names"):
        vae.transform(frame[frame.columns[::-1]])


def test_badly_scaled_column_is_named(quick):
    X = np.random.RandomState(0).randn(50, 5)
    X[:, 3] *= 5000
    with pytest.warns(
        UserWarning, match=r"Column 3 of X has \d+ times.*StandardScaler"
    ):
        VAETransformer(**quick, likelihood="gaussian").fit(X)
    frame = pd.DataFrame(X, columns=list("abcde"))
    with pytest.warns(UserWarning, match="Column 'd' of X"):
        VAETransformer(**quick, likelihood="gaussian").fit(frame)
    with pytest.warns(UserWarning, match="Column 3 of X"):
        VAETransformer(**quick, likelihood="gaussian").fit(sparse.csr_array(X))


def test_no_warning_where_scales_are_like(small, quick):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        VAETransformer(**quick, likelihood="gaussian").fit(small)


@pytest.mark.parametrize("n_rows", [2, 3, 5])
def test_few_rows(small, quick, n_rows):
    vae = VAETransformer(**quick, likelihood="gaussian").fit(small[:n_rows])
    assert np.isfinite(vae.transform(small)).all()
    assert np.isfinite(vae.score(small))


def test_constant_and_single_columns(quick):
    for X in (np.ones((20, 4)), np.zeros((20, 1)), np.arange(20.0)[:, None]):
        vae = VAETransformer(**quick, likelihood="gaussian").fit(X)
        assert np.isfinite(vae.transform(X)).all()
        assert np.isfinite(vae.score(X))
        np.testing.assert_allclose(vae.reconstruct(X).mean(), X.mean(), atol=1.0)


@pytest.mark.parametrize(
    "name", ["GELU", "Gelu", "SiLU", "ReLU", "LeakyReLU", "leaky_relu", "SwiGLU"]
)
def test_activation_names_of_old_configurations(small, quick, name):
    assert (
        VAETransformer(**quick, activation=name, likelihood="gaussian")
        .fit(small)
        .activation
        == name
    )


def test_tail_of_one_row_with_batch_norm(small, quick):
    """65 rows in batches of 64: no crash, and no row is dropped."""
    vae = VAETransformer(
        **quick, batch_size=64, early_stopping=False, likelihood="gaussian"
    ).fit(small[:65])
    assert np.isfinite(vae.history_[-1]["train_loss"])


@pytest.fixture
def twice():
    """Rows of which places are stored more than once, (80, 10), and what they mean."""
    places = np.random.RandomState(1).randint(0, 10, 480)
    S = sparse.csr_array((np.ones(480), places, np.arange(0, 481, 6)), shape=(80, 10))
    return S, S.toarray()


def as_tensor_with_duplicates(S):
    coo = S.tocoo()
    parts = torch.from_numpy(np.stack(coo.coords)), torch.from_numpy(coo.data)
    return torch.sparse_coo_tensor(*parts, S.shape, check_invariants=True)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support:UserWarning")
@pytest.mark.parametrize("Estimator", [VAETransformer, AETransformer])
@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr", "tensor"])
def test_entries_that_are_stored_twice_add_up(twice, kind, Estimator, quick):
    S, X = twice
    if kind == "tensor":
        S = as_tensor_with_duplicates(S)
    else:
        S = S.tobsr((1, 1)) if kind == "bsr" else S.asformat(kind)
    stored = S._nnz() if kind == "tensor" else S.nnz
    for method in ("fit", "partial_fit"):
        model = getattr(Estimator(**quick), method)(S)
        dense = getattr(Estimator(**quick), method)(X)
        assert model.scale_ == pytest.approx(dense.scale_, rel=1e-12)
        np.testing.assert_allclose(model.mean_, dense.mean_, rtol=1e-12)
        assert model.score(S) == pytest.approx(dense.score(X), rel=1e-5)
        for apply in ("transform", "reconstruct", "reconstruction_error"):
            np.testing.assert_allclose(
                getattr(model, apply)(S), getattr(model, apply)(X), atol=1e-9
            )
    # the user's matrix is not changed
    assert (S._nnz() if kind == "tensor" else S.nnz) == stored


def test_theory_and_diagnosis_take_entries_that_are_stored_twice(twice, quick):
    S, X = twice
    suggested = [suggest_kld_weights(rows, 3, random_state=0) for rows in (S, X)]
    np.testing.assert_allclose(*suggested, rtol=1e-6)
    vae = VAETransformer(**quick, likelihood="gaussian").fit(X)
    found, expected = diagnose(vae, S), diagnose(vae, X)
    assert found.elbo == pytest.approx(expected.elbo, rel=1e-9)
    assert found.expected_rate == pytest.approx(expected.expected_rate, rel=1e-6)
    pca = PCA(3).fit(X)
    assert pca_scorer(pca, S) == pytest.approx(pca_scorer(pca, X), rel=1e-9)


def test_a_note_that_a_matrix_is_canonical_is_not_believed(twice, quick):
    S, X = twice
    S.has_canonical_format = True
    model = VAETransformer(**quick, likelihood="gaussian").fit(S)
    assert model.scale_ == pytest.approx(
        VAETransformer(**quick, likelihood="gaussian").fit(X).scale_
    )


def test_rounding_is_no_variance(rng, quick, recwarn):
    X = np.full((100, 9), 0.1)
    X[:, :6] = rng.randn(100, 6)
    kept = X.copy()
    kept[:, 6:] = 0.0
    for kind in (np.float64, np.float32):
        model = VAETransformer(**quick, likelihood="gaussian").fit(X.astype(kind))
        expected = VAETransformer(**quick, likelihood="gaussian").fit(kept.astype(kind))
        assert model.scale_ == pytest.approx(expected.scale_, rel=1e-6)
        assert model.score(X) == pytest.approx(expected.score(kept), rel=1e-4)
    assert not recwarn.list


def test_a_table_that_is_constant_but_for_rounding(quick):
    X = np.full((100, 9), 0.1)
    model = VAETransformer(**quick, likelihood="gaussian").fit(X)
    assert model.scale_ == 1.0
    np.testing.assert_array_equal(model.transform(X), 0.0)
    np.testing.assert_allclose(model.reconstruct(X), X)
    with pytest.raises(ValueError, match="X is constant"):
        suggest_kld_weights(X, 3)


@pytest.mark.parametrize("as_sparse", [False, True])
def test_many_constant_columns_are_counted_once(rng, quick, as_sparse):
    X = np.hstack([rng.randn(60, 5), np.zeros((60, 5))])
    rows = sparse.csr_array(X) if as_sparse else X
    with pytest.warns(UserWarning, match="5 of the 10 columns .*VarianceThresh") as got:
        VAETransformer(**quick, likelihood="gaussian").fit(rows)
    assert len(got) == 1


OVERFLOWING = ["transform", "reconstruct", "reconstruction_error", "score_samples"]


@pytest.mark.parametrize("method", [*OVERFLOWING, "score"])
def test_rows_that_overflow_float32_say_so(rng, quick, method):
    X = rng.randn(80, 10).astype(np.float32)
    vae = VAETransformer(**quick, likelihood="gaussian").fit(X)
    odd = X[:3].copy()
    odd[1, 2] = 3e38
    apply = getattr(vae, method)
    assert np.isfinite(apply(odd.astype(np.float64))).all()
    if method in ("transform", "reconstruct"):  # of the size of X, where others square
        assert np.isfinite(apply(odd)).all()
        return
    with pytest.raises(ValueError, match=r"float32 overflows .* pass X as float64"):
        apply(odd)
    with pytest.raises(ValueError, match="clip or drop"):
        apply(np.full((2, 10), 1e308))


def test_codes_that_overflow_say_so(rng, quick):
    X = rng.randn(80, 10).astype(np.float32)
    vae = VAETransformer(**quick, likelihood="gaussian").fit(1e-3 * X)
    odd = X[:3].copy()
    odd[1] = 3e38
    with pytest.raises(ValueError, match="pass X as float64"):
        vae.transform(odd)
    with pytest.raises(ValueError, match="pass X as float64"):
        vae.inverse_transform(np.full((2, 3), 3e38, np.float32))


@pytest.mark.parametrize("as_sparse", [False, True])
def test_small_units_do_not_underflow_in_silence(rng, quick, as_sparse):
    """1e-200 differs from row to row; its square is 0 in all of them."""
    X = np.abs(rng.randn(80, 10))
    for unit in (1e-140, 1e-30):
        score = AETransformer(**quick).fit(unit * X).score(unit * X) / unit**2
        assert score == pytest.approx(AETransformer(**quick).fit(X).score(X), 1e-3)
    tiny = sparse.csr_array(1e-200 * X) if as_sparse else 1e-200 * X
    with pytest.raises(ValueError, match="variance underflows"):
        VAETransformer(**quick, likelihood="gaussian").fit(tiny)
    # but what is the same everywhere is a constant, however small
    assert (
        VAETransformer(**quick, likelihood="gaussian")
        .fit(np.full((9, 3), 1e-200))
        .scale_
        == 1.0
    )


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_large_units_do_not_overflow_the_error(rng, quick, kind):
    X = rng.randn(80, 10).astype(kind)
    large = X * kind(1e20)
    score = AETransformer(**quick).fit(large).score(large)
    assert score / 1e40 == pytest.approx(AETransformer(**quick).fit(X).score(X), 1e-3)
    sparse_rows = sparse.csr_array(np.where(np.abs(large) > 5e19, large, 0.0))
    model = AETransformer(**quick).fit(sparse_rows)
    assert 0.1e20 < model.scale_ < 1e20
