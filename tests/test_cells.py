"""Single cells on the command line: layers, conditions, codes in .h5ad."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import skvae
from skvae import VAETransformer
from skvae.anndata import transform
from skvae.cli.commands import main

TINY = ["--max-epochs", "1", "--hidden-dims", "8", "--latent-dim", "2"]
TINY += ["--test-fraction", "0"]
CONTAINERS = (np.asarray, sparse.csr_matrix, sparse.csc_matrix)


class Conditioned(VAETransformer):
    """Notes what it gets beside the rows."""

    seen: list = []

    def _note(self, method, X, conditions):
        assert X.shape[0] == len(conditions)
        self.seen.append((method, conditions))

    def fit(self, X, y=None, conditions=None):
        self._note("fit", X, conditions)
        return super().fit(X)

    def transform(self, X, conditions=None):
        self._note("transform", X, conditions)
        return super().transform(X)

    def score(self, X, y=None, conditions=None):
        self._note("score", X, conditions)
        return super().score(X)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cells(folder, digits):
    """Writes and returns sixty cells of eight genes."""

    def written(path="x.h5ad", container=np.asarray):
        X = digits[:60, 18:26].astype(np.float32)
        data = anndata.AnnData(container(X))
        data.obs_names = [f"AC{i}-1" for i in range(60)]
        data.var_names = [f"gene{i}" for i in range(8)]
        data.obs["batch"] = pd.Categorical(["a", "b"] * 30)
        data.obs["depth"] = X.sum(axis=1)
        data.layers["twice"] = data.X * 2
        data.obsm["X_pca"] = X[:, :2]
        data.uns["note"] = "kept"
        data.raw = data
        data.write_h5ad(path)
        return data

    return written


@pytest.mark.parametrize("container", CONTAINERS)
def test_codes_are_written_beside_the_cells(cells, container, capsys):
    data = cells(container=container)
    command = ["fit", "x.h5ad", "-o", "m.safetensors", "-o", "fitted.h5ad", *TINY]
    assert main(command) == 0, capsys.readouterr().err
    assert "wrote fitted.h5ad" in capsys.readouterr().out
    assert main(["transform", "m.safetensors", "x.h5ad", "-o", "coded.h5ad"]) == 0
    model = skvae.load("m.safetensors")
    for name in ("fitted.h5ad", "coded.h5ad"):
        read = anndata.read_h5ad(name)
        np.testing.assert_allclose(read.obsm["X_skvae"], model.transform(data.X))
        assert list(read.obs_names) == list(data.obs_names)
        pd.testing.assert_frame_equal(read.obs, data.obs)
        np.testing.assert_array_equal(read.obsm["X_pca"], data.obsm["X_pca"])
        assert read.uns["note"] == "kept"
        assert read.raw.shape == data.shape
        assert type(read.X) is type(data.X)
        assert list(read.uns["X_skvae"]["genes"]) == list(data.var_names)
        assert read.uns["X_skvae"]["estimator"] == "VAETransformer"
    # What the shell fitted, Python goes on with.
    other = data[:, ::-1].copy() if container is np.asarray else data.copy()
    transform(model, other)
    np.testing.assert_allclose(other.obsm["X_skvae"], read.obsm["X_skvae"], rtol=1e-5)


def test_genes_without_names(folder, digits):
    anndata.AnnData(digits[:60, 18:26]).write_h5ad("x.h5ad")
    assert main(["fit", "x.h5ad", "-o", "coded.h5ad", *TINY]) == 0
    read = anndata.read_h5ad("coded.h5ad")
    assert list(read.uns["X_skvae"]["genes"]) == list(read.var_names)


def test_a_layer_is_read_in_place_of_X(cells):
    data = cells()
    fit = ["fit", "x.h5ad", "-o", "m.safetensors", "--no-scale", *TINY]
    assert main([*fit, "--layer", "twice", "-o", "coded.h5ad"]) == 0
    codes = skvae.load("m.safetensors").transform(data.layers["twice"])
    read = anndata.read_h5ad("coded.h5ad")
    np.testing.assert_allclose(read.obsm["X_skvae"], codes)
    assert read.uns["X_skvae"]["layer"] == "twice"
    command = ["transform", "m.safetensors", "x.h5ad", "--layer", "twice", "-o"]
    assert main([*command, "c.npy"]) == 0
    np.testing.assert_allclose(np.load("c.npy"), codes)
    search = ["search", "x.h5ad", "--layer", "twice", "--quiet", "--jobs", "1"]
    search += ["--max-epochs", "1", "--folds", "2", "--kld-weights", "1e-3"]
    search += ["--latent-dims", "2", "--no-scale", "--model", "s.safetensors"]
    assert main(search) == 0
    mean = skvae.load("s.safetensors")[-1].mean_
    np.testing.assert_allclose(mean, data.layers["twice"].mean(axis=0), rtol=1e-5)


def test_conditions_reach_the_estimator(cells, monkeypatch, capsys):
    data = cells()
    Conditioned.seen = []
    estimator = Conditioned(2, hidden_dims=(8,), max_epochs=1, random_state=0)
    monkeypatch.setattr("skvae.cli.commands._estimator", lambda args: estimator)
    flags = ["--condition", "batch", "--condition", "depth"]
    command = ["fit", "x.h5ad", "-o", "m.joblib", "-o", "f.h5ad", "--latent-dim", "2"]
    assert main([*command, *flags]) == 0, capsys.readouterr().err
    assert "held out, 6 rows" in capsys.readouterr().out
    assert main(["transform", "m.joblib", "x.h5ad", "-o", "c.h5ad", *flags]) == 0
    assert [(method, len(conditions)) for method, conditions in Conditioned.seen] == [
        ("fit", 54),
        ("score", 6),
        ("fit", 60),
        ("transform", 60),
        ("score", 60),
        ("transform", 60),
    ]
    pd.testing.assert_frame_equal(Conditioned.seen[-1][1], data.obs)
    held_out = pd.concat([Conditioned.seen[0][1], Conditioned.seen[1][1]])
    pd.testing.assert_frame_equal(held_out.loc[data.obs_names], data.obs)
    facts = anndata.read_h5ad("c.h5ad").uns["X_skvae"]
    assert list(facts["conditions"]) == ["batch", "depth"]


def test_what_does_not_fit_together_is_one_clear_line(cells, digits, capsys):
    cells()
    np.save("x.npy", digits[:60, 18:26])
    assert main(["fit", "x.h5ad", "-o", "m.safetensors", *TINY]) == 0
    fit, code = ["fit", "x.h5ad", *TINY, "-o"], ["transform", "m.safetensors"]
    for arguments, message in (
        ([*fit, "x.h5ad"], "x.h5ad: is the table"),
        (
            [*fit, "m.safetensors", "-o", "c.csv"],
            "end the name in one of .safetensors, .joblib, .h5ad",
        ),
        ([*fit, "m.joblib", "--layer", "nope"], "no layer 'nope'; it has twice"),
        (
            [*fit, "m.joblib", "--condition", "nope"],
            "no obs column 'nope'; it has ba",
        ),
        (["fit", "x.npy", "-o", "c.h5ad"], "holds the codes beside their table, and x"),
        (["fit", "x.npy", "-o", "m.joblib", "--layer", "a"], "are for .h5ad"),
        ([*code, "x.npy", "-o", "c.h5ad"], "x.npy is none; end the name in one of .n"),
        ([*code, "x.npy", "-o", "c.npy", "--condition", "b"], "are for .h5ad"),
        ([*code, "x.h5ad", "-o", "x.h5ad"], "x.h5ad: is the table"),
    ):
        capsys.readouterr()
        assert main(arguments) == 2, arguments
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1


def test_an_estimator_without_conditions_says_so(cells, capsys, monkeypatch):
    cells()
    monkeypatch.setattr("skvae.cli.cells.takes_conditions", lambda model: False)
    command = ["fit", "x.h5ad", "-o", "m.safetensors", *TINY]
    assert main([*command, "--condition", "batch"]) == 2
    assert "VAETransformer takes no conditions" in capsys.readouterr().err
    assert main(command) == 0
    command = ["transform", "m.safetensors", "x.h5ad", "-o", "c.npy"]
    assert main([*command, "--condition", "batch"]) == 2
    assert "VAETransformer takes no conditions" in capsys.readouterr().err


def test_a_model_remembers_where_its_rows_were(cells, capsys):
    data = cells()
    fit = ["fit", "x.h5ad", "-o", "m.safetensors", "--no-scale", *TINY]
    assert main([*fit, "--layer", "twice"]) == 0
    codes = skvae.load("m.safetensors").transform(data.layers["twice"])
    transform = ["transform", "m.safetensors", "x.h5ad", "-o", "c.npy"]
    for flags in ([], ["--layer", "twice"]):
        assert main([*transform, *flags]) == 0
        np.testing.assert_allclose(np.load("c.npy"), codes, rtol=1e-5)
    assert main(fit) == 0
    for flags, message in (
        (["--layer", "twice"], "the model was fitted on X: leave --layer out"),
        (["--condition", "batch"], "conditions are without any: leave --condition"),
    ):
        capsys.readouterr()
        assert main([*transform, *flags]) == 2
        assert message in capsys.readouterr().err
