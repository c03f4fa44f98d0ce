"""Write rotary positions as one operator, ``com.microsoft::RotaryEmbedding``.

PyTorch traces a rotation as seven operators, each a pass over queries or keys; the one operator has
kernels on the CPU and on CUDA and is six times as fast on the CPU
(``experiments/log/2026-11-28-decoder-norms-rotary-last-layer.md``). What is replaced is ``x cos +
rotate(x) sin`` with ``rotate([a, b]) = [-b, a]`` on whole heads (RoFormer, arXiv 2104.09864,
section 3.4.2, with halves in place of pairs, as in GPT-NeoX). Other forms, such as heads that are
rotated in part, stay as they are.
Specification: ONNX Runtime's ContribOperators, RotaryEmbedding: row ``position_ids[b, t]`` of the
tables, (rows, d / 2), turns token t of row b. Here each token has a row of its own, so any angles
will do: scaled ones, and those of a text that stands behind a prompt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from ..graph.builder import Pen
from ..graph.layers import MICROSOFT

_HEADS_FIRST = [0, 2, 1, 3]
_STATES_RANK = 4
_ANGLES_RANK = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rotation:
    """Operators that rotate states.

    Args:
        states: Shape (B, H, T, d).
        upright: The same as (B, T, H, d), where that is what they were transposed from.
        cosines: Shape (B, T, d), two equal halves; so are the sines.
        sines: See there.
        heads: H.
        width: d.
        rotated: What is replaced, shape (B, H, T, d).
    """

    states: ir.Value
    upright: ir.Value | None
    cosines: ir.Value
    sines: ir.Value
    heads: int
    width: int
    rotated: ir.Value


def fuse_rotary(model: ir.Model) -> int:
    """Replace rotations in place; return how many there were."""
    graph = model.graph
    found = [rotation for node in graph if (rotation := _ending_in(node)) is not None]
    if found:
        pen = Pen(graph)
        tables = _Tables(pen)
        for rotation in found:
            _replace(pen, tables, rotation)
        graph.sort()
        RemoveUnusedNodesPass()(model)
        graph.opset_imports.setdefault(MICROSOFT, 1)
    return len(found)


class _Tables:
    """Angles as the operator wants them, made once for all that are turned by them."""

    def __init__(self, pen: Pen) -> None:
        self._pen = pen
        self._made: dict[ir.Value, ir.Value] = {}
        self._rows: dict[ir.Value, ir.Value] = {}

    def table(self, angles: ir.Value, half: int) -> ir.Value:
        """Return the first halves, a row for each token: (B x T, d / 2)."""
        if angles not in self._made:
            pen = self._pen
            ends = [pen.integers(number) for number in (0, half, -1)]
            first = pen("Slice", [angles, *ends])
            self._made[angles] = pen("Reshape", [first, pen.integers(-1, half)])
        return self._made[angles]

    def rows(self, angles: ir.Value) -> ir.Value:
        """Return the number of each token's row: int64, (B, T)."""
        if angles not in self._rows:
            pen = self._pen
            shape = pen("Shape", [angles], {"start": 0, "end": 2})
            count = pen("ReduceProd", [shape], {"keepdims": 0})
            zero, one = (pen.constant(np.array(number, np.int64)) for number in (0, 1))
            self._rows[angles] = pen("Reshape", [pen("Range", [zero, count, one]), shape])
        return self._rows[angles]


