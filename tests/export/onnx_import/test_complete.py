"""Graphs made by others, sealed: the vectors are PyTorch's, whatever the graph takes or gives."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file

from decant.embedders import (
    Attention,
    Bundle,
    Choices,
    PooledTokens,
    Pooling,
    Precision,
    Role,
    TorchEncoder,
    load,
)
from decant.embedders.onnx import Session
from decant.embedders.tokens import pad
from decant.embedders.tokens.rows import Tokens
from decant.export import convert, import_onnx
from foreign_graphs import HIDDEN, IDS, MASK, TOKENS_SEE_ALL, toy, traced
from fresh_process import modules_loaded_by
from models import LONGEST, WIDTH, save_sentence_transformer, write_json

CPU = "CPUExecutionProvider"
TEXTS = ["a", "the ferry leaves at seven", "what the winds want " * 30]
PROMPTS = {"query": "find: ", "document": "text: "}
TAKES = {
    "bert": ("input_ids", "attention_mask", "token_type_ids"),
    "llama": ("input_ids", "attention_mask", "position_ids"),
    "roberta": ("input_ids", "attention_mask", "position_ids"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A model folder, and the graph that others made of it."""

    folder: Path
    graph: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    """Trace one backbone for each kind of inputs."""
    home = tmp_path_factory.mktemp("foreign")
    found = {}
    for family, names in TAKES.items():
        pooling = "lasttoken" if family == "llama" else "mean"
        folder = save_sentence_transformer(home / family, family, pooling=pooling, prompts=PROMPTS)
        graph = traced(folder, home / f"{family}.onnx", names)
        found[family] = Made(folder=folder, graph=graph)
    return found


def random_rows(lengths: list[int], *, prompt: int = 0) -> list[Tokens]:
    drawn = np.random.default_rng(len(lengths))
    return [
        Tokens(ids=tuple(drawn.integers(7, 250, length).tolist()), counted=min(prompt, length - 1))
        for length in lengths
    ]


def inputs_of(path: Path) -> list[str]:
    return [item.name for item in onnx.load(path, load_external_data=False).graph.input]


@pytest.mark.parametrize("family", TAKES)
def test_a_sealed_graph_gives_the_vectors_of_pytorch_on_either_padding_side(
    made: dict[str, Made], family: str, tmp_path: Path
) -> None:
    certificate = import_onnx(made[family].graph, made[family].folder, tmp_path / "sealed")
    (entry,) = certificate.entries
    assert entry.worst_cosine >= 0.99999
    assert entry.longest == LONGEST
    assert entry.environment["reference"].startswith(f"the original graph {family}.onnx, SHA-256")
    torch_encoder = TorchEncoder.from_pretrained(made[family].folder)
    with load(tmp_path / "sealed") as encoder:
        own = replace(encoder.recipe, revision=torch_encoder.recipe.revision)
        assert own == torch_encoder.recipe
        assert encoder.recipe.digest() != torch_encoder.recipe.digest()
        for role in Role:
            found = encoder.encode(TEXTS, role=role).dense
            expected = torch_encoder.encode(TEXTS, role=role).dense
            assert (found * expected).sum(axis=1).min() >= 0.99999
    graph = tmp_path / "sealed" / "onnx" / "model.onnx"
    assert inputs_of(graph) == ["input_ids", "attention_mask"]
    session = Session(graph, CPU)
    rows = random_rows([3, 9, 1, LONGEST])
    expected = np.concatenate([torch_encoder.run(pad([row], pad_id=0)) for row in rows])
    for left in (False, True):
        found = session.run(pad(rows, pad_id=0, left=left))
        assert (found * expected).sum(axis=1).min() >= 0.99999
    torch_encoder.close()


@pytest.mark.parametrize("pooling", Pooling)
def test_every_pooling_of_a_text_span_is_pytorchs(
    made: dict[str, Made], pooling: Pooling, tmp_path: Path
) -> None:
    said = Choices(pooling=pooling, span=PooledTokens.TEXT, normalize=False, dim=20)
    bert = made["bert"]
    import_onnx(bert.graph, bert.folder, tmp_path / "sealed", choices=said)
    session = Session(tmp_path / "sealed" / "onnx" / "model.onnx", CPU)
    assert session.inputs == ["input_ids", "attention_mask", "pooling_mask"]
    encoder = TorchEncoder.from_pretrained(bert.folder, choices=said)
    rows = random_rows([5, 1, 17], prompt=2)
    expected = np.concatenate([encoder.run(pad([row], pad_id=0)) for row in rows])
    for left in (False, True):
        found = session.run(pad(rows, pad_id=0, left=left))
        assert found.shape == (3, 20)
        np.testing.assert_allclose(found, expected, atol=2e-5)
    encoder.close()


