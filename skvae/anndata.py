"""Codes of single cells: estimators on :class:`anndata.AnnData`, in place.

>>> import skvae.anndata
>>> vae = VAETransformer(10, random_state=0)              # doctest: +SKIP
>>> skvae.anndata.fit_transform(vae, adata)               # doctest: +SKIP
>>> sc.pp.neighbors(adata, use_rep="X_skvae")             # doctest: +SKIP
>>> skvae.anndata.transform(vae, other)                   # doctest: +SKIP

The habits are scanpy's: what is computed is written to the object and nothing is
returned, or, with ``copy=True``, a copy that has it. Genes are known by name. Needs
anndata: ``pip install 'skvae[anndata]'``.
"""

import difflib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted, validate_data

from ._data.dataset import stacked
from ._data.spool import is_by_columns, is_on_disk, row_parts, spooled
from ._utils.containers import kinds_of
from ._utils.names import repeated, some
from ._utils.optional import optional_import
from ._utils.routing import (
    call,
    fit_codes,
    is_search,
    last_step,
    refuse_conditions,
)
from ._utils.warn import warn_user
from ._version import __version__

anndata = optional_import("anndata", "anndata")
pandas = optional_import("pandas", "anndata")  # which anndata needs

__all__ = ["fit_transform", "transform"]

KEY = "X_skvae"


def fit_transform(
    estimator: Any,
    adata: Any,
    *,
    layer: str | None = None,
    obs_conditions: Sequence[str] = (),
    key_added: str = KEY,
    copy: bool = False,
) -> Any:
    """Fit an estimator to the cells and write their codes to ``adata``.

    ``estimator`` itself is fitted, as by its own ``fit_transform``, and knows the genes
    by name afterwards (``feature_names_in_``).

    Parameters
    ----------
    estimator : estimator, Pipeline or search
        Of skvae, or a scikit-learn pipeline or search that ends in one; any transformer
        will do. A search must refit, and its best estimator gives the codes. Steps
        before the last hold what they make of X in memory.
    adata : anndata.AnnData of shape (n_obs, n_vars)
        Cells, in memory or backed by a file. A backed matrix is unpacked in parts into
        temporary files (their folder is TMPDIR's, and gone at the end), and a minibatch
        of rows at a time is read from there; only the linear path of an estimator is
        made of rows in memory, of 100 million entries at most.
    layer : str, optional
        Layer to use in place of ``adata.X``.
    obs_conditions : sequence of str, default=()
        Columns of ``adata.obs`` that the estimator gets as ``conditions``, a data frame
        of shape (n_obs, n_conditions). None are passed on if there are none.
    key_added : str, default="X_skvae"
        Where results go; see below.
    copy : bool, default=False
        Whether to leave ``adata`` as it is and return a copy with the results.

    Returns
    -------
    adata : anndata.AnnData or None
        The copy, if ``copy``; else None. The results are

        ``.obsm[key_added]`` : ndarray of shape (n_obs, latent_dim)
            Codes, as the estimator's ``transform`` gives them.
        ``.varm[key_added]`` : ndarray of shape (n_vars, latent_dim)
            The transpose of the estimator's ``components_``, if it has them and a
            pipeline's other steps have the names of genes (``get_feature_names_out``);
            NaN for genes that those leave out, or that it was not fitted on.
        ``.uns[key_added]`` : dict
            What made them, in types that ``write_h5ad`` takes: ``estimator``, the name
            of the class; ``model``, its pipeline or search, if there is one;
            ``parameters`` of the estimator, where None is the text "None", and what
            h5ad has no type for its ``repr``; ``versions``; ``genes``, in the order of
            training; ``conditions``; ``layer``, if not X; and, as far as they exist,
            ``likelihood``, ``n_iter``, ``best_epoch``, ``valid_elbo`` (nats per row, of
            that epoch) and ``best_score`` of the search.

    Raises
    ------
    TypeError
        If ``adata`` is no AnnData, or the estimator gives no codes or takes no
        conditions.
    KeyError
        If there is no such layer or column of ``adata.obs``.
    ValueError
        If names of genes repeat, anndata cannot write to ``adata``, or the estimator
        refuses X. Like any error, it leaves ``adata`` as it was.
    """
    genes = _checked(estimator, adata, key_added, copy)
    X, conditions = _inputs(estimator, adata, layer, obs_conditions)
    trained = getattr(estimator, "feature_names_in_", None)
    if not is_search(estimator) and trained is not None:
        goes_on = getattr(last_step(estimator), "warm_start", False)
        if goes_on and list(trained) != genes:
            raise ValueError(
                "warm_start=True goes on from the last fit, and adata.var_names are "
                "not its genes in their order; pass "
                "adata[:, estimator.feature_names_in_]."
            )
    with spooled(X) as rows, _names_are_checked():
        codes = np.asarray(fit_codes(estimator, rows, conditions))
    _note_genes(estimator, genes)
    facts = _facts(estimator, genes, layer, conditions)
    return _written(estimator, adata, codes, facts, key_added, copy)


