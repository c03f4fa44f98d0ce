"""Sealed graphs that pool one token compute the end of the last layer for it alone, if proved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from decant.embedders import Choices, Pooling, TorchEncoder
from decant.embedders.onnx import Session
from decant.embedders.tokens import Tokens, pad
from decant.export import import_onnx
from decant.export.passes.name_axes import name_axes
from decant.export.passes.slice_pooled_token import SUM
from foreign_graphs import TOKENS_SEE_ALL, scripted, toy, traced
from models import LONGEST, WIDTH, save_sentence_transformer

CPU = "CPUExecutionProvider"
BERT = ("input_ids", "attention_mask", "token_type_ids")
LLAMA = ("input_ids", "attention_mask", "position_ids")

Maker = Callable[[Path, Path, Sequence[str]], Path]


def rows(lengths: list[int]) -> list[Tokens]:
    drawn = np.random.default_rng(len(lengths))
    return [Tokens(ids=tuple(drawn.integers(7, 250, n).tolist()), counted=0) for n in lengths]


def products(path: Path, lengths: list[int]) -> list[tuple[int, ...]]:
    """Return the rows and tokens of what every product of a sealed graph gives."""
    model = onnx.load(path)
    found = [node.output[0] for node in model.graph.node if node.op_type == "MatMul"]
    known = {item.name for item in model.graph.output}
    for name in found:
        if name not in known:
            shown = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            model.graph.output.append(shown)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=[CPU])
    batch = pad(rows(lengths), pad_id=0)
    feeds = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    return [np.asarray(value).shape[:2] for value in session.run(found, feeds)]


@pytest.mark.parametrize(
    ("family", "names", "pooling", "maker", "expected"),
    [
        pytest.param("bert", BERT, "cls", scripted, 3, id="bert, older exporter"),
        pytest.param("bert", BERT, "cls", traced, 3, id="bert", marks=pytest.mark.slow),
        pytest.param("roberta", BERT[:2], "cls", scripted, 3, id="roberta, older exporter"),
        pytest.param("llama", LLAMA, "lasttoken", scripted, 4, id="llama, older exporter"),
        pytest.param("llama", LLAMA, "lasttoken", traced, 4, id="llama", marks=pytest.mark.slow),
    ],
)
def test_products_behind_the_last_attention_see_one_token_a_row(
    tmp_path: Path, family: str, names: Sequence[str], pooling: str, maker: Maker, expected: int
) -> None:
    folder = save_sentence_transformer(tmp_path / "model", family, pooling=pooling)
    import_onnx(maker(folder, tmp_path / "made.onnx", names), folder, tmp_path / "sealed")
    path = tmp_path / "sealed" / "onnx" / "model.onnx"
    shapes = products(path, [5, 11, 8])
    assert shapes.count((3, 1)) == expected
    # Keys and values, and the layer below, are of all tokens.
    assert shapes.count((3, 11)) >= expected + 2
    session = Session(path, CPU)
    with TorchEncoder.from_pretrained(folder) as encoder:
        for lengths in ([1], [9], [1, 1], [12, 12], [3, LONGEST, 1, 2]):
            wanted = np.concatenate([encoder.run(pad([row], pad_id=0)) for row in rows(lengths)])
            for left in (False, True):
                found = session.run(pad(rows(lengths), pad_id=0, left=left))
                np.testing.assert_allclose(found, wanted, atol=5e-6)


LAYER = (
    TOKENS_SEE_ALL.replace("last_hidden_state", "below")
    + """
    product = MatMul (below, matrix)
    scaled = Mul (product, real)
    """
)
AVERAGED = """
    sums = ReduceSum (scaled, middle)
    last_hidden_state = Add (scaled, sums)
"""
# A pooled sum within the graph, of all tokens, by the very equation of ours.
SUMMED = """
    sums = Einsum <equation = "bt,btd->bd"> (counts, product)
    row = Unsqueeze (sums, middle)
    last_hidden_state = Add (below, row)
