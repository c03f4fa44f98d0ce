"""The inputs and outputs of another tool's ONNX graph, and whether it can be imported.

They are read from the graph and the model's ``config.json``; no weight is read.
The graphs are those of optimum-onnx, Olive, sentence-transformers and the hub, which share the
input names of Transformers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import onnx_ir

from decant.embedders import BundleError, Precision, RecipeError
from decant.embedders.bundle import BLOCK_OPERATORS, INTEGER_OPERATORS
from decant.embedders.json_records import read_object
from decant.embedders.sources import first_position, uncounted_id

from ..graph.external_data import prepare_weights, weights_of

LEAST_OPSET = 14
_HIDDEN = ("last_hidden_state", "token_embeddings", "hidden_states")
_HALF_BYTES = {onnx_ir.DataType.INT4, onnx_ir.DataType.UINT4}


class Feed(StrEnum):
    """The value of an input; members are the inputs' own names, except for the past."""

    IDS = "input_ids"
    MASK = "attention_mask"
    POSITIONS = "position_ids"
    TYPES = "token_type_ids"
    PAST = "past_key_values"


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input of the original graph.

    Args:
        name: Its name in the graph.
        feed: The value that it gets.
        dtype: Its element type.
        heads: The second dimension of a past.
        width: The last dimension of a past.
    """

    name: str
    feed: Feed
    dtype: onnx_ir.DataType
    heads: int = 0
    width: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """The inputs and outputs of the original graph.

    Args:
        inputs: Every input, including ids and mask.
        hidden: The output with token states, (B, T, d).
        first_position: The position id of the first token.
        width: The width of token states in ``config.json``; None if it is not stated.
        uncounted_id: The token that positions do not count; see ``PooledModel``.
    """

    inputs: tuple[Input, ...]
    hidden: str
    first_position: int
    width: int | None
    uncounted_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The relevant fields of ``config.json``; None if a field is missing."""

    kind: str | None
    heads: int | None
    past_heads: int | None
    past_width: int | None
    pad_id: int | None
    states_width: int | None

    @classmethod
    def read(cls, folder: Path) -> ModelConfig:
        """Read the ``config.json``, which :func:`decant.embedders.resolve` has already read."""
        data = read_object(folder / "config.json", error=RecipeError)

        def number(*names: str) -> int | None:
            found = (data.get(name) for name in names)
            return next((value for value in found if isinstance(value, int)), None)

        heads = number("num_attention_heads", "n_head", "n_heads", "num_heads")
        hidden = number("hidden_size", "n_embd", "d_model", "dim")
        shared = hidden // heads if hidden and heads else None
        kind = data.get("model_type")
        return cls(
            kind=kind if isinstance(kind, str) else None,
            heads=heads,
            past_heads=number("num_key_value_heads") or heads,
            past_width=number("head_dim") or shared,
            pad_id=number("pad_token_id"),
            # OPT's states may be narrower after its last layer than between its layers.
            states_width=number("word_embed_proj_dim") or hidden,
        )

    @property
    def first_position(self) -> int:
        """The position id of the first token."""
        return first_position(self.kind, self.pad_id)

    @property
    def uncounted_id(self) -> int | None:
        """The token that positions do not count."""
        return uncounted_id(self.kind, self.pad_id)


def read_graph(path: Path) -> onnx_ir.Model:
    """Read an ONNX file; external weights are mapped, not loaded.

    Raises:
        BundleError: It is missing, not ONNX, or of an opset below 14.
    """
    if not path.is_file():
        raise BundleError(f"{path} does not exist; give the path of an ONNX file")
    try:
        model = onnx_ir.load(path)
    except Exception as error:  # protobuf's and onnx_ir's errors share no base
        raise BundleError(f"{path} is not a readable ONNX file: {error}") from error
    opset = model.opset_imports.get("")
    if opset is None or opset < LEAST_OPSET:
        raise BundleError(
            f"{path} has opset {opset}, and the import needs {LEAST_OPSET} or newer; export it "
            "again with a newer opset, or raise it with onnx.version_converter"
        )
    prepare_weights(model, path)
    return model


def read_contract(
    model: onnx_ir.Model, path: Path, config: ModelConfig, *, output: str | None = None
) -> Contract:
    """Return the inputs and outputs of a graph.

    Args:
        model: The graph.
        path: The file, for messages.
        config: The model's config.
        output: The output with token states; None: one of the usual names.

    Raises:
        BundleError: It lacks ids, mask or token states, has an unknown input, fixed shapes, or
            states of another width than the config's.
    """
    graph = model.graph
    # An input that is also an initializer has a default, which stays.
    required = [value for value in graph.inputs if value.name not in graph.initializers]
    inputs = tuple(_input(value, path, config) for value in required)
    for feed in (Feed.IDS, Feed.MASK):
        if all(item.feed is not feed for item in inputs):
            raise BundleError(
                f"{path} has no input {feed}, only {', '.join(item.name for item in inputs)}; "
                "without it, padding looks like text. Export it again with both"
            )
    hidden = _hidden(graph, path, output)
    last = (_dims(hidden) or [None])[-1]
    if isinstance(last, int) and config.states_width not in (None, last):
        raise BundleError(other_width(path, last, config.states_width))
    return Contract(
        inputs=inputs,
        hidden=str(hidden.name),
        first_position=config.first_position,
        width=config.states_width,
        uncounted_id=config.uncounted_id,
    )


