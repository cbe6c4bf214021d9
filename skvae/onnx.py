"""Fitted models as ONNX files, for runtimes without torch.

Needs the extra ``onnx``. The graph is made of standard operators (opset 17).
"""

import json
import os
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ._base import BaseAutoencoder
from ._data.conditions import encode_conditions
from ._evaluation.bounds import cubature
from ._inference import GIVEN, ROW_SUM
from ._onnx import likelihoods
from ._onnx.graph import EXTRA, IR_VERSION, OPSET, Graph, Value
from ._onnx.network import decoded, posterior
from ._utils.optional import optional_import
from ._utils.typing import Table
from ._version import __version__
from .vae import VAETransformer

__all__ = ["encoded_conditions", "export", "register_converters"]

PARTS = ("encoder", "decoder", "score")


def export(estimator: Any, path: str | os.PathLike[str], part: str = "encoder") -> None:
    """Write a part of a fitted model as an ONNX file.

    Inputs are float32: ``X`` (n, n_features), or ``codes`` (n, latent_dim) of a
    decoder; ``conditions`` (n, n_encoded) where the part needs them, as
    :func:`encoded_conditions` gives them; ``size_factor`` (n, 1) of a model that was
    fitted with size factors of its own.

    Parameters
    ----------
    estimator : VAETransformer, AETransformer, RAETransformer or SAETransformer
        Fitted.
    path : path-like
    part : {"encoder", "decoder", "score"}, default="encoder"
        What the file computes: ``transform`` (codes, float32), ``inverse_transform``
        (rows, float32; of counts at the usual size), or ``score_samples`` (ELBO, nats
        per row, float64 of counts, else float32), which needs a VAETransformer.

    Raises
    ------
    ImportError
        If the extra ``onnx`` is not installed.
    TypeError
        If it is no estimator of skvae; of a pipeline, see :func:`register_converters`.
    ValueError
        If the estimator has no such part, or a likelihood that is none of skvae's.
    """
    onnx = optional_import("onnx", EXTRA)
    _check(estimator, part)
    graph = Graph()
    given = _Inputs(graph, estimator, part)
    output = _PARTS[part](graph, estimator, given)
    name = _OUTPUTS[part]
    graph.renamed(output, name)
    helper = onnx.helper
    made = helper.make_graph(
        graph.nodes,
        f"skvae_{part}",
        [_info(helper, value, shape) for value, shape in given.used()],
        [_info(helper, graph.value(name, output.dtype), _shape(estimator, part))],
        initializer=graph.constants,
    )
    model = helper.make_model(
        made,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="skvae",
        producer_version=__version__,
    )
    helper.set_model_props(model, _properties(estimator, part))
    onnx.checker.check_model(model)
    onnx.save_model(model, os.fspath(path))


def encoded_conditions(estimator: Any, conditions: Table | None) -> Any:
    """Conditions as the input ``conditions`` of an exported model takes them.

    Parameters
    ----------
    estimator : estimator
        Fitted with conditions.
    conditions : array-like or frame of shape (n_samples, n_conditions)

    Returns
    -------
    encoded : ndarray of shape (n_samples, n_encoded), float32
        Numbers standardised, categories as one-hot columns.

    Raises
    ------
    ValueError
        If they are not like those of ``fit``.
    """
    check_is_fitted(estimator)
    n_rows = len(np.atleast_1d(np.asarray(conditions)))
    return encode_conditions(conditions, estimator._conditions, n_rows)


