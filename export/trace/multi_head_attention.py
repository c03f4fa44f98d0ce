"""Bidirectional attention as one operator for batches without padding, else as plain ones.

ONNX Runtime's ``MultiHeadAttention`` runs block by block (FlashAttention, arXiv 2205.14135) on the
CPU only without a mask; with one it is no faster than plain operators
(``experiments/log/2026-11-20-attention-operator.md``). Batches of one text, and of texts of one
length, need none. So the graph checks once whether a batch is padded, and every layer uses the
suitable operators. A provider whose fused kernel is wrong opens the graph with a constant by which
every batch counts as padded (``UNPADDED``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from decant.embedders import Attention
from decant.embedders.onnx import UNPADDED
from decant.embedders.pytorch import PooledModel
from decant.embedders.sources import Operator, architecture

from ..graph.if_node import branch
from ..graph.layers import MICROSOFT, constant
from .attention_impl import attending

_NAME = "decant_dense"
_DOMAIN = "decant"
_OPERATOR = "Attention"
_WHOLE = "full_attention"
_LOWEST = float(np.finfo(np.float32).min)


def dense(model: PooledModel) -> bool:
    """Return whether the model's attention can be traced this way."""
    whole = model.recipe.attention is Attention.BIDIRECTIONAL
    single = (
        model.backbone.dtype == torch.float32
    )  # other precisions are for GPUs, and are traced without branches
    config = model.backbone.config
    layers = getattr(config, "layer_types", None) or [_WHOLE]
    known = Operator.MULTI_HEAD in architecture(config.model_type).operators
    return whole and single and known and set(layers) == {_WHOLE}


@contextlib.contextmanager
def dense_attention(model: PooledModel) -> Iterator[nn.Module]:
    """Yield a module that is traced with a placeholder for each layer's attention.

    Args:
        model: A model that is :func:`dense`. Its attention implementation changes meanwhile.
    """
    with attending(model, _NAME, _attend):
        yield model


def lower(model: ir.Model) -> None:
    """Replace the placeholders by branches, in place; a graph without any is not changed."""
    holders = [node for node in model.graph if (node.domain, node.op_type) == (_DOMAIN, _OPERATOR)]
    if not holders:
        return
    mask = next(value for value in model.graph.inputs if value.name == "attention_mask")
    smallest = ir.node("ReduceMin", [mask], {"keepdims": 0})
    one = constant(model, UNPADDED, np.array(1, np.int64))
    unpadded = ir.node("Equal", [smallest.outputs[0], one])
    columns = ir.node("Unsqueeze", [mask, constant(model, "decant.12", np.array([1, 2]))])
    zero = constant(model, "decant.zero.int64", np.array(0, np.int64))
    hidden = ir.node("Equal", [columns.outputs[0], zero])
    lowest = constant(model, "decant.lowest", np.array(_LOWEST, np.float32))
    nothing = constant(model, "decant.nothing", np.array(0, np.float32))
    bias = ir.node("Where", [hidden.outputs[0], lowest, nothing])  # (B, 1, 1, T)
    first = next(iter(model.graph))
    model.graph.insert_before(first, [smallest, unpadded, columns, hidden, bias])
    for number, holder in enumerate(holders):
        _branch(model, holder, unpadded.outputs[0], bias.outputs[0], number)
    model.graph.opset_imports.pop(_DOMAIN, None)
    model.graph.opset_imports.setdefault(MICROSOFT, 1)


def _branch(
    model: ir.Model, holder: ir.Node, unpadded: ir.Value, bias: ir.Value, number: int
) -> None:
    heads = holder.attributes["num_heads"].as_int()
    scale = holder.attributes["scale"].as_float()
    old = holder.outputs[0]
    assert old.shape is not None
    width = old.shape[2]
    assert isinstance(width, int)
    states = holder.inputs[:3]
    fused = ir.node(
        "MultiHeadAttention", states, {"num_heads": heads, "scale": scale}, domain=MICROSOFT
    )
    split = constant(model, f"decant.split.{heads}", np.array([0, 0, heads, width // heads]))
    joined = constant(model, f"decant.joined.{width}", np.array([0, 0, width]))
    factor = constant(model, f"decant.scale.{scale}", np.array(scale, np.float32))
    turns = ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])  # query, key (upright), value
    parts: list[ir.Node] = []
    for part, turn in zip(states, turns, strict=True):
        parts.append(ir.node("Reshape", [part, split]))
        parts.append(ir.node("Transpose", [parts[-1].outputs[0]], {"perm": turn}))
    query, key, value = (parts[at].outputs[0] for at in (1, 3, 5))
    scores = ir.node("MatMul", [query, key])
    scaled = ir.node("Mul", [scores.outputs[0], factor])
    masked = ir.node("Add", [scaled.outputs[0], bias])
    shares = ir.node("Softmax", [masked.outputs[0]], {"axis": -1})
    mixed = ir.node("MatMul", [shares.outputs[0], value])
    turned = ir.node("Transpose", [mixed.outputs[0]], {"perm": [0, 2, 1, 3]})
    merged = ir.node("Reshape", [turned.outputs[0], joined])
    plain = [*parts, scores, scaled, masked, shares, mixed, turned, merged]
    branch(model.graph, holder, unpadded, ([fused], plain), name=f"decant.attention.{number}")


def _attend(
    _module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _mask: Tensor,
    *,
    scaling: float | None = None,
    **__: object,
) -> tuple[Tensor, None]:
    """Emit a placeholder for states of shape (B, heads, T, width); return (B, T, heads, width)."""
    rows, heads, tokens, width = query.shape
    shared = heads // key.shape[1]  # heads that read the same keys
    if shared > 1:
        key, value = (part.repeat_interleave(shared, dim=1) for part in (key, value))
    flat = [part.transpose(1, 2).reshape(rows, tokens, -1) for part in (query, key, value)]
    states: Tensor = torch.onnx.ops.symbolic(
        f"{_DOMAIN}::{_OPERATOR}",
        flat,
        attrs={
            "num_heads": heads,
            "scale": float(width**-0.5 if scaling is None else scaling),
        },
        dtype=query.dtype,
        shape=(rows, tokens, heads * width),
        version=1,
    )
    return states.reshape(rows, tokens, heads, width), None
