"""The shell that the estimators share: validate, train, set what is fitted."""

import os
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import _fit_context

from ._coding import Coding
from ._data.conditions import n_columns
from ._data.rows import Rows
from ._evaluation.advice import divergence_advice, what_was_kept
from ._inference import documented_rows
from ._kernels.surroundings import public
from ._likelihoods.base import Likelihood
from ._likelihoods.gaussian import Gaussian
from ._streams import spools_rows
from ._training.callbacks import CallbackParams
from ._training.continued import check_same_architecture
from ._training.fingerprint import fingerprint
from ._training.fit import fit_rows
from ._training.fit_task import FitTask
from ._training.fitted import Fitted
from ._training.history import epoch_row
from ._training.net import EpochNet
from ._training.parameters import constraints
from ._training.partial_fit import fitted_chunk
from ._training.persistence import packed, unpacked
from ._training.resume import FitCheckpoint
from ._training.settings import Settings, settings_of
from ._training.strategy import TrainingStrategy
from ._utils.seeds import Seeds, entropy_of
from ._utils.sklearn_callbacks import OF_A_FIT, CallbackSupportMixin
from ._utils.typing import Table
from ._utils.warn import warn_user
from .exceptions import DivergenceWarning
from .presets import preset_params

# Attributes that belong to the user, and what scikit-learn notes.
_NOT_OF_A_FIT = (
    "_metadata_request",
    "_skl_callbacks",
    "_sklearn_output_config",
    "_sklearn_version",
)


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


