import re
import subprocess
import sys

import anndata
import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import KFold, ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skvae
from skvae import VAETransformer
from skvae.cli.commands import main
from skvae.cli.runs import read_run
from skvae.cli.search import default_weights
from skvae.metrics import elbo_scorer
from skvae.presets import PRESETS

QUICK = ["--max-epochs", "2", "--quiet"]
# A fit that takes no time, and no second one before it.
TINY = ["--max-epochs", "1", "--hidden-dims", "8", "--latent-dim", "2"]
TINY += ["--test-fraction", "0"]


@pytest.fixture
def table(tmp_path, digits):
    path = tmp_path / "table.npy"
    np.save(path, digits[:120])
    return str(path)


def test_search_prints_a_table_and_draws(table, tmp_path, capsys):
    picture, model = tmp_path / "p.png", tmp_path / "m.safetensors"
    arguments = ["--latent-dims", "2", "3", "--kld-weights", "1e-4", "1e-2"]
    arguments += ["--picture", str(picture), "--model", str(model), "--folds", "2"]
    arguments += ["--jobs", "1"]
    assert main(["search", table, *QUICK, *arguments]) == 0
    out = capsys.readouterr().out
    rows = re.findall(r"^ +(0\.0001|0\.01) +([23]) +-?\d+\.\d\d", out, re.MULTILINE)
    assert len(rows) == 4
    assert out.count("<- best") == 1
    assert "winner: VAETransformer(" in out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert skvae.load(model).transform(np.load(table)).shape[0] == 120


def test_no_argument_is_the_search_on_digits(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["skvae"])
    monkeypatch.setattr("skvae.cli.commands.DIGITS_EPOCHS", 1)
    monkeypatch.setattr("skvae.cli.search.N_WEIGHTS", 2)
    monkeypatch.setattr("joblib.cpu_count", lambda: 1)
    monkeypatch.setattr("skvae.cli.search.DEFAULT_DIMS", (2, 4))
    assert main() == 0
    captured = capsys.readouterr()
    assert "digits (1797 x 64" in captured.out
    assert "of 12 fits" in captured.err
    weights = default_weights(load_digits().data / 16.0, False, [4])
    for weight in weights:
        assert f"{weight:.2g} " in captured.out
    assert (tmp_path / "skvae-search.png").exists()


def test_search_writes_a_run_per_candidate(tmp_path, digits, capsys):
    table, out = tmp_path / "table.npz", tmp_path / "runs" / "table"
    np.savez(table, X=digits[:120], kind=np.arange(120) % 2)
    arguments = ["search", str(table), "--label", "kind", *QUICK, "--folds", "3"]
    arguments += ["--latent-dims", "2", "3", "--kld-weights", "1e-5", "1e-2"]
    arguments += ["--picture", str(tmp_path / "p.png"), "--out", str(out)]
    arguments += ["--jobs", "1"]
    assert main(arguments) == 0
    assert f"wrote a directory per candidate into {out}" in capsys.readouterr().out
    names = [
        f"kld_weight={w},latent_dim={k}" for w in ("0.01", "1e-05") for k in (2, 3)
    ]
    assert sorted(path.name for path in out.iterdir()) == [*names, "search.json"]
    train, test = next(KFold(3, shuffle=True, random_state=0).split(digits[:120]))
    for path in map(out.joinpath, names):
        run = read_run(path)
        assert run.config["model"]["kld_weight"] == run.metrics["kld_weight"]
        assert run.metrics["n_test"] == len(test)
        assert run.metrics["knn_accuracy"] is not None
        again = clone(skvae.load(path / "model.safetensors")).fit(digits[train])
        expected = elbo_scorer(again, digits[test])
        assert run.metrics["elbo"] == pytest.approx(expected)


