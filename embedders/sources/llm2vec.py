"""Read LLM2Vec's checkpoints as LLM2Vec's own code reads them.

``llm2vec_config.json`` is in merged folders and in adapter folders of its contrastive training; its
first step (MNTP) leaves an adapter without it. All these models attend both ways, which no file
states; without that file, they are recognised by the class that was trained (``architectures.py``).
Prompts and defaults are those of its code (arXiv 2404.05961; McGill-NLP/llm2vec at 312adcf,
``llm2vec.py``).

Two things differ: it cuts a long text at white space, decant at a token; and it drops white space
around a text, while decant never alters texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import json_records
from ..errors import RecipeError
from ..recipe.enums import Attention, PooledTokens, Pooling
from .architectures import llm2vec_class
from .choices import Choices
from .config_files import LLM2VEC_CONFIG, part, settings

_ADAPTER = "adapter_config.json"
_USER_TURNS = {
    "meta-llama/Meta-Llama-3-8B-Instruct": (
        "<|start_header_id|>user<|end_header_id|>\n\n",
        "<|eot_id|>",
    ),
    "mistralai/Mistral-7B-Instruct-v0.2": ("[INST] ", " [/INST]"),
    "meta-llama/Llama-2-7b-chat-hf": ("[INST] ", " [/INST]"),
    "google/gemma-2-9b-it": ("<bos><start_of_turn>user\n", "<end_of_turn>"),
    "Qwen/Qwen2-1.5B-Instruct": ("<|im_start|>user\n", "<|im_end|>"),
    "Qwen/Qwen2-7B-Instruct": ("<|im_start|>user\n", "<|im_end|>"),
}
_ENDS = {"llama": " </s>", "mistral": " </s>", "gemma": "<eos>", "qwen2": "<|endoftext|>"}
_LLAMA_3 = "meta-llama/Meta-Llama-3-8B"
_POOLINGS = {
    "mean": Pooling.MEAN,
    "weighted_mean": Pooling.WEIGHTED_MEAN,
    "eos_token": Pooling.LAST,
    "last_token": Pooling.LAST,
    "bos_token": Pooling.FIRST,
}
_AVERAGES = ("mean", "weighted_mean")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """The content of ``llm2vec_config.json``, with the defaults of LLM2Vec's code."""

    pooling_mode: str = "mean"
    max_length: int = 512
    doc_max_length: int = 400
    skip_instruction: bool = True


def llm2vec_choices(folder: Path, adapters: Sequence[Path] = ()) -> Choices | None:
    """Return the choices of LLM2Vec's code for a model; None if it is no model of LLM2Vec.

    Queries get no instruction, because LLM2Vec's code adds none unless the caller passes one.

    Args:
        folder: The base model, or a merged model.
        adapters: The adapters to merge into it, in this order.

    Raises:
        RecipeError: A file is damaged, or holds a setting or a pooling that decant does not
            support.
    """
    held = next(
        (one for one in (*reversed(adapters), folder) if (one / LLM2VEC_CONFIG).exists()), None
    )
    if held is None and not any(map(_trained_both_ways, adapters)):
        return None
    said = _Settings() if held is None else _read(held / LLM2VEC_CONFIG)
    before, after = _around(folder, adapters, said.pooling_mode)
    # LLM2Vec's mask counts as many tokens from the row's end as the text has: without a prompt
    # before the text that leaves BOS out, too.
    own = PooledTokens.TEXT if before else PooledTokens.CONTENT
    skipped = said.skip_instruction and said.pooling_mode in _AVERAGES
    return Choices(
        attention=Attention.BIDIRECTIONAL,
        pooling=_POOLINGS[said.pooling_mode],
        span=own if skipped else PooledTokens.ALL,
        query_prompt=f"{before}{{text}}{after}",
        passage_prompt=f"{before}{{text}}{after}",
        instruction_template=f"{before}{{instruction}}: {{text}}{after}",
        max_tokens=said.max_length,
        max_text_tokens=said.doc_max_length,
    )


def _read(path: Path) -> _Settings:
    said = json_records.read(_Settings, path, error=RecipeError)
    if said.pooling_mode not in _POOLINGS:
        raise RecipeError(
            f"{path}: decant has no pooling_mode {said.pooling_mode!r}; it builds "
            f"{', '.join(_POOLINGS)}, LLM2Vec's own"
        )
    for name in ("max_length", "doc_max_length"):
        if getattr(said, name) < 1:
            raise RecipeError(f"{path}: {name} must be at least 1, got {getattr(said, name)}")
    return said


def _trained_both_ways(adapter: Path) -> bool:
    """Return whether an adapter was trained on one of LLM2Vec's classes."""
    mapping = part(settings(adapter / _ADAPTER, required=False), "auto_mapping")
    return llm2vec_class(mapping.get("base_model_class"))


def _around(folder: Path, adapters: Sequence[Path], pooling: str) -> tuple[str, str]:
    """Return the strings before and after a text: those of a user's turn, and the pooled end."""
    config = settings(folder / "config.json")
    first = settings(adapters[0] / _ADAPTER, required=False) if adapters else {}
    names = {config.get("_name_or_path"), first.get("base_model_name_or_path")}
    before, after = next((turn for name, turn in _USER_TURNS.items() if name in names), ("", ""))
    if pooling != "eos_token" or after == "<|eot_id|>":
        return before, after
    end = "<|end_of_text|>" if _LLAMA_3 in names else _ENDS.get(str(config.get("model_type")), "")
    return before, f"{after}{end}"
