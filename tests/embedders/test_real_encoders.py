"""The two encoders with models obey the contract of all encoders, and agree with each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tokenizers import normalizers

from contracts.encoder import EncoderContract
from contracts.texts import TEXTS, encoded, streamed
from decant.embedders import (
    Choices,
    Encoder,
    ExecutionOptions,
    OnnxEncoder,
    ProviderError,
    RecipeError,
    Role,
    TextError,
    TorchEncoder,
    load,
)
from decant.export import export
from models import DECODERS, save_sentence_transformer, tokenizer


@pytest.fixture(scope="module")
def torch_encoder(tiny_folder: Path) -> Iterator[TorchEncoder]:
    encoder = TorchEncoder.from_pretrained(tiny_folder)
    yield encoder
    encoder.close()


@pytest.fixture(scope="module")
def onnx_encoder(tiny_bundle: Path) -> Iterator[OnnxEncoder]:
    with load(tiny_bundle, provider="cpu") as encoder:
        yield encoder


@pytest.fixture(scope="module")
def decoder_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal decoder that pools its last token and leaves the prompt out of the pooling."""
    folder = save_sentence_transformer(
        tmp_path_factory.mktemp("model") / "tiny-qwen3",
        "qwen3",
        pooling="lasttoken",
        prompts={"query": "Instruct: find\nQuery:"},
        include_prompt=False,
    )
    export(folder, folder.parent / "bundle")
    return folder.parent / "bundle"


class TestTorchEncoder(EncoderContract):
    """The reference."""

    @pytest.fixture
    def encoder(self, torch_encoder: TorchEncoder) -> Encoder:
        return torch_encoder


class TestOnnxEncoder(EncoderContract):
    """Production, as it is settled by default."""

    @pytest.fixture
    def encoder(self, onnx_encoder: OnnxEncoder) -> Encoder:
        return onnx_encoder


class TestOnnxDecoder(EncoderContract):
    """A causal decoder with a pooling mask, batches of a few tokens, and three workers."""

    @pytest.fixture
    def encoder(self, decoder_bundle: Path) -> Iterator[Encoder]:
        runtime = ExecutionOptions(workers=3, threads=1, token_budget=70)
        with load(decoder_bundle, runtime=runtime) as encoder:
            yield encoder


@pytest.mark.parametrize("role", Role)
def test_onnx_equals_torch(
    onnx_encoder: OnnxEncoder, torch_encoder: TorchEncoder, role: Role
) -> None:
    found = onnx_encoder.encode(TEXTS, role=role).dense
    expected = torch_encoder.encode(TEXTS, role=role).dense
    assert (found * expected).sum(axis=1).min() > 0.99999


def test_a_text_without_tokens_is_named_by_its_index_in_any_block(tmp_path: Path) -> None:
    folder = save_sentence_transformer(tmp_path / "model", "bert")
    stripping = tokenizer("$A")
    stripping.normalizer = normalizers.Strip()
    stripping.save(str(folder / "tokenizer.json"))
    export(folder, tmp_path / "bundle")
    texts = [*(["fine"] * 1700), " \n "]
    with load(tmp_path / "bundle", provider="cpu") as encoder:
        for call in (encoded, streamed):
            with pytest.raises(TextError, match="text 1700,"):
                call(encoder, texts)
        with pytest.raises(TextError, match="text 0,"):
            encoder.encode(["   "], role=Role.QUERY)
        assert len(encoder.encode(["still works"], role=Role.QUERY)) == 1


def test_a_tokenizer_may_be_larger_than_the_model_until_a_text_shows_it(tmp_path: Path) -> None:
    folder = save_sentence_transformer(tmp_path / "model", "bert")
    larger = tokenizer()
    larger.add_special_tokens(["<image>"])
    larger.save(str(folder / "tokenizer.json"))
    with pytest.raises(RecipeError, match=r"'<image>' \(id \d+\)"):
        export(folder, tmp_path / "bundle", choices=Choices(query_prompt="an <image>: {text}"))
    export(folder, tmp_path / "bundle")
    with (
        load(tmp_path / "bundle", provider="cpu") as produced,
        TorchEncoder.from_pretrained(folder) as reference,
    ):
        for encoder in (produced, reference):
            with pytest.raises(TextError, match="text 300 holds '<image>'"):
                encoder.encode([*(["fine"] * 300), "an <image>"], role=Role.PASSAGE)
            assert len(encoder.encode(["still works"], role=Role.QUERY)) == 1


