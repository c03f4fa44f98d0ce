"""Language models from GGUF files: the same vectors, or a refusal that names the reason."""

from __future__ import annotations

import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from decant.embedders import (
    Choices,
    MissingExtra,
    Pooling,
    RecipeError,
    Role,
    TorchEncoder,
    find_model,
)
from decant.export.quantize.four_bit_grid import grid_of
from gguf_files import Words, bytes_vocabulary, sentence_pieces, write_gguf
from stories import convert_stories, read_vocabulary

_TEXTS = ["the cat sat on the mat", "In 2024, 1234 dogs.\n\nAnd  a cat's", "é"]
_SIZES = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
}  # fmt: skip


def drawn(family: str, words: int, **more: object) -> PreTrainedModel:
    torch.manual_seed(0)
    sizes = {**_SIZES, "vocab_size": words, **more}
    model: PreTrainedModel
    if family == "llama":
        model = LlamaForCausalLM(LlamaConfig(**sizes))  # type: ignore[arg-type]
    elif family == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**sizes))  # type: ignore[arg-type]
    else:
        model = Qwen3ForCausalLM(Qwen3Config(**sizes))  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6).add_(0.01 * torch.randn(parameter.shape))
    model.train(mode=False)
    return model


def mean_states(model: PreTrainedModel, ids: list[int]) -> NDArray[np.float32]:
    """Return the mean of the last hidden states, by Transformers alone."""
    with torch.no_grad():
        found = model.model(torch.tensor([ids])).last_hidden_state.mean(1)[0].numpy()
    return np.asarray(found / np.linalg.norm(found), np.float32)


def tokens_of(path: Path) -> Tokenizer:
    return Tokenizer.from_file(str(find_model(path).folder / "tokenizer.json"))


@pytest.fixture(scope="module")
def words() -> Words:
    return bytes_vocabulary()


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_vectors_are_those_of_the_model_that_the_file_was_made_from(
    tmp_path: Path, words: Words, family: str
) -> None:
    model = drawn(family, len(words.tokens))
    file = write_gguf(tmp_path / "tiny.gguf", model, words)
    with TorchEncoder.from_pretrained(file, choices=Choices(pooling=Pooling.MEAN)) as encoder:
        found = encoder.encode(_TEXTS, role=Role.PASSAGE).dense
    assert encoder.recipe.base == "tiny"
    tokenizer = tokens_of(file)
    wanted = [mean_states(model, tokenizer.encode(text).ids) for text in _TEXTS]
    np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_four_bits_are_read_as_the_file_has_them(tmp_path: Path, words: Words) -> None:
    model = drawn("llama", len(words.tokens))
    kind = gguf.GGMLQuantizationType.Q4_1
    file = write_gguf(tmp_path / "tiny.gguf", model, words, kind=kind)
    read = LlamaForCausalLM.from_pretrained(find_model(tmp_path).folder)  # the folder's only file
    name = "model.layers.1.mlp.gate_proj.weight"
    matrix = model.get_parameter(name).detach().numpy()
    wanted = gguf.quants.dequantize(gguf.quants.quantize(matrix, kind), kind)
    found = read.get_parameter(name).detach().numpy()
    np.testing.assert_array_equal(found, wanted)
    assert grid_of(np.ascontiguousarray(found.T)) is not None
    assert find_model(file).revision == find_model(tmp_path).revision


def test_sentence_piece_vocabularies_give_the_tokens_of_llama(tmp_path: Path, data: Path) -> None:
    source = data / "models/stories260k"
    folder = convert_stories(source, tmp_path / "plain")
    pieces = [
        (piece.replace(" ", "▁"), score) for piece, score in read_vocabulary(source / "tok512.bin")
    ]
    pieces[:3] = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    model = LlamaForCausalLM.from_pretrained(folder)
    file = write_gguf(tmp_path / "stories.gguf", model, sentence_pieces(pieces))
    ours, known = tokens_of(file), Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in [*_TEXTS, "Once upon a time, there was a little girl named Lily."]:
        assert ours.encode(text).ids == known.encode(text).ids


_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@pytest.mark.parametrize(
    ("split", "pattern"),
    [
        ("llama-bpe", _CONTRACTIONS + r"\p{N}{1,3}" + _REST),
        ("qwen2", _CONTRACTIONS + r"\p{N}" + _REST),
    ],
)
def test_texts_are_split_as_the_file_says(tmp_path: Path, split: str, pattern: str) -> None:
    """Transformers alone splits all as GPT-2 does, so that 2024 stays one piece."""
    words = bytes_vocabulary(split)
    file = write_gguf(tmp_path / "tiny.gguf", drawn("llama", len(words.tokens)), words)
    ours = tokens_of(file)
    known = Tokenizer.from_str(ours.to_str())
    known.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    for text in _TEXTS:
        assert ours.encode(text).tokens == known.encode(text).tokens
    bare = bytes_vocabulary()
    as_gpt2 = tokens_of(write_gguf(tmp_path / "other.gguf", drawn("llama", len(bare.tokens)), bare))
    assert "2024" in as_gpt2.encode("2024").tokens
    assert "2024" not in ours.encode("2024").tokens


