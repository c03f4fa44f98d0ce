"""The rows of the registry: complete, to the letter, and with the end that last tokens need."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from decant.embedders import (
    Attention,
    ModelFiles,
    PooledTokens,
    Pooling,
    Recipe,
    RecipeError,
    Role,
    TorchEncoder,
    resolve,
)
from decant.embedders.tokens import TextTokenizer
from models import save_model, tokenizer, write_json

MODELS: dict[str, str] = json.loads(
    files("decant.embedders.sources").joinpath("registry.json").read_text(encoding="utf-8")
)["models"]
TASK = "Given a web search query, retrieve relevant passages that answer the query"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder that says how it is pooled (rows may leave that to the model's own files)."""
    made = save_model(tmp_path_factory.mktemp("model"), "mistral", ending="<s> $A")
    pooling = {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}
    write_json(made / "modules.json", [pooling])
    write_json(made / "1_Pooling" / "config.json", {"pooling_mode": "mean"})
    return made


def resolved(folder: Path, model: str) -> Recipe:
    return resolve(ModelFiles(folder=folder, base=model, revision="0"))


@pytest.mark.parametrize("model", MODELS)
def test_every_row_resolves(folder: Path, model: str) -> None:
    recipe = resolved(folder, model)
    assert recipe.base == model
    assert recipe.max_tokens >= 512


# METHODS 5.2; white space is what differs between models, and nothing fails where it is wrong.
@pytest.mark.parametrize(
    ("model", "query", "passage"),
    [
        ("Qwen/Qwen3-Embedding-0.6B", f"Instruct: {TASK}\nQuery:{{text}}", "{text}"),
        ("microsoft/harrier-oss-v1-270m", f"Instruct: {TASK}\nQuery:{{text}}", "{text}"),
        ("intfloat/e5-mistral-7b-instruct", f"Instruct: {TASK}\nQuery: {{text}}", "{text}"),
        ("Salesforce/SFR-Embedding-2_R", f"Instruct: {TASK}\nQuery: {{text}}", "{text}"),
        ("Alibaba-NLP/gte-Qwen1.5-7B-instruct", f"Instruct: {TASK}\nQuery: {{text}}", "{text}"),
        ("nvidia/llama-embed-nemotron-8b", f"Instruct: {TASK}\nQuery: {{text}}", "{text}"),
        (
            "KaLM-Embedding/KaLM-embedding-multilingual-mini-instruct-v2.5",
            f"Instruct: {TASK} \n Query: {{text}}",
            "{text}",
        ),
        (
            "BAAI/bge-en-icl",
            f"<instruct>{TASK}\n<query>{{text}}\n<response>",
            "{text}",
        ),
        ("BAAI/bge-multilingual-gemma2", f"<instruct>{TASK}\n<query>{{text}}", "{text}"),
        (
            "GritLM/GritLM-7B",
            f"<|user|>\n{TASK}\n<|embed|>\n{{text}}",
            "<|embed|>\n{text}",
        ),
        (
            "google/embeddinggemma-300m",
            "task: search result | query: {text}",
            "title: none | text: {text}",
        ),
        ("castorini/repllama-v1-7b-lora-passage", "query:  {text}", "passage:  {text}"),
        ("samaya-ai/promptriever-llama2-7b-v1", "query:  {text}", "passage:  {text}"),
        (
            "McGill-NLP/LLM2Vec-Meta-Llama-3-8B-Instruct-mntp-supervised",
            f"<|start_header_id|>user<|end_header_id|>\n\n{TASK}: {{text}}<|eot_id|>",
            "<|start_header_id|>user<|end_header_id|>\n\n{text}<|eot_id|>",
        ),
        (
            "McGill-NLP/LLM2Vec-Mistral-7B-Instruct-v2-mntp-supervised",
            f"[INST] {TASK}: {{text}} [/INST]",
            "[INST] {text} [/INST]",
        ),
        ("McGill-NLP/LLM2Vec-Sheared-LLaMA-mntp", f"{TASK}: {{text}}", "{text}"),
        ("ibm-granite/granite-embedding-english-r2", "{text}", "{text}"),
    ],
)
def test_prompts_are_right_to_the_letter(
    folder: Path, model: str, query: str, passage: str
) -> None:
    recipe = resolved(folder, model)
    assert recipe.query_prompt.template == query
    assert recipe.passage_prompt.template == passage


