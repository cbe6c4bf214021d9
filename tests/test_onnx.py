"""Exported models, run by onnxruntime, beside the estimators."""

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from _kinds import COUNTS, NAMES, rows_for
from scipy.special import gammaln
from skl2onnx import to_onnx
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skvae.onnx
from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer
from skvae._onnx.graph import IR_VERSION, OPSET, Graph, lgamma

pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.exceptions.PosteriorCollapseWarning"
)

QUICK = {
    "latent_dim": 3,
    "hidden_dims": (12, 8),
    "batch_size": 40,
    "max_epochs": 6,
    "lr": 5e-3,
    "random_state": 0,
}


def run(path, **inputs):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )
    known = {i.name for i in session.get_inputs()}
    assert known == set(inputs)
    floats = {k: np.asarray(v, dtype=np.float32) for k, v in inputs.items()}
    (found,) = session.run(None, floats)
    return found


def assert_close(found, expected):
    """To 1e-5 of the largest."""
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * scale)


def check_all_parts(model, X, path, *, given=None, exported=None):
    given, exported = given or {}, exported or {}
    skvae.onnx.export(model, path)
    sizes = {k: v for k, v in exported.items() if k == "size_factor"}
    of_codes = {k: v for k, v in given.items() if k == "size_factor"}
    if model.module_.encodes_conditions:
        sizes, of_codes = exported, given
    codes = model.transform(X, **of_codes)
    assert_close(run(path, X=X, **sizes), codes)
    skvae.onnx.export(model, path, part="decoder")
    given_codes = {k: v for k, v in given.items() if k == "conditions"}
    expected = model.inverse_transform(codes, **given_codes)
    decoded = {k: v for k, v in exported.items() if k == "conditions"}
    assert_close(run(path, codes=codes, **decoded), expected)
    if isinstance(model, VAETransformer):
        skvae.onnx.export(model, path, part="score")
        found = run(path, X=X, **exported)
        assert_close(found, model.score_samples(X, **given))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


# Which have no operators.
WITHOUT = ("log_normal", "ordinal")


@pytest.mark.parametrize("name", WITHOUT)
def test_what_has_no_operators_is_refused(name, tmp_path):
    X = rows_for(name)
    vae = VAETransformer(2, likelihood=name, max_epochs=2, random_state=0).fit(X)
    with pytest.raises(ValueError, match=f"likelihood={name!r} has no operators"):
        skvae.onnx.export(vae, tmp_path / "model.onnx")


def test_gaps_are_refused(tmp_path):
    X = np.where(np.random.RandomState(0).rand(60, 4) < 0.2, np.nan, 1.0)
    X = X * np.random.RandomState(1).randn(60, 4)
    vae = VAETransformer(2, missing_values="marginalize", max_epochs=2, random_state=0)
    with pytest.raises(ValueError, match="fitted to rows with gaps"):
        skvae.onnx.export(vae.fit(X), tmp_path / "model.onnx")


@pytest.mark.parametrize("name", sorted({*NAMES} - {*WITHOUT}))
def test_every_likelihood(name, path):
    X = rows_for(name, n=150)
    model = VAETransformer(**QUICK, likelihood=name).fit(X)
    check_all_parts(model, X.astype(np.float32), path)


@pytest.mark.parametrize(
    "params",
    [
        {"activation": "swiglu"},
        {"activation": "relu", "use_batch_norm": False},
        {"activation": "leaky_relu"},
        {"activation": "silu", "whiten": True},
        {"linear_path": None},
        {"hidden_dims": ()},
        {"kld_weight": 1e-3},
        {"likelihood": "student_t", "background_weight": 0.3},
        {"early_stopping": False, "beta": 3.0},
    ],
    ids=str,
)
def test_every_architecture(params, path, rng):
    X = (rng.randn(150, 4) @ rng.randn(4, 9)).astype(np.float32)
    model = VAETransformer(**{**QUICK, **params}).fit(X)
    check_all_parts(model, X, path)


@pytest.mark.parametrize(
    "make",
    [
        lambda: AETransformer(**QUICK),
        lambda: RAETransformer(**QUICK),
        lambda: SAETransformer(**QUICK, reg_weight="scale"),
    ],
    ids=["ae", "rae", "sae"],
)
def test_every_estimator(make, path, rng):
    X = (rng.randn(150, 4) @ rng.randn(4, 9)).astype(np.float32)
    model = make().fit(X)
    check_all_parts(model, X, path)
    with pytest.raises(ValueError, match="has no likelihood to score by"):
        skvae.onnx.export(model, path, part="score")


