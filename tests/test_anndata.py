"""Codes of cells: where they are written, genes by name, files that back them."""

import builtins
import importlib
import json
import os
import sys
import tempfile

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import VarianceThreshold
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import skvae.anndata
from skvae import SAETransformer, VAETransformer
from skvae._data import dataset, spool
from skvae.anndata import fit_transform, transform

CONTAINERS = (np.asarray, sparse.csr_matrix, sparse.csc_matrix)
KEY = "X_skvae"


@pytest.fixture(scope="module")
def counts():
    """Numbers of molecules in 60 cells of two types, of 12 genes."""
    rng = np.random.RandomState(0)
    rates = rng.gamma(1.0, 2.0, (2, 12))[np.arange(60) % 2]
    return rng.poisson(rates).astype(np.float32)


@pytest.fixture
def make(counts):
    def cells(container=np.asarray, X=counts):
        data = anndata.AnnData(container(X))
        data.obs_names = [f"cell{i}" for i in range(len(X))]
        data.var_names = [f"gene{i}" for i in range(X.shape[1])]
        data.obs["batch"] = pd.Categorical(["a", "b", "c"] * (len(X) // 3))
        data.obs["depth"] = X.sum(axis=1)
        return data

    return cells


@pytest.fixture
def backed(make, tmp_path):
    opened = []

    def cells(container=np.asarray, **options):
        path = tmp_path / f"{len(opened)}.h5ad"
        make(container, **options).write_h5ad(path)
        opened.append(anndata.read_h5ad(path, backed="r"))
        return opened[-1]

    yield cells
    for data in opened:
        data.file.close()


@pytest.fixture
def vae(quick):
    return VAETransformer(**quick)


@pytest.fixture
def small_parts(monkeypatch):
    """Files are read a few rows or columns at a time."""
    monkeypatch.setattr(spool, "PART_ENTRIES", 40)
    monkeypatch.setattr(dataset, "CHUNK_ENTRIES", 40)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where temporary files go."""
    at = tmp_path / "temporary"
    at.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(at))
    return at


class Recorder(TransformerMixin, BaseEstimator):
    """Notes the conditions that it gets; codes are the first two columns."""

    def __init__(self, scale=1.0):
        self.scale = scale

    def fit(self, X, y=None, conditions=None):
        self.n_features_in_ = X.shape[1]
        self.seen_ = [("fit", conditions)]
        return self

    def fit_transform(self, X, y=None, conditions=None):
        self.fit(X, conditions=conditions)
        self.seen_ = [("fit_transform", conditions)]
        return self._codes(X)

    def transform(self, X, conditions=None):
        self.seen_.append(("transform", conditions))
        return self._codes(X)

    def score(self, X, y=None, conditions=None):
        assert conditions is not None
        return self.scale

    def _codes(self, X):
        part = X[:, :2] * self.scale
        return part.toarray() if sparse.issparse(part) else np.asarray(part)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class Loaded(Recorder):
    """Has loadings: gene by gene its place, and minus it."""

    @property
    def components_(self):
        places = np.arange(self.n_features_in_, dtype=float)
        return np.stack([places, -places])


# -- what is written -------------------------------------------------------------------


@pytest.mark.parametrize("container", CONTAINERS)
def test_codes_are_the_estimator_s(make, vae, quick, container):
    data = make(container)
    assert fit_transform(vae, data) is None
    expected = VAETransformer(**quick).fit_transform(data.X)
    np.testing.assert_array_equal(data.obsm[KEY], expected)
    assert list(data.obs_names[:2]) == ["cell0", "cell1"]
    other = make(container)
    assert transform(vae, other) is None
    np.testing.assert_array_equal(other.obsm[KEY], expected)
    assert other.uns[KEY]["estimator"] == "VAETransformer"


def test_a_copy_has_them_and_the_cells_do_not(make, vae):
    data = make()
    copied = fit_transform(vae, data, copy=True, key_added="codes")
    assert copied.obsm["codes"].shape == (60, 3)
    again = transform(vae, data, copy=True)
    np.testing.assert_array_equal(again.obsm[KEY], copied.obsm["codes"])
    assert not data.obsm
    assert not data.uns


@pytest.mark.parametrize("container", CONTAINERS)
def test_what_is_written_survives_a_file(make, vae, container, tmp_path):
    vae.set_params(hidden_dims=(16, 8), callbacks=[], kld_weight=1e-3)
    data = make(container)
    data.layers["counts"] = data.X.copy()
    fit_transform(vae, data, layer="counts")
    json.dumps(data.uns[KEY]["parameters"])
    data.write_h5ad(tmp_path / "x.h5ad")
    read = anndata.read_h5ad(tmp_path / "x.h5ad")
    np.testing.assert_array_equal(read.obsm[KEY], data.obsm[KEY])
    facts = read.uns[KEY]
    assert facts["estimator"] == "VAETransformer"
    assert facts["layer"] == "counts"
    assert list(facts["genes"]) == list(data.var_names)
    assert len(facts["conditions"]) == 0
    assert set(facts["versions"]) >= {"skvae", "torch", "scikit-learn"}
    assert facts["n_iter"] == 3
    parameters = facts["parameters"]
    assert set(parameters) == set(vae.get_params())
    assert parameters["latent_dim"] == 3
    assert list(parameters["hidden_dims"]) == [16, 8]
    assert parameters["kld_weight"] == 1e-3
    assert parameters["early_stopping"]
    best = vae.best_epoch_
    assert ("valid_elbo" in facts) == (best > 0)
    if best:
        assert facts["valid_elbo"] == vae.history_[best - 1]["valid_elbo"]


def test_none_and_objects_are_written_as_text(make, tmp_path, quick):
    data = make()
    model = VAETransformer(**{**quick, "random_state": np.random.RandomState(0)})
    model.set_params(linear_path=None, hidden_dims=(), likelihood="gaussian")
    fit_transform(model, data)
    data.write_h5ad(tmp_path / "x.h5ad")
    parameters = anndata.read_h5ad(tmp_path / "x.h5ad").uns[KEY]["parameters"]
    assert parameters["linear_path"] == "None"
    assert parameters["random_state"].startswith("RandomState")
    assert len(parameters["hidden_dims"]) == 0


def test_the_likelihood_is_noted(make):
    model, data = Recorder(), make()
    model.likelihood_ = "poisson"
    fit_transform(model, data)
    assert data.uns[KEY]["likelihood"] == "poisson"


def test_loadings_are_written_by_gene(make):
    data, model = make(), Loaded()
    fit_transform(model, data)
    np.testing.assert_array_equal(data.varm[KEY], model.components_.T)
    other = make()[:, ::-1].copy()
    transform(model, other)
    np.testing.assert_array_equal(other.varm[KEY], data.varm[KEY][::-1])
    # What an estimator without them has not made does not stay.
    fit_transform(Recorder(), data)
    assert KEY not in data.varm


def test_loadings_behind_steps_that_choose_genes(make, counts):
    X = counts.copy()
    X[:, 4] = 1.0
    data = make(X=X)
    model = make_pipeline(VarianceThreshold(), StandardScaler(), Loaded())
    fit_transform(model, data)
    loadings = data.varm[KEY]
    assert np.isnan(loadings[4]).all()
    np.testing.assert_array_equal(np.delete(loadings[:, 0], 4), np.arange(11))
    # Behind steps that mix genes, or name nothing, there are none.
    for step in (PCA(12), FunctionTransformer(np.log1p)):
        fit_transform(make_pipeline(step, Loaded()), data)
        assert KEY not in data.varm


# -- what is fitted --------------------------------------------------------------------


def test_pipelines_and_searches(make, vae, counts, tmp_path):
    pipeline = make_pipeline(FunctionTransformer(np.log1p), vae)
    search = GridSearchCV(pipeline, {"vaetransformer__latent_dim": [2, 3]}, cv=2)
    for model in (pipeline, search):
        data, other = make(), make()[:, ::-1].copy()
        fit_transform(model, data)
        np.testing.assert_array_equal(data.obsm[KEY], model.transform(counts))
        assert list(model.feature_names_in_) == list(data.var_names)
        transform(model, other)
        np.testing.assert_array_equal(other.obsm[KEY], data.obsm[KEY])
        facts = data.uns[KEY]
        assert facts["estimator"] == "VAETransformer"
        assert facts["model"].startswith(type(model).__name__)
        data.write_h5ad(tmp_path / "x.h5ad")
    assert facts["best_score"] == search.best_score_
    best = search.best_params_["vaetransformer__latent_dim"]
    assert facts["parameters"]["latent_dim"] == best


def test_what_gives_no_codes_is_refused_before_a_fit(make, vae):
    data = make()
    with pytest.raises(TypeError, match="LogisticRegression gives no codes"):
        fit_transform(LogisticRegression(), data)
    search = GridSearchCV(vae, {"latent_dim": [2]}, refit=False)
    with pytest.raises(ValueError, match="keeps no model: refit=False"):
        fit_transform(search, data)
    assert not hasattr(search, "cv_results_")
    with pytest.raises(NotFittedError):
        transform(vae, data)
    assert not data.obsm


def test_what_is_no_anndata_is_refused(vae, counts, make):
    with pytest.raises(TypeError, match=r"must be an anndata\.AnnData, not ndarray"):
        fit_transform(vae, counts)
    mudata = type("MuData", (), {"__module__": "mudata._core.mudata"})()
    with pytest.raises(TypeError, match=r"not MuData; pass one modality, adata\[name"):
        fit_transform(vae, mudata)
    with pytest.raises(TypeError, match="not VAETransformer"):
        fit_transform(make(), vae)
    with pytest.raises(TypeError, match="key_added=3"):
        fit_transform(vae, make(), key_added=3)


def test_an_estimator_sends_cells_here(make, vae):
    fit_transform(vae, make())
    for method in (vae.fit, vae.transform, vae.score, vae.fit_transform):
        with pytest.raises(
            TypeError, match=r"skvae\.anndata\.fit_transform .*adata\.X"
        ):
            method(make())


def test_the_extra_is_named_where_anndata_is_missing(monkeypatch):
    def without(name, *args, **kwargs):
        if name.split(".")[0] == "anndata":
            raise ModuleNotFoundError(f"No module named {name!r}")
        return found(name, *args, **kwargs)

    found = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", without)
    monkeypatch.delitem(sys.modules, "skvae.anndata")
    with pytest.raises(ImportError, match=r"anndata: pip install 'skvae\[anndata\]'"):
        builtins.__import__("skvae.anndata")


# -- what cannot be used ---------------------------------------------------------------


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("on_disk", [False, True])
def test_failures_leave_everything_as_it_was(
    make, backed, quick, counts, container, on_disk, folder
):
    X = counts.copy()
    X[40, 3] = np.nan
    data = (backed if on_disk else make)(container, X=X)
    model = VAETransformer(**quick)
    with pytest.raises(ValueError, match="contains NaN"):
        fit_transform(model, data)
    assert not hasattr(model, "feature_names_in_")
    fit_transform(model, make())
    before = dict(vars(model))
    with pytest.raises(ValueError, match="contains NaN"):
        transform(model, data)
    assert vars(model) == before
    for part in (data.obsm, data.varm, data.uns, data.layers):
        assert not part
    assert os.listdir(folder) == []


def test_an_interrupt_leaves_no_files(backed, folder):
    class Interrupted(Recorder):
        def fit(self, X, y=None, conditions=None):
            assert len(os.listdir(folder)) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_transform(Interrupted(), backed(sparse.csr_matrix))
    assert os.listdir(folder) == []


def test_unknown_names_have_neighbours(make, vae):
    data = make()
    data.layers["log1p"] = data.X
    with pytest.raises(KeyError, match="no layer 'log1'; did you mean 'log1p'"):
        fit_transform(vae, data, layer="log1")
    with pytest.raises(KeyError, match="'bacth'; did you mean 'batch'"):
        fit_transform(Recorder(), data, obs_conditions=["depth", "bacth"])
    with pytest.raises(KeyError, match="'zzzz'; there are batch, depth"):
        fit_transform(Recorder(), data, obs_conditions=["zzzz"])
    empty = anndata.AnnData(obs=data.obs)
    with pytest.raises(ValueError, match="has no X"):
        fit_transform(vae, empty)
    assert not data.obsm


# -- layers, counts, views -------------------------------------------------------------


def test_a_layer_is_used_in_place_of_X(make, vae, counts):
    data = make()
    data.layers["log"] = np.log1p(counts)
    fit_transform(vae, data, layer="log")
    frame = pd.DataFrame(np.log1p(counts), columns=data.var_names)
    np.testing.assert_array_equal(data.obsm[KEY], vae.transform(frame))
    transform(vae, data, key_added="of_X")
    assert np.abs(data.obsm["of_X"] - data.obsm[KEY]).max() > 0.1


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.float64])
@pytest.mark.parametrize("container", CONTAINERS)
def test_numbers_of_any_type(make, backed, quick, counts, dtype, container):
    X = counts.astype(dtype)
    data = make(container, X=X)
    fit_transform(VAETransformer(**quick), data)
    expected = VAETransformer(**quick).fit_transform(container(X))
    np.testing.assert_array_equal(data.obsm[KEY], expected)
    on_disk = backed(container, X=X)
    fit_transform(VAETransformer(**quick), on_disk)
    assert on_disk.obsm[KEY].dtype == expected.dtype
    np.testing.assert_allclose(on_disk.obsm[KEY], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("container", CONTAINERS)
def test_views_become_tables_of_their_own(make, quick, container):
    data = make(container)
    view = data[data.obs["batch"] == "a", data.var_names[::-1]]
    kept = view.copy()
    fit_transform(VAETransformer(**quick), kept)
    model = VAETransformer(**quick)
    with pytest.warns(anndata.ImplicitModificationWarning):
        fit_transform(model, view)
    assert not view.is_view
    np.testing.assert_array_equal(view.obsm[KEY], kept.obsm[KEY])
    assert not data.obsm
    other = transform(model, data[:7], copy=True)
    np.testing.assert_allclose(other.obsm[KEY][0], kept.obsm[KEY][0], rtol=1e-5)


# -- genes by name ---------------------------------------------------------------------


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("on_disk", [False, True])
def test_genes_are_found_by_name(
    make, backed, counts, quick, container, on_disk, small_parts
):
    model = VAETransformer(**quick)
    data = make(container)
    fit_transform(model, data)
    assert list(model.feature_names_in_) == list(data.var_names)
    frame = pd.DataFrame(counts, columns=data.var_names)
    np.testing.assert_allclose(model.transform(frame), data.obsm[KEY], rtol=1e-4)
    order = np.random.RandomState(1).permutation(12)
    X = np.hstack([counts[:, order], 100.0 + counts[:, :3]])
    other = (backed if on_disk else make)(container, X=X)
    other.var_names = [*data.var_names[order], "new0", "new1", "new2"]
    transform(model, other)
    np.testing.assert_allclose(other.obsm[KEY], data.obsm[KEY], rtol=1e-4, atol=1e-5)
    assert list(other.uns[KEY]["genes"]) == list(data.var_names)


def test_missing_genes_are_counted_and_named(make, vae):
    data = make()
    fit_transform(vae, data)
    message = "8 of the 12 genes .* missing: gene4, gene5, gene6, gene7, gene8 and 3"
    with pytest.raises(ValueError, match=message):
        transform(vae, data[:, :4])
    other = make()
    other.var_names = [f"ENSG{i}" for i in range(12)]
    with pytest.raises(ValueError, match=r"12 of the 12 .*adata has ENSG0, ENSG1"):
        transform(vae, other)
    assert not other.obsm


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_repeated_genes_are_refused(make, vae):
    data, twice = make(), make()
    fit_transform(vae, data)
    twice.var_names = ["gene0", *twice.var_names[:-1]]
    for function in (fit_transform, transform):
        with pytest.raises(ValueError, match="more than once: gene0; make them unique"):
            function(vae, twice)


def test_genes_that_anndata_counts_are_no_names(vae, counts):
    fit_transform(vae, anndata.AnnData(counts[:, :6]))
    transform(vae, anndata.AnnData(counts[:, :6]))
    with pytest.raises(ValueError, match="12 genes without names"):
        transform(vae, anndata.AnnData(counts))


def test_a_model_of_a_nameless_table_has_to_be_fitted_anew(make, vae, counts):
    vae.fit(counts)
    with pytest.raises(ValueError, match="does not know its genes by name"):
        transform(vae, make())
    vae.fit(make().to_df())
    transform(vae, make())


def test_a_warm_start_wants_its_genes(make, vae):
    vae.set_params(warm_start=True)
    data = make()
    fit_transform(vae, data)
    fit_transform(vae, data)
    with pytest.raises(ValueError, match="warm_start=True goes on from the last fit"):
        fit_transform(vae, data[:, ::-1])


def test_a_first_step_without_names_is_told_of(make, vae):
    data = make()
    with pytest.warns(UserWarning, match="'passthrough', keeps no names of genes"):
        fit_transform(make_pipeline("passthrough", vae), data)
    assert data.obsm[KEY].shape == (60, 3)


# -- conditions ------------------------------------------------------------------------


def test_conditions_are_columns_of_obs(make):
    data, model = make(), Recorder()
    fit_transform(model, data, obs_conditions=["batch", "depth"])
    transform(model, data, obs_conditions=["batch", "depth"])
    assert [method for method, _ in model.seen_] == ["fit_transform", "transform"]
    for _, conditions in model.seen_:
        pd.testing.assert_frame_equal(conditions, data.obs[["batch", "depth"]])
    assert list(data.uns[KEY]["conditions"]) == ["batch", "depth"]
    fit_transform(model, data, obs_conditions="batch")
    assert list(model.seen_[0][1].columns) == ["batch"]


def test_without_conditions_nothing_is_passed(make):
    class Strict(Recorder):
        def fit_transform(self, X, y=None):
            return self.fit(X)._codes(X)

        def transform(self, X):
            return self._codes(X)

    data, model = make(), Strict()
    fit_transform(model, data)
    transform(model, data)
    np.testing.assert_array_equal(data.obsm[KEY], data.X[:, :2])


def test_conditions_reach_the_end_of_a_pipeline(make):
    data = make()
    model = make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), Recorder()))
    fit_transform(model, data, obs_conditions=["batch"])
    transform(model, data, obs_conditions=["batch"])
    assert [len(seen) for _, seen in model[-1][-1].seen_] == [60, 60]


def test_conditions_in_a_search_need_routing(make):
    data = make()
    grid = {"scale": [1.0, 2.0]}
    with pytest.raises(ValueError, match="scores its candidates without conditions"):
        fit_transform(GridSearchCV(Recorder(), grid), data, obs_conditions=["batch"])
    with config_context(enable_metadata_routing=True):
        model = Recorder().set_fit_request(conditions=True)
        model.set_score_request(conditions=True).set_transform_request(conditions=True)
        search = GridSearchCV(model, grid)
        fit_transform(search, data, obs_conditions=["batch"])
    assert search.best_params_ == {"scale": 2.0}
    assert [len(seen) for _, seen in search.best_estimator_.seen_] == [60, 60]


def test_an_estimator_without_conditions_says_so(make):
    data = make()
    model = make_pipeline(StandardScaler(), PCA(2))
    with pytest.raises(TypeError, match="PCA takes no conditions"):
        fit_transform(model, data, obs_conditions=["batch"])
    assert not hasattr(model[-1], "components_")


# -- files -----------------------------------------------------------------------------


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("Estimator", [VAETransformer, SAETransformer])
def test_backed_cells_are_as_those_in_memory(
    make, backed, quick, container, Estimator, folder, small_parts, tmp_path
):
    data, on_disk = make(container), backed(container)
    fit_transform(Estimator(**quick), data)
    model = Estimator(**quick)
    fit_transform(model, on_disk)
    expected = data.obsm[KEY]
    np.testing.assert_allclose(on_disk.obsm[KEY], expected, rtol=1e-4, atol=1e-5)
    transform(model, on_disk, key_added="again")
    np.testing.assert_allclose(on_disk.obsm["again"], expected, rtol=1e-4, atol=1e-5)
    assert os.listdir(folder) == []
    on_disk.write_h5ad(tmp_path / "y.h5ad")
    read = anndata.read_h5ad(tmp_path / "y.h5ad")
    np.testing.assert_array_equal(read.obsm[KEY], on_disk.obsm[KEY])
    assert list(read.obs_names) == list(data.obs_names)


@pytest.mark.parametrize("container", CONTAINERS)
def test_conditions_of_backed_cells_go_with_their_rows(backed, container, small_parts):
    data, model = backed(container), Recorder()
    fit_transform(model, data, obs_conditions=["batch"])
    model.seen_.clear()
    transform(model, data, obs_conditions=["batch"])
    seen = pd.concat([conditions for _, conditions in model.seen_])
    pd.testing.assert_frame_equal(seen, data.obs[["batch"]])
    assert (len(model.seen_) > 1) == (container is not sparse.csc_matrix)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("n_rows", [60, 1, 0])
def test_the_rows_of_a_file_are_what_is_in_it(
    backed, counts, container, n_rows, folder, small_parts
):
    X = np.where(counts > 2, counts, 0)[:n_rows]
    matrix = anndata.AnnData(container(X))
    path = folder.parent / "t.h5ad"
    matrix.write_h5ad(path)
    data = anndata.read_h5ad(path, backed="r")
    with spool.spooled(data.X) as rows:
        dense = rows.toarray() if sparse.issparse(rows) else rows
        np.testing.assert_array_equal(dense, X)
        if n_rows and sparse.issparse(rows):
            assert rows.format == "csr"
            assert rows.has_canonical_format
    assert os.listdir(folder) == []
    data.file.close()


def test_a_file_without_entries(backed, counts, folder):
    for container in CONTAINERS:
        with spool.spooled(backed(container, X=np.zeros_like(counts)).X) as rows:
            assert rows.shape == (60, 12)
            assert abs(rows).sum() == 0


def test_training_does_not_hold_the_rows_in_memory(backed, folder):
    class Looks(Recorder):
        def fit(self, X, y=None, conditions=None):
            parts = [X.data, X.indices] if sparse.issparse(X) else [X]
            assert all(map(dataset.is_memory_mapped, parts))
            return super().fit(X)

        def transform(self, X, conditions=None):
            assert X.shape[0] < 60
            return super().transform(X)

    for container in CONTAINERS:
        fit_transform(Looks(), backed(container))


def test_a_full_disk_is_an_error_in_advance(backed, vae, monkeypatch):
    full = type("Usage", (), {"free": 10})
    monkeypatch.setattr(spool.shutil, "disk_usage", lambda at: full)
    for container in CONTAINERS:
        with pytest.raises(OSError, match=r"GB left; name another folder .* TMPDIR"):
            fit_transform(vae, backed(container))


def test_what_anndata_cannot_write_to_is_refused_before_the_fit(backed, vae):
    data = backed(sparse.csr_matrix)
    with pytest.raises(ValueError, match=r"to a view .*adata\.copy\(filename\)"):
        fit_transform(vae, data[:30])
    with pytest.raises(ValueError, match=r"to a copy .*adata\.to_memory\(\)"):
        fit_transform(vae, data, copy=True)
    assert not hasattr(vae, "n_features_in_")
    fit_transform(vae, data[:30].to_memory())


def test_only_two_functions_are_public():
    assert skvae.anndata.__all__ == ["fit_transform", "transform"]