def test_a_texts_own_tokens_alone_are_pooled(made: dict[str, Made], tmp_path: Path) -> None:
    said, texts = Choices(span=PooledTokens.CONTENT), ["the hat", "a", "what is in the hat"]
    import_onnx(made["bert"].graph, made["bert"].folder, tmp_path / "sealed", choices=said)
    with (
        TorchEncoder.from_pretrained(made["bert"].folder, choices=said) as reference,
        load(tmp_path / "sealed", provider="cpu") as sealed,
    ):
        expected = reference.encode(texts, role=Role.PASSAGE).dense
        found = sealed.encode(texts, role=Role.PASSAGE).dense
    assert (found * expected).sum(axis=1).min() >= 0.99999


def add_dense(folder: Path, activations: list[str], *, bias: bool, dtype: torch.dtype) -> None:
    """Put dense layers between pooling and normalisation."""
    listed = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    for number, activation in enumerate(activations, start=2):
        path = f"{number}_Dense"
        dense = "sentence_transformers.models.Dense"
        listed.insert(number, {"idx": number, "name": str(number), "path": path, "type": dense})
        sizes = {"in_features": WIDTH, "out_features": WIDTH, "bias": bias}
        kind = f"torch.nn.modules.{activation}"
        write_json(folder / path / "config.json", {**sizes, "activation_function": kind})
        layer = torch.nn.Linear(WIDTH, WIDTH, bias=bias, dtype=dtype)
        state = {f"linear.{name}": value for name, value in layer.state_dict().items()}
        save_file(state, folder / path / "model.safetensors")
    write_json(folder / "modules.json", listed)


