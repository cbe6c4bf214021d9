"""The shell that the estimators share: validate, train, set what is fitted, apply."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from torch import Tensor

from ._data.dataset import Minibatch, chunk_rows, stacked
from ._evaluation.advice import divergence_advice, what_was_kept
from ._kernels.surroundings import public
from ._kernels.threads import threads_for
from ._likelihoods.base import Likelihood
from ._likelihoods.gaussian import Gaussian
from ._nn.autoencoder import Autoencoder
from ._training.callbacks import CallbackParams
from ._training.continued import check_same_architecture
from ._training.fit import fit_rows, fitted_chunk
from ._training.fitted import Fitted
from ._training.history import epoch_row
from ._training.net import EpochNet
from ._training.parameters import constraints
from ._training.persistence import packed, unpacked
from ._training.settings import Settings, settings_of
from ._training.strategy import TrainingStrategy
from ._utils.device import (
    in_float64,
    inference_dtype,
)
from ._utils.seeds import Seeds, entropy_of
from ._utils.validation import (
    canonical,
    checked_finite,
    float_dtypes,
    from_torch,
)
from ._utils.warn import warn_user
from .exceptions import DivergenceWarning
from .presets import preset_params


@contextmanager
def _unchanged_on_failure(estimator):
    """Put an estimator's attributes back if fitting it fails or is interrupted."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


