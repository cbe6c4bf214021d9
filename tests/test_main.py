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
from sklearn.model_selection import KFold

from skvae.__main__ import main
from skvae._runs import read_run
from skvae.metrics import elbo_scorer

QUICK = ["--max-epochs", "2", "--quiet"]


@pytest.fixture
def table(tmp_path, digits):
    path = tmp_path / "table.npy"
    np.save(path, digits[:120])
    return str(path)


def test_search_prints_a_table_and_draws(table, tmp_path, capsys):
    picture, model = tmp_path / "p.png", tmp_path / "m.joblib"
    arguments = ["--latent-dims", "2", "3", "--kld-weights", "1e-4", "1e-2"]
    arguments += ["--picture", str(picture), "--model", str(model), "--folds", "2"]
    assert main(["search", table, *QUICK, *arguments]) == 0
    out = capsys.readouterr().out
    rows = re.findall(r"^ +(0\.0001|0\.01) +([23]) +-?\d+\.\d\d", out, re.MULTILINE)
    assert len(rows) == 4
    assert out.count("<- best") == 1
    assert "winner: VAETransformer(" in out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert joblib.load(model).transform(np.load(table)).shape[0] == 120


def test_no_argument_is_the_search_on_digits(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["skvae"])
    monkeypatch.setattr("skvae.__main__.DIGITS_EPOCHS", 1)
    monkeypatch.setattr("skvae._search.N_WEIGHTS", 2)
    monkeypatch.setattr("skvae._search.DEFAULT_DIMS", (2, 4))
    assert main() == 0
    captured = capsys.readouterr()
    assert "digits (1797 x 64" in captured.out
    assert "fit" in captured.err  # the progress bar
    assert (tmp_path / "skvae-search.png").exists()


def test_search_writes_a_run_per_candidate(tmp_path, digits, capsys):
    table, out = tmp_path / "table.npz", tmp_path / "runs" / "table"
    np.savez(table, X=digits[:120], kind=np.arange(120) % 2)
    arguments = ["search", str(table), "--label", "kind", *QUICK, "--folds", "3"]
    arguments += ["--latent-dims", "2", "3", "--kld-weights", "1e-5", "1e-2"]
    arguments += ["--picture", str(tmp_path / "p.png"), "--out", str(out)]
    assert main(arguments) == 0
    assert f"wrote a directory per candidate into {out}" in capsys.readouterr().out
    names = [
        f"kld_weight={w},latent_dim={k}" for w in ("0.01", "1e-05") for k in (2, 3)
    ]
    assert sorted(path.name for path in out.iterdir()) == names
    train, test = next(KFold(3, shuffle=True, random_state=0).split(digits[:120]))
    for path in out.iterdir():
        run = read_run(path)
        assert run.config["model"]["kld_weight"] == run.metrics["kld_weight"]
        assert run.metrics["n_test"] == len(test)
        assert run.metrics["knn_accuracy"] is not None
        again = clone(joblib.load(path / "model.joblib")).fit(digits[train])
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
    monkeypatch.setattr("skvae.__main__.search", None)  # calling it would raise
    assert main(["search", table, *QUICK, "--out", str(out)]) == 2
    err = capsys.readouterr().err
    message = {"folder": "is not empty", "file": "is a file, not a folder"}[occupied]
    assert err.startswith("skvae: error: ")
    assert message in err
    assert err.count("\n") == 1


def test_fit_and_transform(table, tmp_path, capsys):
    model, codes = str(tmp_path / "m.joblib"), str(tmp_path / "codes.csv")
    assert main(["fit", table, "-o", model, "--latent-dim", "3", *QUICK[:2]]) == 0
    assert "nats per row" in capsys.readouterr().out
    assert main(["transform", model, table, "-o", codes]) == 0
    frame = pd.read_csv(codes)
    assert list(frame.columns) == [f"vaetransformer{i}" for i in range(3)]
    expected = joblib.load(model).transform(np.load(table))
    np.testing.assert_allclose(frame.to_numpy(), expected)


def test_training_flags_are_parameters(table, tmp_path):
    model = str(tmp_path / "m.joblib")
    flags = ["--device", "cpu", "--precision", "bf16", "--seed", "3", *QUICK[:2]]
    assert main(["fit", table, "-o", model, *flags]) == 0
    params = joblib.load(model)[-1].get_params()
    expected = {"device": "cpu", "precision": "bf16", "random_state": 3}
    assert {name: params[name] for name in expected} == expected


def test_transform_checks_the_names_of_columns(tmp_path, digits, capsys):
    frame = pd.DataFrame(digits[:60, 2:6], columns=list("abcd"))
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame[list("dcba")].to_csv(tmp_path / "b.csv", index=False)
    model, out = str(tmp_path / "m.joblib"), str(tmp_path / "c.npy")
    assert main(["fit", str(tmp_path / "a.csv"), "-o", model, *QUICK[:2]]) == 0
    assert main(["transform", model, str(tmp_path / "b.csv"), "-o", out]) == 2
    assert "feature names" in capsys.readouterr().err


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
        model = str(tmp_path / f"{name}.joblib")
        arguments = ["--label", "label"] if label else []
        command = ["fit", str(tmp_path / name), "-o", model, *QUICK[:2], *arguments]
        assert main(command) == 0, capsys.readouterr().err
        assert joblib.load(model).n_features_in_ == 64


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
        (["fit", "ok.npy", "-o", "model.pkl"], "end the name in one of .joblib"),
        (["fit", "ok.npy", "-o", "m.joblib", "--device", "abacus"], "device='abacus'"),
        (["transform", "ok.npy", "ok.npy", "-o", "c.npy"], "not a model"),
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