@pytest.mark.parametrize("kind", ["onnx", "torch"])
@pytest.mark.parametrize("texts", [[], ["one"], ["many"] * 300], ids=["none", "one", "many"])
def test_a_closed_encoder_says_so_whatever_it_is_asked(
    tiny_folder: Path, tiny_bundle: Path, kind: str, texts: list[str]
) -> None:
    encoder = load(tiny_bundle) if kind == "onnx" else TorchEncoder.from_pretrained(tiny_folder)
    stream = encoder.stream(["some text"] * 3000, role=Role.PASSAGE)
    next(stream)
    encoder.close()
    encoder.close()
    for call in (encoded, streamed):
        with pytest.raises(ProviderError, match=r"is closed.*load it again"):
            call(encoder, texts)
    with pytest.raises(ProviderError, match="is closed"):
        next(stream)


def test_queries_and_passages_are_prompted_differently(onnx_encoder: OnnxEncoder) -> None:
    query = onnx_encoder.encode(["text"], role=Role.QUERY).dense
    passage = onnx_encoder.encode(["text"], role=Role.PASSAGE).dense
    by_hand = onnx_encoder.encode(["query: text"], role=Role.PASSAGE).dense
    assert (query * passage).sum() < 0.999
    assert (query * by_hand).sum() < 0.999  # "passage: query: text" is another text


def test_batches_and_workers_change_speed_and_no_vector(tiny_bundle: Path) -> None:
    texts = [f"text number {number} " * (number % 7 + 1) for number in range(300)]
    settings = [
        ExecutionOptions(workers=1, threads=1, token_budget=1),
        ExecutionOptions(workers=4, threads=1, token_budget=33),
        ExecutionOptions(workers=1, threads=2, token_budget=100_000),
    ]
    found = []
    for runtime in settings:
        with load(tiny_bundle, runtime=runtime) as encoder:
            found.append(encoder.encode(texts, role=Role.PASSAGE).dense)
    for other in found[1:]:
        assert np.abs(found[0] - other).max() < 1e-5


def test_more_texts_than_a_block_keep_their_order(onnx_encoder: OnnxEncoder) -> None:
    texts = [f"{number} " + "word " * (number % 5) for number in range(2500)]
    together = onnx_encoder.encode(texts, role=Role.QUERY).dense
    picked = [0, 1, 1023, 1024, 1025, 2047, 2048, 2499]
    alone = onnx_encoder.encode([texts[number] for number in picked], role=Role.QUERY).dense
    assert (together[picked] * alone).sum(axis=1).min() > 0.99999


GOLDEN = {
    "bert": [-0.022854, -0.093900, 0.142728, 0.081602, -0.350832, 0.248816, -0.143371, 0.104703],
    "qwen3": [-0.018678, 0.083991, -0.014106, -0.071301, -0.412564, 0.173033, 0.171234, 0.131029],
}


@pytest.mark.parametrize("family", GOLDEN)
def test_vectors_are_what_they_were_when_this_test_was_written(tmp_path: Path, family: str) -> None:
    # Made on 2026-11-20 by TorchEncoder: torch 2.13.0, transformers 5.23.0, tokenizers 0.23.3.
    pooling = "lasttoken" if family in DECODERS else "mean"
    prompts = {"query": "query: "}
    folder = save_sentence_transformer(tmp_path, family, pooling=pooling, prompts=prompts)
    encoder = TorchEncoder.from_pretrained(folder)
    found = encoder.encode(["What is a PEP?"], role=Role.QUERY).dense[0, :8]
    np.testing.assert_allclose(found, GOLDEN[family], atol=1e-4)
    encoder.close()
