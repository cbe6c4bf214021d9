"""skvae.save and skvae.load."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from _kinds import COUNTS, NAMES, rows_for
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from skorch.callbacks import EpochScoring

import skvae
from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer
from skvae._utils.tensor_file import read_tensor_file, write_tensor_file
from skvae.exceptions import ModelFileError
from skvae.presets import ESTIMATORS, PRESETS

pytestmark = pytest.mark.filterwarnings(
    "ignore::skvae.exceptions.PosteriorCollapseWarning"
)

QUICK = {
    "latent_dim": 3,
    "hidden_dims": (12,),
    "batch_size": 40,
    "max_epochs": 3,
    "random_state": 0,
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def saved_and_loaded(model, path):
    skvae.save(model, path)
    return skvae.load(path)


def assert_same(one, other, X, **given):
    """To the bit, in all that a fitted estimator does, and in going on with it."""
    assert type(one) is type(other)
    assert repr(one.get_params()) == repr(other.get_params())
    one_attributes, attributes = (
        {k for k in vars(m) if k.endswith("_") and not k.startswith("__")}
        for m in (one, other)
    )
    assert one_attributes == attributes
    for method in ("transform", "score_samples", "reconstruct", "log_likelihood"):
        if hasattr(other, method):
            passed = given if method != "transform" else {}
            found, expected = (
                np.asarray(getattr(m, method)(X, **passed)) for m in (one, other)
            )
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)
    if hasattr(other, "sample"):
        few = {name: value[:5] for name, value in given.items()}
        drawn = (m.sample(5, random_state=1, **few) for m in (one, other))
        np.testing.assert_array_equal(*drawn)
    for model in (one, other):
        model.partial_fit(X, **given)
    np.testing.assert_array_equal(*(np.asarray(m.transform(X)) for m in (one, other)))
    assert one.history_[-1]["train_loss"] == other.history_[-1]["train_loss"]
    for model in (one, other):
        model.set_params(warm_start=True).fit(X, **given)
    np.testing.assert_array_equal(*(np.asarray(m.transform(X)) for m in (one, other)))


@pytest.mark.parametrize("name", NAMES)
def test_every_likelihood_comes_back(name, path):
    X = rows_for(name, n=120)
    model = VAETransformer(**QUICK, likelihood=name).fit(X)
    assert_same(saved_and_loaded(model, path), model, X)


@pytest.mark.parametrize(
    "make",
    [
        lambda: AETransformer(**QUICK),
        lambda: RAETransformer(**QUICK, density_components=3),
        lambda: SAETransformer(**QUICK, reg_weight="scale"),
        lambda: VAETransformer(**QUICK, n_importance_samples=3, whiten=True),
        lambda: VAETransformer(**QUICK, linear_path=None, early_stopping=False),
    ],
    ids=["ae", "rae", "sae", "importance", "plain"],
)
def test_every_estimator_comes_back(make, path, rng):
    X = rng.randn(120, 6)
    model = make().fit(X)
    assert_same(saved_and_loaded(model, path), model, X)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_comes_back(name, path, rng):
    X = rng.randn(60, 6)
    small = {"hidden_dims": (8,), "latent_dim": 2, "max_epochs": 1, "random_state": 0}
    kind = getattr(skvae, ESTIMATORS[name])
    model = kind.from_preset(name, **small).fit(X)
    assert_same(saved_and_loaded(model, path), model, X)


@pytest.mark.parametrize("name", COUNTS[:2])
def test_conditions_and_sizes_come_back(name, path, rng):
    X = rows_for(name, n=120)
    given = {
        "conditions": pd.DataFrame(
            {"batch": np.repeat(["a", "b"], 60), "age": rng.randn(120)}
        ),
        "size_factor": X.sum(axis=1) + 1.0,
    }
    model = VAETransformer(**QUICK, likelihood=name).fit(X, **given)
    loaded = saved_and_loaded(model, path)
    for m in (model, loaded):  # codes of counts with sizes of their own need these
        m.transform_given = m.transform(X, size_factor=given["size_factor"])
    np.testing.assert_array_equal(model.transform_given, loaded.transform_given)
    assert loaded.score(X, **given) == model.score(X, **given)
    drawn = (
        m.sample(4, conditions=given["conditions"][:4], random_state=0)
        for m in (model, loaded)
    )
    np.testing.assert_array_equal(*drawn)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_names_of_columns_come_back(frame, path, rng):
    X = frame({name: rng.randn(60) for name in ("a", "b b", "ü")})
    model = VAETransformer(**QUICK).fit(X).set_output(transform="pandas")
    loaded = saved_and_loaded(model, path)
    np.testing.assert_array_equal(loaded.feature_names_in_, model.feature_names_in_)
    assert loaded.feature_names_in_.dtype == object
    pd.testing.assert_frame_equal(loaded.transform(X), model.transform(X))
    assert list(loaded.get_feature_names_out()) == list(model.get_feature_names_out())


def test_float32_stays_float32(path, rng):
    X = rng.randn(60, 4).astype(np.float32)
    model = VAETransformer(**QUICK).fit(X)
    assert_same(saved_and_loaded(model, path), model, X)
    assert skvae.load(path).transform(X).dtype == np.float32


def test_an_estimator_that_is_not_fitted(path):
    model = VAETransformer(**QUICK, kld_weight=np.float64(1e-3))
    loaded = saved_and_loaded(model, path)
    assert loaded.get_params() == model.get_params()
    assert not hasattr(loaded, "net_")


def test_generators_and_requests_come_back(path, rng):
    X = rng.randn(60, 4)
    generator = np.random.RandomState(3)
    model = VAETransformer(**{**QUICK, "random_state": generator}).fit(X)
    with skvae_routing():
        model.set_fit_request(conditions=True)
        loaded = saved_and_loaded(model, path)
        requests = loaded.get_metadata_routing()._serialize()
        assert requests == model.get_metadata_routing()._serialize()
    np.testing.assert_array_equal(loaded.random_state.rand(4), generator.rand(4))


def skvae_routing():
    import sklearn

    return sklearn.config_context(enable_metadata_routing=True)


@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler(), "passthrough"])
def test_pipelines_of_scalers_come_back(scaler, path, rng):
    X = pd.DataFrame(5.0 * rng.randn(60, 4), columns=list("abcd"))
    model = make_pipeline(scaler, FunctionTransformer(), VAETransformer(**QUICK)).fit(X)
    loaded = saved_and_loaded(model, path)
    np.testing.assert_array_equal(loaded.transform(X), model.transform(X))
    assert loaded.score(X) == model.score(X)


def test_the_file_is_small_and_replaces_what_was_there(path, rng):
    model = VAETransformer(**QUICK).fit(rng.randn(60, 4))
    path.write_text("what was there")
    skvae.save(model, str(path))
    assert path.stat().st_size < 3 * len(pickle.dumps(model))
    assert [*path.parent.iterdir()] == [path]


def test_a_device_that_is_not_here(path, rng, monkeypatch):
    X = rng.randn(60, 4)
    model = VAETransformer(**QUICK).fit(X)
    codes = model.transform(X)
    skvae.save(model, path)
    assert skvae.load(path, device=torch.device("cpu")).device == "cpu"
    with pytest.raises(ValueError, match="cuda"):
        skvae.load(path, device="cuda")
    model.net_.device = "cuda"
    skvae.save(model, path)
    with pytest.warns(match="it is on the CPU now"):
        loaded = skvae.load(path)
    np.testing.assert_array_equal(loaded.transform(X), codes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        skvae.load(path, device="cpu")


# -- what is refused -------------------------------------------------------------------


def test_code_is_refused_with_a_way_out(path, rng):
    X = rng.randn(60, 4)
    scoring = EpochScoring("neg_mean_squared_error", use_caching=False)
    for params, match in (
        ({"callbacks": [EpochScoring]}, r"callbacks.*set_params\(callbacks=None\)"),
        ({"callbacks": [scoring]}, r"callbacks.*set_params\(callbacks=None\)"),
        ({"kld_schedule": lambda t: t}, "kld_schedule is <function.*to None, first"),
    ):
        model = VAETransformer(**QUICK, **params)
        with pytest.raises(ValueError, match=match):
            skvae.save(model, path)
        assert not path.exists()
    model = VAETransformer(**QUICK, kld_schedule=lambda t: t).fit(X)
    codes = model.transform(X)
    loaded = saved_and_loaded(model.set_params(kld_schedule="constant"), path)
    np.testing.assert_array_equal(loaded.transform(X), codes)


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (PCA(2), "no estimator of skvae"),
        (GridSearchCV(VAETransformer(), {}), "no estimator of skvae"),
        (make_pipeline(StandardScaler(), PCA(2)), "does not end in"),
        (make_pipeline(PCA(2), VAETransformer()), "'pca' of this Pipeline is a PCA"),
        (make_pipeline(StandardScaler(), VAETransformer(), memory="x"), "memory"),
    ],
)
def test_others_are_refused(model, match, path):
    with pytest.raises(TypeError, match=match):
        skvae.save(model, path)


def test_functions_in_steps_are_refused(path):
    model = make_pipeline(FunctionTransformer(np.log1p), VAETransformer())
    with pytest.raises(ValueError, match=r"func is <ufunc 'log1p'>"):
        skvae.save(model, path)


def test_no_file_is_no_file(path):
    with pytest.raises(FileNotFoundError):
        skvae.load(path)


@pytest.fixture
def parts(path, rng):
    """Header and arrays of a fitted model."""
    skvae.save(VAETransformer(**QUICK).fit(rng.randn(60, 4)), path)
    return read_tensor_file(path)


def test_a_newer_format_says_so(path, parts):
    header, arrays = parts
    write_tensor_file(path, {**header, "format": 99, "skvae": "9.1"}, arrays)
    with pytest.raises(ModelFileError, match=r"skvae 9\.1 wrote it.* update skvae"):
        skvae.load(path)


def test_another_version_says_so(path, parts):
    header, arrays = parts
    write_tensor_file(path, {**header, "skvae": "9.1"}, arrays)
    with pytest.warns(match=r"saved by skvae 9\.1"):
        skvae.load(path)


def test_a_class_that_is_none_of_ours_is_not_looked_for(path, parts):
    header, arrays = parts
    for name in ("os.system", "skvae.vae.VAETransformer", "", "object", 3):
        root = [name, header["root"][1]]
        write_tensor_file(path, {**header, "root": root}, arrays)
        with pytest.raises(ModelFileError, match="holds no model"):
            skvae.load(path)


def changed(header, key, value):
    """The header with an attribute of the estimator added or replaced."""
    name, state = header["root"]
    items = [item for item in state["dict"] if item[0] != key]
    return {**header, "root": [name, {"dict": [*items, [key, value]]}]}


@pytest.mark.parametrize("name", ["transform", "fit", "__class__", "a b"])
def test_attributes_hide_no_method(name, path, parts):
    header, arrays = parts
    write_tensor_file(path, changed(header, name, 1), arrays)
    with pytest.raises(ModelFileError, match=r"attribute|hide"):
        skvae.load(path)


def declared(header, part, name, value):
    """The header with another entry in a part of what is packed."""

    def replaced(node, at):
        key, *rest = at
        items = node["dict"]
        changed = value if not rest else None
        return {
            "dict": [
                [k, (changed if not rest else replaced(v, rest)) if k == key else v]
                for k, v in items
            ]
        }

    kind, state = header["root"]
    return {**header, "root": [kind, replaced(state, ["_packed", part, name])]}


@pytest.mark.parametrize("size", [10**9, 10**30, -1, 0, 5])
@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("network", "latent_dim"),
        ("network", "n_features"),
        ("network", "n_inputs"),
        ("network", "n_outputs"),
        ("network", "n_conditions"),
        ("likelihood", "n_features"),
    ],
)
def test_layers_that_are_not_there_are_refused(size, part, name, path, parts):
    header, arrays = parts
    if (size, name) == (0, "n_conditions"):
        return
    write_tensor_file(path, declared(header, part, name, size), arrays)
    with pytest.raises(ModelFileError, match="holds no model"):
        skvae.load(path)


@pytest.mark.parametrize("hidden", [[10**9], [12, 10**9], [12] * 5000, [[12]], 12])
def test_hidden_layers_that_are_not_there_are_refused(hidden, path, parts):
    header, arrays = parts
    write_tensor_file(path, declared(header, "network", "hidden_dims", hidden), arrays)
    with pytest.raises(ModelFileError, match="holds no model"):
        skvae.load(path)


def test_every_array_is_checked(path, parts):
    """Missing, of another shape, of another precision."""
    header, arrays = parts
    for name in arrays:
        if not name.startswith("root._packed.state.network"):
            continue
        left_out = {k: v for k, v in arrays.items() if k != name}
        longer = {**arrays, name: np.concatenate([arrays[name].ravel(), [0.0]])}
        doubled = {**arrays, name: arrays[name].astype(np.float64)}
        for wrong in (left_out, longer, doubled):
            if wrong is doubled and arrays[name].dtype != np.float32:
                continue
            write_tensor_file(path, header, wrong)
            with pytest.raises(ModelFileError, match="holds no model"):
                skvae.load(path)