@pytest.mark.parametrize("occupied", ["folder", "file"])
def test_an_output_that_is_not_empty_stops_the_search_before_it_trains(
    table, tmp_path, capsys, monkeypatch, occupied
):
    out = tmp_path / "out"
    if occupied == "folder":
        out.mkdir()
        (out / "precious.txt").write_text("1")
    else:
        out.write_text("1")
    monkeypatch.setattr("skvae.cli.commands.search", None)  # calling it would raise
    assert main(["search", table, *QUICK, "--out", str(out)]) == 2
    err = capsys.readouterr().err
    message = {"folder": "is not empty", "file": "is a file, not a folder"}[occupied]
    assert err.startswith("skvae: error: ")
    assert message in err
    assert err.count("\n") == 1


def test_fit_and_transform(table, tmp_path, capsys):
    model, codes = str(tmp_path / "m.safetensors"), str(tmp_path / "codes.csv")
    assert main(["fit", table, "-o", model, "--latent-dim", "3", *QUICK[:2]]) == 0
    assert "nats per row" in capsys.readouterr().out
    assert main(["transform", model, table, "-o", codes]) == 0
    frame = pd.read_csv(codes)
    assert list(frame.columns) == [f"vaetransformer{i}" for i in range(3)]
    expected = skvae.load(model).transform(np.load(table))
    np.testing.assert_allclose(frame.to_numpy(), expected)


def test_training_flags_are_parameters(table, tmp_path):
    model = str(tmp_path / "m.safetensors")
    flags = ["--device", "cpu", "--precision", "bf16", "--seed", "3", *QUICK[:2]]
    assert main(["fit", table, "-o", model, *flags]) == 0
    params = skvae.load(model)[-1].get_params()
    expected = {"device": "cpu", "precision": "bf16", "random_state": 3}
    assert {name: params[name] for name in expected} == expected


def written(path, frame, container=None):
    """The frame as a file of the kind that its ending says."""
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".npz":
        np.savez(path, X=frame.to_numpy(), feature_names=list(frame.columns))
    else:
        X = frame.to_numpy(dtype=np.float32)
        data = anndata.AnnData(container(X) if container else X)
        data.var_names = list(frame.columns)
        data.write_h5ad(path)
    return str(path)


@pytest.mark.parametrize(
    ("ending", "container"),
    [
        (".csv", None),
        (".parquet", None),
        (".npz", None),
        (".h5ad", None),
        (".h5ad", sparse.csr_matrix),
        (".h5ad", sparse.csc_matrix),
    ],
)
@pytest.mark.parametrize("scale", [[], ["--no-scale"]])
def test_names_of_columns_belong_to_the_model(
    tmp_path, digits, capsys, ending, container, scale
):
    frame = pd.DataFrame(digits[:60, 2:6], columns=list("abcd"), dtype=np.float32)

    def file(name, columns):
        part = pd.DataFrame({c: frame.get(c, frame["a"]) for c in columns})
        return written(tmp_path / f"{name}{ending}", part, container)

    model, out = str(tmp_path / "m.safetensors"), str(tmp_path / "c.npy")
    assert main(["fit", file("a", "abcd"), "-o", model, *TINY, *scale]) == 0
    assert main(["transform", model, file("a", "abcd"), "-o", out]) == 0
    codes = np.load(out)
    assert np.unique(codes, axis=0).shape[0] > 10
    assert main(["transform", model, file("b", "dbca"), "-o", out]) == 0
    np.testing.assert_array_equal(np.load(out), codes)
    for columns, message in (
        ("abc", "columns of the model are missing: d"),
        ("abce", "missing: d; the model was not fitted on columns e"),
        ("abcde", "not fitted on columns e; take them out, or name labels by --label"),
    ):
        capsys.readouterr()
        assert main(["transform", model, file("c", columns), "-o", out]) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"skvae: error: {tmp_path / 'c'}{ending}: ")
        assert message in err
        assert err.count("\n") == 1
    assert list(skvae.load(model).feature_names_in_) == list("abcd")


def test_an_old_model_with_names_is_checked_too(tmp_path, digits):
    frame = pd.DataFrame(digits[:60, 2:6], columns=list("abcd"))
    vae = VAETransformer(2, max_epochs=1, hidden_dims=(8,), random_state=0)
    model = make_pipeline(StandardScaler(), vae).fit(frame)
    joblib.dump(model, tmp_path / "m.joblib")
    path = written(tmp_path / "b.csv", frame[list("dbca")])
    out = str(tmp_path / "c.npy")
    assert main(["transform", str(tmp_path / "m.joblib"), path, "-o", out]) == 0
    np.testing.assert_allclose(np.load(out), model.transform(frame))