def transform(
    estimator: Any,
    adata: Any,
    *,
    layer: str | None = None,
    obs_conditions: Sequence[str] = (),
    key_added: str = KEY,
    copy: bool = False,
) -> Any:
    """Code cells with a fitted estimator and write the codes to ``adata``.

    Genes are found by name, in whatever order; those that the estimator was not fitted
    on are left out.

    Parameters
    ----------
    estimator : estimator, Pipeline or search
        Fitted with names of genes: by :func:`fit_transform`, the command line, or on a
        data frame such as ``adata.to_df()``.
    adata : anndata.AnnData of shape (n_obs, n_vars)
        Cells, in memory or backed by a file, whose rows are then read in parts.
    layer : str, optional
        Layer to use in place of ``adata.X``.
    obs_conditions : sequence of str, default=()
        Columns of ``adata.obs`` that the estimator gets as ``conditions``.
    key_added : str, default="X_skvae"
        Where results go: codes, and what made them, as in :func:`fit_transform`.
    copy : bool, default=False
        Whether to leave ``adata`` as it is and return a copy with the results.

    Returns
    -------
    adata : anndata.AnnData or None
        The copy, if ``copy``; else None.

    Raises
    ------
    TypeError, KeyError
        As :func:`fit_transform`.
    ValueError
        If genes of the estimator are missing, names repeat, or as there.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    """
    genes = _checked(estimator, adata, key_added, copy)
    check_is_fitted(estimator)
    X, conditions = _inputs(estimator, adata, layer, obs_conditions)
    trained = getattr(estimator, "feature_names_in_", None)
    if trained is None:
        raise ValueError(
            f"This {type(estimator).__name__} does not know its genes by name; fit it "
            "with skvae.anndata.fit_transform, or on a data frame (adata.to_df())."
        )
    trained = list(map(str, trained))
    order = _order_of_genes(trained, genes)
    with _names_are_checked():
        codes = _codes(estimator, X, order, conditions)
    facts = _facts(estimator, trained, layer, conditions)
    return _written(estimator, adata, codes, facts, key_added, copy)


# -- what is given ---------------------------------------------------------------------


