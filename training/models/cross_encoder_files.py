"""Write the files with which sentence-transformers' ``CrossEncoder`` opens a trained reranker.

A classifier of pairs needs a few settings in files that it has anyway, which versions 4 and later
read. A template needs version 6: it becomes a chat template with the roles ``query`` and
``document``, its instruction the default prompt, its label tokens a ``LogitScore``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from decant.embedders import PairFormat, RerankRecipe, ScoreActivation

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

_ACTIVATIONS = {
    ScoreActivation.IDENTITY: "torch.nn.modules.linear.Identity",
    ScoreActivation.SIGMOID: "torch.nn.modules.activation.Sigmoid",
}
_LENGTH = "sentence_bert_config.json"
_LOGIT_SCORE = "1_LogitScore"
_PROMPT = "task"
# The turns of a pair by their roles; a system's turn is sentence-transformers' prompt.
_TURNS = (
    "{%- set turn = namespace(query='', document='', system='') -%}"
    "{%- for one in messages -%}"
    "{%- if one['role'] == 'query' -%}{%- set turn.query = one['content'] -%}"
    "{%- elif one['role'] == 'document' -%}{%- set turn.document = one['content'] -%}"
    "{%- elif one['role'] == 'system' -%}{%- set turn.system = one['content'] -%}"
    "{%- endif -%}{%- endfor -%}"
)


def write_cross_encoder(
    folder: Path, whole: PreTrainedModel, recipe: RerankRecipe, tokenizer: Tokenizer
) -> None:
    """Write a reranker's weights and settings into a folder that holds its tokenizer's files.

    Args:
        folder: The folder.
        whole: The model with its head.
        recipe: The recipe of its scores.
        tokenizer: Its tokenizer.
    """
    whole.config.sentence_transformers = {"activation_fn": _ACTIVATIONS[recipe.activation]}
    whole.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    held = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    _write(path, {**held, "model_max_length": recipe.max_tokens})
    # An encoder's folder names the length of single texts here, which no reranker reads.
    (folder / _LENGTH).unlink(missing_ok=True)
    if recipe.pair.template is not None:
        start = _start(tokenizer)
        template = folder / "chat_template.jinja"
        template.write_text(chat_template_of(recipe.pair, start=start), encoding="utf-8")
        _write_modules(folder, recipe, tokenizer)


def chat_template_of(pair: PairFormat, *, start: str = "") -> str:
    """Return the chat template that renders a pair as its own template does.

    Args:
        pair: A format with a template.
        start: The start token, which a chat template has to hold where a tokenizer writes one.
    """
    assert pair.template is not None
    rest = pair.template
    shown = [json.dumps(start)] if start else []  # a string of JSON is one of Jinja's
    places = {"instruction": "turn.system", "query": "turn.query", "text": "turn.document"}
    for name, variable in places.items():
        before, place, after = rest.partition("{" + name + "}")
        if not place:
            continue
        shown += [json.dumps(before), variable]
        rest = after
    shown.append(json.dumps(rest))
    return _TURNS + "".join(f"{{{{- {one} -}}}}" for one in shown)


def _write_modules(folder: Path, recipe: RerankRecipe, tokenizer: Tokenizer) -> None:
    """Write which modules of sentence-transformers give the score."""
    task, output = "sequence-classification", "scores"
    modules = [("", "base.modules.transformer.Transformer")]
    if recipe.tokens is not None:
        task, output = "text-generation", "causal_logits"
        modules.append((_LOGIT_SCORE, "cross_encoder.modules.logit_score.LogitScore"))
        false = recipe.tokens.false
        (folder / _LOGIT_SCORE).mkdir()
        _write(
            folder / _LOGIT_SCORE / "config.json",
            {
                "true_token_id": tokenizer.token_to_id(recipe.tokens.true),
                "false_token_id": None if false is None else tokenizer.token_to_id(false),
                "module_input_name": output,
            },
        )
    listed = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.{kind}"}
        for at, (path, kind) in enumerate(modules)
    ]
    _write(folder / "modules.json", listed)
    logits = {"method": "forward", "method_output_name": "logits"}
    _write(
        folder / _LENGTH,
        {
            "transformer_task": task,
            # Without a message among them the chat template is not used.
            "modality_config": {"text": logits, "message": {**logits, "format": "flat"}},
            "module_output_name": output,
        },
    )
    task_prompt = recipe.pair.instruction
    _write(
        folder / "config_sentence_transformers.json",
        {
            "model_type": "CrossEncoder",
            "activation_fn": _ACTIVATIONS[recipe.activation],
            "prompts": {} if task_prompt is None else {_PROMPT: task_prompt},
            "default_prompt_name": None if task_prompt is None else _PROMPT,
        },
    )


def _start(tokenizer: Tokenizer) -> str:
    """Return the special tokens that a tokenizer writes before a text."""
    encoding = tokenizer.encode("a")
    marks: list[int] = encoding.special_tokens_mask
    count = marks.index(0) if 0 in marks else 0
    return "".join(encoding.tokens[:count])


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
