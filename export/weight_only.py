"""Four- or eight-bit weights in blocks; states stay float32.

``com.microsoft::MatMulNBits`` has kernels on the CPU and on CUDA. ``accuracy_level`` 4 lets the CPU
multiply in int8, with a scale for each block of a token's states; CUDA ignores it.
Specification: ONNX Runtime's ContribOperators, MatMulNBits: column by column of the weights, in
blocks along the inputs, ``w = (q - 2^(bits-1)) scale``, two 4-bit values a byte, the first in the
lower half. ONNX Runtime has a quantizer for it, which sets up logging for the whole process when
it is imported; hence these lines.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .int8 import quantise_tables
from .linears import MICROSOFT, constant, drop_unused, linears, replace

# Measured (EXPERIMENTS.md): 8 bits are exact enough in large blocks, 4 bits need small ones.
_BLOCK = {4: 32, 8: 128}
_INT8_PRODUCTS = 4
_TINY = np.float32(1e-30)


def to_weight_only(model: ir.Model, *, bits: int) -> int:
    """Round linear layers to 4 or 8 bits and token tables to 8, in place; return how many layers.

    Symmetric: a block's largest magnitude takes the lowest integer, which has no counterpart.
    """
    count = 0
    for linear in linears(model):
        weight = linear.node.inputs[1]
        assert weight is not None
        inputs, outputs = linear.matrix.shape
        integers, scales = rounded_blocks(linear.matrix, bits=bits, block=_BLOCK[bits])
        product = ir.node(
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
                "block_size": _BLOCK[bits],
                "accuracy_level": _INT8_PRODUCTS,
            },
            domain=MICROSOFT,
        )
        replace(model, linear.node, [product])
        count += 1
    quantise_tables(model)
    drop_unused(model)
    return count


def rounded_blocks(
    matrix: NDArray[np.float32], *, bits: int, block: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return the integers and scales of a matrix.

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