@pytest.mark.parametrize(
    ("model", "attention", "pooling", "span"),
    [
        ("intfloat/e5-mistral-7b-instruct", Attention.CAUSAL, Pooling.LAST, PooledTokens.ALL),
        (
            "Alibaba-NLP/gte-Qwen1.5-7B-instruct",
            Attention.BIDIRECTIONAL,
            Pooling.LAST,
            PooledTokens.ALL,
        ),
        ("GritLM/GritLM-7B", Attention.BIDIRECTIONAL, Pooling.MEAN, PooledTokens.TEXT),
        (
            "McGill-NLP/LLM2Vec-Sheared-LLaMA-mntp-unsup-simcse",
            Attention.BIDIRECTIONAL,
            Pooling.MEAN,
            PooledTokens.CONTENT,
        ),
        (
            "nvidia/Nemotron-3-Embed-8B-BF16",
            Attention.BIDIRECTIONAL,
            Pooling.MEAN,
            PooledTokens.ALL,
        ),
        ("castorini/repllama-v1-7b-lora-passage", Attention.CAUSAL, Pooling.LAST, PooledTokens.ALL),
        (
            "ibm-granite/granite-embedding-small-english-r2",
            Attention.BIDIRECTIONAL,
            Pooling.FIRST,
            PooledTokens.ALL,
        ),
    ],
)
def test_rows_say_attention_pooling_and_span(
    folder: Path, model: str, attention: Attention, pooling: Pooling, span: PooledTokens
) -> None:
    recipe = resolved(folder, model)
    assert (recipe.attention, recipe.pooling, recipe.span) == (attention, pooling, span)


def test_embedding_gemma_without_its_modules_is_refused_instead_of_losing_its_head(
    tmp_path: Path,
) -> None:
    save_model(tmp_path, "embeddinggemma")
    with pytest.raises(RecipeError, match="never guessed"):
        resolved(tmp_path, "google/embeddinggemma-300m")


def _ending_model(model: str) -> bool:
    family = json.loads(
        files("decant.embedders.sources").joinpath("registry.json").read_text(encoding="utf-8")
    )["families"][MODELS[model]]
    return "eos" in family


@pytest.mark.parametrize("model", [model for model in MODELS if _ending_model(model)])
@pytest.mark.parametrize("role", Role)
def test_a_tokenizer_that_adds_only_a_beginning_gets_the_end_also_after_truncation(
    folder: Path, model: str, role: Role
) -> None:
    recipe = resolved(folder, model)
    made = TextTokenizer(tokenizer("<s> $A"), recipe)  # as e5-mistral's is in transformers 5
    assert recipe.eos is not None
    end = tokenizer().token_to_id(recipe.eos)
    short, long = made(["what", "w" * 40_000], role=role)
    assert short.ids[-1] == long.ids[-1] == end
    assert short.ids.count(end) == long.ids.count(end) == 1
    assert len(long.ids) == recipe.max_tokens


def test_last_token_pooling_reads_the_end_and_not_the_last_word(folder: Path) -> None:
    said = ModelFiles(folder=folder, base="intfloat/e5-mistral-7b-instruct", revision="0")
    encoder = TorchEncoder.from_pretrained(said)
    word, end = (tokenizer().encode(text, add_special_tokens=False).ids for text in ("w", "</s>"))
    rows = encoder.text_tokenizer(["w"], role=Role.PASSAGE)
    assert rows[0].ids == (1, *word, *end)
    encoder.close()


@pytest.mark.parametrize("token", ["</s>", {"content": "</s>", "lstrip": False}])
def test_a_folder_that_wants_an_end_gets_it_without_a_row(tmp_path: Path, token: object) -> None:
    save_model(tmp_path, "mistral", ending="<s> $A")
    pooling = {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}
    write_json(tmp_path / "modules.json", [pooling])
    write_json(tmp_path / "1_Pooling" / "config.json", {"pooling_mode": "lasttoken"})
    for wanted in (True, False):
        settings = {"add_eos_token": wanted, "eos_token": token, "model_max_length": 32}
        write_json(tmp_path / "tokenizer_config.json", settings)
        recipe = resolved(tmp_path, "my-mistral")
        assert recipe.eos == ("</s>" if wanted else None)
        made = TextTokenizer(Tokenizer.from_file(str(tmp_path / "tokenizer.json")), recipe)
        ids = made(["what"], role=Role.QUERY)[0].ids
        assert (ids[-1] == tokenizer().token_to_id("</s>")) is wanted


# METHODS 5.2: no end, a beginning by the tokenizer, and the mean of what follows the instruction.
@pytest.mark.parametrize("model", ["GritLM/GritLM-7B", "GritLM/GritLM-8x7B"])
def test_both_sizes_of_gritlm_have_one_contract(folder: Path, model: str) -> None:
    recipe = resolved(folder, model)
    assert (recipe.attention, recipe.eos) == (Attention.BIDIRECTIONAL, None)
    assert (recipe.pooling, recipe.span) == (Pooling.MEAN, PooledTokens.TEXT)
    assert recipe.query_prompt.template == f"<|user|>\n{TASK}\n<|embed|>\n{{text}}"
    assert recipe.passage_prompt.template == "<|embed|>\n{text}"
    assert recipe.instructed("Find code").template == "<|user|>\nFind code\n<|embed|>\n{text}"
    assert recipe.max_tokens == 512
