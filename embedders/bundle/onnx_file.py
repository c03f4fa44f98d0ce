"""Read operators, types of weights and external files from the bytes of an ONNX file.

ONNX Runtime does not show these, and encoding does not depend on the package ``onnx``. So the few
fields are parsed in protobuf's wire format (https://protobuf.dev/programming-guides/encoding;
field numbers from ``onnx.proto``). Weights are skipped, so this takes milliseconds at any size.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import assert_never

from ..errors import BundleError
from .file_list import Identity
from .precision import Precision

INTEGER_OPERATORS = frozenset(
    {
        "ConvInteger", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulInteger",
        "MatMulIntegerToFloat", "QAttention", "QGemm", "QLinearMatMul", "QuantizeLinear",
    }
)  # fmt: skip
"""Operators that multiply activations in integers, or quantise them."""
BLOCK_OPERATORS = frozenset({"GatherBlockQuantized", "MatMulNBits"})
"""Operators whose weights are integers in blocks."""
_FLOAT16, _BFLOAT16, _UINT4, _INT4 = 10, 16, 21, 22  # TensorProto.DataType

# For each kind of message: its fields that hold messages, by number, and their kinds.
_MODEL, _GRAPH, _FUNCTION, _NODE, _ATTRIBUTE, _TENSOR, _SPARSE, _ENTRY = range(8)
_INSIDE: dict[int, dict[int, int]] = {
    _MODEL: {7: _GRAPH, 25: _FUNCTION},
    _GRAPH: {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    _FUNCTION: {7: _NODE, 11: _ATTRIBUTE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    _TENSOR: {13: _ENTRY},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
    _ENTRY: {},
}
_NODE_NAME, _OPERATOR = 3, 4
_DATA_TYPE = 2  # of a tensor
_NAME, _FLOAT = 1, 2  # of an attribute
_TENSOR_NAME = 8
_INITIALIZER = 5  # of a graph
_KEY, _VALUE = 1, 2  # of an entry
_STRINGS = {_NODE: (_NODE_NAME, _OPERATOR), _ATTRIBUTE: (_NAME,), _ENTRY: (_KEY, _VALUE)}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxFile:
    """What one ONNX file states about itself.

    Args:
        operators: Names of the operators of all nodes, inner graphs' included.
        weight_types: The types of its tensors, as ``TensorProto.DataType`` numbers them.
        external: Names of the files that hold its weights, relative to its folder.
        caps_scores: Whether an attention operator has a ``softcap`` other than 0.
        conjunctions: Names of the nodes that join masks (``And``); empty for one without a name.
    """

    operators: frozenset[str]
    weight_types: frozenset[int]
    external: frozenset[str]
    caps_scores: bool = False
    conjunctions: frozenset[str] = frozenset()


def read_onnx_file(path: Path) -> OnnxFile:
    """Read what an ONNX file states about itself.

    Raises:
        BundleError: It is empty or no ONNX.
    """
    try:
        return _read(path, Identity.of(path.stat()))
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error


@lru_cache(maxsize=16)  # a bundle's graphs are read once for their kind and once for their files
def _read(path: Path, _: Identity) -> OnnxFile:
    seen = _Seen()
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            seen.read(data, _MODEL, 0, len(data))
    except (ValueError, IndexError, RecursionError) as error:
        raise BundleError(f"{path} is no ONNX file ({error}); export the bundle again") from error
    return OnnxFile(
        operators=frozenset(seen.operators),
        weight_types=frozenset(seen.weight_types),
        external=frozenset(seen.external),
        caps_scores=seen.caps_scores,
        conjunctions=frozenset(seen.conjunctions),
    )


def without_defaults(path: Path, names: Sequence[str]) -> bytes | None:
    """Return an ONNX file whose inputs of these names have no defaults; None if none had one.

    Raises:
        BundleError: It is no ONNX.
    """
    wanted = {name.encode() for name in names}
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            parts: list[bytes] = []
            start, found = 0, False
            for field, _, begin, stop in _fields(data, 0, len(data)):
                if _INSIDE[_MODEL].get(field) == _GRAPH:
                    graph = _without(data, begin, stop, wanted)
                    found = sum(map(len, graph)) < stop - begin
                    if not found:
                        return None
                    parts += [_tag(field, sum(map(len, graph))), *graph]
                else:
                    parts.append(data[start:stop])
                start = stop
    except (OSError, ValueError, IndexError) as error:
        raise BundleError(f"{path} is no ONNX file ({error}); export the bundle again") from error
    return b"".join(parts) if found else None


def _without(data: mmap.mmap, begin: int, end: int, names: set[bytes]) -> list[bytes]:
    """Return the fields of a graph but for the initializers of these names, in order."""
    kept, start = [], begin
    for field, wire, inner, stop in _fields(data, begin, end):
        dropped = (
            wire == _BYTES
            and field == _INITIALIZER
            and any(
                number == _TENSOR_NAME and kind == _BYTES and data[first:last] in names
                for number, kind, first, last in _fields(data, inner, stop)
            )
        )
        if not dropped:
            kept.append(data[start:stop])
        start = stop
    return kept


def _tag(field: int, length: int) -> bytes:
    """Return what begins a field of so many bytes."""
    return bytes([field << 3 | _BYTES]) + _as_varint(length)


def _as_varint(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def mismatch(file: OnnxFile, precision: Precision) -> str:
    """Return why a graph cannot be of this precision; an empty string if it can be."""
    integers = sorted(file.operators & INTEGER_OPERATORS)
    blocks = sorted(file.operators & (BLOCK_OPERATORS | {"DequantizeLinear"}))
    match precision:
        case Precision.FP32:
            return f"has {(integers + blocks)[0]}" if integers or blocks else ""
        case Precision.FP16:
            return "" if _FLOAT16 in file.weight_types else "has no weights in float16"
        case Precision.BF16:
            return "" if _BFLOAT16 in file.weight_types else "has no weights in bfloat16"
        case Precision.INT8:
            return "" if integers else "has no operator for integers"
        case Precision.W8 | Precision.W4:
            held = blocks or file.weight_types & {_UINT4, _INT4}
            return "" if held else "has no weights in integers"
        case _:
            assert_never(precision)


class _Seen:
    """Collects the facts of an :class:`OnnxFile` while it walks through the bytes."""

    def __init__(self) -> None:
        self.operators: set[str] = set()
        self.weight_types: set[int] = set()
        self.external: set[str] = set()
        self.caps_scores = False
        self.conjunctions: set[str] = set()

    def read(self, data: mmap.mmap, kind: int, start: int, end: int) -> None:
        """Read one message, ``data[start:end]``."""
        inside, strings = _INSIDE[kind], _STRINGS.get(kind, ())
        texts: dict[int, str] = {}
        number = 0.0
        for field, wire, begin, stop in _fields(data, start, end):
            if wire == _BYTES and field in inside:
                self.read(data, inside[field], begin, stop)
            elif wire == _BYTES and field in strings:
                texts[field] = data[begin:stop].decode("utf-8")
            elif kind == _TENSOR and field == _DATA_TYPE and wire == _VARINT:
                self.weight_types.add(begin)
            elif kind == _ATTRIBUTE and field == _FLOAT and wire == _FIXED32:
                (number,) = struct.unpack("<f", data[begin:stop])
        if kind == _NODE and _OPERATOR in texts:
            self.operators.add(texts[_OPERATOR])
            if texts[_OPERATOR] == "And":
                self.conjunctions.add(texts.get(_NODE_NAME, ""))
        if kind == _ENTRY and texts.get(_KEY) == "location":
            self.external.add(texts.get(_VALUE, ""))
        if kind == _ATTRIBUTE and texts.get(_NAME) == "softcap" and number != 0:
            self.caps_scores = True


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, wire type, begin and end of each field; for varints, begin is the value."""
    place = start
    while place < end:
        tag, place = _varint(data, place, end)
        field, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, place = _varint(data, place, end)
            yield field, wire, value, place
            continue
        if wire == _BYTES:
            length, place = _varint(data, place, end)
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"byte {place} begins no field")
        if length > end - place:
            raise ValueError(f"a field at byte {place} is longer than what holds it")
        yield field, wire, place, place + length
        place += length


def _varint(data: mmap.mmap, place: int, end: int) -> tuple[int, int]:
    """Return the number at ``place``, and where it ends."""
    value = 0
    for shift in range(_LONGEST_VARINT):
        if place >= end:
            raise ValueError(f"it is cut off at byte {place}")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, place
    raise ValueError(f"byte {place} ends no number")
