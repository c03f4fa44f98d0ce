"""Tiny seeded rerankers, saved as folders as the hub would hold them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.cross_encoder.modules import LogitScore
from tokenizers import Tokenizer, processors
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)

from model_families import FAMILIES, LONGEST, TYPES
from models import SPECIALS, tokenizer, write_json

YES, NO = "a", "w"
TEMPLATE = "<instruct> judge {instruction}:<query>{query} text {text}\nin a word"
INSTRUCTION = "that"
_SEPARATED = "<s> $A </s> $B:1 </s>:1"
_DOUBLED = "<s> $A </s> </s> $B </s>"
_ONE_TYPE = "<s> $A </s> $B </s>"
_PAIRS = {
    "bert": _SEPARATED,
    "electra": _SEPARATED,
    "deberta-v2": _SEPARATED,
    "roberta": _DOUBLED,
    "xlm-roberta": _DOUBLED,
}


def pair_tokenizer(family: str) -> Tokenizer:
    """Return a byte-level tokenizer that writes pairs as a family's does."""
    made = tokenizer()
    words = [(word, made.token_to_id(word)) for word in SPECIALS]
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair=_PAIRS.get(family, _ONE_TYPE), special_tokens=words
    )
    return made


def save_cross_encoder(
    folder: Path, family: str, *, labels: int = 1, classifier_pooling: str | None = None
) -> Path:
    """Write a seeded classifier of pairs as a Transformers folder; return the folder."""
    torch.manual_seed(0)
    words = tokenizer().get_vocab_size()
    settings = {**FAMILIES[family], "vocab_size": words, "num_labels": labels}
    if classifier_pooling is not None:
        settings["classifier_pooling"] = classifier_pooling
    made = AutoConfig.for_model(TYPES.get(family, family), **settings)
    model = AutoModelForSequenceClassification.from_config(made).eval()
    _save(folder, model, pair_tokenizer(family), types=_PAIRS.get(family) == _SEPARATED)
    return folder


def save_pair_encoder(folder: Path, family: str = "bert") -> Path:
    """Write a seeded encoder without a classifier, whose tokenizer writes pairs; return it."""
    torch.manual_seed(0)
    settings = {**FAMILIES[family], "vocab_size": tokenizer().get_vocab_size()}
    model = AutoModel.from_config(AutoConfig.for_model(TYPES.get(family, family), **settings))
    _save(folder, model.eval(), pair_tokenizer(family), types=_PAIRS.get(family) == _SEPARATED)
    return folder


def save_causal_reranker(
    folder: Path, family: str = "llama", *, scores: bool = False, longest: int = LONGEST
) -> Path:
    """Write a seeded language model, or with ``scores`` one with a trained score row."""
    torch.manual_seed(1)
    settings = {**FAMILIES[family], "max_position_embeddings": longest}
    settings["vocab_size"] = tokenizer().get_vocab_size()
    if scores:
        made = AutoConfig.for_model(family, **settings, num_labels=1)
        model = AutoModelForSequenceClassification.from_config(made).eval()
    else:
        made = AutoConfig.for_model(family, **settings)
        made.tie_word_embeddings = False
        model = AutoModelForCausalLM.from_config(made).eval()
    _save(folder, model, tokenizer("<s> $A"), longest=longest)
    return folder


def save_logit_score(folder: Path, *, chat_template: str | None, prompt: str | None = None) -> Path:
    """Let sentence-transformers 6 write a causal reranker with a LogitScore; return the folder."""
    inner = save_causal_reranker(folder / "language-model", longest=128)
    if chat_template is not None:
        (inner / "chat_template.jinja").write_text(chat_template, encoding="utf-8")
    words = tokenizer()
    yes, no = words.token_to_id(YES), words.token_to_id(NO)
    assert yes is not None
    modules = [
        Transformer(str(inner), transformer_task="text-generation"),
        LogitScore(yes, no),
    ]
    prompts = {} if prompt is None else {"task": prompt}
    name = None if prompt is None else "task"
    made = CrossEncoder(modules=modules, device="cpu", prompts=prompts, default_prompt_name=name)
    made.save(str(folder / "cross-encoder"))
    return folder / "cross-encoder"


def _save(
    folder: Path,
    model: PreTrainedModel,
    words: Tokenizer,
    *,
    longest: int = LONGEST,
    types: bool = False,
) -> None:
    # Freshly drawn weights (0.02) give nearly equal scores; trained ones do not.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6)
    model.save_pretrained(folder)
    words.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {"model_max_length": longest, "tokenizer_class": "PreTrainedTokenizerFast",
         "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>",
         "cls_token": "<s>", "sep_token": "</s>",
         "model_input_names": ["input_ids", *["token_type_ids"] * types, "attention_mask"]},
    )  # fmt: skip
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))
