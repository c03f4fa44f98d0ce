"""One certified graph for each family, at every length, batch and padding side."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from decant.embedders import (
    Attention,
    Bundle,
    Choices,
    PooledTokens,
    Pooling,
    Recipe,
    Role,
    TorchEncoder,
    load,
)
from decant.embedders.onnx import Session
from decant.embedders.tokens import pad
from decant.embedders.tokens.rows import Tokens
from decant.export import export
from decant.export.trace.tracing import trace
from models import (
    DECODERS,
    ENCODERS,
    LONGEST,
    save_embedding_gemma,
    save_model,
    save_sentence_transformer,
    write_json,
)
from stories import convert_stories

CPU = "CPUExecutionProvider"


def random_rows(lengths: list[int], *, prompt: int = 0) -> list[Tokens]:
    """Rows of random ids; up to ``prompt`` tokens at the front do not count."""
    drawn = np.random.default_rng(len(lengths))
    return [
        Tokens(ids=tuple(drawn.integers(7, 250, length).tolist()), counted=min(prompt, length - 1))
        for length in lengths
    ]


def reference(encoder: TorchEncoder, rows: list[Tokens]) -> np.ndarray:
    """Each row alone, unpadded."""
    return np.concatenate([encoder.run(pad([row], pad_id=0)) for row in rows])


def assert_agrees_with_torch(graph: Path, encoder: TorchEncoder) -> None:
    """Compare at every kind of length and batch, padded on either side."""
    session = Session(graph, CPU)
    for lengths in ([1], [2], [7], [LONGEST], [1, LONGEST], [3, 9, 1, 30, 64, 5, 12]):
        rows = random_rows(lengths)
        expected = reference(encoder, rows)
        for left in (False, True):
            found = session.run(pad(rows, pad_id=0, left=left))
            assert (found * expected).sum(axis=1).min() > 0.99999, (lengths, left)


# A trace takes seconds. These have what there is between them: one operator for causal attention,
# branches for encoders, windows beside whole layers, both rotary bases.
QUICK = {"qwen3"}


def unless_quick(family: str, quick: set[str]) -> object:
    """Return a parameter that only `make test-slow` runs unless it is one of ``quick``."""
    return pytest.param(family, marks=[] if family in quick else [pytest.mark.slow])


@pytest.mark.parametrize(
    "family", [unless_quick(family, QUICK) for family in (*DECODERS, *ENCODERS, "embeddinggemma")]
)
def test_every_family_exports_with_a_certificate(tmp_path: Path, family: str) -> None:
    """Also MPNet, which other exporters refused (huggingface/optimum#2052)."""
    folder = tmp_path / "model"
    if family == "embeddinggemma":
        save_embedding_gemma(folder)
    else:
        pooling = "lasttoken" if family in DECODERS else "mean"
        save_sentence_transformer(folder, family, pooling=pooling)
    certificate = export(folder, tmp_path / "bundle")
    (entry,) = certificate.entries
    assert entry.passed
    assert entry.worst_cosine >= 0.99999
    assert entry.longest == LONGEST
    encoder = TorchEncoder.from_pretrained(folder)
    assert_agrees_with_torch(tmp_path / "bundle" / "onnx" / "model.onnx", encoder)
    encoder.close()


@pytest.mark.parametrize(
    "family",
    [
        unless_quick(family, set())
        for family in ("llama", "qwen2", "mistral", "gemma2", "gemma3_text")
    ],
)
def test_decoders_with_is_causal_false_export_both_ways_with_and_without_windows(
    tmp_path: Path, family: str
) -> None:
    folder = save_sentence_transformer(tmp_path / "model", family, pooling="lasttoken")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    write_json(folder / "config.json", {**config, "is_causal": False})  # as GTE-Qwen2 says it
    encoder = TorchEncoder.from_pretrained(folder)
    assert encoder.recipe.attention is Attention.BIDIRECTIONAL
    trace(encoder.model, tmp_path / "model.onnx")
    assert_agrees_with_torch(tmp_path / "model.onnx", encoder)
    encoder.close()


@pytest.mark.parametrize("pooling", [unless_quick(item, {"max"}) for item in Pooling])
def test_every_pooling_is_traced_with_the_mask_of_a_text_span(
    tmp_path: Path, tiny_folder: Path, pooling: Pooling
) -> None:
    said = Choices(pooling=pooling, span=PooledTokens.TEXT, normalize=False, dim=20)
    encoder = TorchEncoder.from_pretrained(tiny_folder, choices=said)
    trace(encoder.model, tmp_path / "model.onnx")
    session = Session(tmp_path / "model.onnx", CPU)
    assert session.inputs == ["input_ids", "attention_mask", "pooling_mask"]
    rows = random_rows([5, 1, 17], prompt=2)
    expected = reference(encoder, rows)
    for left in (False, True):
        found = session.run(pad(rows, pad_id=0, left=left))
        assert found.shape == (3, 20)
        np.testing.assert_allclose(found, expected, atol=2e-4)
    encoder.close()


def test_the_graph_keeps_its_contract(tiny_bundle: Path) -> None:
    graph = onnx.load(tiny_bundle / "onnx" / "model.onnx").graph
    session = onnxruntime.InferenceSession(
        str(tiny_bundle / "onnx" / "model.onnx"), providers=[CPU]
    )
    assert [(item.name, item.type) for item in session.get_inputs()] == [
        ("input_ids", "tensor(int64)"),
        ("attention_mask", "tensor(int64)"),
    ]
    (output,) = session.get_outputs()
    assert (output.name, output.type) == ("sentence_embedding", "tensor(float)")
    assert output.shape[1] == 32
    assert not any(property_ for node in graph.node for property_ in node.metadata_props)


@pytest.mark.slow
def test_an_earlier_layer_is_another_certified_recipe(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", "llama")
    said = Choices(pooling=Pooling.MEAN, layer=-2)
    export(folder, tmp_path / "bundle", choices=said)
    with load(tmp_path / "bundle") as encoder:
        assert encoder.recipe.layer == -2
        found = encoder.encode(["some text"], role=Role.QUERY).dense
    last = TorchEncoder.from_pretrained(folder, choices=Choices(pooling=Pooling.MEAN))
    assert (found * last.encode(["some text"], role=Role.QUERY).dense).sum() < 0.999
    last.close()


@pytest.mark.slow
def test_a_bidirectional_decoder_with_text_span_and_eos_is_certified(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", "mistral", ending="<s> $A")
    said = Choices(
        attention=Attention.BIDIRECTIONAL,
        pooling=Pooling.MEAN,
        span=PooledTokens.TEXT,
        eos="</s>",
        query_prompt="<instruct>find\n<query>{text}",
    )
    export(folder, tmp_path / "bundle", choices=said)
    with load(tmp_path / "bundle") as onnx_encoder:
        found = onnx_encoder.encode(["a", "longer text"], role=Role.QUERY).dense
    encoder = TorchEncoder.from_pretrained(folder, choices=said)
    expected = encoder.encode(["a", "longer text"], role=Role.QUERY).dense
    assert (found * expected).sum(axis=1).min() > 0.99999
    encoder.close()


@pytest.mark.slow
def test_large_weights_go_beside_the_graph(tmp_path: Path) -> None:
    folder = save_sentence_transformer(tmp_path / "model", "bert")
    encoder = TorchEncoder.from_pretrained(folder)
    trace(encoder.model, tmp_path / "onnx.onnx", external_above=1000)
    assert (tmp_path / "onnx.onnx_data").stat().st_size > 10_000
    (tmp_path / "moved").mkdir()
    for name in ("onnx.onnx", "onnx.onnx_data"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    rows = random_rows([5, 9])
    found = Session(tmp_path / "moved" / "onnx.onnx", CPU).run(pad(rows, pad_id=0))
    assert (found * reference(encoder, rows)).sum(axis=1).min() > 0.99999
    encoder.close()


@pytest.mark.slow
def test_the_real_tiny_llama_exports(data: Path, tmp_path: Path) -> None:
    folder = convert_stories(data / "models" / "stories260k", tmp_path / "stories")
    certificate = export(folder, tmp_path / "bundle", choices=Choices(pooling=Pooling.MEAN))
    assert certificate.entries[0].worst_cosine >= 0.99999
    bundle = Bundle.open(tmp_path / "bundle")
    assert bundle.manifest.recipe.attention is Attention.CAUSAL
    with load(tmp_path / "bundle") as encoder:
        dog, cat, car = encoder.encode(
            ["the dog ran to the park", "the cat ran to the park", "he ate a big red apple"],
            role=Role.PASSAGE,
        ).dense
    assert dog @ cat > dog @ car


def test_the_recipe_in_the_bundle_is_the_recipe_that_was_resolved(tiny_bundle: Path) -> None:
    manifest = Bundle.open(tiny_bundle).manifest
    assert isinstance(manifest.recipe, Recipe)
    assert manifest.recipe.query_prompt.template == "query: {text}"
    assert manifest.digest == manifest.recipe.digest()