def register_converters() -> None:
    """Tell skl2onnx of the estimators: ``to_onnx`` then takes pipelines of them.

    A converted pipeline computes ``transform``.

    Raises
    ------
    ImportError
        If the extra ``onnx`` is not installed.
    """
    skl2onnx = optional_import("skl2onnx", EXTRA)
    types = optional_import("skl2onnx.common.data_types", EXTRA)

    def shape(operator) -> None:
        codes = [None, operator.raw_operator.module_.latent_dim]
        operator.outputs[0].type = types.FloatTensorType(codes)

    def convert(scope, operator, container) -> None:
        estimator = operator.raw_operator
        _check(estimator, "encoder")
        graph = Graph(scope.get_unique_operator_name("skvae") + "_")
        source = operator.inputs[0]
        is_double = isinstance(source.type, types.DoubleTensorType)
        X = graph.value(source.onnx_name, np.float64 if is_double else np.float32)
        if not isinstance(source.type, types.DoubleTensorType | types.FloatTensorType):
            X = graph.value(source.onnx_name, np.int64).cast(np.float32)
        given = _Inputs(graph, estimator, "encoder", X)
        if len(given.used()) > 1:
            raise ValueError(
                "skl2onnx has no place for conditions and size factors: use "
                "skvae.onnx.export."
            )
        codes = _encoder(graph, estimator, given)
        graph.renamed(codes, operator.outputs[0].full_name)
        container.initializers.extend(graph.constants)
        container.nodes.extend(graph.nodes)
        container.node_domain_version_pair_sets.add(("", OPSET))

    for kind in _kinds():
        skl2onnx.update_registered_converter(
            kind, f"Skvae{kind.__name__}", shape, convert, overwrite=True
        )


def _kinds() -> list[type[BaseAutoencoder]]:
    from .ae import AETransformer
    from .rae import RAETransformer
    from .sae import SAETransformer

    return [VAETransformer, AETransformer, RAETransformer, SAETransformer]


def _check(estimator: Any, part: str) -> None:
    if not isinstance(estimator, BaseAutoencoder):
        raise TypeError(
            f"{type(estimator).__name__} is no estimator of skvae. Of a pipeline, call "
            "skvae.onnx.register_converters() and skl2onnx.to_onnx."
        )
    if part not in PARTS:
        raise ValueError(f"part={part!r} must be one of {', '.join(map(repr, PARTS))}.")
    check_is_fitted(estimator)
    if part == "score" and not isinstance(estimator, VAETransformer):
        raise ValueError(f"{type(estimator).__name__} has no likelihood to score by.")
    if estimator._likelihood_.name not in likelihoods._NLL:
        raise ValueError(
            f"likelihood={estimator._likelihood_.name!r} has no operators."
        )
    gaps = estimator._fitted.state.gaps
    if gaps is not None and gaps.n_told:
        raise ValueError(
            "This model was fitted to rows with gaps, which take linear systems to be "
            "filled: ONNX has no operator for them. Fit it to rows that were imputed."
        )


class _Inputs:
    """What comes into a part, and what follows from it."""

    def __init__(
        self, graph: Graph, estimator: Any, part: str, X: Value | None = None
    ) -> None:
        network, self._likelihood = estimator.module_, estimator._likelihood_
        n_features = self._likelihood.n_features
        self._inputs: list[tuple[Value, int]] = []
        self.codes = self.rows = None
        if part == "decoder":
            self.codes = self._input(graph, "codes", network.latent_dim)
        else:
            X = X or graph.value("X", np.float32)
            self._inputs.append((X, n_features))
            self.rows = likelihoods.target(X, self._likelihood)
        self.size: Value | float | None = None
        if estimator._sizes == GIVEN and part != "decoder":
            self.size = self._input(graph, "size_factor", 1)
        elif estimator._sizes == ROW_SUM and self.rows is not None:
            self.size = likelihoods.row_sums(self.rows)
        elif estimator._sizes is not None:
            self.size = self._likelihood.usual_size
        self.conditions: Value | None = None
        n_given = sum(len(c.get("categories", [0])) for c in estimator._conditions)
        if n_given and (part != "encoder" or network.encodes_conditions):
            self.conditions = self._input(graph, "conditions", n_given)

    def _input(self, graph: Graph, name: str, n_columns: int) -> Value:
        value = graph.value(name, np.float32)
        self._inputs.append((value, n_columns))
        return value

    def used(self) -> list[tuple[Value, tuple]]:
        return [(value, ("n", n_columns)) for value, n_columns in self._inputs]

    def encoder_inputs(self, network: Any) -> Value:
        assert self.rows is not None
        size = None if isinstance(self.size, float) else self.size
        inputs = likelihoods.inputs(self.rows, self._likelihood, size)
        if network.encodes_conditions:
            assert self.conditions is not None
            return inputs.beside(self.conditions)
        return inputs


