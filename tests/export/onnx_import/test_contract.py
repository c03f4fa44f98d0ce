"""What cannot be sealed is refused by name, and what leaks padding fails its certificate."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest

from decant.embedders import (
    AppendedTokens,
    Attention,
    BundleError,
    Choices,
    Dense,
    ParityError,
    PooledTokens,
    Pooling,
    Precision,
    RecipeError,
)
from decant.export import import_onnx
from decant.export.onnx_import.contract import precision_of
from foreign_graphs import IDS, MASK, TOKENS_SEE_ALL, table, toy
from models import WIDTH, save_nv_embed, write_json

IGNORES_ITS_MASK = """
    words = Gather (table, input_ids)
    mean = ReduceMean <axes = [1], keepdims = 1> (words)
    last_hidden_state = Add (words, mean)
"""
POOLS_ITSELF = (
    IGNORES_ITS_MASK.replace("last_hidden_state", "mixed")
    + "last_hidden_state = ReduceMax <axes = [1], keepdims = 0> (mixed)"
)
COUNTS_FROM_THE_END = """
    words = Gather (table, input_ids)
    axis = Constant <value = int64 {1}> ()
    last = Constant <value = int64[1] {2}> ()
    ones = Equal (input_ids, input_ids)
    counts = Cast <to = 1> (ones)
    columns = CumSum <reverse = 1> (counts, axis)
    far = Unsqueeze (columns, last)
    moved = Mul (words, far)
    last_hidden_state = Tanh (moved)
"""
SEES_NOTHING_ELSE = """
    last_hidden_state = Gather (table, input_ids)