@pytest.mark.parametrize(("begins", "ends"), [(True, True), (False, True), (True, False)])
def test_bos_and_eos_are_added_as_the_file_says(tmp_path: Path, begins: bool, ends: bool) -> None:
    words = bytes_vocabulary(add_bos_token=begins, add_eos_token=ends)
    file = write_gguf(tmp_path / "tiny.gguf", drawn("llama", len(words.tokens)), words)
    ids = tokens_of(file).encode("the cat").ids
    assert (ids[0] == words.bos, ids[-1] == words.eos) == (begins, ends)


def llama3_divisors(width: int, factor: float) -> NDArray[np.float32]:
    """Return the divisors of Llama 3.1's frequencies, by the rule in llama.cpp's converter."""
    low, high, length, base = 1.0, 4.0, 8192, 10000.0
    found = []
    for number in range(0, width, 2):
        wave = 2 * np.pi * base ** (number / width)
        if wave < length / high:
            found.append(1.0)
        elif wave > length / low:
            found.append(factor)
        else:
            smooth = (length / wave - low) / (high - low)
            found.append(1 / ((1 - smooth) / factor + smooth))
    return np.asarray(found, np.float32)


def test_scaled_rotary_angles_of_llama_3_are_read(tmp_path: Path, words: Words) -> None:
    scaling = {
        "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
    }  # fmt: skip
    model = drawn("llama", len(words.tokens), head_dim=64, rope_parameters=scaling)
    file = write_gguf(tmp_path / "tiny.gguf", model, words, rotary=llama3_divisors(64, 8.0))
    read = LlamaForCausalLM.from_pretrained(find_model(file).folder).eval()
    torch.testing.assert_close(
        read.model.rotary_emb.inv_freq, model.model.rotary_emb.inv_freq, rtol=1e-5, atol=0
    )
    ids = [5, 9, 33, 70] * 8
    np.testing.assert_allclose(mean_states(read, ids), mean_states(model, ids), atol=2e-6)
    other = np.linspace(1, 3, 32, dtype=np.float32)
    strange = write_gguf(tmp_path / "strange.gguf", model, words, rotary=other)
    with pytest.raises(RecipeError, match="another way than Llama 3"):
        find_model(strange)


def test_what_cannot_be_read_without_a_loss_is_refused_by_name(
    tmp_path: Path, words: Words
) -> None:
    model = drawn("llama", len(words.tokens))

    def refused(match: str, **said: object) -> None:
        file = write_gguf(tmp_path / "bad.gguf", model, words, **said)  # type: ignore[arg-type]
        with pytest.raises(RecipeError, match=match):
            find_model(file)

    refused(r"one of 3 parts.*--merge", more={"split.count": 3})
    refused(r"scales its rotary angles \(yarn\)", more={"llama.rope.scaling.type": "yarn"})
    words_of = bytes_vocabulary("grok-2")
    file = write_gguf(tmp_path / "bad.gguf", model, words_of)
    with pytest.raises(RecipeError, match="the way grok-2, which decant does not know"):
        find_model(file)


def test_weights_that_transformers_would_drop_are_noticed(tmp_path: Path, words: Words) -> None:
    model = drawn("llama", len(words.tokens), attention_bias=True)  # the file cannot say so
    file = write_gguf(tmp_path / "biased.gguf", model, words)
    with pytest.raises(RecipeError, match=r"has 29 weights and biases, and .* reads 21"):
        find_model(file)


def test_architectures_that_are_no_causal_models_are_refused(
    tmp_path: Path,
) -> None:
    for name in ("bert", "nomic-bert", "t5", "clip"):
        file = tmp_path / f"{name}.gguf"
        writer = gguf.GGUFWriter(file, name)
        writer.add_block_count(1)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        with pytest.raises(RecipeError, match=f"architecture {name}, which cannot be read"):
            find_model(file)


def test_damaged_files_are_refused(tmp_path: Path, words: Words) -> None:
    whole = write_gguf(tmp_path / "whole.gguf", drawn("llama", len(words.tokens)), words)
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(RecipeError, match="is damaged or cut short"):
        find_model(cut)
    cut.write_bytes(b"not at all")
    with pytest.raises(RecipeError, match="is not a GGUF file"):
        find_model(cut)


def test_a_folder_with_several_files_needs_a_choice(tmp_path: Path) -> None:
    for name in ("a.Q4_0.gguf", "a.Q8_0.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    with pytest.raises(RecipeError, match=r"2 GGUF files \(a.Q4_0.gguf, a.Q8_0.gguf\)"):
        find_model(tmp_path)
    with pytest.raises(RecipeError, match=r"is a file here; revision 'main' is only for the hub"):
        find_model(tmp_path / "a.Q4_0.gguf", revision="main")


def test_without_its_package_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingExtra, match=r"decant-qdrant\[gguf\]"):
        find_model(tmp_path / "a.gguf")


def test_a_file_of_the_hub_is_fetched_by_its_path(
    tmp_path: Path, words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", drawn("llama", len(words.tokens)), words)
    asked: list[tuple[str, str, str | None]] = []

    def fetched(repository: str, name: str, *, revision: str | None) -> str:
        asked.append((repository, name, revision))
        return str(file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetched)
    found = find_model("owner/small-GGUF/sub/tiny.gguf", revision="v1")
    assert asked == [("owner/small-GGUF", "sub/tiny.gguf", "v1")]
    assert found.base == "owner/small-GGUF/sub/tiny.gguf"
    assert found.revision == find_model(file).revision
    with pytest.raises(RecipeError, match=r"OWNER/REPOSITORY/FILE\.gguf"):
        find_model("no/file.gguf")
