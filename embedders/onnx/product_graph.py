"""An ONNX file with one product with a matrix of weights, written without the package onnx.

``tune`` runs where only ONNX Runtime is installed, which reads ONNX files and does not write them.
The bytes are protobuf's wire format (https://protobuf.dev/programming-guides/encoding); numbers of
fields are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STATES, RESULT = "states", "result"
_WEIGHTS = "weights"
_IR_VERSION, _OPSET = 8, 17
# TensorProto.DataType
_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6}


def product_graph(weights: NDArray[np.generic]) -> bytes:
    """Return the file of states (rows, k) by weights (k, n).

    Args:
        weights: float32 for MatMul of float32 states, int8 for MatMulInteger of uint8 states.

    >>> len(product_graph(np.zeros((2, 3), np.int8))) > 6
    True
    """
    k, n = weights.shape
    integers = weights.dtype == np.int8
    states, result = ("uint8", "int32") if integers else ("float32", "float32")
    node = (
        _text(1, STATES)
        + _text(1, _WEIGHTS)
        + _text(2, RESULT)
        + _text(4, "MatMulInteger" if integers else "MatMul")
    )
    graph = (
        _bytes(1, node)
        + _text(2, "product")
        + _bytes(5, _tensor(weights))
        + _bytes(11, _value(STATES, states, k))
        + _bytes(12, _value(RESULT, result, n))
    )
    return _number(1, _IR_VERSION) + _bytes(7, graph) + _bytes(8, _number(2, _OPSET))


def _tensor(values: NDArray[np.generic]) -> bytes:
    sizes = b"".join(_number(1, size) for size in values.shape)
    kind = _number(2, _TYPES[values.dtype.name])
    return sizes + kind + _text(8, _WEIGHTS) + _bytes(9, values.tobytes())


def _value(name: str, kind: str, width: int) -> bytes:
    """Return a ValueInfoProto of shape (rows, width)."""
    shape = _bytes(1, _text(2, "rows")) + _bytes(1, _number(1, width))
    tensor = _number(1, _TYPES[kind]) + _bytes(2, shape)
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