@pytest.mark.parametrize(
    ("bias", "dtype"), [(True, torch.float32), (False, torch.bfloat16)], ids=["bias", "bfloat16"]
)
def test_dense_layers_are_pytorchs(
    made: dict[str, Made], bias: bool, dtype: torch.dtype, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    folder = save_sentence_transformer(tmp_path / "model", "bert")
    layers = ["activation.GELU", "linear.Identity", "activation.ReLU", "activation.Tanh"]
    add_dense(folder, layers, bias=bias, dtype=dtype)
    import_onnx(made["bert"].graph, folder, tmp_path / "sealed")
    encoder = TorchEncoder.from_pretrained(folder)
    with load(tmp_path / "sealed") as sealed:
        found = sealed.encode(TEXTS, role=Role.PASSAGE).dense
    expected = encoder.encode(TEXTS, role=Role.PASSAGE).dense
    assert (found * expected).sum(axis=1).min() >= 0.99999
    encoder.close()


WITH_PAST = (
    TOKENS_SEE_ALL.replace("last_hidden_state", "states")
    + """
    split = Constant <value = int64[4] {0, 0, HEADS, WIDTH}> ()
    joined = Constant <value = int64[3] {0, 0, 32}> ()
    by_head = Reshape (states, split)
    now = Transpose <perm = [0, 2, 1, 3]> (by_head)
    present = Concat <axis = 2> (past_key_values_0_key, now)
    by_token = Transpose <perm = [0, 2, 1, 3]> (present)
    last_hidden_state = Reshape (by_token, joined)
"""
)


@pytest.mark.parametrize(
    ("shape", "heads"),
    [("batch, 2, past, 16", 2), ("batch, heads, past, width", 4)],
    ids=["as the graph says", "as the config says"],
)
def test_an_empty_past_is_made_inside(
    shape: str, heads: int, bare_folder: Path, tmp_path: Path
) -> None:
    body = WITH_PAST.replace("HEADS", str(heads)).replace("WIDTH", str(WIDTH // heads))
    past = f"float[{shape}] past_key_values_0_key"
    given = (HIDDEN, f"float[batch, {heads}, all, {WIDTH // heads}] present")
    graph = toy(tmp_path / "past.onnx", body, inputs=(IDS, MASK, past), outputs=given)
    certificate = import_onnx(graph, bare_folder, tmp_path / "sealed")
    assert certificate.entries[0].worst_cosine >= 0.99999
    sealed = tmp_path / "sealed" / "onnx" / "model.onnx"
    assert inputs_of(sealed) == ["input_ids", "attention_mask"]
    assert Session(sealed, CPU).outputs == ["sentence_embedding"]


GROUPED = """
    words = Gather (table, input_ids)
    middle = Constant <value = int64[1] {1}> ()
    one = Constant <value = int64[1] {1}> ()
    number = ReduceSum <keepdims = 0> (attention_mask, middle)
    last = Sub (number, one)
    lengths = Cast <to = 6> (last)
    sizes = Shape (attention_mask)
    width = Gather <axis = 0> (sizes, middle)
    scalar = Squeeze (width)
    total = Cast <to = 6> (scalar)
    last_hidden_state, key, value = com.microsoft.GroupQueryAttention
        <num_heads = 4, kv_num_heads = 4>
        (words, words, words, past_key_values_0_key, past_key_values_0_value, lengths, total)
"""


def test_attention_kernels_that_read_right_padded_rows_only_are_sealed(
    bare_folder: Path, tmp_path: Path
) -> None:
    past = [f"float[batch, 4, past, 8] past_key_values_0_{name}" for name in ("key", "value")]
    graph = toy(tmp_path / "olive.onnx", GROUPED, inputs=(IDS, MASK, *past))
    said = Choices(pooling=Pooling.LAST, attention=Attention.CAUSAL)
    (entry,) = import_onnx(graph, bare_folder, tmp_path / "sealed", choices=said).entries
    assert {"left padding", "right padding"} <= {check.name for check in entry.checks}


@pytest.mark.parametrize(
    "opset", [14, *(pytest.param(one, marks=pytest.mark.slow) for one in (17, 18)), 21]
)
@pytest.mark.parametrize("pooling", [Pooling.MAX, Pooling.LAST])
def test_every_opset_from_14_on_is_sealed(
    opset: int, pooling: Pooling, bare_folder: Path, tmp_path: Path
) -> None:
    graph = toy(tmp_path / "toy.onnx", opset=opset)
    choices = Choices(pooling=pooling)
    assert import_onnx(graph, bare_folder, tmp_path / "sealed", choices=choices).passed
    sealed = onnx.load(tmp_path / "sealed" / "onnx" / "model.onnx")
    assert sealed.opset_import[0].version == opset


def test_half_precision_states_are_pooled_in_float32_and_recorded(
    bare_folder: Path, tmp_path: Path
) -> None:
    body = TOKENS_SEE_ALL.replace("to = 1", "to = 10")
    half = HIDDEN.replace("float[", "float16[")
    graph = toy(tmp_path / "half.onnx", body, outputs=(half,))
    model = onnx.load(graph)
    values = onnx.numpy_helper.to_array(model.graph.initializer[0]).astype(np.float16)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(values, "table"))
    onnx.save(model, graph)
    (entry,) = import_onnx(graph, bare_folder, tmp_path / "sealed").entries
    assert (entry.precision, entry.file) == (Precision.FP16, "onnx/model_fp16.onnx")
    with load(tmp_path / "sealed") as encoder:
        assert encoder.encode(["a"], role=Role.QUERY).dense.dtype == np.float32


def test_int32_inputs_become_int64_ones(bare_folder: Path, tmp_path: Path) -> None:
    narrow = [item.replace("int64", "int32") for item in (IDS, MASK)]
    graph = toy(tmp_path / "toy.onnx", inputs=narrow)
    assert import_onnx(graph, bare_folder, tmp_path / "sealed").passed
    sealed = onnx.load(tmp_path / "sealed" / "onnx" / "model.onnx")
    kinds = {item.type.tensor_type.elem_type for item in sealed.graph.input}
    assert kinds == {onnx.TensorProto.INT64}


def test_other_outputs_go_with_their_weights(bare_folder: Path, tmp_path: Path) -> None:
    body = (
        TOKENS_SEE_ALL.replace("last_hidden_state", "token_embeddings")
        + """
    logits = MatMul (token_embeddings, lm_head)
    sentence_embedding = ReduceMax <axes = [1], keepdims = 0> (token_embeddings)
    """
    )
    given = (
        f"float[batch, {WIDTH}] sentence_embedding",
        f"float[batch, tokens, {WIDTH}] token_embeddings",
        "float[batch, tokens, 90] logits",
    )
    weights = {"lm_head": np.ones((WIDTH, 90), np.float32)}
    graph = toy(tmp_path / "toy.onnx", body, outputs=given, weights=weights)
    import_onnx(graph, bare_folder, tmp_path / "sealed")
    sealed = onnx.load(tmp_path / "sealed" / "onnx" / "model.onnx").graph
    assert [item.name for item in sealed.output] == ["sentence_embedding"]
    assert "lm_head" not in {item.name for item in sealed.initializer}
    assert "table" in {item.name for item in sealed.initializer}


def test_names_of_ours_inside_a_graph_are_moved_aside(bare_folder: Path, tmp_path: Path) -> None:
    body = TOKENS_SEE_ALL.replace("mixed", "sentence_embedding").replace("words", "pooling_mask")
    graph = toy(tmp_path / "toy.onnx", body)
    said = Choices(span=PooledTokens.TEXT)
    assert import_onnx(graph, bare_folder, tmp_path / "sealed", choices=said).passed


def test_sealing_loads_neither_torch_nor_transformers(bare_folder: Path, tmp_path: Path) -> None:
    given = (str(toy(tmp_path / "toy.onnx")), str(bare_folder), str(tmp_path / "sealed"))
    loaded = modules_loaded_by(
        f"from decant.export import import_onnx\nassert import_onnx(*{given!r}).passed"
    )
    assert loaded & {"torch", "transformers", "onnxscript", "optimum"} == set()


def test_a_sealed_graph_is_converted_and_keeps_its_reference(
    made: dict[str, Made], tmp_path: Path
) -> None:
    import_onnx(made["bert"].graph, made["bert"].folder, tmp_path / "sealed")
    exact, int8 = convert(tmp_path / "sealed", "int8").entries
    assert int8.passed
    assert int8.precision is Precision.INT8
    assert int8.environment["reference"] == exact.environment["reference"]
    files = Bundle.open(tmp_path / "sealed").manifest.files
    assert {"modules.json", "onnx/model_int8.onnx"} <= files.keys()
    with load(tmp_path / "sealed", precision="int8") as encoder:
        assert encoder.encode(TEXTS, role=Role.QUERY).dense.shape == (3, WIDTH)
