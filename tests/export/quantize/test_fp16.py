"""Products and tables in float16 inside a float32 graph that others made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from decant.embedders import Precision
from decant.export import convert, import_onnx
from foreign_graphs import TOKENS_SEE_ALL, toy
from models import WIDTH

# LayerNormalization written out as DeBERTa does, right behind a table or a product.
NORM = """
    width = Constant <value = int64[1] {{-1}}> ()
    two = Constant <value = float {{2.0}}> ()
    little = Constant <value = float {{0.00001}}> ()
    average = ReduceMean ({rows}, width)
    apart = Sub ({rows}, average)
    squares = Pow (apart, two)
    variance = ReduceMean (squares, width)
    more = Add (variance, little)
    deviation = Sqrt (more)
    unit = Div (apart, deviation)
    scaled = Mul (scale, unit)
    normed = Add (scaled, scale)
"""


@pytest.mark.parametrize(
    "layers",
    [
        NORM.format(rows="words") + "states = MatMul (normed, matrix)",
        "product = MatMul (words, matrix)"
        + NORM.format(rows="product").replace("normed", "states"),
        "wide = Cast <to = 1> (words)"
        + NORM.format(rows="wide")
        + "states = MatMul (normed, matrix)",
    ],
    ids=["behind the table", "behind a product", "behind a cast, as optimum-onnx writes it"],
)
def test_a_norm_of_plain_operators_keeps_float32(
    bare_folder: Path, tmp_path: Path, layers: str
) -> None:
    drawn = np.random.default_rng(0)
    weights = {
        "matrix": drawn.normal(size=(WIDTH, WIDTH)).astype(np.float32),
        "scale": drawn.normal(size=WIDTH).astype(np.float32),
    }
    found, rest = TOKENS_SEE_ALL.strip().split("\n", 1)
    body = "\n".join((found, layers, rest.replace("words", "states")))
    graph = toy(tmp_path / "toy.onnx", body, opset=18, weights=weights)
    import_onnx(graph, bare_folder, tmp_path / "sealed")
    entry = convert(tmp_path / "sealed", "fp16").entries[-1]
    assert (entry.precision, entry.passed) == (Precision.FP16, True)
    made = onnx.load(tmp_path / "sealed" / entry.file).graph
    halves = {item.name for item in made.initializer if item.data_type == onnx.TensorProto.FLOAT16}
    assert halves == {"table.fp16", "matrix.fp16"}
