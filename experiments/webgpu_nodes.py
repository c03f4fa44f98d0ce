"""Compare single nodes on WebGPU with numpy: attention, products of blocks, and masks that meet.

    DECANT_SWIFTSHADER=libvk_swiftshader.so .venv-webgpu/bin/python experiments/webgpu_nodes.py

One line a node: its settings, and the largest error over the largest value, for each shape. Of
``And``, the number of wrong values.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from software_vulkan import use_swiftshader, why_no_webgpu

MICROSOFT = "com.microsoft"
LOWEST = float(np.finfo(np.float32).min)
BATCHES = ((1, 1), (1, 4), (1, 5), (2, 9), (3, 33))
ROWS = ((1,), (3,), (5,), (17,), (64,))
HEADS, KEY_HEADS = 8, 2
WHOLE, ACROSS = ((2, 1, 8, 8), (2, 1, 8, 8)), ((2, 1, 1, 8), (2, 1, 8, 8))
DOWN, ODD = ((2, 1, 8, 1), (2, 1, 1, 8)), ((2, 1, 9, 1), (2, 1, 1, 9))
MASKS = ((DOWN,), (ODD, DOWN), (WHOLE, DOWN), (ACROSS, DOWN), (DOWN, WHOLE, ACROSS, ODD, DOWN))

Pair = tuple[tuple[int, ...], tuple[int, ...]]
Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """A causal attention: a window in tokens or -1, a cap of scores or 0, whether it has a sink."""

    width: int
    window: int = -1
    softcap: float = 0.0
    sink: bool = True

    def node(self) -> ir.Node:
        """Return the operator, with inputs of their own names."""
        attributes: dict[str, int | float] = {
            "num_heads": HEADS,
            "kv_num_heads": KEY_HEADS,
            "local_window_size": self.window,
            "softcap": self.softcap,
        }
        names = ["query", "key", "value", None, None, "last", "columns"]
        if self.sink:
            attributes["smooth_softmax"] = 1
            names += [None, None, None, None, "sink"]
        values = [None if name is None else ir.Value(name=name) for name in names]
        return ir.node("GroupQueryAttention", values, attributes, domain=MICROSOFT)

    def feeds(self, shape: Sequence[int], drawn: np.random.Generator) -> Arrays:
        """Return random states of as many rows of as many tokens, all of which are text."""
        rows, tokens = shape
        found: Arrays = {
            name: drawn.standard_normal((rows, tokens, heads * self.width)).astype(np.float32)
            for name, heads in (("query", HEADS), ("key", KEY_HEADS), ("value", KEY_HEADS))
        }
        found["last"] = np.full(rows, tokens - 1, np.int32)
        found["columns"] = np.array(tokens, np.int32)
        if self.sink:
            found["sink"] = np.full(HEADS, LOWEST, np.float32)
        return found

    def expected(self, feeds: Arrays) -> NDArray[np.float64]:
        """Return attention by its definition, head by head."""
        query, key, value = (feeds[name].astype(np.float64) for name in ("query", "key", "value"))
        rows, tokens, _ = query.shape
        given = np.zeros((rows, tokens, HEADS, self.width))
        at = np.arange(tokens)
        seen = at[:, None] >= at
        if self.window > 0:
            seen &= at[:, None] - at < self.window
        for head in range(HEADS):
            mine = slice(head * self.width, (head + 1) * self.width)
            place = head // (HEADS // KEY_HEADS)
            shared = slice(place * self.width, (place + 1) * self.width)
            scores = query[:, :, mine] @ key[:, :, shared].swapaxes(1, 2) / self.width**0.5
            if self.softcap:
                scores = self.softcap * np.tanh(scores / self.softcap)
            shares = np.exp(np.where(seen, scores, -np.inf))
            given[:, :, head] = (shares / shares.sum(-1, keepdims=True)) @ value[:, :, shared]
        return given.reshape(rows, tokens, -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product with weights in blocks of integers."""

    inputs: int
    outputs: int
    block: int
    bits: int
    accuracy: int = 4

    def node(self) -> ir.Node:
        """Return the operator, with inputs of their own names."""
        attributes = {
            "K": self.inputs, "N": self.outputs, "bits": self.bits, "block_size": self.block,
            "accuracy_level": self.accuracy,
        }  # fmt: skip
        values = [ir.Value(name=name) for name in ("states", "integers", "scales")]
        return ir.node("MatMulNBits", values, attributes, domain=MICROSOFT)

    def feeds(self, shape: Sequence[int], drawn: np.random.Generator) -> Arrays:
        """Return random states of as many rows, integers and scales."""
        (rows,) = shape
        blocks = -(-self.inputs // self.block)
        integers = (self.outputs, blocks, self.block * self.bits // 8)
        return {
            "states": drawn.standard_normal((1, rows, self.inputs)).astype(np.float32),
            "integers": drawn.integers(0, 256, integers, np.uint8),
            "scales": drawn.uniform(0.01, 0.02, self.outputs * blocks).astype(np.float32),
        }

    def expected(self, feeds: Arrays) -> NDArray[np.float64]:
        """Return the product with the weights that the integers stand for."""
        packed = feeds["integers"].astype(np.int64)
        if self.bits == 4:
            packed = np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:2], -1)
        scales = feeds["scales"].reshape(*packed.shape[:2], 1).astype(np.float64)
        weights = ((packed - (1 << self.bits - 1)) * scales).reshape(self.outputs, -1)
        states = feeds["states"].astype(np.float64)
        found: NDArray[np.float64] = states @ weights[:, : self.inputs].T
        return found