def _checked(estimator, adata, key_added, copy: bool) -> list[str]:
    """Names of the genes, once nothing stands in the way of a result."""
    if not isinstance(adata, anndata.AnnData):
        advice = "for a table call the estimator's own methods."
        if ("mudata", "MuData") in kinds_of(adata):
            advice = "pass one modality, adata[name]."
        raise TypeError(
            f"adata must be an anndata.AnnData, not {type(adata).__name__}; {advice}"
        )
    if is_search(estimator) and estimator.refit is False:
        raise ValueError(f"{type(estimator).__name__} keeps no model: refit=False.")
    if not (hasattr(estimator, "fit") and hasattr(estimator, "transform")):
        raise TypeError(f"{type(estimator).__name__} gives no codes: no transform.")
    if not isinstance(key_added, str):
        raise TypeError(f"key_added={key_added!r} must be a string.")
    if adata.isbacked and (copy or adata.is_view):
        what = "a copy" if copy else "a view"
        raise ValueError(
            f"anndata cannot write to {what} of cells that a file backs; pass "
            "adata.to_memory(), or adata.copy(filename) in a file of its own."
        )
    genes = list(map(str, adata.var_names))
    twice = repeated(genes)
    if twice:
        raise ValueError(
            f"adata.var_names appear more than once: {some(twice)}; make them unique "
            "(adata.var_names_make_unique())."
        )
    return genes


def _inputs(estimator, adata, layer, obs_conditions) -> tuple[Any, Any]:
    """The matrix, and the conditions or None."""
    if layer is None:
        X = adata.X
        if X is None:
            raise ValueError("adata has no X; name a layer.")
    else:
        _refuse_unknown([layer], adata.layers, "layer")
        X = adata.layers[layer]
    if isinstance(obs_conditions, str):
        obs_conditions = [obs_conditions]
    columns = list(obs_conditions)
    if not columns:
        return X, None
    _refuse_unknown(columns, adata.obs, "column of adata.obs")
    refuse_conditions(estimator)
    return X, pandas.DataFrame(adata.obs[columns])


def _refuse_unknown(names: Sequence, known, what: str) -> None:
    has = list(map(str, known))
    for name in names:
        if name in known:
            continue
        near = difflib.get_close_matches(str(name), has)
        advice = f"did you mean {some(map(repr, near))}?" if near else ""
        if not near:
            advice = f"there are {some(has)}" if has else "there is none"
        raise KeyError(f"no {what} {name!r}; {advice}")


# -- genes by name ---------------------------------------------------------------------


def _order_of_genes(trained: list[str], genes: list[str]) -> np.ndarray | None:
    """Where the genes of an estimator are; None if they are in their places."""
    if trained == genes:
        return None
    at = {name: i for i, name in enumerate(genes)}
    missing = [name for name in trained if name not in at]
    if missing:
        raise ValueError(
            f"{len(missing)} of the {len(trained)} genes that the estimator was fitted "
            f"on are missing: {some(missing)}. adata has {some(genes, 3)}."
        )
    if trained == _counted(len(trained)) and genes == _counted(len(genes)):
        # anndata counts where there are no names: they say nothing of a larger table.
        raise ValueError(
            f"adata has {len(genes)} genes without names, and the estimator was fitted "
            f"on {len(trained)}; set adata.var_names, and fit it anew."
        )
    return np.array([at[name] for name in trained])


def _counted(n: int) -> list[str]:
    return list(map(str, range(n)))


