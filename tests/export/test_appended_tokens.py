"""Bundles of models with appended tokens: parity, either padding side, what the graph holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from contracts.encoder import EncoderContract
from decant.embedders import (
    Bundle,
    Encoder,
    OnnxEncoder,
    Output,
    Precision,
    Role,
    TorchEncoder,
    load,
)
from decant.embedders.onnx import Session, provider_name
from decant.embedders.tokens import TokenBatch, pad
from decant.export import export
from models import save_compressing, save_embedding_gemma

GRAPH = "onnx/model.onnx"
TEXTS = ["the wind", "a", "what the wind wants " * 6, "the", "wind wind wind"]
NAMES = ["sentence_embedding", "compress_states"]


@pytest.fixture(scope="module")
def summed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model and its bundle: three tokens are read, nothing after them."""
    folder = tmp_path_factory.mktemp("summed")
    export(save_compressing(folder / "model"), folder / "bundle")
    return folder


@pytest.fixture(scope="module")
def layered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model and its bundle: two tokens, two layers, of a plain operator."""
    folder = tmp_path_factory.mktemp("layered")
    model = save_compressing(folder / "model", read=2, widths=(24, 40), family="opt")
    export(model, folder / "bundle", precisions=["int8"])
    return folder


@pytest.fixture(scope="module")
def tiny_gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bundle of a model with two linear layers after its mean, and no such tokens."""
    folder = tmp_path_factory.mktemp("gemma")
    export(save_embedding_gemma(folder / "model"), folder / "bundle")
    return folder / "bundle"


@pytest.fixture(params=["summed", "layered"])
def made(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue(request.param)
    return folder


class StatesContract(EncoderContract):
    """What an encoder whose recipe appends tokens has to do beside all others; give ``shape``."""

    shape: tuple[int, int]

    def test_states_have_the_shape_that_the_recipe_says(self, encoder: Encoder) -> None:
        states = encoder.encode(TEXTS, role=Role.QUERY, outputs=[Output.SOFT_TOKENS]).soft_tokens
        assert states is not None
        assert states.shape == (len(TEXTS), *self.shape)
        assert states.dtype == np.float32

    def test_no_texts_give_states_without_rows(self, encoder: Encoder) -> None:
        states = encoder.encode([], role=Role.QUERY, outputs=[Output.SOFT_TOKENS]).soft_tokens
        assert states is not None
        assert states.shape == (0, *self.shape)

    def test_states_come_only_when_asked_for(self, encoder: Encoder) -> None:
        assert encoder.encode(TEXTS, role=Role.QUERY).soft_tokens is None

    def test_states_of_a_text_ignore_its_neighbours(self, encoder: Encoder) -> None:
        crowd = encoder.encode(
            TEXTS * 40, role=Role.PASSAGE, outputs=[Output.SOFT_TOKENS]
        ).soft_tokens
        assert crowd is not None
        for number, text in enumerate(TEXTS):
            alone = encoder.encode(
                [text], role=Role.PASSAGE, outputs=[Output.SOFT_TOKENS]
            ).soft_tokens
            assert alone is not None
            for row in crowd[number :: len(TEXTS)]:
                np.testing.assert_allclose(row, alone[0], atol=3e-4)

    def test_a_stream_gives_the_same_states(self, encoder: Encoder) -> None:
        texts = TEXTS * 40
        whole = encoder.encode(texts, role=Role.PASSAGE, outputs=[Output.SOFT_TOKENS]).soft_tokens
        parts = list(encoder.stream(texts, role=Role.PASSAGE, outputs=[Output.SOFT_TOKENS]))
        assert len(parts) > 1
        found = np.concatenate([part.soft_tokens for part in parts if part.soft_tokens is not None])
        assert whole is not None
        np.testing.assert_allclose(found, whole, atol=3e-4)


class TestOnnx(StatesContract):
    shape = (2, 24)

    @pytest.fixture
    def encoder(self, layered: Path) -> Iterator[Encoder]:
        with load(layered / "bundle", provider="cpu", precision="fp32") as made:
            yield made


class TestTorch(StatesContract):
    shape = (3, 32)

    @pytest.fixture
    def encoder(self, summed: Path) -> Iterator[Encoder]:
        with TorchEncoder.from_pretrained(summed / "model") as made:
            yield made


def batches(encoder: OnnxEncoder) -> Iterator[TokenBatch]:
    rows = encoder.text_tokenizer(TEXTS, role=Role.PASSAGE)
    for left in (False, True):
        yield pad(rows, pad_id=0, left=left)
        for row in rows:
            yield pad([row], pad_id=0, left=left, width=row.width + 3)


def test_graph_and_torch_agree_on_either_side_of_padding(made: Path) -> None:
    with (
        load(made / "bundle", provider="cpu", precision="fp32") as graph,
        TorchEncoder.from_pretrained(made / "model") as reference,
    ):
        given = list(batches(graph))
        session = Session(made / "bundle" / GRAPH, provider_name("cpu"))
        found = [session.outputs_of(batch, NAMES) for batch in given]
        expected = [reference.outputs_of(batch, NAMES) for batch in given]
    half = len(given) // 2
    for pairs in (zip(found, expected, strict=True), zip(found[:half], found[half:], strict=True)):
        for ours, theirs in pairs:
            for one, other in zip(ours, theirs, strict=True):
                assert np.abs(np.subtract(one, other, dtype=np.float32)).max() < 1e-4


def test_two_layers_are_one_product_and_decoding_another(layered: Path) -> None:
    graph = onnx.load(layered / "bundle" / GRAPH).graph
    shapes = {tensor.name: tuple(sorted(tensor.dims)) for tensor in graph.initializer}
    backbone = {(32, 32), (32, 48)}
    head = [
        (node.op_type, shapes[node.input[1]])
        for node in graph.node
        if node.op_type in ("Gemm", "MatMul") and len(shapes.get(node.input[1], ())) == 2
        if shapes[node.input[1]] not in backbone
    ]
    assert sorted(head) == [("Gemm", (24, 32)), ("Gemm", (32, 40))]


@pytest.mark.slow
def test_layers_of_which_nothing_is_decoded_are_one_product(tiny_gemma: Path) -> None:
    graph = onnx.load(tiny_gemma / GRAPH).graph
    assert [node.op_type for node in graph.node].count("Gemm") == 1


def test_the_certificate_speaks_of_the_states_of_every_precision(layered: Path) -> None:
    opened = Bundle.open(layered / "bundle")
    entries = opened.certificate().entries
    assert [entry.precision for entry in entries] == [Precision.FP32, Precision.INT8]
    for entry in entries:
        (check,) = [check for check in entry.checks if check.name == "compress states"]
        assert check.passed
        assert check.cases > 2 * len(TEXTS)
    with load(layered / "bundle", precision="int8", provider="cpu") as encoder:
        states = encoder.encode(TEXTS, role=Role.PASSAGE, outputs=[Output.SOFT_TOKENS]).soft_tokens
    assert states is not None
    assert states.shape == (5, 2, 24)


def test_a_shorter_width_leaves_the_states_whole(layered: Path) -> None:
    with (
        load(layered / "bundle", precision="fp32", provider="cpu") as whole,
        load(layered / "bundle", precision="fp32", dim=8, allow_any_dim=True) as short,
    ):
        one, other = (
            encoder.encode(TEXTS, role=Role.PASSAGE, outputs=[Output.SOFT_TOKENS])
            for encoder in (whole, short)
        )
    assert other.dense.shape == (5, 8)
    assert one.soft_tokens is not None
    np.testing.assert_array_equal(one.soft_tokens, other.soft_tokens)