"""


@pytest.mark.parametrize(
    ("body", "attention"),
    [(IGNORES_ITS_MASK, Attention.BIDIRECTIONAL), (COUNTS_FROM_THE_END, Attention.CAUSAL)],
    ids=["pads leak into the states", "positions count from the end"],
)
def test_a_graph_that_reads_its_padding_fails_by_name_and_leaves_nothing(
    body: str, attention: Attention, bare_folder: Path, tmp_path: Path
) -> None:
    graph = toy(tmp_path / "toy.onnx", body)
    with pytest.raises(ParityError, match=r"was not imported to .*: right padding \(worst cosine"):
        import_onnx(graph, bare_folder, tmp_path / "sealed", choices=Choices(attention=attention))
    assert [path.name for path in tmp_path.iterdir()] == ["toy.onnx"]


def test_attention_that_is_not_the_recipes_fails_by_name(bare_folder: Path, tmp_path: Path) -> None:
    graph = toy(tmp_path / "toy.onnx", SEES_NOTHING_ELSE)
    with pytest.raises(ParityError, match="attention is causal, the recipe says bidirectional"):
        import_onnx(graph, bare_folder, tmp_path / "sealed")
    said = Choices(attention=Attention.CAUSAL)
    graph = toy(tmp_path / "toy.onnx", TOKENS_SEE_ALL)
    with pytest.raises(ParityError, match="attention is bidirectional, the recipe says causal"):
        import_onnx(graph, bare_folder, tmp_path / "sealed", choices=said)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((IDS, MASK, "float[batch, 3] pixel_values"), "needs the input 'pixel_values'"),
        ((IDS, MASK, "bool[1] use_cache_branch"), "needs the input 'use_cache_branch'"),
        ((IDS, "int64[batch, tokens] position_ids"), "has no input attention_mask"),
        ((MASK, "int64[batch, tokens] input_ids_2"), "needs the input 'input_ids_2'"),
        (("int64[1, 128] input_ids", MASK), r"input_ids with the shape \(1, 128\)"),
        ((IDS, MASK, "int64[3, batch, tokens] position_ids"), "position_ids with the shape"),
        ((IDS, MASK, "float[batch, 4, 8] past_key_values_0"), "an empty past needs"),
        ((IDS, MASK, "float[batch, 4, 16, 8] past_key_values_0"), "an empty past needs"),
    ],
)
def test_inputs_that_cannot_be_fed_are_named(
    inputs: tuple[str, ...], message: str, bare_folder: Path, tmp_path: Path
) -> None:
    graph = toy(tmp_path / "toy.onnx", inputs=inputs)
    with pytest.raises(BundleError, match=message):
        import_onnx(graph, bare_folder, tmp_path / "sealed")


def test_an_input_with_a_default_is_left_alone(bare_folder: Path, tmp_path: Path) -> None:
    given = f"float[{WIDTH}] shift"
    body = TOKENS_SEE_ALL.replace("Tanh (mixed)", "Add (mixed, shift)")
    shift = {"shift": np.ones(WIDTH, np.float32)}
    graph = toy(tmp_path / "toy.onnx", body, inputs=(IDS, MASK, given), weights=shift)
    assert import_onnx(graph, bare_folder, tmp_path / "sealed").passed


def test_a_past_that_nothing_describes_asks_for_the_config(
    bare_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(bare_folder, tmp_path / "model"))
    write_json(folder / "config.json", {"model_type": "bert", "max_position_embeddings": 64})
    past = "float[batch, heads, past, width] past_key_values_0"
    graph = toy(tmp_path / "toy.onnx", inputs=(IDS, MASK, past))
    with pytest.raises(BundleError, match="add num_key_value_heads and head_dim"):
        import_onnx(graph, folder, tmp_path / "sealed")


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        (TOKENS_SEE_ALL, ("float[batch, 1, 32] mean", "float[batch, tokens, 1] real")),
        (
            POOLS_ITSELF,
            ("float[batch, 32] last_hidden_state",),
        ),
    ],
    ids=["other names", "other rank"],
)
def test_a_graph_without_token_states_shows_its_outputs(
    body: str, outputs: tuple[str, ...], bare_folder: Path, tmp_path: Path
) -> None:
    graph = toy(tmp_path / "toy.onnx", body, outputs=outputs)
    with pytest.raises(BundleError, match=r"its outputs are \w+ \(batch, .*32\)"):
        import_onnx(graph, bare_folder, tmp_path / "sealed")


def test_states_of_another_shape_than_promised_are_found_when_run(
    bare_folder: Path, tmp_path: Path
) -> None:
    body = TOKENS_SEE_ALL.replace("Tanh (mixed)", "Transpose <perm = [0, 2, 1]> (mixed)")
    graph = toy(tmp_path / "toy.onnx", body, outputs=("float last_hidden_state",))
    model = onnx.load(graph)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(model, graph)
    with pytest.raises(BundleError, match=r"has the shape \(1, 32, \d+\) for one text"):
        import_onnx(graph, bare_folder, tmp_path / "sealed")


def test_an_earlier_layer_is_refused(bare_folder: Path, tmp_path: Path) -> None:
    graph = toy(tmp_path / "toy.onnx")
    with pytest.raises(RecipeError, match="pools layer -2, and a finished graph gives only"):
        import_onnx(graph, bare_folder, tmp_path / "sealed", choices=Choices(layer=-2))


def test_appended_tokens_are_refused(bare_folder: Path, tmp_path: Path) -> None:
    graph = toy(tmp_path / "toy.onnx")
    said = Choices(span=PooledTokens.TAIL, appended=AppendedTokens(tokens=("</s>",), read=1))
    with pytest.raises(RecipeError, match="states of appended tokens, which a finished graph"):
        import_onnx(graph, bare_folder, tmp_path / "sealed", choices=said)


def test_a_latent_attention_is_refused(bare_folder: Path, tmp_path: Path) -> None:
    folder = save_nv_embed(tmp_path / "nv")
    graph = toy(tmp_path / "toy.onnx")
    said = Choices(pooling=Pooling.MEAN, attention=Attention.BIDIRECTIONAL, max_tokens=32)
    with pytest.raises(RecipeError, match="a latent attention, which a finished graph cannot"):
        import_onnx(graph, folder, tmp_path / "sealed", choices=said)
    assert not (tmp_path / "sealed").exists()


def test_a_head_or_width_of_another_model_is_refused(bare_folder: Path, tmp_path: Path) -> None:
    graph = toy(tmp_path / "toy.onnx")
    with pytest.raises(RecipeError, match="dim 33 exceeds the graph's width 32"):
        import_onnx(graph, bare_folder, tmp_path / "sealed", choices=Choices(dim=33))
    folder = Path(shutil.copytree(bare_folder, tmp_path / "model"))
    said = Choices(head=(Dense(path="2_Dense", inputs=64, outputs=32),))
    with pytest.raises(RecipeError, match=r"2_Dense holds no model\.safetensors"):
        import_onnx(graph, folder, tmp_path / "sealed", choices=said)
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(RecipeError, match="which only torch can read"):
        import_onnx(graph, folder, tmp_path / "sealed", choices=said)
    save_dense(folder / "2_Dense" / "model.safetensors", (32, 48))
    with pytest.raises(RecipeError, match=r"asks for \{'weight': \(32, 64\).*holds .*\(32, 48\)"):
        import_onnx(graph, folder, tmp_path / "sealed", choices=said)
    save_dense(folder / "2_Dense" / "model.safetensors", (32, 64))
    with pytest.raises(RecipeError, match="the head takes 64 values, the graph gives 32"):
        import_onnx(graph, folder, tmp_path / "sealed", choices=said)


def save_dense(path: Path, shape: tuple[int, int]) -> None:
    from safetensors.numpy import save_file

    weights = {"linear.weight": np.ones(shape, np.float32), "linear.bias": np.ones(32, np.float32)}
    save_file(weights, path)


def test_files_that_are_no_graph_are_refused(bare_folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "sealed"
    with pytest.raises(BundleError, match=r"none\.onnx does not exist"):
        import_onnx(tmp_path / "none.onnx", bare_folder, target)
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(BundleError, match="is not a readable ONNX file"):
        import_onnx(tmp_path / "text.onnx", bare_folder, target)
    old = toy(tmp_path / "old.onnx", SEES_NOTHING_ELSE, opset=13)
    with pytest.raises(BundleError, match="has opset 13, and the import needs 14"):
        import_onnx(old, bare_folder, target)
    unknown = toy(tmp_path / "unknown.onnx", SEES_NOTHING_ELSE.replace("Gather", "Gathers"))
    with pytest.raises(BundleError, match="ONNX Runtime does not open"):
        import_onnx(unknown, bare_folder, target)


def test_a_folder_without_a_tokenizer_file_is_told_how_to_get_one(
    bare_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(bare_folder, tmp_path / "model"))
    (folder / "tokenizer.json").unlink()
    graph = toy(tmp_path / "toy.onnx")
    with pytest.raises(RecipeError, match=r"has no tokenizer\.json, .*save_pretrained"):
        import_onnx(graph, folder, tmp_path / "sealed")


def _holding(dtype: onnx_ir.DataType, *operators: str, bits: int | None = None) -> onnx_ir.Model:
    """A graph with one weight of a type, and a node for each operator."""
    values = onnx_ir.Value(
        name="weight",
        const_value=onnx_ir.tensor(np.ones(4, np.float32).astype(dtype.numpy()), dtype=dtype),
    )
    attributes = [] if bits is None else [onnx_ir.AttrInt64("bits", bits)]
    nodes = [onnx_ir.Node("", name, [values], attributes) for name in operators]
    graph = onnx_ir.Graph([], [], nodes=nodes, initializers=[values])
    return onnx_ir.Model(graph, ir_version=10)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: _holding(onnx_ir.DataType.FLOAT), Precision.FP32),
        (lambda: _holding(onnx_ir.DataType.FLOAT16), Precision.FP16),
        (lambda: _holding(onnx_ir.DataType.BFLOAT16), Precision.BF16),
        (lambda: _holding(onnx_ir.DataType.INT8, "MatMulInteger"), Precision.INT8),
        (lambda: _holding(onnx_ir.DataType.INT8, "DynamicQuantizeMatMul"), Precision.INT8),
        (lambda: _holding(onnx_ir.DataType.INT8, "DequantizeLinear"), Precision.W8),
        (lambda: _holding(onnx_ir.DataType.INT4, "DequantizeLinear"), Precision.W4),
        (lambda: _holding(onnx_ir.DataType.UINT8, "MatMulNBits", bits=8), Precision.W8),
        (lambda: _holding(onnx_ir.DataType.UINT8, "MatMulNBits", bits=4), Precision.W4),
    ],
)
def test_the_precision_is_read_from_weights_and_operators(
    make: Callable[[], onnx_ir.Model], expected: Precision
) -> None:
    assert precision_of(make()) is expected


def test_a_dynamic_integer_graph_is_recorded_as_such(bare_folder: Path, tmp_path: Path) -> None:
    body = (
        TOKENS_SEE_ALL.replace("Gather (table", "Gather (real_table")
        + """
    """
    )
    prelude = """
    small, scale, zero = DynamicQuantizeLinear (table)
    real_table = DequantizeLinear (small, scale, zero)
    """
    graph = toy(tmp_path / "toy.onnx", prelude + body)
    (entry,) = import_onnx(graph, bare_folder, tmp_path / "sealed").entries
    assert (entry.precision, entry.file) == (Precision.INT8, "onnx/model_int8.onnx")
    assert "attention" not in {check.name for check in entry.checks}


def test_integers_whose_scale_neighbours_share_are_refused_by_that_name(
    bare_folder: Path, tmp_path: Path
) -> None:
    """As dynamic int8 of optimum-onnx and sentence-transformers is: one scale for a batch."""
    body = TOKENS_SEE_ALL.replace("Gather (table, input_ids)", "DequantizeLinear (small, size, at)")
    prelude = """
    found = Gather (uneven, input_ids)
    small, size, at = DynamicQuantizeLinear (found)
    """
    loud = table()
    loud[::50] *= 100
    graph = toy(tmp_path / "toy.onnx", prelude + body, weights={"uneven": loud})
    with pytest.raises(ParityError, match=r"share one scale.*`decant convert`") as caught:
        import_onnx(graph, bare_folder, tmp_path / "sealed")
    assert "one by one" not in str(caught.value)
    assert not (tmp_path / "sealed").exists()
