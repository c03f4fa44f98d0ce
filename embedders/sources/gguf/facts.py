"""What a GGUF file says about its model, and whether that can be read without a loss in silence.

Specification: GGUF version 3, in ggml's docs. Transformers reads weights, config and vocabulary;
what it leaves out, which would change vectors, is looked for here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import RecipeError, need

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFReader
    from numpy.typing import NDArray

_MAGIC = b"GGUF"
SUFFIX = ".gguf"
# Factors of the rotary angles, as Llama 3.1 has them; no weights.
_ROTARY = "rope_freqs.weight"


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufFacts:
    """What a GGUF file says beside its weights.

    Args:
        architecture: In llama.cpp's terms, such as ``llama``.
        types: The types of its weights, the commonest first, such as ``Q4_1, Q8_0``.
        tensors: How many weights and biases it has, rotary factors left out.
        words: The kind of its vocabulary: ``gpt2`` (pieces of bytes) or ``llama`` (SentencePiece).
        split: How ``gpt2`` vocabularies split a text before pieces are looked up.
        begins: Whether texts begin with BOS; None: the file does not say.
        ends: Whether texts end with EOS; None: the file does not say.
        rotary: Divisors of the rotary frequencies, float32 of half a head's width; None: all 1.
    """

    architecture: str
    types: str
    tensors: int
    words: str
    split: str
    begins: bool | None
    ends: bool | None
    rotary: NDArray[np.float32] | None


def gguf_in(path: Path) -> Path | None:
    """Return the GGUF file that a path means: itself, or the only one of a folder; else None.

    Raises:
        RecipeError: The folder has several, and nothing says which.
    """
    if path.is_file():
        return path if path.suffix.lower() == SUFFIX else None
    if not path.is_dir() or (path / "config.json").exists():
        return None
    found = sorted(path.glob(f"*{SUFFIX}"))
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise RecipeError(f"{path} has {len(found)} GGUF files ({names}); give the path of one")
    return found[0] if found else None


def read_facts(path: Path) -> GgufFacts:
    """Read what a GGUF file says; its weights are not read.

    Raises:
        RecipeError: It is no GGUF file, cut short, a part of several, or of an architecture or with
            settings that Transformers does not read.
        MissingExtra: The package ``gguf`` is not installed.
    """
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise RecipeError(f"{path} is not a GGUF file; its first bytes are not {_MAGIC!r}")
    gguf = need("gguf", extra="gguf")
    try:
        reader: GGUFReader = gguf.GGUFReader(path)
    except (ValueError, IndexError, KeyError, OverflowError, OSError) as error:
        raise RecipeError(f"{path} is damaged or cut short: {error}") from error
    architecture = _text(reader, "general.architecture")
    _check_known(path, architecture)
    _check_whole(path, reader)
    _check_rotary(path, reader, architecture)
    tensors = [one for one in reader.tensors if one.name != _ROTARY]
    kinds = Counter(one.tensor_type.name for one in tensors if len(one.shape) > 1)
    return GgufFacts(
        architecture=architecture,
        types=", ".join(kind for kind, _ in kinds.most_common()),
        tensors=len(tensors),
        words=_text(reader, "tokenizer.ggml.model"),
        split=_text(reader, "tokenizer.ggml.pre"),
        begins=_flag(reader, "tokenizer.ggml.add_bos_token"),
        ends=_flag(reader, "tokenizer.ggml.add_eos_token"),
        rotary=next((one.data for one in reader.tensors if one.name == _ROTARY), None),
    )


def _check_known(path: Path, architecture: str) -> None:
    reading = need("transformers.modeling_gguf_pytorch_utils", extra="export")
    automatic = need("transformers.models.auto.modeling_auto", extra="export")
    causal = set(automatic.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    # The table names some families by config, as `qwen2_moe`, and files as llama.cpp does.
    known = {
        name.replace("_moe", "moe"): name
        for name in reading.GGUF_SUPPORTED_ARCHITECTURES
        if name in causal or f"{name}_text" in causal
    }
    if architecture not in known:
        raise RecipeError(
            f"{path} holds a model of the architecture {architecture or '(none)'}, which cannot be "
            f"read from GGUF; give the folder of the model that it was made from, or a causal "
            f"language model of {', '.join(sorted(known))}"
        )


def _check_whole(path: Path, reader: GGUFReader) -> None:
    parts = reader.get_field("split.count")
    if parts is not None and int(parts.contents()) > 1:
        raise RecipeError(
            f"{path} is one of {parts.contents()} parts; join them with "
            f"`llama-gguf-split --merge {path} JOINED.gguf`, and give that file"
        )


def _check_rotary(path: Path, reader: GGUFReader, architecture: str) -> None:
    """Refuse scaled rotary angles that stand in settings, which Transformers does not read."""
    kind = _text(reader, f"{architecture}.rope.scaling.type")
    factors = [one.name for one in reader.tensors if one.name.startswith("rope_factors")]
    if kind not in ("", "none") or factors:
        named = kind or ", ".join(factors)
        raise RecipeError(
            f"{path} scales its rotary angles ({named}), which Transformers does not read from "
            "GGUF: vectors would be wrong; give the folder of the model that it was made from"
        )


def _text(reader: GGUFReader, key: str) -> str:
    field = reader.get_field(key)
    return "" if field is None else str(field.contents())


def _flag(reader: GGUFReader, key: str) -> bool | None:
    field = reader.get_field(key)
    return None if field is None else bool(field.contents())
