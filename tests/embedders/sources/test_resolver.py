"""Where a recipe comes from, and that a missing part is an error, never a guess."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import assume, given

from decant.embedders import (
    Attention,
    Choices,
    Pooling,
    Prompt,
    Recipe,
    RecipeError,
    find_model,
    resolve,
)
from decant.embedders.sources import write_recipe
from decant.embedders.sources.choices import registry_choices
from folders import folder_with, source
from models import save_model, save_sentence_transformer, write_json
from recipes import recipes


def test_a_decoder_without_a_pooling_is_refused(tmp_path: Path) -> None:
    folder = save_model(tmp_path, "qwen3")
    with pytest.raises(RecipeError, match="never guessed"):
        resolve(source(folder))


def test_what_the_user_says_wins(tmp_path: Path) -> None:
    folder = save_sentence_transformer(tmp_path, "qwen3", pooling="mean")
    recipe = resolve(
        source(folder), Choices(pooling=Pooling.LAST, max_tokens=9, query_prompt="q {text}")
    )
    assert (recipe.pooling, recipe.max_tokens) == (Pooling.LAST, 9)
    assert recipe.query_prompt.template == "q {text}"


def test_the_registry_wins_over_the_folder(tmp_path: Path) -> None:
    folder = save_sentence_transformer(tmp_path, "qwen3", pooling="mean")
    recipe = resolve(source(folder, "Qwen/Qwen3-Embedding-0.6B"))
    assert recipe.pooling is Pooling.LAST
    assert recipe.eos == "<|endoftext|>"
    assert recipe.query_prompt.prefix.endswith("\nQuery:")  # and no space after it
    assert recipe.passage_prompt.template == "{text}"


def test_templates_keep_their_white_space() -> None:
    said = registry_choices("intfloat/e5-mistral-7b-instruct").query_prompt
    assert said is not None
    assert said.endswith("\nQuery: {text}")


@pytest.mark.parametrize(
    ("config", "attention"),
    [
        ({"model_type": "bert"}, Attention.BIDIRECTIONAL),
        ({"model_type": "qwen2"}, Attention.CAUSAL),
        ({"model_type": "qwen2", "is_causal": False}, Attention.BIDIRECTIONAL),
        (
            {"model_type": "gemma3_text", "use_bidirectional_attention": True},
            Attention.BIDIRECTIONAL,
        ),
    ],
)
def test_attention_follows_the_models_own_switches(
    tmp_path: Path, config: dict[str, object], attention: Attention
) -> None:
    assert resolve(source(folder_with(tmp_path, **config))).attention is attention


@pytest.mark.parametrize("name", ["num_hidden_layers", "n_layer", "num_layers", "n_layers"])
def test_strategies_read_the_depth_under_every_name_that_it_has(tmp_path: Path, name: str) -> None:
    config: dict[str, object] = {name: 24, "vocab_size": 300}
    folder = folder_with(tmp_path, model_type="gpt2", **config)
    said = Choices(attention=Attention.CAUSAL)
    way = resolve(source(folder), said, strategy="token-prepending")
    assert way.prepending is not None
    shallow = folder_with(tmp_path, model_type="gpt2", vocab_size=300)
    with pytest.raises(RecipeError, match="lacks num_hidden_layers or vocab_size"):
        resolve(source(shallow), said, strategy="token-prepending")


OWN_CODE = {"AutoConfig": "modeling_qwen.Qwen2Config", "AutoModel": "modeling_qwen.Qwen2Model"}


def test_code_of_its_own_on_a_causal_architecture_must_be_told_its_attention(
    tmp_path: Path,
) -> None:
    folder = folder_with(tmp_path, model_type="qwen2", auto_map=OWN_CODE)
    with pytest.raises(RecipeError, match=r"code of its own \(modeling_qwen\.Qwen2Model\)"):
        resolve(source(folder))
    for told in Attention:
        assert resolve(source(folder), Choices(attention=told)).attention is told


@pytest.mark.parametrize(
    ("config", "attention"),
    [
        ({"model_type": "qwen2", "is_causal": False}, Attention.BIDIRECTIONAL),
        ({"model_type": "qwen2", "is_causal": True}, Attention.CAUSAL),
        ({"model_type": "llama", "use_bidirectional_attention": False}, Attention.CAUSAL),
        ({"model_type": "nomic_bert"}, Attention.BIDIRECTIONAL),
        ({"model_type": "eurobert"}, Attention.BIDIRECTIONAL),
    ],
)
def test_code_of_its_own_leaves_what_the_model_says_and_what_every_encoder_does(
    tmp_path: Path, config: dict[str, object], attention: Attention
) -> None:
    folder = folder_with(tmp_path, **config, auto_map=OWN_CODE)
    assert resolve(source(folder)).attention is attention


@pytest.mark.parametrize(
    "named",
    [
        {"AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"},
        {"AutoModel": "transformers.Qwen2Model"},
        {"AutoModel": None},
        {},
    ],
)
def test_a_base_model_of_transformers_own_attends_as_its_family(
    tmp_path: Path, named: dict[str, object]
) -> None:
    folder = folder_with(tmp_path, model_type="qwen2", auto_map=named)
    assert resolve(source(folder)).attention is Attention.CAUSAL


# METHODS 5.2; these repositories carry code of their own.
@pytest.mark.parametrize(
    ("model", "attention"),
    [
        ("Alibaba-NLP/gte-Qwen2-1.5B-instruct", Attention.BIDIRECTIONAL),
        ("Alibaba-NLP/gte-Qwen2-7B-instruct", Attention.BIDIRECTIONAL),
        ("Alibaba-NLP/gte-Qwen1.5-7B-instruct", Attention.BIDIRECTIONAL),
        ("GritLM/GritLM-7B", Attention.BIDIRECTIONAL),
        ("nvidia/NV-Embed-v1", Attention.BIDIRECTIONAL),
        ("nvidia/NV-Embed-v2", Attention.BIDIRECTIONAL),
        ("nvidia/llama-embed-nemotron-8b", Attention.BIDIRECTIONAL),
        ("BAAI/bge-en-icl", Attention.CAUSAL),
        ("McGill-NLP/LLM2Vec-Sheared-LLaMA-mntp", Attention.BIDIRECTIONAL),
    ],
)
def test_a_known_model_with_code_of_its_own_attends_as_its_row_says(
    tmp_path: Path, model: str, attention: Attention
) -> None:
    folder = folder_with(tmp_path, model_type="qwen2", auto_map=OWN_CODE)
    assert resolve(source(folder, model)).attention is attention


def test_an_unknown_architecture_must_be_told_its_attention(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, model_type="brandnew")
    with pytest.raises(RecipeError, match="attends causally"):
        resolve(source(folder))
    told = Choices(attention=Attention.CAUSAL)
    assert resolve(source(folder), told).attention is Attention.CAUSAL


def test_first_token_pooling_of_a_causal_model_is_refused(tmp_path: Path) -> None:
    folder = save_sentence_transformer(tmp_path, "llama", pooling="cls")
    with pytest.raises(RecipeError, match="sees nothing"):
        resolve(source(folder))


@pytest.mark.parametrize(
    ("files", "longest"),
    [
        ({"sentence_bert_config.json": {"max_seq_length": 40}}, 40),
        ({"tokenizer_config.json": {"model_max_length": 50}}, 50),
        ({"tokenizer_config.json": {"model_max_length": 10**30}}, 64),
        ({"sentence_bert_config.json": {"max_seq_length": 500}}, 64),
        ({}, 64),
    ],
)
def test_the_length_is_the_smallest_that_holds(
    tmp_path: Path, files: dict[str, object], longest: int
) -> None:
    folder = folder_with(tmp_path)
    for name, data in files.items():
        write_json(folder / name, data)
    assert resolve(source(folder)).max_tokens == longest


@pytest.mark.parametrize(
    ("config", "longest"),
    [
        ({"model_type": "roberta", "max_position_embeddings": 514}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 0}, 513),
        ({"model_type": "mpnet", "max_position_embeddings": 514, "pad_token_id": 0}, 512),
        ({"model_type": "gpt2", "max_position_embeddings": None, "n_positions": 48}, 48),
    ],
)
def test_positions_of_some_families_begin_late_or_have_another_name(
    tmp_path: Path, config: dict[str, object], longest: int
) -> None:
    assert resolve(source(folder_with(tmp_path, **config))).max_tokens == longest


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    (folder / "1_Pooling" / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(RecipeError, match="not valid JSON"):
        resolve(source(folder))


def test_a_folders_revision_follows_its_contents(tmp_path: Path) -> None:
    first = find_model(save_model(tmp_path / "one", "bert"))
    same = find_model(save_model(tmp_path / "two", "bert"), name="one")
    other = find_model(save_model(tmp_path / "three", "bert", seed=1))
    assert first.base == "one"
    assert first.revision == same.revision
    assert first.revision != other.revision
    assert resolve(first, Choices(pooling=Pooling.MEAN)).digest() == (
        resolve(same, Choices(pooling=Pooling.MEAN)).digest()
    )


def test_an_unknown_model_is_refused_with_its_name() -> None:
    with pytest.raises(RecipeError, match="no folder 'nobody/no-such-model'"):
        find_model("nobody/no-such-model")


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"config\.json"):
        find_model(tmp_path)


def test_names_and_revisions_belong_to_one_kind_of_source(tmp_path: Path) -> None:
    folder = save_model(tmp_path, "bert")
    with pytest.raises(RecipeError, match="only for the hub"):
        find_model(folder, revision="main")
    with pytest.raises(RecipeError, match="only for folders"):
        find_model("nobody/no-such-model", name="x")


@given(recipe=recipes())
def test_a_recipe_file_wins_and_says_everything(recipe: Recipe) -> None:
    prompts = (recipe.query_prompt, recipe.passage_prompt)
    assume(not any("{text}" in part or "{slot}" in part for p in prompts for part in parts(p)))
    with TemporaryDirectory() as made:
        folder = folder_with(Path(made))
        write_recipe(folder, recipe)
        assert resolve(source(folder)) == replace(recipe, base="tiny", revision="0")


def parts(prompt: Prompt) -> list[str]:
    return [
        part
        for part in (prompt.prefix, prompt.suffix, prompt.between_copies, prompt.before_slot)
        if part
    ]


def test_a_recipe_file_of_a_newer_decant_is_refused(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    write_json(folder / "decant_recipe.json", {"pooling": "mean", "temper": 1})
    with pytest.raises(RecipeError, match=r"unknown key 'temper'.*upgrade decant"):
        resolve(source(folder))
