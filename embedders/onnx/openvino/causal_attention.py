"""``com.microsoft::GroupQueryAttention`` in the plain operators that OpenVINO reads.

OpenVINO's own reading (2026.4) wants a cache of past keys, which graphs of encoders do not have.
Read here is the operator as ``export/trace/group_query_attention.py`` writes it: each row begins in
the first column, keys and values come with their queries, and positions were applied before. What
else the operator can do is refused by name. Lengths of rows are not read: no token sees a later
one, and padding comes last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .unread_form import UnreadForm

if TYPE_CHECKING:
    import openvino
    from openvino.frontend import NodeContext

GROUP_QUERY_ATTENTION = "GroupQueryAttention"
_LOWEST = float(np.finfo(np.float32).min)
# Places among the operator's inputs (ONNX Runtime's ContribOperators, GroupQueryAttention).
_PAST = (3, 4)
_COLUMNS = 6
_BEYOND = {7: "rotary positions", 9: "position_ids", 10: "attention_bias"}
_SINK = 11
_SWITCHES = ("do_rotary", "rotary_interleaved", "kv_cache_bit_width", "qk_output")


def group_query_attention(node: NodeContext) -> list[openvino.Output]:
    """Return states (B, T, H x d): every token attends to itself and to earlier ones.

    Raises:
        UnreadForm: The operator is used in a way that is not read here.
    """
    import openvino.opset13 as ops

    _refuse_what_is_not_read(node)
    heads, holding = int(node.get_attribute("num_heads")), int(node.get_attribute("kv_num_heads"))
    query, key, value = (node.get_input(place) for place in range(3))

    def integers(*values: int) -> openvino.Node:
        return ops.constant(np.array(values, np.int64))

    def apart(states: openvino.Output, count: int) -> openvino.Node:
        split = ops.reshape(states, integers(0, 0, count, -1), True)
        return ops.transpose(split, integers(0, 2, 1, 3))  # (B, heads, T, d)

    def repeated(states: openvino.Output) -> openvino.Node:
        """Return keys or values, each for all heads that read it."""
        if heads == holding:
            return apart(states, holding)
        one = ops.reshape(states, integers(0, 0, holding, 1, -1), True)
        every = ops.tile(one, integers(1, 1, 1, heads // holding, 1))
        return apart(ops.reshape(every, integers(0, 0, -1), True).output(0), heads)

    queries = apart(query, heads)
    scale = _number(node, "scale")
    factor = ops.constant(np.array(scale, np.float32)) if scale else _usual_scale(queries)
    scores = ops.multiply(ops.matmul(queries, repeated(key), False, True), factor)  # (B, H, T, T)
    if cap := _number(node, "softcap"):
        limit = ops.constant(np.array(cap, np.float32))
        scores = ops.multiply(ops.tanh(ops.divide(scores, limit)), limit)
    window = int(node.get_attribute("local_window_size", -1))
    shares = ops.softmax(ops.add(scores, _hidden(node.get_input(_COLUMNS), window)), -1)
    mixed = ops.transpose(ops.matmul(shares, repeated(value), False, False), integers(0, 2, 1, 3))
    outputs: list[openvino.Output] = ops.reshape(mixed, integers(0, 0, -1), True).outputs()
    return outputs


def _usual_scale(queries: openvino.Node) -> openvino.Node:
    """Return one over the root of the heads' width, float32, which no scale stands for."""
    import openvino.opset13 as ops

    last, first = (ops.constant(np.array(axis, np.int64)) for axis in (3, 0))
    width = ops.convert(ops.gather(ops.shape_of(queries), last, first), "f32")
    return ops.power(width, ops.constant(np.array(-0.5, np.float32)))


def _hidden(columns: openvino.Output, window: int) -> openvino.Node:
    """Return float32 (1, 1, T, T): zero where a row's token sees a column's, else the lowest."""
    import openvino.opset13 as ops

    def scalar(value: int) -> openvino.Node:
        return ops.constant(np.array(value, np.int64))

    count = ops.reshape(ops.convert(columns, "i64"), ops.constant(np.zeros(0, np.int64)), False)
    keys = ops.range(scalar(0), count, scalar(1), "i64")
    own = ops.unsqueeze(keys, scalar(1))
    hidden = ops.greater(keys, own)
    if window > 0:
        hidden = ops.logical_or(hidden, ops.greater_equal(ops.subtract(own, keys), scalar(window)))
    bias = ops.select(
        hidden, ops.constant(np.float32(_LOWEST)), ops.constant(np.float32(0)), "numpy"
    )
    return ops.unsqueeze(bias, ops.constant(np.array([0, 1], np.int64)))


def _refuse_what_is_not_read(node: NodeContext) -> None:
    """Raise where the operator does more than this module writes."""
    given = {place for place in range(node.get_input_size()) if _is_given(node, place)}
    if not {0, 1, 2, _COLUMNS} <= given:
        raise UnreadForm("packed queries, keys and values, or no lengths")
    if given & set(_PAST):
        raise UnreadForm("past keys and values")
    for place, name in _BEYOND.items():
        if place in given:
            raise UnreadForm(name)
    for name in _SWITCHES:
        if node.get_attribute(name, 0):
            raise UnreadForm(name)
    if _SINK in given and not _takes_nothing(node.get_input(_SINK).get_node()):
        raise UnreadForm("a sink that takes a share of the softmax")
    if _SINK not in given and node.get_attribute("smooth_softmax", 0) == 1:
        raise UnreadForm("smooth_softmax")


def _takes_nothing(sink: openvino.Node) -> bool:
    """Return whether a sink is a constant whose share in every softmax is zero."""
    return sink.get_type_name() == "Constant" and bool((sink.get_data() <= _LOWEST).all())


def _is_given(node: NodeContext, place: int) -> bool:
    """Return whether an optional input is there: one left out in the middle has no values."""
    return bool(node.get_input(place).get_node().get_type_name() != "NullNode")


def _number(node: NodeContext, name: str) -> float:
    return float(node.get_attribute(name, 0.0))
