"""What OpenVINO must be told of our graphs: an operator that it lacks, and a branch not to take.

Nothing here changes what a graph computes. ``com.microsoft::RotaryEmbedding`` is written in plain
operators (OpenVINO 2026.4 reads only the form with two more attributes). A graph's branches for
batches without padding are left for those that read the mask, which are right for every batch:
OpenVINO makes one operator of the former, and that gives other vectors after a text of one token
(``experiments/log/2026-11-30-openvino-on-the-cpu.md``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .causal_attention import GROUP_QUERY_ATTENTION, group_query_attention
from .quantize_linear import quantize_linear

if TYPE_CHECKING:
    import openvino
    from openvino.frontend import NodeContext
    from openvino.frontend.onnx import ConversionExtension

SINGLE_OPERATOR_ATTENTION = "ScaledDotProductAttention"
_MASK = "attention_mask"
_MICROSOFT = "com.microsoft"


def operator_extensions() -> list[ConversionExtension]:
    """Return how OpenVINO shall read the operators that it lacks."""
    from openvino.frontend.onnx import ConversionExtension

    return [
        ConversionExtension("RotaryEmbedding", _MICROSOFT, _rotary_embedding),
        ConversionExtension(GROUP_QUERY_ATTENTION, _MICROSOFT, group_query_attention),
        ConversionExtension("QuantizeLinear", quantize_linear),
    ]


def _rotary_embedding(node: NodeContext) -> list[openvino.Output]:
    """Return states of the same shape, each half of a head turned by its token's angles.

    Specification: ONNX Runtime's ContribOperators, RotaryEmbedding, not interleaved; the inputs are
    the states, (B, T, heads x d) or (B, heads, T, d), row numbers (B, T), and tables of cosines and
    sines, (rows, d / 2).
    """
    import openvino.opset13 as ops

    def integers(*values: int) -> openvino.Node:
        return ops.constant(np.array(values, np.int64))

    states, rows, cosines, sines = (node.get_input(place) for place in range(4))
    rank = states.get_partial_shape().rank
    apart = rank.is_static and rank.get_length() == 4
    heads = (
        states
        if apart
        else ops.reshape(states, integers(0, 0, node.get_attribute("num_heads"), -1), True)
    )
    cosine, sine = (  # (B, T, 1, d / 2) or (B, 1, T, d / 2)
        ops.unsqueeze(ops.gather(table, rows, integers(0)), integers(1 if apart else 2))
        for table in (cosines, sines)
    )
    halves = ops.split(heads, ops.constant(np.array(3, np.int64)), 2)
    first, second = halves.output(0), halves.output(1)
    turned = ops.concat(
        [
            ops.subtract(ops.multiply(first, cosine), ops.multiply(second, sine)),
            ops.add(ops.multiply(second, cosine), ops.multiply(first, sine)),
        ],
        -1,
    )
    whole = turned if apart else ops.reshape(turned, integers(0, 0, -1), True)
    outputs: list[openvino.Output] = whole.outputs()
    return outputs


def always_read_the_mask(model: openvino.Model) -> int:
    """Take the branch for padded batches always, in place; return how many branches there were.

    Args:
        model: A graph whose branches ``export/trace/multi_head_attention.py`` wrote: the first is
            for batches whose mask is 1 throughout, the second for every batch. Others stay.
    """
    import openvino.opset13 as ops

    count = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() == "If" and _asks_whether_padded(_source(node, 0)):
            node.input(0).replace_source_output(ops.constant(np.array(False)).output(0))
            count += 1
    return count


def _asks_whether_padded(condition: openvino.Node) -> bool:
    """Return whether a condition is ``ReduceMin(attention_mask) == 1``."""
    if condition.get_type_name() != "Equal":
        return False
    smallest = _source(condition, 0)
    if smallest.get_type_name() != "ReduceMin":
        return False
    return _MASK in smallest.input(0).get_source_output().get_names()


def _source(node: openvino.Node, place: int) -> openvino.Node:
    found: openvino.Node = node.input(place).get_source_output().get_node()
    return found
