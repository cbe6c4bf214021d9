"""Encoder and decoder of a fitted network as ONNX operators, as they are evaluated."""

from typing import Any

import numpy as np

from .._nn.autoencoder import MLP, BatchNorm, InputLinear, LayerNorm
from .._nn.thresholds import ThresholdedAutoencoder
from .graph import Value


def linear(x: Value, layer: Any) -> Value:
    """A ``Linear`` or an ``InputLinear``."""
    weight, bias = layer.weight.detach().cpu().numpy(), layer.bias
    y = x @ (weight if isinstance(layer, InputLinear) else weight.T)
    return y if bias is None else y + bias.detach().cpu().numpy()


def activated(h: Value, name: str) -> Value:
    if name == "gelu":
        return h * ((h.graph.op("Erf", h * np.sqrt(0.5)) + 1.0) * 0.5)
    if name == "relu":
        return h.maximum(0.0)
    if name == "leaky_relu":
        return h.graph.op("LeakyRelu", h, alpha=0.01)
    return h * h.sigmoid()  # silu, and the gate of swiglu


def normalised(h: Value, norm: Any) -> Value:
    own: Any
    if isinstance(norm, BatchNorm):
        own = (norm.running_mean, norm.running_var)
        own = (*own, norm.weight, norm.bias)
        mean, variance, weight, bias = (p.detach().double().cpu().numpy() for p in own)
        factor = weight / np.sqrt(variance + norm.eps)
        return (h - mean) * factor + bias
    if isinstance(norm, LayerNorm):
        own = (norm.weight, norm.bias)
        parts = (p.detach().cpu().numpy() for p in own)
        return h.graph.op("LayerNormalization", h, *parts, epsilon=norm.eps)
    return h


def block(h: Value, part: Any) -> Value:
    h = linear(h, part.linear)
    if not part.gated:
        return activated(normalised(h, part.norm), part.activation)
    width = h.graph.constant([part.linear.out_features // 2] * 2, np.int64)
    value, gate = h.graph.name("value"), h.graph.name("gate")
    make = h.graph.onnx.helper.make_node
    h.graph.nodes.append(make("Split", [h.name, width.name], [value, gate], axis=1))
    parts = [h.graph.value(name, h.dtype) for name in (value, gate)]
    return normalised(parts[0] * activated(parts[1], part.activation), part.norm)


def mlp(h: Value, part: MLP) -> Value:
    for one in part.blocks:
        h = block(h, one)
    return h


def posterior(inputs: Value, network: Any) -> tuple[Value, Value | None]:
    """Codes of inputs, and logarithms of their variances, where there are some."""
    encoder = network.encoder
    h = mlp(inputs, encoder.mlp)
    mean = linear(h, encoder.mean)
    if encoder.linear is not None:
        mean = mean + linear(inputs, encoder.linear)
    if isinstance(network, ThresholdedAutoencoder):
        threshold = float(network.threshold)
        mean = mean - mean.maximum(-threshold).minimum(threshold)
    if not hasattr(encoder, "log_var"):
        return mean, None
    log_var = linear(h, encoder.log_var)
    if encoder.linear_log_var is not None:
        log_var = log_var + encoder.linear_log_var.detach().cpu().numpy()
    return mean, -((-log_var).softplus())


def decoded(codes: Value, network: Any, conditions: Value | None) -> Value:
    """Raw outputs of codes, before sizes are added."""
    decoder = network.decoder
    z = codes if conditions is None else codes.beside(conditions)
    raw = linear(mlp(z, decoder.mlp), decoder.out)
    return raw if decoder.linear is None else raw + linear(z, decoder.linear)