@contextmanager
def _names_are_checked() -> Iterator[None]:
    """Genes are compared here; scikit-learn asks for frames, which are never sparse."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        yield


def _note_genes(model, genes: list[str]) -> None:
    """Set ``feature_names_in_`` as a fit to a data frame of these columns sets it."""
    if is_search(model):
        _note_genes(model.best_estimator_, genes)
        model.feature_names_in_ = np.asarray(genes, dtype=object)
        return
    if isinstance(model, Pipeline):
        _note_genes(model.steps[0][1], genes)
        return
    frame = pandas.DataFrame(columns=genes, dtype=np.float32)
    try:
        validate_data(model, frame, reset=True, skip_check_array=True)
    except AttributeError:  # "passthrough", or a union, which only asks its parts
        warn_user(
            f"The first step of the pipeline, {model!r}, keeps no names of genes, so "
            "skvae.anndata.transform will not know them; put another in front."
        )


# -- codes and what goes with them -----------------------------------------------------


def _codes(estimator, X, order: np.ndarray | None, conditions) -> np.ndarray:
    """Codes of the columns ``order`` of X; of a matrix on disk in parts of its rows."""
    if is_by_columns(X) or X.shape[0] == 0:
        with spooled(X) as rows:
            return _codes_of(estimator, rows, order, conditions)
    if not is_on_disk(X):
        return _codes_of(estimator, X, order, conditions)
    parts = (
        _codes_of(
            estimator,
            part,
            order,
            None if conditions is None else conditions.iloc[rows],
        )
        for rows, part in row_parts(X)
    )
    return stacked(parts, X.shape[0])


def _codes_of(estimator, X, order: np.ndarray | None, conditions) -> np.ndarray:
    X = X if order is None else X[:, order]
    return np.asarray(call(estimator, "transform", X, conditions))


def _loadings(estimator, trained: list[str], genes: list[str]) -> np.ndarray | None:
    """Components by genes, (n_vars, latent_dim), or None."""
    components = getattr(last_step(estimator), "components_", None)
    if components is None:
        return None
    names = _names_at_last_step(estimator, trained)
    components = np.asarray(components)
    at = {name: i for i, name in enumerate(genes)}
    if len(names) != components.shape[1] or not at.keys() >= set(names):
        return None
    loadings = np.full((len(genes), len(components)), np.nan, components.dtype)
    loadings[[at[name] for name in names]] = components.T
    return loadings


def _names_at_last_step(model, names: list[str]) -> list[str]:
    """What a pipeline's other steps call the columns that they make of these."""
    if is_search(model):
        return _names_at_last_step(model.best_estimator_, names)
    if not isinstance(model, Pipeline):
        return names
    before = model[:-1]
    if len(before):
        try:
            names = list(before.get_feature_names_out(names))
        except (AttributeError, ValueError):  # there are steps that name nothing
            return []
    return _names_at_last_step(model[-1], names)


def _facts(estimator, genes: list[str], layer, conditions) -> dict[str, Any]:
    """What made the codes, in types that h5ad has."""
    final = last_step(estimator)
    columns = [] if conditions is None else conditions.columns
    facts: dict[str, Any] = {
        "estimator": type(final).__name__,
        "parameters": {k: _plain(v) for k, v in final.get_params(deep=False).items()},
        "versions": {
            "skvae": __version__,
            **{name: version(name) for name in ("torch", "scikit-learn", "anndata")},
        },
        "genes": np.array(genes, dtype=object),
        "conditions": np.array(columns, dtype=object),
    }
    if final is not estimator:
        facts["model"] = repr(estimator)
    if layer is not None:
        facts["layer"] = layer
    for name in ("n_iter", "best_epoch", "likelihood"):
        value = getattr(final, f"{name}_", None)
        if value is not None:
            facts[name] = _plain(value)
    best = getattr(estimator, "best_score_", None)
    if best is not None:
        facts["best_score"] = float(best)
    epochs, kept = getattr(final, "history_", []), getattr(final, "best_epoch_", 0)
    if 0 < kept <= len(epochs) and "valid_elbo" in epochs[kept - 1]:
        facts["valid_elbo"] = float(epochs[kept - 1]["valid_elbo"])
    return facts


def _plain(value):
    """Numbers, texts and lists of them as they are; anything else as its ``repr``."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        plain = [_plain(part) for part in value]
        kinds = {type(part) for part in plain}
        if kinds <= {int, float} or kinds == {str}:
            return plain
    return repr(value)


def _written(estimator, adata, codes, facts, key: str, copy: bool):
    """Write the results, all of them behind whatever can fail."""
    genes = list(map(str, adata.var_names))
    loadings = _loadings(estimator, list(facts["genes"]), genes)
    target = adata.copy() if copy else adata
    target.obsm[key] = codes
    if loadings is not None:
        target.varm[key] = loadings
    elif key in target.varm:  # of an earlier fit
        del target.varm[key]
    target.uns[key] = facts
    return target if copy else None
