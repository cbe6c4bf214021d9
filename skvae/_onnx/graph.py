"""A graph of ONNX operators, written as arithmetic.

The names of operators and their attributes are those of ONNX:
https://onnx.ai/onnx/operators.
"""

from typing import Any

import numpy as np

from .._utils.optional import optional_import

EXTRA = "onnx"
# Of ONNX: with LayerNormalization (17), and read by runtimes of three years ago.
OPSET, IR_VERSION = 17, 8


class Graph:
    """Nodes and constants, which grow as values are made.

    ``prefix`` stands in front of every name.
    """

    def __init__(self, prefix: str = "") -> None:
        self.onnx = optional_import("onnx", EXTRA)
        self.prefix = prefix
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._of_array: dict[tuple, Value] = {}
        self._n_names = 0

    def name(self, stem: str) -> str:
        self._n_names += 1
        return f"{self.prefix}{stem}_{self._n_names}"

    def constant(self, value: Any, dtype: Any = np.float32) -> "Value":
        """A constant; the same array is there once."""
        array = np.asarray(value, dtype=dtype)
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self._of_array:
            name = self.name("constant")
            self.constants.append(self.onnx.numpy_helper.from_array(array, name))
            self._of_array[key] = Value(self, name, array.dtype)
        return self._of_array[key]

    def value(self, name: str, dtype: Any) -> "Value":
        """What comes in by this name."""
        return Value(self, name, np.dtype(dtype))

    def op(self, kind: str, *inputs: Any, dtype: Any = None, **attributes) -> "Value":
        """One operator with one output, of the dtype of its first input by default."""
        first = next(value for value in inputs if isinstance(value, Value))
        names = [self.as_value(value, first.dtype).name for value in inputs]
        output = self.name(kind.lower())
        node = self.onnx.helper.make_node(kind, names, [output], **attributes)
        self.nodes.append(node)
        return Value(self, output, np.dtype(first.dtype if dtype is None else dtype))

    def as_value(self, value: Any, dtype: Any) -> "Value":
        return value if isinstance(value, Value) else self.constant(value, dtype)

    def renamed(self, value: "Value", name: str) -> None:
        """Have a value come out by this name."""
        node = self.onnx.helper.make_node("Identity", [value.name], [name])
        self.nodes.append(node)


class Value:
    """What a node gives: numbers and arrays beside it become constants."""

    def __init__(self, graph: Graph, name: str, dtype: np.dtype) -> None:
        self.graph, self.name, self.dtype = graph, name, dtype

    def __add__(self, other: Any) -> "Value":
        return self.graph.op("Add", self, other)

    def __radd__(self, other: Any) -> "Value":
        return self + other

    def __sub__(self, other: Any) -> "Value":
        return self.graph.op("Sub", self, other)

    def __rsub__(self, other: Any) -> "Value":
        return self.graph.op("Sub", self.graph.as_value(other, self.dtype), self)

    def __mul__(self, other: Any) -> "Value":
        return self.graph.op("Mul", self, other)

    def __rmul__(self, other: Any) -> "Value":
        return self * other

    def __truediv__(self, other: Any) -> "Value":
        return self.graph.op("Div", self, other)

    def __matmul__(self, other: Any) -> "Value":
        return self.graph.op("MatMul", self, other)

    def __neg__(self) -> "Value":
        return self.graph.op("Neg", self)

    def cast(self, dtype: Any) -> "Value":
        if np.dtype(dtype) == self.dtype:
            return self
        kind = self.graph.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.graph.op("Cast", self, dtype=dtype, to=kind)

    def exp(self) -> "Value":
        return self.graph.op("Exp", self)

    def log(self) -> "Value":
        return self.graph.op("Log", self)

    def abs(self) -> "Value":
        return self.graph.op("Abs", self)

    def sigmoid(self) -> "Value":
        return self.graph.op("Sigmoid", self)

    def square(self) -> "Value":
        return self * self

    def maximum(self, other: Any) -> "Value":
        return self.graph.op("Max", self, other)

    def minimum(self, other: Any) -> "Value":
        return self.graph.op("Min", self, other)

    def softplus(self) -> "Value":
        """``ln(1 + exp(x))``, whatever x is."""
        return self.maximum(0.0) + self.softplus_of_negative()

    def softplus_of_negative(self) -> "Value":
        """``ln(1 + exp(-|x|))``."""
        return ((-self.abs()).exp() + 1.0).log()

    def sum(self, axis: int = 1, *, keep: bool = False) -> "Value":
        axes = self.graph.constant([axis], np.int64)
        return self.graph.op("ReduceSum", self, axes, keepdims=int(keep))

    def mean(self, axis: int) -> "Value":
        return self.graph.op("ReduceMean", self, axes=[axis], keepdims=0)

    def columns(self, index: Any) -> "Value":
        at = self.graph.constant(index, np.int64)
        return self.graph.op("Gather", self, at, axis=1)

    def reshape(self, *shape: int) -> "Value":
        """0 keeps a dimension, -1 is what is left."""
        return self.graph.op("Reshape", self, self.graph.constant(shape, np.int64))

    def beside(self, other: "Value") -> "Value":
        return self.graph.op("Concat", self, other, axis=1)


def lgamma(x: Value) -> Value:
    """``ln Gamma(x)`` of x > 0 in float64, which ONNX has not.

    Stirling's series at x + 8, and ``Gamma(x + 8) = x (x + 1) ... (x + 7) Gamma(x)``
    (Abramowitz & Stegun, 6.1.15 and 6.1.41); right to 1e-11 of its size.
    """
    shifted = x + 8.0
    product = x
    for i in range(1, 8):
        product = product * (x + float(i))
    inverse = shifted.graph.constant(1.0, x.dtype) / shifted
    square = inverse * inverse
    series = inverse * (
        (square * (square * (square * (-1.0 / 1680.0) + 1.0 / 1260.0) - 1.0 / 360.0))
        + 1.0 / 12.0
    )
    leading = (shifted - 0.5) * shifted.log() - shifted + 0.5 * np.log(2.0 * np.pi)
    return leading + series - product.log()