class BaseAutoencoder(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, CallbackParams
):
    """Fitting, coding and reconstructing, for every autoencoder of the package.

    Subclasses define ``__init__`` with the parameters that are constrained here and
    their own, and :meth:`_strategy`.
    """

    net_: EpochNet
    _fitted: Fitted
    _likelihood: ClassVar[type[Likelihood]] = Gaussian
    _strategy_type: ClassVar[type]

    _parameter_constraints: dict = constraints()

    @classmethod
    def from_preset(cls, name, **overrides):
        """An estimator with the parameters of a named preset.

        Parameters
        ----------
        name : str
            A key of :data:`skvae.presets.PRESETS` that is this estimator's.
        **overrides
            Parameters that replace the preset's.

        Returns
        -------
        estimator : object
            Not fitted.

        Raises
        ------
        ValueError
            If the preset is unknown or another estimator's, or if the estimator has no
            parameter of an override's name.
        """
        params = preset_params(name, cls.__name__)
        unknown = sorted(set(overrides) - set(cls._get_param_names()))
        if unknown:
            raise ValueError(
                f"{cls.__name__} has no parameter {', '.join(map(repr, unknown))}."
            )
        return cls(**{**params, **overrides})

    @_fit_context(prefer_skip_nested_validation=True)
    @public
    def fit(self, X, y=None):
        """Fit the model to X.

        Units are then put into the order of the variance that they explain, the largest
        first, and the largest loading of each is positive, as in
        :class:`sklearn.decomposition.PCA`.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            Training rows, at least two. Computation is in float32, but for what
            ``precision`` says. Sparse X and memory maps are densified, or read, a
            minibatch at a time.
        y : Ignored
            Not used, present for API consistency.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X or a parameter is invalid; before any training.
        FloatingPointError
            If the loss becomes NaN or infinite. Like any error, and like Ctrl-C, it
            leaves the estimator as it was before the call.
        """
        self._fit(X)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    @public
    def fit_transform(self, X, y=None):
        """Fit the model to X and code X, as :meth:`fit` and :meth:`transform` do.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            Training rows, at least two.
        y : Ignored
            Not used, present for API consistency.

        Returns
        -------
        X_new : ndarray of shape (n_samples, latent_dim)
            Codes, as :meth:`transform` gives them.
        """
        X, codes = self._fit(X)
        return self._transformed(X) if codes is None else codes

    @_fit_context(prefer_skip_nested_validation=True)
    @public
    def partial_fit(self, X, y=None):
        """Train for one epoch on X, going on from where the last call ended.

        For data that comes in chunks: there is no early stopping and no schedule of the
        learning rate. The first call sets the units and the linear path from its rows,
        so give it a chunk that represents the data. Units keep their places and signs,
        so that codes of all chunks mean the same: PCA's of the first chunk, with a
        linear path. What they explain is measured on each chunk. Parameters that were
        changed since the last call are applied, ``callbacks`` and ``device`` too; those
        that decide on the architecture are refused, and ``random_state`` is that of the
        first call.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            A chunk of rows; the first at least two, later ones at least one.
        y : Ignored
            Not used, present for API consistency.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X or a parameter is invalid, or the architecture changed.
        FloatingPointError
            If the loss becomes NaN or infinite. Like any error, and like Ctrl-C, it
            leaves the estimator as it was before the call.
        """
        with _unchanged_on_failure(self):
            previous = getattr(self, "_fitted", None)
            first = previous is None
            X = self._validated(X, reset=first, min_rows=2 if first else 1)
            settings = self._settings(X.shape[1])
            if previous is not None:
                check_same_architecture(previous.net, settings)
            seeds = self._next_seeds(fresh=first)
            names = getattr(self, "feature_names_in_", None)
            with fitted_chunk(X, settings, seeds, names, previous) as fit:
                self._commit(fit, X.dtype)
                self._measure(X, seeds)
        self._advise(X)
        return self

    def _fit(self, X) -> tuple[Any, np.ndarray | None]:
        """Fit to X; returns validated rows, and their codes where those were needed."""
        with _unchanged_on_failure(self):
            warm = self.warm_start and hasattr(self, "_fitted")
            X = self._validated(X, reset=not warm, min_rows=2)
            settings = self._settings(X.shape[1])
            if warm:
                check_same_architecture(self.net_, settings)
            seeds = self._next_seeds(fresh=not warm)
            fit = fit_rows(
                X,
                settings,
                seeds,
                feature_names=getattr(self, "feature_names_in_", None),
                previous=self._fitted if warm else None,
            )
            self._commit(fit, X.dtype)
            codes = self._measure(X, seeds)
        if self.verbose and self.early_stopping:
            line = what_was_kept(
                self.best_epoch_,
                self.n_iter_,
                linear_path=settings.begins_linear,
                goes_on=warm,
            )
            print(line)
        self._advise(X)
        return X, codes

    @public
    def transform(self, X):
        """Code X.

        Deterministic: no draw (a posterior's mean), no dropout, running statistics.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            Rows to code.

        Returns
        -------
        X_new : ndarray of shape (n_samples, latent_dim)
            Codes, in the units of X unless the estimator whitens them; float64 if X is
            float64, else float32.
        """
        check_is_fitted(self)
        return self._transformed(self._validated(X, reset=False))

    @public
    def inverse_transform(self, X):
        """Reconstruct rows from codes, as :meth:`transform` gives them.

        Parameters
        ----------
        X : array-like of shape (n_samples, latent_dim)
            Codes.

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
        return self._decode(Z)

    @public
    def reconstruct(self, X):
        """Reconstruct X from its codes.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            Rows to reconstruct.

        Returns
        -------
        X_reconstructed : ndarray of shape (n_samples, n_features)
            In the units of X; float64 if X is float64, else float32.
        """
        check_is_fitted(self)
        X = self._validated(X, reset=False)
        network, likelihood = self.module_, self._likelihood_
        return self._over_chunks(
            X, lambda batch: likelihood.mean(network(batch.inputs))
        )

    @public
    def reconstruction_error(self, X, per_feature=False):
        """Squared error of the reconstruction of X from its codes.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            Rows to reconstruct.
        per_feature : bool, default=False
            Whether to keep the features apart.

        Returns
        -------
        error : ndarray of shape (n_samples,) or (n_samples, n_features)
            Squared error in the squared units of X: averaged over features, float64;
            or, ``per_feature``, in the dtype of X.

        Raises
        ------
        ValueError
            If squares of X are too large for the dtype of X.
        """
        check_is_fitted(self)
        X = self._validated(X, reset=False)
        network, likelihood = self.module_, self._likelihood_

        def errors(batch: Minibatch) -> Tensor:
            error = likelihood.deviance(network(batch.inputs), batch.target)
            # Units last, and a row's in float64: their square can be large.
            error = error if per_feature else in_float64(error.mean(dim=1))
            return error.mul_(likelihood.loss_unit)

        return self._over_chunks(X, errors)

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
    def module_(self) -> Autoencoder:
        """The fitted module; rows go in as ``(X - mean_) / scale_``."""
        check_is_fitted(self)
        return self._fitted.state.network

    @property
    def _likelihood_(self) -> Likelihood:
        return self._fitted.state.likelihood

    @property
    def _n_features_out(self) -> int:
        return self.module_.latent_dim

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_fitted")

    def __getstate__(self) -> dict[str, Any]:
        """Parameters and fitted numbers, with the net as plain data."""
        state = dict(super().__getstate__())
        state.pop("net_", None)
        fit = state.pop("_fitted", None)
        if fit is not None:
            state["_packed"] = packed(fit, self.callbacks)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take them, and build the net anew.

        Raises
        ------
        ValueError
            If another version of skvae wrote them, in a format that this one has not.
        """
        state = dict(state)
        data = state.pop("_packed", None)
        super().__setstate__(state)
        if data is not None:
            self._fitted = unpacked(
                data, self._strategy_type, self._likelihood, self.callbacks
            )
            self.net_ = self._fitted.net

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    # -- fitting -----------------------------------------------------------------------

    def _settings(self, n_features: int) -> Settings:
        """The parameters, checked and resolved."""
        return settings_of(self, n_features, self._strategy(), self._likelihood)

    def _strategy(self) -> TrainingStrategy:
        """How this kind of autoencoder is trained."""
        raise NotImplementedError

    def _measure(self, X, seeds: Seeds) -> np.ndarray | None:
        """Set the fitted attributes that are statistics of the training rows' codes.

        Returns the codes, if there are such attributes.
        """
        return None

    def _advise(self, X) -> None:
        """Warn about a fit that is not what its user can have wanted."""
        if self._fitted.state.record.diverged:
            warn_user(divergence_advice(float(self.lr)), DivergenceWarning)

    def _next_seeds(self, *, fresh: bool) -> Seeds:
        """Seeds of this call; later calls of one estimator have others."""
        if fresh:
            return Seeds(entropy_of(self.random_state), 0)
        return Seeds(*self._fitted.state.seeds)

    def _commit(self, fit: Fitted, dtype: np.dtype) -> None:
        """Set the fitted attributes, all of them at the end."""
        # A net that goes on training adds to its history.
        known: list[dict] = []
        if getattr(self, "net_", None) is fit.net:
            known = self.history_
        self._fitted = fit
        self._dtype = np.dtype(dtype).name
        self.net_ = fit.net
        affine = fit.state.likelihood.input_affine()
        if affine is not None and affine.mean is not None:
            self.mean_, self.scale_ = affine
        explained = fit.state.explained
        if explained is not None:
            self._jacobian = explained.jacobian.astype(dtype)
            self.explained_variance_ = explained.variance
            self.explained_variance_ratio_ = explained.ratio
        self.best_epoch_ = fit.state.record.best_epoch
        new = fit.net.history[len(known) :]
        self.history_: list[dict] = known + [epoch_row(row) for row in new]
        self.n_iter_ = len(self.history_)

    # -- applying ----------------------------------------------------------------------

    def _validated(self, X, *, reset: bool, min_rows: int = 1):
        X = from_torch(X)
        X = validate_data(
            self,
            X,
            reset=reset,
            accept_sparse="csr",
            dtype=float_dtypes(X),
            ensure_min_samples=min_rows,
        )
        return canonical(X)

    @contextmanager
    def _inference(self, n_rows: int) -> Iterator[None]:
        """Without gradients, and with the threads that a chunk of rows is worth."""
        n_rows = min(n_rows, chunk_rows(self.n_features_in_))
        with torch.no_grad(), threads_for(self.module_, n_rows):
            yield

    def _over_chunks(self, X, measure: Callable[[Minibatch], Tensor]) -> np.ndarray:
        """What is measured on every chunk of validated rows, as one array of all rows.

        Chunks are in the precision of X.

        Raises
        ------
        ValueError
            If something overflows.
        """
        dtype = inference_dtype(X.dtype, self._fitted.device)
        rows = self._fitted.rows(X, dtype=dtype, resident=False)
        with self._inference(X.shape[0]):
            parts = (measure(batch).cpu().numpy() for batch in rows.batches())
            return stacked((checked_finite(p, X.dtype) for p in parts), X.shape[0])

    def _transformed(self, X) -> np.ndarray:
        """Codes of validated rows, (n_rows, latent_dim)."""
        network = self.module_
        codes = self._over_chunks(X, lambda batch: network.code(batch.inputs))
        with np.errstate(over="ignore"):
            codes *= self._code_units(codes.dtype)
        return checked_finite(codes, X.dtype)

    def _decode(
        self, Z: np.ndarray, outcome: Callable[[Tensor], Tensor] | None = None
    ) -> np.ndarray:
        """Rows (n, n_features) of codes in units of the prior, in units of X.

        ``outcome`` makes rows of raw outputs; by default it is their mean.
        """
        device = self._fitted.device
        dtype = inference_dtype(Z.dtype, device)
        outcome = outcome or self._likelihood_.mean
        chunks = gen_batches(len(Z), chunk_rows(self.n_features_in_))
        codes = (torch.as_tensor(Z[at], dtype=dtype, device=device) for at in chunks)
        with self._inference(len(Z)):
            decoded = (outcome(self.module_.decode(z)) for z in codes)
            parts = (part.cpu().numpy() for part in decoded)
            return stacked((checked_finite(p, Z.dtype) for p in parts), len(Z))

    def _code_units(self, dtype: np.dtype) -> np.ndarray:
        """What a unit of a latent dimension is multiplied with, (latent_dim,)."""
        return self._fitted.state.code_scale.astype(dtype)
