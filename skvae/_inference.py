"""What a fitted autoencoder does with rows: validate, encode, decode, by chunks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ._data.conditions import encode_conditions, fit_conditions
from ._data.covariates import Covariates, RowCovariates
from ._data.dataset import Minibatch, chunk_rows, stacked
from ._data.rows import Rows
from ._data.sizes import draw_sizes, fit_sizes
from ._kernels.threads import threads_for
from ._likelihoods.base import Likelihood
from ._nn.autoencoder import Autoencoder
from ._tables import Tables
from ._training.fitted import Fitted
from ._utils.device import inference_dtype
from ._utils.docs import filled
from ._utils.validation import checked_finite, checked_size_factor

# How the size factors of a model's rows came about.
ROW_SUM, GIVEN = "row_sum", "given"

#: Fills into a method's docstring what comes with rows, ``%(given)s``, and codes,
#: ``%(codes)s``.
documented_rows = filled(
    {
        "given": """
conditions : array-like or frame of shape (n_samples, n_conditions), optional
    Of the rows, as in :meth:`fit`; only if it was given some.
size_factor : array-like of shape (n_samples,), optional
    Of the rows, as in :meth:`fit`.
""",
        "codes": """
X_new : ndarray of shape (n_samples, latent_dim)
    Codes, in the units of X unless the estimator whitens them; float64 if X is
    float64, else float32.
