"""Models and tables in read-only memory, as joblib maps them for its workers."""

import copy
import pickle

import joblib
import numpy as np
import pytest
import torch
from scipy import sparse

from skvae import AETransformer, RAETransformer, SAETransformer, VAETransformer
from skvae.inspection import diagnose, suggest_kld_weights
from skvae.metrics import log_likelihood_scorer, reconstruction_scorer

ESTIMATORS = (AETransformer, RAETransformer, SAETransformer, VAETransformer)
CALLS = {
    "transform": lambda m, X: m.transform(X),
    "float32": lambda m, X: m.transform(X.astype(np.float32)),
    "sparse": lambda m, X: m.transform(sparse.csr_array(X)),
    "inverse": lambda m, X: m.inverse_transform(m.transform(X)),
    "reconstruct": lambda m, X: m.reconstruct(X),
    "error": lambda m, X: m.reconstruction_error(X),
    "score": lambda m, X: m.score(X),
    "reconstruction": reconstruction_scorer,
    "partial_fit": lambda m, X: m.partial_fit(X).partial_fit(X).transform(X),
    "warm start": lambda m, X: m.set_params(warm_start=True).fit(X).transform(X),
    "fit": lambda m, X: m.fit(X).transform(X),
    "pickle": lambda m, X: pickle.loads(pickle.dumps(m)).partial_fit(X).transform(X),
    "copy": lambda m, X: copy.deepcopy(m).partial_fit(X).transform(X),
    "sample": lambda m, X: m.sample(5, random_state=0),
    "score of rows": lambda m, X: m.score_samples(X),
    "likelihood": log_likelihood_scorer,
    "diagnosis": lambda m, X: diagnose(m, X).to_frame()["value"].astype(str).to_list(),
}


@pytest.fixture(autouse=True)
def every_warning():
    """torch warns of memory that it cannot write to only once."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(before)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_every_method_of_a_memory_mapped_model(Estimator, digits, tmp_path):
    X = digits[:300]
    model = Estimator(3, hidden_dims=(32,), max_epochs=12, lr=0.01, random_state=0)
    model.fit(X)
    assert model.best_epoch_ > 0  # so that there is a linear start beside it
    path = tmp_path / "model.joblib"
    joblib.dump(model, path)
    for name, call in CALLS.items():
        if name == "sample" and not hasattr(model, "sample"):
            continue
        of_likelihood = ("score of rows", "likelihood", "diagnosis")
        if name in of_likelihood and Estimator is not VAETransformer:
            continue
        mapped = joblib.load(path, mmap_mode="r")
        assert not mapped.mean_.flags.writeable
        expected = call(joblib.load(path), X)
        np.testing.assert_array_equal(call(mapped, X), expected, err_msg=name)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize("kind", [np.array, sparse.csr_array, sparse.csr_matrix])
def test_every_method_on_read_only_rows(Estimator, kind, digits, quick):
    X = kind(digits[:90])
    for part in (X,) if kind is np.array else (X.data, X.indices, X.indptr):
        part.flags.writeable = False
    model = Estimator(**quick).fit(X)
    codes = model.transform(X)
    codes.flags.writeable = False
    assert model.inverse_transform(codes).shape == X.shape
    assert np.isfinite(model.reconstruct(X)).all()
    assert np.isfinite(model.score(X))
    model.partial_fit(X).set_params(warm_start=True).fit(X)
    assert Estimator(**quick).partial_fit(X).fit_transform(X).shape == (90, 3)
    assert (suggest_kld_weights(X, 3, random_state=0) > 0).all()
