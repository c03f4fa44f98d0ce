"""Norms and rotary positions are one operator each, and other forms stay as they are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest

from decant.embedders import Choices, Pooling, TorchEncoder
from decant.export.passes.fuse_rotary import fuse_rotary
from decant.export.trace.tracing import trace
from models import save_model

# Queries and keys (B, T, H, d) with H = 2 and d = 4, turned by angles of halves (B, T, 2).
_ROTATION = """
<ir_version: 10, opset_import: ["" : 20, "com.microsoft" : 1]>
rotation (float[b, t, 2, 4] states, float[b, t, 2] freqs) => (float[b, 2, t, 4] given)
<int64[1] zero = {0}, int64[1] two = {2}, int64[1] four = {4}, int64[1] three = {3},
 int64[1] one = {1}, float factor = {1.5}>
{
    both = Concat<axis: int = -1> (freqs, freqs)
    cosine = Cos (both)
    sine = Sin (both)
    cosines = Mul (cosine, factor)
    sines = Mul (sine, factor)
    cos = Unsqueeze (cosines, one)
    sin = Unsqueeze (sines, one)
    heads = Transpose<perm: ints = [0, 2, 1, 3]> (states)
    straight = Mul (heads, cos)
    first = Slice (heads, zero, two, three, one)
    second = Slice (heads, two, four, three, one)
    negative = Neg (second)
    swapped = Concat<axis: int = -1> (negative, first)
    crossed = Mul (swapped, sin)
    turned = Add (straight, crossed)
    given = Identity (turned)
}
"""


def _fused(text: str) -> tuple[ir.Model, int]:
    model = ir.serde.deserialize_model(
        onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text))
    )
    return model, fuse_rotary(model)


def _run(model: ir.Model | str, feeds: dict[str, np.ndarray]) -> np.ndarray:
    made = onnx.parser.parse_model(model) if isinstance(model, str) else ir.to_proto(model)
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, feeds)[0])


def _by_hand(states: np.ndarray, freqs: np.ndarray, factor: float) -> np.ndarray:
    """Turn one number after the other."""
    rows, tokens, heads, width = states.shape
    half = width // 2
    turned = np.empty((rows, heads, tokens, width))
    for row, token, head, at in np.ndindex(rows, tokens, heads, half):
        a, b = (float(states[row, token, head, at + shift]) for shift in (0, half))
        cosine, sine = np.cos(freqs[row, token, at]), np.sin(freqs[row, token, at])
        turned[row, head, token, at] = factor * (a * cosine - b * sine)
        turned[row, head, token, at + half] = factor * (b * cosine + a * sine)
    return turned


@pytest.mark.parametrize("upright", [True, False], ids=["before transposing", "heads first"])
def test_a_rotation_is_one_operator_and_turns_every_row_by_its_own_angles(upright: bool) -> None:
    text = _ROTATION
    if not upright:  # as in Gemma 3, which norms after transposing
        text = text.replace("straight = Mul (heads", "same = Relu (heads)\n straight = Mul (same")
        text = text.replace("Slice (heads", "Slice (same")
    model, count = _fused(text)
    kinds = Counter(node.op_type for node in model.graph)
    assert (count, kinds["RotaryEmbedding"]) == (1, 1)
    assert not kinds["Neg"]
    drawn = np.random.default_rng(0)
    states = drawn.standard_normal((3, 5, 2, 4)).astype(np.float32)
    states = states if upright else np.abs(states)
    feeds = {"states": states, "freqs": drawn.uniform(-9, 9, (3, 5, 2)).astype(np.float32)}
    expected = _by_hand(feeds["states"], feeds["freqs"], 1.5)
    np.testing.assert_allclose(_run(model, feeds), expected, atol=1e-5)
    np.testing.assert_allclose(_run(text, feeds), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Concat<axis: int = -1> (freqs, freqs)", "Concat<axis: int = -1> (freqs, less)"),
        ("(negative, first)", "(first, negative)"),
        ("Slice (heads, zero, two", "Slice (heads, one, three"),
        ("Unsqueeze (sines, one)", "Unsqueeze (sines, two)"),
        ("Neg (second)", "Abs (second)"),
        ("Mul (sine, factor)", "Mul (sine, both)"),
    ],
)
def test_what_is_not_quite_a_rotation_stays_as_it_is(old: str, new: str) -> None:
    text = _ROTATION.replace("both = ", "less = Neg (freqs)\n    both = ").replace(old, new)
    assert old not in text.replace(new, "")
    model, count = _fused(text)
    assert count == 0
    assert "RotaryEmbedding" not in {node.op_type for node in model.graph}


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gemma3_text"])
def test_a_decoder_has_one_operator_for_each_norm_and_rotation(tmp_path: Path, family: str) -> None:
    folder = save_model(tmp_path / "model", family)
    with TorchEncoder.from_pretrained(folder, choices=Choices(pooling=Pooling.MEAN)) as encoder:
        trace(encoder.model, tmp_path / "model.onnx")
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node)
    assert kinds["RotaryEmbedding"] == 2 * 2  # queries and keys of two layers
    assert kinds["SimplifiedLayerNormalization"] == 2 * 6 + 1
    assert not kinds["Pow"]
    assert not kinds["Neg"]