@pytest.mark.parametrize("encode", [False, True])
@pytest.mark.parametrize("name", ["gaussian", "gaussian_diag", "zinb"])
def test_conditions_are_an_input(name, encode, path, rng):
    X = rows_for(name, n=150).astype(np.float32)
    table = pd.DataFrame({"b": np.repeat(["a", "b", "c"], 50), "x": rng.randn(150)})
    model = VAETransformer(**QUICK, likelihood=name, encode_conditions=encode)
    model.fit(X, conditions=table)
    encoded = skvae.onnx.encoded_conditions(model, table)
    assert encoded.shape == (150, 4)
    given, exported = {"conditions": table}, {"conditions": encoded}
    check_all_parts(model, X, path, given=given, exported=exported)
    properties = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert properties["conditions"] == '["b", "x"]'


@pytest.mark.parametrize("name", COUNTS)
def test_sizes_are_an_input_or_not_there(name, path):
    X = rows_for(name, n=150).astype(np.float32)
    size = X.sum(axis=1) * 2.0 + 1.0
    model = VAETransformer(**QUICK, likelihood=name).fit(X, size_factor=size)
    given, exported = {"size_factor": size}, {"size_factor": size[:, None]}
    check_all_parts(model, X, path, given=given, exported=exported)
    if name != "multinomial":
        none = VAETransformer(**QUICK, likelihood=name, size_factor=None).fit(X)
        check_all_parts(none, X, path)


def test_columns_of_many_kinds_of_categories(path, rng):
    X = np.column_stack([rng.randint(k, size=150) for k in (2, 5, 3, 2, 7)])
    model = VAETransformer(**QUICK, likelihood="categorical").fit(X)
    check_all_parts(model, X.astype(np.float32), path)


def test_names_and_versions_are_in_the_file(path, rng):
    X = pd.DataFrame(rng.randn(60, 3), columns=list("abc"))
    skvae.onnx.export(VAETransformer(**{**QUICK, "latent_dim": 2}).fit(X), path)
    model = onnx.load(path)
    properties = {p.key: p.value for p in model.metadata_props}
    assert properties["feature_names"] == '["a", "b", "c"]'
    assert properties["estimator"] == "VAETransformer"
    assert model.producer_version == skvae.__version__


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pipelines_by_skl2onnx(dtype, rng):
    X = (100.0 + 5.0 * rng.randn(150, 6)).astype(dtype)
    skvae.onnx.register_converters()
    for last in (VAETransformer(**QUICK), AETransformer(**QUICK)):
        pipeline = make_pipeline(StandardScaler(), last).fit(X)
        made = to_onnx(pipeline, X[:1], target_opset=OPSET)
        session = onnxruntime.InferenceSession(
            made.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        (found,) = session.run(None, {session.get_inputs()[0].name: X})
        assert_close(found, pipeline.transform(X))


def test_two_estimators_in_one_pipeline(rng):
    X = rng.randn(150, 6).astype(np.float32)
    skvae.onnx.register_converters()
    first, last = (AETransformer(**{**QUICK, "latent_dim": k}) for k in (4, 2))
    pipeline = make_pipeline(first, last).fit(X)
    made = to_onnx(pipeline, X[:1], target_opset=OPSET)
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {session.get_inputs()[0].name: X})
    assert_close(found, pipeline.transform(X))


def test_what_cannot_be_exported(path, rng):
    with pytest.raises(TypeError, match=r"PCA is no estimator.*register_converters"):
        skvae.onnx.export(PCA(), path)
    with pytest.raises(
        ValueError, match="must be one of 'encoder', 'decoder', 'score'"
    ):
        skvae.onnx.export(VAETransformer(), path, part="head")
    with pytest.raises(ValueError, match="not fitted"):
        skvae.onnx.export(VAETransformer(), path)
    assert not path.exists()


def test_log_gamma(tmp_path):
    graph = Graph()
    x = graph.value("x", np.float64)
    graph.renamed(lgamma(x), "y")
    helper = onnx.helper
    double = onnx.TensorProto.DOUBLE
    made = helper.make_graph(
        graph.nodes,
        "lgamma",
        [helper.make_tensor_value_info("x", double, ["n"])],
        [helper.make_tensor_value_info("y", double, ["n"])],
        initializer=graph.constants,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    values = np.r_[np.geomspace(1e-6, 1e9, 300), np.arange(1.0, 30.0)]
    (found,) = session.run(None, {"x": values})
    np.testing.assert_allclose(found, gammaln(values), rtol=1e-9, atol=1e-9)