def other_width(path: Path, found: int, said: int | None) -> str:
    """Return the message for a graph whose states have another width than the config's."""
    return (
        f"{path} gives token states of width {found} and config.json says {said}; graph and model "
        "folder belong to different models. Give the folder of the model that the graph was made of"
    )


def _input(value: onnx_ir.Value, path: Path, config: ModelConfig) -> Input:
    name, dtype = str(value.name), value.dtype
    if dtype is None:
        raise BundleError(f"{path} does not state the type of its input {name}; it is damaged")
    if name.startswith(Feed.PAST):
        return _past(value, dtype, path, config)
    if name not in set(Feed):
        raise BundleError(
            f"{path} needs the input {name!r}, which decant cannot compute from ids and mask; "
            f"known are {', '.join(Feed)}. Export it again without it"
        )
    dims = _dims(value)
    if dims is not None and (len(dims) != 2 or any(isinstance(size, int) for size in dims)):
        raise BundleError(
            f"{path} has the input {name} with the shape {_shown(value)}; it must be (batch, "
            "tokens) with both free. Export it again with dynamic axes"
        )
    return Input(name=name, feed=Feed(name), dtype=dtype)


def _past(value: onnx_ir.Value, dtype: onnx_ir.DataType, path: Path, config: ModelConfig) -> Input:
    """Return a past input, whose shape is (batch, heads, past tokens, width) as in Transformers."""
    dims = _dims(value) or [None] * 4
    if len(dims) != 4 or isinstance(dims[0], int) or isinstance(dims[2], int):
        raise BundleError(
            f"{path} has the input {value.name} with the shape {_shown(value)}; an empty past "
            "needs (batch, heads, tokens, width) with batch and tokens free"
        )
    heads = dims[1] if isinstance(dims[1], int) else config.past_heads
    width = dims[3] if isinstance(dims[3], int) else config.past_width
    if heads is None or width is None:
        raise BundleError(
            f"neither {path} nor config.json states the heads and the width of {value.name}; "
            "add num_key_value_heads and head_dim to config.json"
        )
    return Input(name=str(value.name), feed=Feed.PAST, dtype=dtype, heads=heads, width=width)


def _hidden(graph: onnx_ir.Graph, path: Path, output: str | None) -> onnx_ir.Value:
    """Return the output with token states, (B, T, d)."""
    outputs = {str(value.name): value for value in graph.outputs}
    wanted = usual_output(graph) if output is None else output
    if wanted in outputs and _may_be_states(outputs[wanted]):
        return outputs[wanted]
    listed = ", ".join(f"{name} {_shown(value)}" for name, value in outputs.items())
    if output is not None:
        what = "is not of three dimensions" if output in outputs else "does not exist"
        raise BundleError(
            f"the output {output!r} of {path} {what}; its outputs are {listed}. Token states have "
            "the shape (batch, tokens, width)"
        )
    raise BundleError(
        f"{path} gives no token states: the import needs one of {', '.join(_HIDDEN)} with three "
        f"dimensions, and its outputs are {listed}. Name the output that holds them (output=, or "
        "--output), or export it for feature extraction"
    )


def usual_output(graph: onnx_ir.Graph) -> str | None:
    """Return the output with one of the usual names for token states; None without one."""
    fitting = {str(value.name) for value in graph.outputs if _may_be_states(value)}
    return next((name for name in _HIDDEN if name in fitting), None)


def _may_be_states(value: onnx_ir.Value) -> bool:
    return len(_dims(value) or range(3)) == 3


def _dims(value: onnx_ir.Value) -> list[int | str | None] | None:
    """Return the size of each dimension, a number if it is fixed; None without a shape."""
    if value.shape is None:
        return None
    return [size if isinstance(size, int) else size.value for size in value.shape.dims]


def _shown(value: onnx_ir.Value) -> str:
    dims = _dims(value)
    return "(?)" if dims is None else f"({', '.join(str(size or '?') for size in dims)})"


def precision_of(model: onnx_ir.Model) -> Precision:
    """Return a graph's precision: by integer operators, or else by the bytes of its floats."""
    nodes = list(_nodes(model))
    kinds = {node.op_type for node in nodes}
    tensors = [tensor for value in weights_of(model) if (tensor := value.const_value) is not None]
    stored = dict.fromkeys((tensor.dtype for tensor in tensors), 0)
    for tensor in tensors:
        stored[tensor.dtype] += tensor.nbytes
    blocks = {
        node.attributes["bits"].as_int() if "bits" in node.attributes else 4
        for node in nodes
        if node.op_type in BLOCK_OPERATORS  # the attribute `bits`, by default 4
    }
    if kinds & INTEGER_OPERATORS:
        return Precision.INT8
    if any(bits <= 4 for bits in blocks) or any(stored.get(half) for half in _HALF_BYTES):
        return Precision.W4
    if blocks or "DequantizeLinear" in kinds:
        return Precision.W8
    floats = {
        Precision.FP32: stored.get(onnx_ir.DataType.FLOAT, 0),
        Precision.FP16: stored.get(onnx_ir.DataType.FLOAT16, 0),
        Precision.BF16: stored.get(onnx_ir.DataType.BFLOAT16, 0),
    }
    return max(floats, key=lambda precision: floats[precision])


def _nodes(model: onnx_ir.Model) -> Iterator[onnx_ir.Node]:
    yield from model.graph.all_nodes()
    for function in model.functions.values():
        yield from function.all_nodes()
