"""Four- or eight-bit weights in blocks; states stay float32.

``com.microsoft::MatMulNBits`` has kernels on the CPU and on CUDA. ``accuracy_level`` 4 lets the CPU
multiply in int8, with a scale for each block of a token's states; CUDA ignores it.
Specification: ONNX Runtime's ContribOperators, MatMulNBits: column by column of the weights, in
blocks along the inputs, ``w = (q - 2^(bits-1)) scale``, two 4-bit values a byte, the first in the
lower half.

ONNX Runtime's ``MatMulNBitsQuantizer`` writes the same operator. It is not used because the
rounding is our own: ``gptq.py`` takes second moments that ``hessians.py`` measures group by group,
narrow layers first, so that ``early_refusal.py`` can look at the graph in between, and the token
tables are rounded in the same pass. What is left is packing, which are the lines below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise, repeat

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..graph.layers import MICROSOFT, Linear, constant, drop_unused, linears, narrow_first, replace
from .four_bit_grid import BLOCK, Grid, grid_of
from .gptq import Rounding
from .int8 import quantise_tables

_BLOCK = 128
_LEAST_BLOCK = 16  # of the operator
# Measured (experiments/log/2026-11-28-w4-gptq-and-fused-biases.md): in narrow layers, four bits are
# as fast as float32 only in large blocks.
_NARROW = 2048
_NARROW_BLOCK = 256
_INT8_PRODUCTS = 4
_TINY = np.float32(1e-30)


def to_weight_only(
    model: ir.Model,
    *,
    bits: int,
    moments: Iterable[NDArray[np.float64]] | None = None,
    before_wider: Callable[[str], object] | None = None,
) -> int:
    """Round linear layers to 4 or 8 bits and token tables to 8, in place; return how many layers.

    Symmetric: the lowest integer has no counterpart.

    Args:
        model: A float32 graph.
        bits: 4 or 8.
        moments: What :func:`mean_moments` yields; layers are rounded by ``gptq.py``. None: each
            weight goes to the nearest step.
        before_wider: Called where wider layers begin, with how many are rounded: ``18 of 36``; in
            the middle where all are of one width.
    """
    layers = [*linears(model)]
    measured = repeat(None) if moments is None else iter(moments)
    groups = narrow_first(layers)
    looks, done = _wider(layers, groups), 0
    for place, group in enumerate(groups):
        if before_wider is not None and place in looks:
            before_wider(f"{done} of {len(layers)}")
        done += len(group)
        found = next(measured)
        rounded = rounded_blocks if found is None else Rounding(found).rounded
        for linear in (layers[number] for number in group):
            block = block_of(len(linear.matrix), bits=bits)
            integers, scales = rounded(linear.matrix, bits=bits, block=block)
            replace(model, linear.node, [_product(model, linear, integers, scales, bits=bits)])
    quantise_tables(model)
    drop_unused(model)
    return len(layers)


def keep_four_bits(model: ir.Model) -> int:
    """Store layers that have four bits already as they are; return how many layers there are.

    A model that was read from a file of four bits has such layers. The file has more bits for the
    others, so these and the token tables get eight.

    Args:
        model: A float32 graph, changed in place. Without such layers it stays as it is.

    Returns:
        0 where no layer has four bits; else the number of all layers.
    """
    layers = [*linears(model)]
    grids = [grid_of(layer.matrix) for layer in layers]
    if not any(grids):
        return 0
    sums: dict[ir.Value, ir.Value] = {}  # of blocks, by the states that layers share
    for layer, grid in zip(layers, grids, strict=True):
        if grid is None:
            block = block_of(len(layer.matrix), bits=8)
            integers, scales = rounded_blocks(layer.matrix, bits=8, block=block)
            replace(model, layer.node, [_product(model, layer, integers, scales, bits=8)])
        else:
            replace(model, layer.node, _kept(model, layer, grid, sums))
    quantise_tables(model)
    drop_unused(model)
    return len(layers)


def _kept(
    model: ir.Model, layer: Linear, grid: Grid, sums: dict[ir.Value, ir.Value]
) -> list[ir.Node]:
    """Return the nodes of a layer on a grid of four bits.

    MatMulNBits has an offset of -8 scales. The rest of a block's offset meets the sum of the
    block's states, which is a product of a thirty-second of the size, in float32. The operator's
    own zero points would have to be whole numbers of steps; with others its CPU kernel unpacks
    the weights, and a short query takes ten times as long
    (``experiments/log/2026-12-01-four-bits-of-a-file.md``).
    """
    product = _product(model, layer, grid.integers, grid.scales, bits=4)
    if grid.offsets is None:
        return [product]
    weight = layer.node.inputs[1]
    assert weight is not None
    rest = (grid.offsets + 8 * grid.scales).astype(np.float32)
    made: list[ir.Node] = []
    if layer.states not in sums:
        shape = constant(model, f"blocks.{grid.scales.shape[1]}", np.array([0, 0, -1, BLOCK]))
        split = ir.node("Reshape", [layer.states, shape])
        last = constant(model, "blocks.axis", np.array([3]))
        summed = ir.node("ReduceSum", [split.outputs[0], last], {"keepdims": 0})
        made += [split, summed]
        sums[layer.states] = summed.outputs[0]
    offsets = constant(model, f"{weight.name}.offset", np.ascontiguousarray(rest.T))
    moved = ir.node("MatMul", [sums[layer.states], offsets])
    return [*made, product, moved, ir.node("Add", [product.outputs[0], moved.outputs[0]])]


def _wider(layers: Sequence[Linear], groups: Sequence[Sequence[int]]) -> set[int]:
    """Return the numbers of the groups at which wider layers begin."""
    widths = [len(layers[group[0]].matrix) for group in groups]
    found = {place for place, (one, other) in enumerate(pairwise(widths), 1) if one != other}
    return found or {len(groups) // 2} - {0}


def _product(
    model: ir.Model,
    linear: Linear,
    integers: NDArray[np.uint8],
    scales: NDArray[np.float32],
    *,
    bits: int,
) -> ir.Node:
    weight = linear.node.inputs[1]
    assert weight is not None
    inputs, outputs = linear.matrix.shape
    return ir.node(
        "MatMulNBits",
        [
            linear.states,
            constant(model, f"{weight.name}.w{bits}", _packed(integers, bits)),
            constant(model, f"{weight.name}.scale", scales),
        ],
        {
            "K": inputs,
            "N": outputs,
            "bits": bits,
            "block_size": integers.shape[2],
            "accuracy_level": _INT8_PRODUCTS,
        },
        domain=MICROSOFT,
    )


def block_of(inputs: int, *, bits: int) -> int:
    """Return how many inputs of a layer share a scale, of which at most an eighth is filling.

    >>> [block_of(inputs, bits=4) for inputs in (172, 384, 512, 1536, 4096)]
    [64, 128, 256, 256, 128]
    """
    block = _NARROW_BLOCK if bits == 4 and inputs < _NARROW else _BLOCK
    while block > _LEAST_BLOCK and -inputs % block * 8 > inputs:
        block //= 2
    return block


def rounded_blocks(
    matrix: NDArray[np.float32], *, bits: int, block: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return the integers and scales of a matrix, each weight at the nearest step.

    A block's largest magnitude takes the lowest integer.

    Args:
        matrix: float32, shape (K, N).
        bits: 4 or 8.
        block: Inputs that share a scale; the last block is filled with zeros.

    Returns:
        uint8 of shape (N, blocks, block), and float32 of shape (N, blocks), with
        ``matrix ~ (integers - 2^(bits-1)) * scales``.
    """
    inputs, outputs = matrix.shape
    blocks = -(-inputs // block)
    padded = np.zeros((outputs, blocks * block), np.float32)
    padded[:, :inputs] = matrix.T
    split = padded.reshape(outputs, blocks, block)
    peak_at = np.abs(split).argmax(axis=2, keepdims=True)
    peak = np.take_along_axis(split, peak_at, axis=2)  # (N, blocks, 1), with its sign
    zero = 2 ** (bits - 1)
    scales: NDArray[np.float32] = (peak / -zero).astype(np.float32)
    scales[np.abs(scales) < _TINY] = 1
    integers: NDArray[np.uint8] = np.clip(np.rint(split / scales) + zero, 0, 2 * zero - 1).astype(
        np.uint8
    )
    return integers, scales[:, :, 0]


def _packed(integers: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Return what the operator reads: uint8, shape (N, blocks, block x bits / 8)."""
    if bits == 8:
        return integers
    low, high = integers[..., 0::2], integers[..., 1::2]
    return (low | (high << 4)).astype(np.uint8)