def test_no_names_on_either_side(table, tmp_path, digits, capsys):
    frame = pd.DataFrame(digits[:60], columns=[f"p{i}" for i in range(64)])
    named = written(tmp_path / "named.csv", frame)
    model, out = str(tmp_path / "m.safetensors"), str(tmp_path / "c.npy")
    assert main(["fit", table, "-o", model, *TINY]) == 0
    assert main(["transform", model, named, "-o", out]) == 0
    assert capsys.readouterr().err == ""
    assert main(["fit", named, "-o", model, *TINY]) == 0
    assert main(["transform", model, table, "-o", out]) == 0
    assert "has no names of columns, the model has" in capsys.readouterr().err
    np.save(tmp_path / "narrow.npy", digits[:9, :3])
    narrow = str(tmp_path / "narrow.npy")
    assert main(["transform", model, narrow, "-o", out]) == 2
    assert "narrow.npy: X has 3 features" in capsys.readouterr().err


def test_names_of_rows_are_kept(tmp_path, digits):
    cells = [f"c{i}" for i in range(60)]
    frame = pd.DataFrame(digits[:60, 2:6], index=cells, columns=list("abcd"))
    frame.to_csv(tmp_path / "x.csv")
    frame.to_parquet(tmp_path / "x.parquet")
    anndata.AnnData(frame).write_h5ad(tmp_path / "x.h5ad")
    model = str(tmp_path / "m.safetensors")
    assert main(["fit", str(tmp_path / "x.csv"), "-o", model, *TINY]) == 0
    assert skvae.load(model).n_features_in_ == 4
    for name in ("x.csv", "x.parquet", "x.h5ad"):
        for out in ("c.csv", "c.parquet", "c.tsv", "c.csv.gz"):
            codes = str(tmp_path / out)
            assert main(["transform", model, str(tmp_path / name), "-o", codes]) == 0
            if out == "c.parquet":
                read = pd.read_parquet(codes)
            else:
                sep = "\t" if "tsv" in out else ","
                read = pd.read_csv(codes, index_col=0, sep=sep)
            assert list(read.index) == cells
            assert list(read.columns) == ["vaetransformer0", "vaetransformer1"]


def test_codes_do_not_overwrite_the_table(tmp_path, digits, capsys):
    frame = pd.DataFrame(digits[:60, 2:6], columns=list("abcd"))
    path = written(tmp_path / "x.csv", frame)
    model = str(tmp_path / "m.safetensors")
    assert main(["fit", path, "-o", model, *TINY]) == 0
    assert main(["transform", model, path, "-o", path]) == 2
    assert "is the table" in capsys.readouterr().err
    assert pd.read_csv(path).shape == (60, 4)


def test_fit_says_what_it_scores_on_held_out_rows(tmp_path, digits, capsys):
    np.save(tmp_path / "x.npy", digits[:200])
    path, model = str(tmp_path / "x.npy"), str(tmp_path / "m.safetensors")
    quick = ["--max-epochs", "3", "--hidden-dims", "16", "--latent-dim", "4"]
    quick += ["--no-scale", "--seed", "5"]
    assert main(["fit", path, "-o", model, *quick, "--test-fraction", "0.25"]) == 0
    out = capsys.readouterr().out
    train, test = next(
        ShuffleSplit(1, test_size=50, random_state=5).split(digits[:200])
    )
    vae = skvae.load(model)[-1]
    other = clone(vae).fit(digits[train])
    pca = PCA(4).fit(digits[train])
    expected = f"ELBO {other.score(digits[test]):.2f} nats per row; PCA "
    assert f"held out, 50 rows: {expected}{pca.score(digits[test]):.2f}. By" in out
    # The model that is saved has seen all rows.
    np.testing.assert_array_equal(
        skvae.load(model).transform(digits[:9]),
        clone(vae).fit(digits[:200]).transform(digits[:9]),
    )
    assert main(["fit", path, "-o", model, *quick, "--test-fraction", "0"]) == 0
    assert "held out" not in capsys.readouterr().out