def session(node: ir.Node, feeds: Arrays, provider: str) -> onnxruntime.InferenceSession:
    """Open a graph of one node with inputs as they are fed, weights as initializers."""
    named = {value.name: value for value in node.inputs if value is not None}
    inputs, held = [], []
    for name, array in feeds.items():
        value = named[name]
        if name in ("integers", "scales", "sink"):
            value.const_value = ir.tensor(array, name=name)
            held.append(value)
            continue
        value.shape = ir.Shape([None] * min(array.ndim, 2) + list(array.shape[2:]))
        value.type = ir.TensorType(ir.tensor(array).dtype)
        inputs.append(value)
    (output,) = node.outputs
    output.name, output.type = "output", ir.TensorType(ir.DataType.FLOAT)
    versions = {"": 20, MICROSOFT: 1}
    graph = ir.Graph(inputs, [output], nodes=[node], initializers=held, opset_imports=versions)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        ir.save(ir.Model(graph, ir_version=10), path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        return onnxruntime.InferenceSession(str(path), options, providers=[provider])


def errors(kind: Attention | Product, provider: str) -> Iterator[str]:
    """Yield a shape and the error of it, for each shape."""
    drawn = np.random.default_rng(0)
    weights: Arrays = {}
    opened: onnxruntime.InferenceSession | None = None
    shapes: Sequence[Sequence[int]] = BATCHES if isinstance(kind, Attention) else ROWS
    for shape in shapes:
        feeds = {**kind.feeds(shape, drawn), **weights}
        if opened is None:
            weights = {
                name: feeds[name] for name in ("integers", "scales", "sink") if name in feeds
            }
            try:
                opened = session(kind.node(), feeds, provider)
            except Exception as error:  # noqa: BLE001 - its errors share no base class
                yield f"does not open: {str(error).strip()[:150]}"
                return
        expected = kind.expected(feeds)
        try:
            (found,) = opened.run(None, {one.name: feeds[one.name] for one in opened.get_inputs()})
        except Exception as error:  # noqa: BLE001 - its errors share no base class
            yield f"{shape} {str(error).strip()[-150:]}"
            return
        yield f"{shape} {np.abs(found - expected).max() / np.abs(expected).max():.0e}"


def wrong_conjunctions(pairs: Sequence[Pair], provider: str) -> Iterator[str]:
    """Yield how many values of ``And`` of random masks are wrong, pair by pair in one session."""
    inputs = [
        ir.Value(name=name, shape=ir.Shape([None] * 4), type=ir.TensorType(ir.DataType.BOOL))
        for name in ("first", "second")
    ]
    node = ir.node("And", inputs)
    node.outputs[0].name, node.outputs[0].type = "output", inputs[0].type
    graph = ir.Graph(inputs, node.outputs, nodes=[node], opset_imports={"": 20})
    model = ir.to_proto(ir.Model(graph, ir_version=10)).SerializeToString()
    opened = onnxruntime.InferenceSession(model, providers=[provider])
    drawn = np.random.default_rng(0)
    for pair in pairs:
        first, second = (drawn.random(shape) < 0.7 for shape in pair)
        (found,) = opened.run(None, {"first": first, "second": second})
        wrong = np.logical_xor(np.asarray(found), first & second)
        yield f"{pair[0]} {pair[1]} {np.count_nonzero(wrong)}"


def main() -> None:
    """Print the errors of all nodes."""
    arguments = argparse.ArgumentParser(description=__doc__)
    both = "WebGpuExecutionProvider,CPUExecutionProvider"
    arguments.add_argument("--providers", default=both, help="names, with commas between")
    arguments.add_argument("--only", default="", help="a part of the lines that are wanted")
    settings = arguments.parse_args()
    providers = settings.providers.split(",")
    if reason := why_no_webgpu():
        raise SystemExit(reason)
    kinds: list[Attention | Product] = [
        Attention(width=width, window=window, softcap=softcap)
        for width in (8, 64)
        for window, softcap in ((-1, 0.0), (6, 0.0), (-1, 2.0), (6, 2.0))
    ]
    kinds += [
        Product(inputs=inputs, outputs=outputs, block=block, bits=bits)
        for bits in (4, 8)
        for inputs, outputs, block in (
            (32, 32, 32), (48, 32, 16), (128, 64, 128), (256, 128, 64), (384, 384, 128),
            (384, 384, 256), (1152, 32, 256), (172, 32, 64), (256, 64, 256), (512, 64, 256),
            (2048, 64, 128),
        )
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        use_swiftshader(Path(folder))
        for pairs in MASKS if not settings.only else ():
            for provider in providers:
                print(provider, "And", *wrong_conjunctions(pairs, provider), sep=" | ", flush=True)
        for kind in [one for one in kinds if settings.only in str(one)]:
            for provider in providers:
                print(provider, kind, *errors(kind, provider), sep=" | ", flush=True)


if __name__ == "__main__":
    main()
