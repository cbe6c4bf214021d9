"""What the command line fits: names of columns, a scaler, an estimator.

The pipeline is an ordinary scikit-learn estimator; what stands in front of the network
is saved with it.
"""

from collections.abc import Sequence

from scipy import sparse
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from .._named_columns import NamedColumns, order_of_columns

# Models of earlier versions know them by this place.
__all__ = ["NamedColumns", "make_model", "order_of_columns", "scaler"]


def scaler(X, scale: bool):
    """What stands in front of the model: sparse rows are scaled, never centred."""
    if not scale:
        return FunctionTransformer(accept_sparse=True, feature_names_out="one-to-one")
    return StandardScaler(with_mean=not sparse.issparse(X))


def make_model(
    X, estimator, *, scale: bool, names: Sequence[str] | None = None
) -> Pipeline:
    """The estimator behind what the command line puts in front of it.

    The last step is called "vae" for a ``VAETransformer``, and so on.
    """
    last = type(estimator).__name__.removesuffix("Transformer").lower()
    steps = [("scale", scaler(X, scale)), (last, estimator)]
    if names is not None:
        steps.insert(0, ("names", NamedColumns(list(names))))
    return Pipeline(steps)