class BaseAutoencoder(CallbackParams, CallbackSupportMixin, Coding):
    """Fitting, for every autoencoder of the package, and what it leaves.

    Subclasses define ``__init__`` with the parameters that are constrained here and
    their own, and :meth:`_strategy`.
    """

    net_: EpochNet
    mean_: np.ndarray
    scale_: Any
    explained_variance_: np.ndarray
    explained_variance_ratio_: np.ndarray
    best_epoch_: int
    n_iter_: int
    history_: list[dict[str, Any]]
    _fitted: Fitted
    _strategy_type: ClassVar[type]

    _parameter_constraints: dict = constraints()

    @classmethod
    def from_preset(cls, name: str, **overrides: Any) -> Self:
        """An estimator with the parameters of a named preset.

        Parameters
        ----------
        name : str
            A key of :data:`skvae.presets.PRESETS` that is this estimator's.
        **overrides
            Parameters that replace the preset's. With another ``likelihood`` than the
            squared error, whose weight the preset has, ``kld_weight`` is "auto" if none
            is given.

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
        params = preset_params(name, cls.__name__, overrides.get("likelihood"))
        unknown = sorted(set(overrides) - set(cls._get_param_names()))
        if unknown:
            raise ValueError(
                f"{cls.__name__} has no parameter {', '.join(map(repr, unknown))}."
            )
        return cls(**{**params, **overrides})

    @_fit_context(prefer_skip_nested_validation=True)
    @public
    @spools_rows
    def fit(
        self,
        X: Table,
        y: Any = None,
        *,
        conditions: Table | None = None,
        size_factor: Any = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Fit the model to X.

        Units are then put into the order of the variance that they explain, the largest
        first, and the largest loading of each is positive, as in
        :class:`sklearn.decomposition.PCA`.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            Training rows, at least two. Computation is in float32, but for what
            ``precision`` says. Sparse X and memory maps are densified, or read, a
            minibatch at a time. A matrix on disk (of HDF5, zarr or Dask, or anndata's)
            is unpacked once into temporary files of its size, which are mapped.
        y : Ignored
            Not used, present for API consistency.
        conditions : array-like or frame of shape (n_samples, n_conditions), optional
            What is known of the rows, such as the batch of a cell, and is not to be
            learnt: it is given to the decoder beside the code. Floats are numbers,
            everything else is categories.
        size_factor : array-like of shape (n_samples,), optional
            Of likelihoods of counts: what the rate of a row is multiplied with, in
            place of what the parameter ``size_factor`` says. Positive.
        checkpoint_dir : path-like, optional
            Where training leaves what it is at, now and then (a twentieth of its time
            at most). A fit that was killed, called again with the same rows and
            parameters, goes on from there and ends at the same bits. Files are named
            by rows and parameters, so fits may share a directory; those of a fit that
            ended stay, and the same call then returns at once. Of ``callbacks``, what
            they know in attributes that end in "_" is kept where it is numbers, text,
            arrays or a schedule. Needs the extra ``safetensors``.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X or a parameter is invalid, or a checkpoint cannot be read; before any
            training.
        OSError
            If a checkpoint cannot be written; the last one is left.
        FloatingPointError
            If the loss becomes NaN or infinite. Like any error, and like Ctrl-C, it
            leaves the estimator as it was before the call.
        """
        self._fit(X, y, conditions, size_factor, checkpoint_dir)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    @public
    @documented_rows
    @spools_rows
    def fit_transform(
        self,
        X: Table,
        y: Any = None,
        *,
        conditions: Table | None = None,
        size_factor: Any = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ) -> Any:
        """Fit the model to X and code X, as :meth:`fit` and :meth:`transform` do.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, n_features)
            Training rows, at least two.
        y : Ignored
            Not used, present for API consistency.
        %(given)s
        checkpoint_dir : path-like, optional
            As in :meth:`fit`.

        Returns
        -------
        X_new : ndarray of shape (n_samples, latent_dim)
            Codes, as :meth:`transform` gives them.
        """
        rows, codes = self._fit(X, y, conditions, size_factor, checkpoint_dir)
        return self._transformed(rows) if codes is None else codes

    @_fit_context(prefer_skip_nested_validation=True)
    @public
    @documented_rows
    @spools_rows
    def partial_fit(
        self,
        X: Table,
        y: Any = None,
        *,
        conditions: Table | None = None,
        size_factor: Any = None,
    ) -> Self:
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
        %(given)s

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
        given = {"conditions": conditions, "size_factor": size_factor}
        task = FitTask(self, X, y, given, of_chunk=True)
        with _unchanged_on_failure(self):
            task.begin()
            previous = getattr(self, "_fitted", None)
            first = previous is None
            min_rows = 2 if first else 1
            rows = self._training_rows(X, **given, reset=first, min_rows=min_rows)
            settings = self._settings(rows.shape[1])
            if previous is not None:
                check_same_architecture(previous, settings)
            seeds = self._next_seeds(fresh=first)
            names = getattr(self, "feature_names_in_", None)
            with fitted_chunk(rows, settings, seeds, names, previous) as fit:
                self._commit(fit, rows.dtype)
                self._measure(rows, seeds)
                task.end()
        self._advise(rows)
        return self

    def _fit(
        self, X, y, conditions, size_factor, checkpoint_dir=None
    ) -> tuple[Rows, np.ndarray | None]:
        """Fit to X; returns validated rows, and their codes where those were needed."""
        given = {"conditions": conditions, "size_factor": size_factor}
        task = FitTask(self, X, y, given)
        with _unchanged_on_failure(self):
            task.begin()
            warm = self.warm_start and hasattr(self, "_fitted")
            rows = self._training_rows(X, **given, reset=not warm, min_rows=2)
            settings = self._settings(rows.shape[1])
            if warm:
                check_same_architecture(self._fitted, settings)
            seeds = self._next_seeds(fresh=not warm)
            checkpoint = None
            if checkpoint_dir is not None:
                checkpoint = self._checkpoint(checkpoint_dir, rows, seeds, warm=warm)
                seeds = checkpoint.seeds_of(seeds)
                if checkpoint.has_result:
                    self._take_result(checkpoint.result())
                    task.end()
                    return rows, None
            task.fitted_attributes = partial(self._as_fitted, rows, seeds)
            fit = fit_rows(
                rows,
                settings,
                seeds,
                feature_names=getattr(self, "feature_names_in_", None),
                previous=self._fitted if warm else None,
                task=task,
                checkpoint=checkpoint,
            )
            self._commit(fit, rows.dtype)
            codes = self._measure(rows, seeds)
            if checkpoint is not None:
                checkpoint.write_result(self._result())
            task.end()
        if self.verbose and self.early_stopping:
            start = "the last fit" if warm else fit.state.start
            print(what_was_kept(self.best_epoch_, self.n_iter_, start))
        self._advise(rows)
        return rows, codes

    def __getstate__(self) -> dict[str, Any]:
        """Parameters and fitted numbers, with the net as plain data."""
        state = dict(super().__getstate__())
        for name in ("net_", *OF_A_FIT):
            state.pop(name, None)
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
            self._fitted = unpacked(data, self._strategy_type, self.callbacks)
            self.net_ = self._fitted.net

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        try:
            kind = self._likelihood_type()
        except (TypeError, ValueError):  # no likelihood: fit says so
            return tags
        tags.input_tags.sparse = not self._column_likelihoods()
        tags.input_tags.allow_nan = self._marginalizes()
        tags.input_tags.positive_only = kind.is_nonnegative
        # Of whole numbers: scikit-learn has no other tag that says so.
        tags.input_tags.categorical = kind.is_whole
        return tags

    # -- fitting -----------------------------------------------------------------------

    def _settings(self, n_features: int) -> Settings:
        """The parameters, checked and resolved."""
        kind = self._likelihood_type()
        n_conditions = n_columns(self._conditions)
        return settings_of(
            self,
            n_features,
            self._strategy(),
            kind,
            n_conditions,
            likelihood_params=self._likelihood_params(),
            marginalizes=self._marginalizes(),
        )

    def _likelihood_params(self) -> dict[str, Any]:
        """What the likelihood is told of the training table's columns."""
        return {}

    def _likelihood_type(self) -> type[Likelihood]:
        return Gaussian

    def _strategy(self) -> TrainingStrategy:
        """How this kind of autoencoder is trained."""
        raise NotImplementedError

    def _as_fitted(self, rows: Rows, seeds: Seeds, fit: Fitted) -> dict[str, Any]:
        """Attributes of this estimator, if it were fitted so to validated rows."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        for name in ("net_", "_fitted"):
            other.__dict__.pop(name, None)
        other._commit(fit, rows.dtype)
        other._measure(rows, seeds)
        return {k: v for k, v in other.__dict__.items() if k not in OF_A_FIT}

    def _measure(self, rows: Rows, seeds: Seeds) -> np.ndarray | None:
        """Set the fitted attributes that are statistics of the training rows' codes.

        Returns the codes, if there are such attributes.
        """
        return None

    def _advise(self, rows: Rows) -> None:
        """Warn about a fit that is not what its user can have wanted."""
        if self._fitted.state.record.diverged:
            own_scales = self._likelihood_.has_own_scales
            advice = divergence_advice(float(self.lr), own_scales=own_scales)
            warn_user(advice, DivergenceWarning)

    def _checkpoint(
        self, directory, rows: Rows, seeds: Seeds, *, warm: bool
    ) -> FitCheckpoint:
        """Where this fit leaves what it is at; what an earlier one has left there."""
        previous = self._fitted if warm else None
        # Without a random_state, the first of several calls draws for all.
        drawn = None if self.random_state is None and not warm else seeds
        name = fingerprint(self, rows, drawn, previous)
        return FitCheckpoint(directory, name, verbose=bool(self.verbose))

    def _result(self) -> dict[str, Any]:
        """What a fit leaves on the estimator, as plain data."""
        others = {*self._get_param_names(), *_NOT_OF_A_FIT}
        return {k: v for k, v in self.__getstate__().items() if k not in others}

    def _take_result(self, state: dict[str, Any]) -> None:
        """Be fitted so."""
        packed = state.pop("_packed")
        self._fitted = unpacked(packed, self._strategy_type, self.callbacks)
        self.net_ = self._fitted.net
        self.__dict__.update(state)

    def _next_seeds(self, *, fresh: bool) -> Seeds:
        """Seeds of this call; later calls of one estimator have others."""
        if fresh:
            return Seeds(entropy_of(self.random_state), 0)
        return Seeds(*self._fitted.state.seeds)

    def _commit(self, fit: Fitted, dtype: np.dtype) -> None:
        """Set the fitted attributes, all of them at the end."""
        # A net that goes on training adds to its history.
        known: list[dict[str, Any]] = []
        if getattr(self, "net_", None) is fit.net:
            known = self.history_
        self._fitted = fit
        self._dtype = np.dtype(dtype).name
        self.net_ = fit.net
        affine = fit.state.likelihood.input_affine()
        for name in ("mean_", "scale_"):  # of an earlier fit with another likelihood
            self.__dict__.pop(name, None)
        if affine is not None and affine.mean is not None:
            self.mean_, self.scale_ = affine.mean, affine.scale
        explained = fit.state.explained
        if explained is not None:
            self._jacobian = explained.jacobian.astype(dtype)
            self.explained_variance_ = explained.variance
            self.explained_variance_ratio_ = explained.ratio
        self.best_epoch_ = fit.state.record.best_epoch
        new = fit.net.history[len(known) :]
        self.history_ = known + [epoch_row(row) for row in new]
        self.n_iter_ = len(self.history_)
