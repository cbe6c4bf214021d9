"""Rows to codes, and codes to rows: what every fitted autoencoder is for."""

from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted
from torch import Tensor

from ._data.dataset import Minibatch
from ._data.rows import Rows
from ._inference import GIVEN, Inference, documented_rows
from ._kernels.surroundings import public
from ._streams import reads_parts
from ._utils.device import in_float64
from ._utils.typing import Table
from ._utils.validation import float_dtypes, from_torch


class Coding(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Inference):
    """Coding and reconstructing, in the units of X.

    Attributes
    ----------
    _jacobian : ndarray of shape (latent_dim, n_features)
        Mean of d reconstruction / d code, codes in units of the prior.
    """

    _jacobian: np.ndarray

    @public
    @documented_rows
    @reads_parts
    def transform(
        self, X: Table, *, conditions: Table | None = None, size_factor: Any = None
    ) -> Any:
        """Code X.

        Deterministic: no dropout, running statistics. Conditions do not change codes.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            Rows to code.
        %(given)s

        Returns
        -------
        %(codes)s
        """
        check_is_fitted(self)
        rows = self._rows(X, conditions, size_factor, decoded=False)
        return self._transformed(rows)

    @public
    def inverse_transform(
        self, X: Table, *, conditions: Table | None = None, size_factor: Any = None
    ) -> np.ndarray:
        """Reconstruct rows from codes, as :meth:`transform` gives them.

        Parameters
        ----------
        X : array-like of shape (n_samples, latent_dim)
            Codes.
        conditions : array-like or frame, optional
            Of the rows, (n_samples, n_conditions), or one row for all; only if ``fit``
            was given some.
        size_factor : float or array-like of shape (n_samples,), optional
            Of likelihoods of counts: the size that rows are to have, by default that of
            the median training row.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features)
            Reconstructions in the units of the training data.

        Raises
        ------
        ValueError
            If the width is not ``latent_dim``.
        """
        check_is_fitted(self)
        Z = check_array(from_torch(X), dtype=float_dtypes(X), input_name="X")
        if Z.shape[1] != self.module_.latent_dim:
            raise ValueError(
                f"X has {Z.shape[1]} columns, but codes of this "
                f"{type(self).__name__} have {self.module_.latent_dim}."
            )
        units = self._code_units(Z.dtype)
        # A unit that the decoder ignores has codes of 0 and no way back but the prior.
        with np.errstate(over="ignore"):
            Z = np.divide(Z, units, out=np.zeros_like(Z), where=units > 0.0)
        given = self._covariates_of_codes(len(Z), conditions, size_factor)
        return self._as_given(self._decode(Z, given), X)

    @public
    @reads_parts
    def reconstruct(
        self,
        X: Table,
        *,
        conditions: Table | None = None,
        size_factor: Any = None,
        to: Table | None = None,
    ) -> np.ndarray:
        """Reconstruct X from its codes.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            Rows to reconstruct.
        conditions : array-like or frame of shape (n_samples, n_conditions), optional
            Of the rows, as in :meth:`fit`; only if it was given some.
        size_factor : float or array-like of shape (n_samples,), optional
            Of likelihoods of counts: the size that reconstructions are to have. Where
            ``fit`` was given size factors, these are the rows' own, which also decide
            on their codes; where they are the rows' sums, codes stay what they are, and
            ``size_factor=1e4`` gives normalised counts.
        to : array-like or frame, optional
            Conditions to reconstruct the rows under, in place of their own: what they
            would have been. Of the shape of ``conditions``, or one row for all.

        Returns
        -------
        X_reconstructed : ndarray of shape (n_samples, n_features)
            In the units of X; float64 if X is float64, else float32.
        """
        check_is_fitted(self)
        own = size_factor if self._sizes == GIVEN else None
        rows = self._rows(X, conditions, own, decoded=to is None)
        network, likelihood = self.module_, self._likelihood_
        if to is not None or size_factor is not own:
            Z = self._over_chunks(rows, lambda batch: network.code(batch.inputs))
            size = rows.covariates.size if size_factor is None else size_factor
            under = conditions if to is None else to
            given = self._covariates_of_codes(len(Z), under, size)
            return self._as_given(self._decode(Z, given), X)
        found = self._over_chunks(
            rows,
            lambda batch: likelihood.mean(
                network(batch.inputs, batch.covariates), batch.covariates
            ),
        )
        return self._as_given(found, X)

    @public
    @documented_rows
    @reads_parts
    def reconstruction_error(
        self,
        X: Table,
        per_feature: bool = False,
        *,
        conditions: Table | None = None,
        size_factor: Any = None,
    ) -> np.ndarray:
        """Error of the reconstruction of X from its codes.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            Rows to reconstruct.
        per_feature : bool, default=False
            Whether to keep the features apart.
        %(given)s

        Returns
        -------
        error : ndarray of shape (n_samples,) or (n_samples, n_features)
            Squared error in the squared units of X, or, of a likelihood of counts, bits
            or categories, its unit deviance: twice the nats above those of the best
            mean. Averaged over features that were observed, float64; or,
            ``per_feature``, in the dtype of X, NaN where X has a gap.

        Raises
        ------
        ValueError
            If squares of X are too large for the dtype of X.
        """
        check_is_fitted(self)
        rows = self._rows(X, conditions, size_factor)
        return self._errors(rows, per_feature=per_feature)

    def _errors(self, rows: Rows, *, per_feature: bool) -> np.ndarray:
        """The same of validated rows."""
        network, likelihood = self.module_, self._likelihood_

        def errors(batch: Minibatch) -> Tensor:
            raw = network(batch.inputs, batch.covariates)
            error = likelihood.deviance(raw, batch.target)
            share: Tensor | float = 1.0
            if batch.mask is not None:
                observed = likelihood.decode_mask(batch.mask)
                error = error * observed
                # A row without any entry has no error.
                share = in_float64(observed).mean(dim=1).clamp_(min=1e-12)
            # Units last, and a row's in float64: their square can be large.
            error = error if per_feature else in_float64(error.mean(dim=1)) / share
            return error.mul_(likelihood.loss_unit)

        found = self._over_chunks(rows, errors)
        if per_feature and self._fitted.has_gaps(rows):
            found[np.isnan(rows.X)] = np.nan
        return found

    @property
    def components_(self) -> np.ndarray:
        """Mean of d reconstruction / d code, (latent_dim, n_features).

        In units of X per unit of the code that :meth:`transform` gives.
        """
        check_is_fitted(self)
        units = self._code_units(self._jacobian.dtype)[:, None]
        zeros = np.zeros_like(self._jacobian)
        return np.divide(self._jacobian, units, out=zeros, where=units > 0.0)

    @property
    def _n_features_out(self) -> int:
        return self.module_.latent_dim