def _replace(pen: Pen, tables: _Tables, rotation: _Rotation) -> None:
    """Put the operator in a rotation's place.

    It takes (B, H, T, d) and (B, T, H x d). Where states come from the second form, as most do, it
    is put before their transposition, which ONNX Runtime then drops with the one behind it.
    """
    heads, width = rotation.heads, rotation.width
    further = [
        tables.rows(rotation.cosines),
        tables.table(rotation.cosines, width // 2),
        tables.table(rotation.sines, width // 2),
    ]
    given = rotation.states
    if rotation.upright is not None:
        given = pen("Reshape", [rotation.upright, pen.integers(0, 0, heads * width)])
    turned = pen("RotaryEmbedding", [given, *further], {"num_heads": heads}, domain=MICROSOFT)
    if rotation.upright is not None:
        apart = pen("Reshape", [turned, pen.integers(0, 0, heads, width)])
        turned = pen("Transpose", [apart], {"perm": _HEADS_FIRST})
    turned.shape, turned.type = rotation.rotated.shape, rotation.rotated.type
    ir.convenience.replace_all_uses_with(rotation.rotated, turned)


def _ending_in(last: ir.Node) -> _Rotation | None:
    """Return the rotation whose last operator this is, None if it is something else."""
    if last.op_type != "Add":
        return None
    straight, crossed = (_maker(value, "Mul") for value in last.inputs)
    if straight is None or crossed is None:
        return None
    states, cosines = straight.inputs
    swapped, sines = crossed.inputs
    if states is None or states.shape is None or len(states.shape) != _STATES_RANK:
        return None
    heads, width = states.shape[1], states.shape[3]
    if not isinstance(heads, int) or not isinstance(width, int) or width % 2:
        return None
    angles = [_of_every_token(value, states) for value in (cosines, sines)]
    if angles[0] is None or angles[1] is None or not _is_swapped(swapped, states, width):
        return None
    return _Rotation(
        states=states,
        upright=_before_heads_first(states),
        cosines=angles[0],
        sines=angles[1],
        heads=heads,
        width=width,
        rotated=last.outputs[0],
    )


def _before_heads_first(states: ir.Value) -> ir.Value | None:
    turning = _maker(states, "Transpose")
    if turning is None or list(turning.attributes["perm"].as_ints()) != _HEADS_FIRST:
        return None
    return turning.inputs[0]


def _is_swapped(value: ir.Value | None, states: ir.Value, width: int) -> bool:
    """Tell whether a value is ``[-b, a]`` of states ``[a, b]``, which are halves."""
    joined = _maker(value, "Concat")
    if joined is None or len(joined.inputs) != 2:
        return False
    negative = _maker(joined.inputs[0], "Neg")
    if negative is None:
        return False
    half = width // 2
    first, second = _cut(joined.inputs[1], states), _cut(negative.inputs[0], states)
    return first == (0, half) and second is not None and second[0] == half and second[1] >= width


def _cut(value: ir.Value | None, states: ir.Value) -> tuple[int, int] | None:
    """Return where a slice of the states' last axis begins and ends, None if it is none."""
    cutting = _maker(value, "Slice")
    if cutting is None or cutting.inputs[0] is not states:
        return None
    begin, end, axis, step = ([*map(_number, cutting.inputs[1:]), 1])[:4]
    whole = axis in (-1, _STATES_RANK - 1) and step == 1
    return (begin, end) if whole and begin is not None and end is not None else None


def _of_every_token(value: ir.Value | None, states: ir.Value) -> ir.Value | None:
    """Return angles (B, T, d), given as (B, 1, T, d), if they are right for the operator.

    Their halves must be equal, and there must be angles for each token of each row.
    """
    opened = _maker(value, "Unsqueeze")
    if opened is None or _number(opened.inputs[1]) != 1:
        return None
    angles = opened.inputs[0]
    if angles is None or angles.shape is None or states.shape is None:
        return None
    wanted = (states.shape[0], *states.shape[2:])
    fits = len(angles.shape) == _ANGLES_RANK and tuple(angles.shape) == wanted
    return angles if fits and _halves_are_equal(angles) else None


def _halves_are_equal(angles: ir.Value) -> bool:
    """Tell whether these are cosines or sines of a value beside itself, times a factor perhaps."""
    made = angles.producer()
    while made is not None and made.op_type in ("Cast", "Mul"):
        if not all(_is_scalar(factor) for factor in made.inputs[1:]):
            return False
        made = None if made.inputs[0] is None else made.inputs[0].producer()
    if made is None or made.op_type not in ("Cos", "Sin"):
        return False
    joined = _maker(made.inputs[0], "Concat")
    return joined is not None and len(joined.inputs) == 2 and joined.inputs[0] is joined.inputs[1]


def _is_scalar(value: ir.Value | None) -> bool:
    return value is not None and value.const_value is not None and value.const_value.size == 1


def _number(value: ir.Value | None) -> int | None:
    """Return a constant of one integer, None if it is something else."""
    if value is None or value.const_value is None or not _is_scalar(value):
        return None
    return int(value.const_value.numpy().item())


def _maker(value: ir.Value | None, operator: str) -> ir.Node | None:
    """Return the node that makes a value if it is of this operator."""
    made = None if value is None else value.producer()
    return made if made is not None and made.op_type == operator else None