""",
    }
)


class Inference(Tables):
    """Rows of X through a fitted network, in bounded memory.

    Attributes
    ----------
    _fitted : Fitted
    _conditions : list of dict
        What the conditions of the training rows were (see ``_data.conditions``).
    _sizes : str or None
        ``ROW_SUM``, ``GIVEN``, or None without size factors.
    _given_sizes : dict or None
        Sizes of the training rows under their conditions (see ``_data.sizes``).
    """

    _fitted: Fitted
    _conditions: list[dict[str, Any]]
    _sizes: str | None
    _given_sizes: dict[str, Any] | None = None

    @property
    def module_(self) -> Autoencoder:
        """The fitted module; rows go in as ``(X - mean_) / scale_``."""
        check_is_fitted(self)
        return self._fitted.state.network

    @property
    def _likelihood_(self) -> Likelihood:
        return self._fitted.state.likelihood

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_fitted")

    def _likelihood_type(self) -> type[Likelihood]:
        """The likelihood that this estimator asks for."""
        raise NotImplementedError

    def _takes_gaps(self, *, reset: bool) -> bool:
        if reset:
            return self._marginalizes()
        return self._fitted.state.gaps is not None

    # -- rows --------------------------------------------------------------------------

    def _validated(self, X, *, reset: bool, min_rows: int = 1):
        X = self._checked(X, reset=reset, min_rows=min_rows)
        if not reset:
            self._likelihood_.check(X, getattr(self, "feature_names_in_", None))
        return X

    def _training_rows(
        self, X, conditions, size_factor, *, reset: bool, min_rows: int
    ) -> Rows:
        """Validated rows to train on; ``reset`` says that nothing was before."""
        X = self._validated(X, reset=reset, min_rows=min_rows)
        if reset:
            self._conditions = [] if conditions is None else fit_conditions(conditions)
            self._sizes = self._kind_of_sizes(size_factor)
        else:
            self._check_same_sizes()
        covariates = self._covariates(X, conditions, size_factor)
        if reset:
            self._given_sizes = fit_sizes(covariates)
        return Rows(X, covariates)

    def _kind_of_sizes(self, size_factor) -> str | None:
        takes_size = self._likelihood_type().takes_size
        if size_factor is not None:
            if not takes_size:
                raise ValueError(
                    "size_factor was given, and only likelihoods of counts have one: "
                    "set likelihood to 'poisson', 'negative_binomial' or 'zinb'."
                )
            return GIVEN
        if not takes_size:
            return None
        kind = getattr(self, "size_factor", None)
        if kind is None and self._likelihood_type().is_given_total:
            raise ValueError(
                f"size_factor=None takes away what "
                f"likelihood={self._likelihood_type().name!r} is given, the total of "
                f"every row: set size_factor={ROW_SUM!r}."
            )
        return kind

    def _check_same_sizes(self) -> None:
        """Refuse to go on with rates of another kind.

        Raises
        ------
        ValueError
            If the parameter ``size_factor`` is not what it was, and decides.
        """
        if self._likelihood_type() is not type(self._likelihood_):
            return  # which is refused, too
        if self._sizes not in (GIVEN, self._kind_of_sizes(None)):
            raise ValueError(
                f"size_factor={getattr(self, 'size_factor', None)!r} has changed since "
                f"the last fit, whose sizes were {self._sizes!r}, and training cannot "
                "go on with another; clone the estimator, or fit with "
                "warm_start=False."
            )

    def _rows(
        self, X, conditions=None, size_factor=None, *, decoded=True, min_rows=1
    ) -> Rows:
        """Validated rows to apply the model to; codes alone need less than decoding."""
        X = self._validated(X, reset=False, min_rows=min_rows)
        if not (decoded or self.module_.encodes_conditions):
            return Rows(X, RowCovariates(None, self._size_of(X, size_factor)))
        return Rows(X, self._covariates(X, conditions, size_factor))

    def _covariates(self, X, conditions, size_factor) -> RowCovariates:
        encoded = self._encoded_conditions(conditions, X.shape[0])
        return RowCovariates(encoded, self._size_of(X, size_factor))

    def _encoded_conditions(self, conditions, n_rows: int) -> np.ndarray | None:
        if self._conditions:
            return encode_conditions(conditions, self._conditions, n_rows)
        if conditions is not None:
            raise ValueError(
                "conditions were given, and this model was fitted without any."
            )
        return None

    def _size_of(self, X, size_factor) -> np.ndarray | None:
        """Size factors (n,) of rows, None where the likelihood has none."""
        if size_factor is not None and self._sizes != GIVEN:
            raise ValueError(
                "size_factor was given, and this model was fitted without any: its "
                f"own are {self._sizes!r}."
            )
        if self._sizes == GIVEN:
            if size_factor is None:
                raise ValueError(
                    "This model was fitted with size_factor= of every row; pass that "
                    "of these rows, too."
                )
            return checked_size_factor(size_factor, X.shape[0])
        if self._sizes == ROW_SUM:
            if not sparse.issparse(X) and np.isnan(X).any():
                raise ValueError(
                    "X has missing values, so the sums of its rows are not known: set "
                    "size_factor=None, or give size_factor= of every row."
                )
            return np.asarray(X.sum(axis=1), dtype=np.float64).ravel()
        return None

    def _covariates_of_codes(self, n_rows: int, conditions, size_factor):
        """What codes are decoded with; of the usual size where none is given."""
        encoded = self._encoded_conditions(conditions, n_rows)
        if self._sizes is None:
            if size_factor is not None:
                raise ValueError("size_factor was given, and this model has none.")
            return RowCovariates(encoded)
        if size_factor is None:
            size_factor = self._likelihood_.usual_size
        return RowCovariates(encoded, checked_size_factor(size_factor, n_rows))

    def _drawn_sizes(
        self, n_rows: int, conditions, random_state: np.random.RandomState
    ) -> np.ndarray:
        """Size factors (n_rows,) like those of the training rows, under conditions."""
        if self._given_sizes is None:
            return self._likelihood_.draw_sizes(n_rows, random_state)
        encoded = self._encoded_conditions(conditions, n_rows)
        assert encoded is not None
        return draw_sizes(self._given_sizes, encoded, random_state)

    # -- through the network -----------------------------------------------------------

    @contextmanager
    def _inference(self, n_rows: int) -> Iterator[None]:
        """Without gradients, and with the threads that a chunk of rows is worth."""
        n_rows = min(n_rows, chunk_rows(self.n_features_in_))
        with torch.no_grad(), threads_for(self.module_, n_rows):
            yield

    def _over_chunks(
        self,
        rows: Rows,
        measure: Callable[[Minibatch], Tensor],
        dtype: torch.dtype | None = None,
    ) -> np.ndarray:
        """What is measured on every chunk of validated rows, as one array of all rows.

        Chunks are in the precision of X, if no ``dtype`` is given.

        Raises
        ------
        ValueError
            If something overflows.
        """
        dtype = dtype or inference_dtype(rows.dtype, self._fitted.device)
        dataset = self._fitted.rows(rows, dtype=dtype, resident=False)
        with self._inference(len(rows)):
            parts = (measure(batch).cpu().numpy() for batch in dataset.batches())
            return stacked((checked_finite(p, rows.dtype) for p in parts), len(rows))

    def _transformed(self, rows: Rows) -> np.ndarray:
        """Codes of validated rows, (n_rows, latent_dim)."""
        network = self.module_
        codes = self._over_chunks(rows, lambda batch: network.code(batch.inputs))
        with np.errstate(over="ignore"):
            codes *= self._code_units(codes.dtype)
        return checked_finite(codes, rows.dtype)

    def _decode(
        self,
        Z: np.ndarray,
        given: RowCovariates,
        outcome: Callable[[Tensor, Covariates], Tensor] | None = None,
    ) -> np.ndarray:
        """Rows (n, n_features) of codes in units of the prior, in units of X.

        ``outcome`` makes rows of raw outputs; by default it is their mean.
        """
        device = self._fitted.device
        dtype = inference_dtype(Z.dtype, device)
        outcome = outcome or self._likelihood_.mean

        def rows_of(at: slice) -> np.ndarray:
            z = torch.as_tensor(Z[at], dtype=dtype, device=device)
            covariates = given.at(at).on(device, dtype)
            raw = self.module_.decode(z, covariates)
            return outcome(raw, covariates).cpu().numpy()

        with self._inference(len(Z)):
            chunks = gen_batches(len(Z), chunk_rows(self.n_features_in_))
            parts = (checked_finite(rows_of(at), Z.dtype) for at in chunks)
            return stacked(parts, len(Z))

    def _code_units(self, dtype: np.dtype) -> np.ndarray:
        """What a unit of a latent dimension is multiplied with, (latent_dim,)."""
        return self._fitted.state.code_scale.astype(dtype)
