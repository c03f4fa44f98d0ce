"""``QuantizeLinear`` with one step for all values, or with one for each row.

OpenVINO's own reading (2026.4) gives no rows at all where each row has a step that the graph
computes, as our int8 graphs have behind their activations
(``experiments/log/2026-11-30-openvino-decoders-and-int8.md``). What it makes of a constant step is
written here as it writes it itself: ``FakeQuantize``, of which it makes products of integers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .unread_form import UnreadForm

if TYPE_CHECKING:
    import openvino
    from openvino.frontend import NodeContext

_RANGES = {"u8": (0.0, 255.0), "i8": (-128.0, 127.0)}
_LEVELS = 256


def quantize_linear(node: NodeContext) -> list[openvino.Output]:
    """Return the nearest integer to ``values / step + zero``, ties to even, within its type.

    Raises:
        UnreadForm: Steps are neither one nor one a row, or the type has other than eight bits.
    """
    if node.get_input_size() < 3:
        raise UnreadForm("no zero point")
    values, step, zero = (node.get_input(place) for place in range(3))
    kind = str(zero.get_element_type().get_type_name())
    if kind not in _RANGES:
        raise UnreadForm(f"integers of type {kind}")
    if step.get_node().get_type_name() == zero.get_node().get_type_name() == "Constant":
        found = _with_constant_steps(values, step.get_node(), zero.get_node(), kind)
    elif int(node.get_attribute("axis", 1)) == 0:
        found = _with_steps_of_rows(values, step, zero, kind)
    else:
        raise UnreadForm("steps that the graph computes for other than rows")
    outputs: list[openvino.Output] = found.outputs()
    return outputs


def _with_constant_steps(
    values: openvino.Output, step: openvino.Node, zero: openvino.Node, kind: str
) -> openvino.Node:
    import openvino.opset13 as ops

    steps, zeros = (np.asarray(one.get_data(), np.float32) for one in (step, zero))
    if steps.size != 1:
        raise UnreadForm("constant steps for columns")
    low, high = _RANGES[kind]
    edges = [ops.constant((end - zeros) * steps) for end in (low, high)]
    ends = [ops.constant(np.array(end, np.float32)) for end in (low, high)]
    return ops.convert(ops.fake_quantize(values, *edges, *ends, _LEVELS), kind)


def _with_steps_of_rows(
    values: openvino.Output, step: openvino.Output, zero: openvino.Output, kind: str
) -> openvino.Node:
    """Return (rows, columns) of integers for steps and zero points, (rows,)."""
    import openvino.opset13 as ops

    upright = ops.constant(np.array([-1, 1], np.int64))
    steps = ops.reshape(step, upright, False)
    zeros = ops.reshape(ops.convert(zero, "f32"), upright, False)
    moved = ops.add(ops.round(ops.divide(values, steps), "half_to_even"), zeros)
    return ops.convert(ops.clamp(moved, *_RANGES[kind]), kind)
