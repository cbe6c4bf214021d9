"""What tells fits apart, whatever process they are in."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from skorch.callbacks import EarlyStopping

from skvae import AETransformer, VAETransformer
from skvae._data.covariates import RowCovariates
from skvae._data.rows import Rows
from skvae._training.fingerprint import fingerprint
from skvae._utils.seeds import Seeds

X = np.random.RandomState(0).randn(20, 3)
MODEL = VAETransformer(2, random_state=0)


def name_of(model=MODEL, rows=X, seeds=None, **covariates):
    return fingerprint(model, Rows(rows, RowCovariates(**covariates)), seeds)


def ramp(progress):
    return progress


def step(progress):
    return progress * 2.0


def test_the_same_fit_has_the_same_name(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert name_of() == name_of(clone(MODEL)) == name_of(rows=mapped)
    for changed in ({"verbose": 2}, {"warm_start": True}, {"random_state": 5}):
        assert name_of(clone(MODEL).set_params(**changed)) == name_of()


@pytest.mark.parametrize(
    "changed",
    [
        {"lr": 0.1},
        {"hidden_dims": (3, 4)},
        {"kld_schedule": ramp},
        {"kld_schedule": step},
        {"callbacks": [EarlyStopping()]},
        {"callbacks": [EarlyStopping(patience=7)]},
        {"kld_weight": np.float64(0.1)},
    ],
    ids=lambda changed: "-".join(changed),
)
def test_parameters_tell_fits_apart(changed):
    other = clone(MODEL).set_params(**changed)
    assert name_of(other) != name_of()
    assert name_of(other) == name_of(clone(other))


def test_all_of_these_are_other_fits():
    size = np.ones(20)
    names = [
        name_of(),
        name_of(AETransformer(2, random_state=0)),
        name_of(rows=X.astype(np.float32)),
        name_of(rows=X[::-1].copy()),
        name_of(rows=sparse.csr_array(X)),
        name_of(size=size),
        name_of(size=2.0 * size),
        name_of(conditions=np.ones((20, 1), dtype=np.float32)),
        name_of(seeds=Seeds(0)),
        name_of(seeds=Seeds(1)),
        name_of(seeds=Seeds(0, 1)),
        name_of(clone(MODEL).set_params(kld_schedule=ramp)),
        name_of(clone(MODEL).set_params(kld_schedule=step)),
    ]
    assert len(set(names)) == len(names)