def test_fit_shows_the_other_pca_of_wide_rows(tmp_path, digits, capsys):
    np.save(tmp_path / "x.npy", digits[:40])
    path, model = str(tmp_path / "x.npy"), str(tmp_path / "m.safetensors")
    assert main(["fit", path, "-o", model, *TINY[:-2]]) == 0
    assert "(scikit-learn's PCA.score: " in capsys.readouterr().out
    np.save(tmp_path / "x.npy", digits[:2])
    assert main(["fit", path, "-o", model, *TINY[:-2]]) == 0
    assert "no rows held out: 2 are too few" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "start"),
    [
        ([], "factor analysis was kept"),
        (["--preset", "sae"], "the untrained network was kept"),
    ],
)
def test_a_fit_that_no_epoch_improved_says_so(tmp_path, capsys, flags, start):
    # Noise: there is nothing to learn.
    np.save(tmp_path / "x.npy", np.random.RandomState(0).randn(60, 8))
    arguments = ["fit", str(tmp_path / "x.npy"), "-o", str(tmp_path / "m.safetensors")]
    assert main([*arguments, *TINY, *flags]) == 0
    told = f"{start}: no epoch was better on the held-out rows"
    assert told in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore::skvae.exceptions.PosteriorCollapseWarning")
def test_presets_and_widths(tmp_path, digits, capsys):
    np.savez(tmp_path / "x.npz", X=digits[:90], feature_names=range(64))
    path, model = str(tmp_path / "x.npz"), str(tmp_path / "m.safetensors")
    start = ["fit", path, "-o", model, "--max-epochs", "1"]
    for name, last in (("lightweight", "vae"), ("vanilla", "ae"), ("rae", "rae")):
        flags = ["--preset", name, "--hidden-dims", "12", "8"]
        assert main([*start, *flags]) == 0
        out = capsys.readouterr().out
        assert ("mean squared error" in out) == (last != "vae")
        fitted = skvae.load(model).named_steps[last]
        expected = {**PRESETS[name], "hidden_dims": (12, 8), "max_epochs": 1}
        params = fitted.get_params()
        assert {key: params[key] for key in expected} == expected
        codes = str(tmp_path / "c.npy")
        assert main(["transform", model, path, "-o", codes]) == 0
        assert np.load(codes).shape == (90, PRESETS[name]["latent_dim"])
    assert main([*start, "--hidden-dims", "--latent-dim", "2"]) == 0
    assert skvae.load(model)[-1].hidden_dims == ()
    assert main([*start, "--preset", "rae", "--kld-weight", "1"]) == 2
    assert "--preset rae is of RAETransformer" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::skvae.exceptions.PosteriorCollapseWarning")
def test_search_takes_the_presets_of_a_vae(table, tmp_path, capsys):
    start = ["search", table, "-o", str(tmp_path / "p.png"), "--jobs", "1", *QUICK]
    start += ["--hidden-dims", "8", "--folds", "2"]
    model = str(tmp_path / "m.safetensors")
    arguments = ["--preset", "beta", "--kld-weights", "1e-3", "--model", model]
    arguments += ["--latent-dims", "3"]
    assert main([*start, *arguments]) == 0
    params = skvae.load(model)[-1].get_params()
    expected = {"dropout_rate": 0.15, "linear_path": None, "latent_dim": 3}
    assert {key: params[key] for key in expected} == expected
    capsys.readouterr()
    assert main([*start, "--preset", "sae"]) == 2
    assert "which needs a VAETransformer, and --preset sae" in capsys.readouterr().err