def _encoder(graph: Graph, estimator: Any, given: _Inputs) -> Value:
    network = estimator.module_
    codes, _ = posterior(given.encoder_inputs(network), network)
    return codes * estimator._code_units(np.float32)


def _decoder(graph: Graph, estimator: Any, given: _Inputs) -> Value:
    likelihood = estimator._likelihood_
    units = np.asarray(estimator._code_units(np.float32), dtype=np.float64)
    # A unit that the decoder ignores has no way back but the prior.
    inverse = np.divide(1.0, units, out=np.zeros_like(units), where=units > 0.0)
    assert given.codes is not None
    raw = decoded(given.codes * inverse, estimator.module_, given.conditions)
    raw = likelihoods.sized(raw, likelihood, given.size)
    return likelihoods.mean(raw, likelihood, given.size)


def _score(graph: Graph, estimator: Any, given: _Inputs) -> Value:
    """``score_samples``: the mixture of network and background, by the cubature."""
    state, network = estimator._fitted.state, estimator.module_
    likelihood, rows = estimator._likelihood_, given.rows
    assert rows is not None
    mean, log_var = posterior(given.encoder_inputs(network), network)
    assert log_var is not None
    kl = ((log_var.exp() - 1.0 + mean.square() - log_var) * 0.5).sum()
    n_pairs = int(state.host.number("n_pairs")) or None
    design = int(state.host.number("design"))
    pairs = cubature(network.latent_dim, n_pairs, design).numpy()
    spread, total = (log_var * 0.5).exp(), None
    for point in np.concatenate([pairs, -pairs]):
        raw = decoded(mean + spread * point, network, given.conditions)
        raw = likelihoods.sized(raw, likelihood, given.size)
        cost = likelihoods.nll(raw, rows, likelihood)
        total = cost if total is None else total + cost
    assert total is not None
    elbo = -(total / (2.0 * len(pairs))) - kl.cast(total.dtype)
    if state.background is not None:
        weight = state.record.background_weight
        other = likelihoods.background_elbo(rows, state.background, given.conditions)
        one, two = elbo + np.log1p(-weight), other + np.log(weight)
        elbo = one.maximum(two) + (one - two).softplus_of_negative()
    return elbo + likelihood.log_det()


_PARTS = {"encoder": _encoder, "decoder": _decoder, "score": _score}
_OUTPUTS = {"encoder": "codes", "decoder": "X", "score": "score"}


def _shape(estimator: Any, part: str) -> tuple:
    if part == "score":
        return ("n",)
    network, likelihood = estimator.module_, estimator._likelihood_
    return ("n", network.latent_dim if part == "encoder" else likelihood.n_features)


def _info(helper: Any, value: Value, shape: tuple) -> Any:
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    return helper.make_tensor_value_info(value.name, kind, list(shape))


def _properties(estimator: Any, part: str) -> dict[str, str]:
    """What the file says of itself."""
    names = getattr(estimator, "feature_names_in_", None)
    given = [column["name"] for column in estimator._conditions]
    found = {
        "estimator": type(estimator).__name__,
        "part": part,
        "likelihood": estimator._likelihood_.name,
        "skvae": __version__,
    }
    if names is not None:
        found["feature_names"] = json.dumps(list(map(str, names)))
    if given:
        found["conditions"] = json.dumps(list(map(str, given)))
    return found
