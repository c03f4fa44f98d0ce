"""Which recipe a reranker's folder and name give, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decant.embedders import (
    Attention,
    LabelTokens,
    ModelFiles,
    Pooling,
    RecipeError,
    RerankChoices,
    ScoreActivation,
    find_model,
    is_reranker,
    resolve_reranker,
)
from models import save_model
from rerank_models import save_causal_reranker, save_cross_encoder

BERT = {"model_type": "bert", "architectures": ["BertForSequenceClassification"],
        "max_position_embeddings": 64, "id2label": {"0": "LABEL_0"}}  # fmt: skip
QWEN = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"],
        "max_position_embeddings": 9000}  # fmt: skip


def files(folder: Path, config: dict[str, object], *, base: str = "mine") -> ModelFiles:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return ModelFiles(folder=folder, base=base, revision="1")


def test_a_classifier_of_one_output_is_a_reranker_of_pairs(tmp_path: Path) -> None:
    source = files(tmp_path, BERT)
    assert is_reranker(source)
    recipe = resolve_reranker(source)
    assert recipe.pair.template is None
    assert recipe.label is not None
    assert recipe.tokens is None
    assert (recipe.model.pooling, recipe.max_tokens) == (Pooling.FIRST, 64)
    assert recipe.activation is ScoreActivation.SIGMOID


def test_several_outputs_need_a_name(tmp_path: Path) -> None:
    names = {"0": "contradiction", "1": "entailment", "2": "neutral"}
    source = files(tmp_path, {**BERT, "id2label": names})
    with pytest.raises(RecipeError, match=r"3 outputs \(contradiction, entailment, neutral\)"):
        resolve_reranker(source)
    with pytest.raises(RecipeError, match="no output 'yes'"):
        resolve_reranker(source, RerankChoices(label="yes"))
    recipe = resolve_reranker(source, RerankChoices(label="entailment", against="contradiction"))
    assert recipe.label is not None
    assert (recipe.label.index, recipe.label.against, recipe.label.count) == (1, 0, 3)
    assert recipe.activation is ScoreActivation.IDENTITY


@pytest.mark.parametrize("key", ["sentence_transformers", "sbert_ce_default_activation_function"])
def test_the_activation_of_the_configuration_counts(tmp_path: Path, key: str) -> None:
    name = "torch.nn.modules.linear.Identity"
    value: object = {"activation_fn": name} if key == "sentence_transformers" else name
    recipe = resolve_reranker(files(tmp_path, {**BERT, key: value}))
    assert recipe.activation is ScoreActivation.IDENTITY
    unknown = files(
        tmp_path / "other", {**BERT, "sentence_transformers": {"activation_fn": "a.Tanh"}}
    )
    with pytest.raises(RecipeError, match=r"the activation a\.Tanh"):
        resolve_reranker(unknown)


@pytest.mark.parametrize(
    ("base", "labels", "start"),
    [
        ("Qwen/Qwen3-Reranker-0.6B", LabelTokens(true="yes", false="no"), "<|im_start|>system"),
        ("Qwen3-Reranker-4B", LabelTokens(true="yes", false="no"), "<|im_start|>system"),
        ("BAAI/bge-reranker-v2-gemma", LabelTokens(true="Yes"), "A: {query}"),
        (
            "mixedbread-ai/mxbai-rerank-base-v2",
            LabelTokens(true="1", false="0"),
            "<|im_start|>system",
        ),
    ],
)
def test_known_models_have_rows(tmp_path: Path, base: str, labels: LabelTokens, start: str) -> None:
    source = files(tmp_path, QWEN, base=base)
    assert is_reranker(source)
    recipe = resolve_reranker(source)
    assert recipe.tokens == labels
    assert (recipe.pair.template or "").startswith(start)
    assert (recipe.model.attention, recipe.model.pooling) == (Attention.CAUSAL, Pooling.LAST)
    assert recipe.model.open_end


def test_the_user_overrides_a_row(tmp_path: Path) -> None:
    source = files(tmp_path, QWEN, base="Qwen/Qwen3-Reranker-0.6B")
    recipe = resolve_reranker(source, RerankChoices(instruction="Find code", max_tokens=99))
    assert (recipe.pair.instruction, recipe.max_tokens) == ("Find code", 99)
    plain = resolve_reranker(source, RerankChoices(pair_template="{query} {text}"))
    assert plain.pair.instruction is None


def test_a_language_model_needs_label_tokens_and_a_template(tmp_path: Path) -> None:
    folder = save_causal_reranker(tmp_path / "llama")
    chat = "{% for turn in messages %}{{ turn['role'] }}: {{ turn['content'] }}{% endfor %}"
    (folder / "chat_template.jinja").write_text(chat, encoding="utf-8")
    source = find_model(folder)
    assert not is_reranker(source)
    with pytest.raises(RecipeError, match="--true-token yes --false-token no"):
        resolve_reranker(source, RerankChoices(pair_template="{query} {text}"))
    with pytest.raises(RecipeError, match="--pair-template"):
        resolve_reranker(source, RerankChoices(true_token="a"))


def test_a_causal_classifier_needs_a_template(tmp_path: Path) -> None:
    source = find_model(save_causal_reranker(tmp_path / "llama", scores=True))
    assert is_reranker(source)
    with pytest.raises(RecipeError, match="--pair-template"):
        resolve_reranker(source)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"false_token": "no"}, "name that one, too"),
        ({"true_token": "yes", "label": "0"}, "name one of the two"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"activation": "softmax"}, "activation"),
    ],
)
def test_choices_that_do_not_go_together_are_refused(
    choices: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        RerankChoices(**choices)  # type: ignore[arg-type]


def test_a_name_alone_makes_no_classifier(tmp_path: Path) -> None:
    encoder = files(tmp_path, {**BERT, "architectures": ["BertModel"]}, base="ms-marco-mine")
    assert not is_reranker(encoder)


def test_a_known_language_model_that_was_made_a_classifier_keeps_its_template(
    tmp_path: Path,
) -> None:
    config = {**QWEN, "architectures": ["Qwen3ForSequenceClassification"], "id2label": {"0": "x"}}
    recipe = resolve_reranker(files(tmp_path, config, base="Qwen3-Reranker-0.6B-seq-cls"))
    assert recipe.tokens is None
    assert recipe.label is not None
    assert (recipe.pair.template or "").startswith("<|im_start|>system")


def test_an_encoder_is_no_reranker(tmp_path: Path) -> None:
    assert not is_reranker(find_model(save_model(tmp_path / "m", "bert")))
    assert is_reranker(find_model(save_cross_encoder(tmp_path / "c", "bert")))