def test_search_has_a_pca_for_sparse_tables(tmp_path, capsys):
    X = sparse.random(90, 40, 0.3, format="csr", random_state=0)
    sparse.save_npz(tmp_path / "x.npz", X)
    arguments = ["search", str(tmp_path / "x.npz"), *QUICK, "--hidden-dims", "8"]
    arguments += ["--latent-dims", "2", "3", "--kld-weights", "0.1", "--folds", "2"]
    arguments += ["-o", str(tmp_path / "p.png"), "--jobs", "1"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    rows = re.findall(r"^ +0\.1 +([23]) .* (-?\d+\.\d\d)(?:  <- best)?$", out, re.M)
    assert [k for k, _ in rows] == ["2", "3"]
    assert all(-100 < float(pca) < 0 for _, pca in rows)
    assert "The winner lies on the edge of the grid" in out


@pytest.mark.filterwarnings("ignore::skvae.exceptions.PosteriorCollapseWarning")
def test_fewer_units_than_columns(tmp_path, digits):
    model = str(tmp_path / "m.safetensors")
    for n_columns, expected in ((4, 3), (11, 10), (30, 10), (1, 1)):
        np.save(tmp_path / "x.npy", digits[:60, 20 : 20 + n_columns])
        quick = ["--max-epochs", "1", "--hidden-dims", "8", "--test-fraction", "0"]
        assert main(["fit", str(tmp_path / "x.npy"), "-o", model, *quick]) == 0
        assert skvae.load(model)[-1].latent_dim == expected


def test_ctrl_c_is_no_traceback(table, monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("skvae.cli.commands.search", interrupted)
    assert main(["search", table, "--kld-weights", "1"]) == 130
    assert capsys.readouterr().err == "skvae: interrupted\n"


@pytest.mark.filterwarnings("default")
def test_a_search_warns_once(tmp_path, capfd):
    X = np.random.RandomState(0).randn(60, 4) * [1, 1, 1, 1e6]
    np.save(tmp_path / "x.npy", X)
    arguments = ["search", str(tmp_path / "x.npy"), "-o", str(tmp_path / "p.png")]
    arguments += ["--latent-dims", "2", "--kld-weights", "1", "2", "--folds", "2"]
    assert main([*arguments, *QUICK, "--no-scale", "--jobs", "2"]) == 0
    err = capfd.readouterr().err
    assert err.startswith("skvae: warning: Column 3 of X")
    assert err.count("\n") == 1


@pytest.mark.filterwarnings("default")
def test_a_warning_is_one_line(tmp_path, capsys):
    X = np.random.RandomState(0).randn(60, 4) * [1, 1, 1, 1e6]
    np.save(tmp_path / "x.npy", X)
    arguments = ["fit", str(tmp_path / "x.npy"), "-o", str(tmp_path / "m.safetensors")]
    arguments += ["--likelihood", "gaussian"]
    assert main([*arguments, *TINY, "--no-scale"]) == 0
    err = capsys.readouterr().err
    assert err.startswith("skvae: warning: Column 3 of X")
    assert err.count("\n") == 1


def test_every_kind_of_file(tmp_path, digits, capsys):
    X = digits[:60]
    frame = pd.DataFrame(X, columns=[f"p{i}" for i in range(64)])
    frame["label"] = "a"
    frame.to_csv(tmp_path / "x.csv", index=False)
    frame.to_parquet(tmp_path / "x.parquet")
    np.savez(tmp_path / "x.npz", X=X, label=np.arange(60))
    sparse.save_npz(tmp_path / "csr.npz", sparse.csr_matrix(X))
    data = anndata.AnnData(sparse.csr_matrix(X.astype(np.float32)))
    data.obs["label"] = "a"
    data.write_h5ad(tmp_path / "x.h5ad")
    for name, label in (
        ("x.csv", True),
        ("x.parquet", True),
        ("x.npz", True),
        ("csr.npz", False),
        ("x.h5ad", True),
    ):
        model = str(tmp_path / f"{name}.safetensors")
        arguments = ["--label", "label"] if label else []
        command = ["fit", str(tmp_path / name), "-o", model, *TINY, *arguments]
        assert main(command) == 0, capsys.readouterr().err
        assert skvae.load(model).n_features_in_ == 64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "missing.csv"], "missing.csv: no such file"),
        (["search", "x.txt"], "cannot read .txt"),
        (["search", "text.csv"], "columns name are not numbers.*--numeric-only"),
        (["search", "text.csv", "--label", "nope"], "no column 'nope'"),
        (["search", "broken.npz"], "broken.npz: cannot be read"),
        (["search", "pickled.npy"], "cannot be read"),
        (["search", "flat.npy"], "no two-dimensional array"),
        (["search", "nan.csv"], "contains NaN"),
        (["search", "ok.npy", "--picture", "nowhere/p.png"], "folder does not exist"),
        (["search", "ok.npy", "--picture", "p.doc"], "end the name in one of .png"),
        (
            ["fit", "ok.npy", "-o", "model.pkl"],
            "end the name in one of .safetensors, .joblib",
        ),
        (
            ["fit", "ok.npy", "-o", "m.joblib", "--device", "abacus"],
            "device='abacus'",
        ),
        (
            ["fit", "ok.npy", "-o", "m.joblib", "--sep", ";"],
            "are for .csv and .tsv",
        ),
        (["search", ".", "-o", "p.png"], "is a folder, not a file"),
        (["transform", "ok.npy", "ok.npy", "-o", "c.npy"], "not a model"),
        (["transform", "old.joblib", "ok.npy", "-o", "c.npy"], "another version of"),
        (["transform", "moved.joblib", "ok.npy", "-o", "c.npy"], "another version of"),
        (["transform", "no.joblib", "ok.npy", "-o", "c.npy"], "no such file"),
    ],
)
def test_bad_files_get_one_line_and_status_2(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.txt").write_text("1 2")
    (tmp_path / "text.csv").write_text("a,name\n1,x\n2,y\n")
    (tmp_path / "nan.csv").write_text("a,b\n1,2\n2,\n3,4\n5,6\n")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 not really")
    np.save("flat.npy", np.arange(5.0))
    np.save("pickled.npy", np.array([{}, {}]), allow_pickle=True)
    np.save("ok.npy", np.random.RandomState(0).randn(30, 4))
    # what pickles of versions before name
    (tmp_path / "old.joblib").write_bytes(b"\x80\x04cskvae._training\nModel\n.")
    (tmp_path / "moved.joblib").write_bytes(b"\x80\x04cskvae._pipeline\nNamed\n.")
    quick = [] if arguments[0] == "transform" else QUICK[:2]
    assert main([*arguments, *quick]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("skvae: error: ")
    assert captured.err.count("\n") == 1
    assert re.search(message, captured.err)


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["search", "--latent-dims", "0"],
        ["search", "--kld-weights", "-1"],
        ["search", "--folds", "1"],
        ["search", "--precision", "half"],
        ["fit", "x.npy"],
        ["fit", "x.npy", "-o", "m.safetensors", "--test-fraction", "1"],
        ["fit", "x.npy", "-o", "m.safetensors", "--seed", "-1"],
        ["fit", "x.npy", "-o", "m.safetensors", "--sep", "ab"],
        ["fit", "x.npy", "-o", "m.safetensors", "--decimal", ";"],
        ["fit", "x.npy", "-o", "m.safetensors", "--preset", "nope"],
    ],
)
def test_bad_flags_get_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_help_is_quick_and_says_how_to_read_the_numbers():
    command = [sys.executable, "-m", "skvae", "--help"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "nats per row" in out
    assert "lower kld_weight" in out


@pytest.mark.filterwarnings("default")
def test_counts_are_told_before_they_are_standardised(tmp_path, capsys, rng):
    mean = np.exp(rng.normal(0.0, 1.5, 60))
    counts = rng.poisson(rng.gamma(1.0, mean, (120, 60)))
    np.save(tmp_path / "counts.npy", counts)
    np.save(tmp_path / "logs.npy", np.log1p(counts))
    for name, n_warnings in (("counts", 1), ("logs", 0)):
        arguments = ["fit", f"{tmp_path / name}.npy", "-o", f"{tmp_path / name}.joblib"]
        assert main([*arguments, "--max-epochs", "1"]) == 0
        assert capsys.readouterr().err.count("looks like counts") == n_warnings
