import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator_sparse_array

from skvae import AETransformer, VAETransformer
from skvae.cli.pipeline import NamedColumns, make_model, order_of_columns

NAMES = ["a", "b", "c", "d"]


def test_same_names_are_put_in_order():
    assert order_of_columns(NAMES, NAMES) is None
    order = order_of_columns(NAMES, ["d", "a", "c", "b"])
    assert list(np.array(["d", "a", "c", "b"])[order]) == NAMES


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a", "b", "c"], "model are missing: d$"),
        (["a", "b", "c", "d", "e"], "not fitted on columns e; take them out, or name"),
        (["a", "b", "c", "e"], "missing: d; the model was not fitted on columns e"),
        (["a", "b", "c", "d", "c"], "more than once: c"),
        ([f"g{i}" for i in range(9)], "columns g0, g1, g2, g3, g4 and 4 more"),
    ],
)
def test_other_names_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        order_of_columns(NAMES, given)


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("scale", [True, False])
def test_a_model_with_names_is_an_estimator(container, scale):
    X = np.random.RandomState(0).poisson(2.0, (40, 4)).astype(float)
    vae = VAETransformer(2, max_epochs=1, hidden_dims=(8,), random_state=0)
    model = make_model(container(X), vae, scale=scale, names=NAMES)
    model = clone(model).fit(container(X))
    assert list(model.feature_names_in_) == NAMES
    assert model.n_features_in_ == 4
    assert list(model.get_feature_names_out()) == ["vaetransformer0", "vaetransformer1"]
    again = pickle.loads(pickle.dumps(model))
    # No names come with an array: it is taken as it comes, without a word.
    codes = again.transform(container(X))
    assert model[:-1].inverse_transform(X).shape == X.shape
    if container is np.asarray:
        frame = pd.DataFrame(X, columns=NAMES)
        np.testing.assert_array_equal(model.transform(frame), codes)
        np.testing.assert_array_equal(model.transform(frame[list("dbac")]), codes)
        with pytest.raises(ValueError, match="missing: d"):
            model.transform(frame[list("bac")])


def test_names_must_be_as_many_as_columns():
    with pytest.raises(ValueError, match="X has 3 columns, but 4 names"):
        NamedColumns(NAMES).fit(np.eye(3))


def test_steps_are_called_what_they_are():
    X = np.eye(3)
    model = make_model(X, AETransformer(), scale=False)
    assert list(model.named_steps) == ["scale", "ae"]
    model = make_model(X, VAETransformer(), scale=True, names="abc")
    assert list(model.named_steps) == ["names", "scale", "vae"]
    check_estimator_sparse_array("NamedColumns", NamedColumns(["x"] * 3))