"""


@pytest.mark.parametrize(
    ("then", "shape"),
    [
        pytest.param("last_hidden_state = Add (product, below)", (2, 1), id="each alone"),
        pytest.param(AVERAGED, (2, 5), id="a mean of all"),
        pytest.param(SUMMED, (2, 5), id="a sum like ours"),
    ],
)
def test_only_what_treats_each_token_alone_is_pruned(
    bare_folder: Path, tmp_path: Path, then: str, shape: tuple[int, int]
) -> None:
    matrix = np.random.default_rng(1).normal(size=(WIDTH, WIDTH)).astype(np.float32)
    graph = toy(tmp_path / "toy.onnx", LAYER + then, weights={"matrix": matrix})
    said = Choices(pooling=Pooling.FIRST)
    assert import_onnx(graph, bare_folder, tmp_path / "sealed", choices=said).passed
    path = tmp_path / "sealed" / "onnx" / "model.onnx"
    assert products(path, [5, 3]) == [shape]


@pytest.mark.parametrize("pooling", [Pooling.MEAN, Pooling.MAX])
def test_other_poolings_keep_all_tokens(
    bare_folder: Path, tmp_path: Path, pooling: Pooling
) -> None:
    graph = toy(tmp_path / "toy.onnx")
    import_onnx(graph, bare_folder, tmp_path / "sealed", choices=Choices(pooling=pooling))
    path = tmp_path / "sealed" / "onnx" / "model.onnx"
    assert not {node.op_type for node in onnx.load(path).graph.node} & {"ArgMax", "GatherND"}


def shapes(lines: str) -> dict[str, str]:
    """Return the shapes of a graph of ids (B, T) and a table of 64 positions, as far as named."""
    made = ir.from_onnx_text(f"""
        <ir_version: 10, opset_import: ["" : 18, "com.microsoft" : 1]>
        graph (int64[B, T] ids, float[B, T] weights) => (float[B, 4] pooled)
            <float[9, 4] table = {{{", ".join(["1"] * 36)}}}, int64[1] zero = {{0}},
             float[1, 64, 4] places = {{{", ".join(["1"] * 256)}}}, int64[1] one = {{1}},
             int64[1] twelve = {{12}}>
        {{
            words = Gather (table, ids)
            length = Shape <start = 1, end = 2> (ids)
            cut = Slice (places, zero, length, one)
            {lines}
            pooled = Einsum <equation = "{SUM}"> (weights, hidden)
        }}
    """)
    name_axes(made)
    return {str(value.name): str(value.shape) for node in made.graph for value in node.outputs}


def test_states_that_positions_were_added_to_have_rows_and_tokens() -> None:
    found = shapes("""
        sum = Add (words, cut)
        size = Shape (sum)
        mixed = Reshape (sum, size)
        hidden = Sigmoid (mixed)
    """)
    assert found["cut"] != "[B,T,4]"
    # A reshape may make them anything: nothing is proved through it.
    assert found["sum"] != "[B,T,4]"
    found = shapes("""
        sum = Add (words, cut)
        size = Shape (sum)
        mixed = Reshape (sum, size)
        rest = Sigmoid (mixed)
        hidden = Add (sum, rest)
    """)
    # Whatever is added to them, they end as states of rows and tokens.
    assert {found[name] for name in ("sum", "mixed", "rest", "hidden")} == {"[B,T,4]"}
    assert found["cut"] != "[B,T,4]"


def test_a_size_that_inference_insists_on_is_named_once() -> None:
    # Twelve tokens alone fit to the constant, so they are a number and a name at the same time.
    found = shapes("""
        part = Slice (places, zero, twelve, one)
        sum = Add (words, part)
        hidden = Sigmoid (sum)
    """)
    assert found["words"] == "[B,T,4]"


@pytest.mark.parametrize(
    "line",
    ["hidden = Sigmoid (cut)", "hidden = com.microsoft.QuickGelu (words)"],
    ids=["positions alone", "an operator without inference"],
)
def test_what_is_not_proved_has_no_names(line: str) -> None:
    assert shapes(line)["hidden"] != "[B,T,4]"
