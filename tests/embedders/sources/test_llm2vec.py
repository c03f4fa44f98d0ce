"""LLM2Vec's checkpoints give the vectors that its own code gives, or are refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, processors

from decant.embedders import (
    Attention,
    Choices,
    ModelFiles,
    PooledTokens,
    Pooling,
    Recipe,
    RecipeError,
    Role,
    TorchEncoder,
    find_model,
    resolve,
)
from folders import folder_with, source
from models import SPECIALS, save_language_model, save_model, tokenizer, write_json
from naive_llm2vec import INST, LLAMA_3, NaiveLLM2Vec

TASK = "Given a web search query, retrieve relevant passages that answer the query:"
TEXTS = ["x", "what is the wind", "the wind " * 9]
PLAIN = "McGill-NLP/LLM2Vec-Sheared-LLaMA-mntp"
FILE = {
    "pooling_mode": "mean",
    "max_length": 96,
    "doc_max_length": 40,
    "skip_instruction": True,
}
MEAN = Choices(pooling=Pooling.MEAN)


def sentencepiece() -> Tokenizer:
    """Return a tokenizer as Llama 2's: letters, and a space before every text."""
    letters = [chr(code) for code in range(33, 127)]
    first = [f"▁{letter}" for letter in letters]
    words = [*SPECIALS, "▁", *letters, *first, "he", "▁the"]
    vocabulary = {word: number for number, word in enumerate(words)}
    merges = [*(("▁", letter) for letter in letters), ("h", "e"), ("▁t", "he")]
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>"))
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    made.add_special_tokens(list(SPECIALS))
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    return made


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with a tokenizer like Llama 2's."""
    folder = save_language_model(tmp_path_factory.mktemp("llama") / "model", "llama", layers=2)
    sentencepiece().save(str(folder / "tokenizer.json"))
    return folder


def merged(tmp_path: Path, llama: Path, **settings: object) -> Path:
    """Return the model as LLM2Vec saves one whose adapters are merged."""
    folder = tmp_path / "merged"
    folder.mkdir()
    for file in llama.iterdir():
        (folder / file.name).symlink_to(file)
    write_json(folder / "llm2vec_config.json", {**FILE, **settings})
    return folder


def vectors(recipe: Recipe, folder: Path, role: Role) -> NDArray[np.float32]:
    given = ModelFiles(folder=folder, base=recipe.base, revision="0")
    with TorchEncoder.from_source(given, recipe) as encoder:
        return encoder.encode(TEXTS, role=role).dense


def test_texts_of_the_plain_family_are_pooled_as_llm2vecs_code_pools_them(llama: Path) -> None:
    recipe = resolve(source(llama, PLAIN))
    naive = NaiveLLM2Vec(folder=llama)
    passages = np.stack([naive.encode(text) for text in TEXTS])
    queries = np.stack([naive.encode(text, TASK) for text in TEXTS])
    np.testing.assert_allclose(vectors(recipe, llama, Role.PASSAGE), passages, atol=1e-5)
    np.testing.assert_allclose(vectors(recipe, llama, Role.QUERY), queries, atol=1e-5)


def test_the_plain_familys_recipe_of_before_opens_unchanged_and_has_another_digest(
    llama: Path,
) -> None:
    now = resolve(source(llama, PLAIN))
    before = replace(now, span=PooledTokens.TEXT, max_text_tokens=None)
    stored = json.loads(before.to_json())
    del stored["max_text_tokens"]  # as it was written
    opened = Recipe.from_json(json.dumps(stored))
    assert opened == before
    assert opened.digest() == before.digest() != now.digest()
    ours = vectors(opened, llama, Role.PASSAGE)
    theirs = np.stack([NaiveLLM2Vec(folder=llama).encode(text) for text in TEXTS])
    assert (ours * theirs).sum(1)[0] < 0.99  # BOS weighs half of "x"


def test_documents_of_byte_level_vocabularies_leave_out_bos_too(tmp_path: Path) -> None:
    folder = save_language_model(tmp_path / "model", "llama", layers=2)
    tokenizer("<s> $A").save(str(folder / "tokenizer.json"))
    theirs = np.stack([NaiveLLM2Vec(folder=folder).encode(text) for text in TEXTS])
    ours = vectors(resolve(source(folder, PLAIN)), folder, Role.PASSAGE)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("mode", ["mean", "weighted_mean", "eos_token", "last_token", "bos_token"])
@pytest.mark.parametrize("model", ["", "mistralai/Mistral-7B-Instruct-v0.2"])
def test_a_merged_folder_is_opened_as_its_settings_say(
    tmp_path: Path, llama: Path, model: str, mode: str, *, skip: bool
) -> None:
    folder = merged(tmp_path, llama, pooling_mode=mode, skip_instruction=skip, doc_max_length=90)
    config = json.loads((llama / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").unlink()
    write_json(folder / "config.json", {**config, "_name_or_path": model})
    naive = NaiveLLM2Vec(
        folder=llama, pooling_mode=mode, skip_instruction=skip, turn=INST if model else ("", "")
    )
    recipe = resolve(source(folder))
    theirs = np.stack([naive.encode(text) for text in TEXTS])
    for role in Role:
        np.testing.assert_allclose(vectors(recipe, folder, role), theirs, atol=1e-5)
    with TorchEncoder.from_source(source(folder), recipe) as encoder:
        found = encoder.encode(TEXTS, role=Role.QUERY, instruction="Find the wind").dense
    told = np.stack([naive.encode(text, "Find the wind:") for text in TEXTS])
    np.testing.assert_allclose(found, told, atol=1e-5)


def test_the_settings_lengths_hold_for_input_and_text(tmp_path: Path, llama: Path) -> None:
    folder = merged(tmp_path, llama)
    recipe = resolve(source(folder))
    assert (recipe.max_tokens, recipe.max_text_tokens) == (96, 40)
    (folder / "tokenizer_config.json").unlink()
    write_json(folder / "tokenizer_config.json", {"model_max_length": 64})
    assert resolve(source(folder)).max_tokens == 64


def test_a_merged_folder_attends_both_ways_whatever_pooling_is_asked_for(
    tmp_path: Path, llama: Path
) -> None:
    folder = merged(tmp_path, llama)
    assert resolve(source(folder), MEAN).attention is Attention.BIDIRECTIONAL
    causal = Choices(attention=Attention.CAUSAL)
    assert resolve(source(folder), causal).attention is Attention.CAUSAL


@pytest.mark.parametrize(
    "name", ["LlamaBiModel", "LlamaBiForMNTP", "MistralEncoderModel", "Qwen2BiModel"]
)
def test_a_folder_of_llm2vecs_classes_attends_both_ways(tmp_path: Path, name: str) -> None:
    own = {"AutoModel": f"modeling_encoder.{name}"}
    folder = folder_with(tmp_path, model_type="llama", architectures=[name], auto_map=own)
    assert resolve(source(folder)).attention is Attention.BIDIRECTIONAL
    folder_with(tmp_path, model_type="llama", architectures=["LlamaModel"])
    assert resolve(source(folder)).attention is Attention.CAUSAL


def test_modules_of_sentence_transformers_say_the_pooling_and_llm2vec_the_attention(
    tmp_path: Path,
) -> None:
    folder = folder_with(tmp_path, model_type="llama")
    write_json(folder / "llm2vec_config.json", {**FILE, "pooling_mode": "last_token"})
    recipe = resolve(source(folder))
    assert (recipe.attention, recipe.pooling) == (Attention.BIDIRECTIONAL, Pooling.MEAN)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"pooling_mode": "latent_attention"},
            r"no pooling_mode 'latent_attention'; it builds mean",
        ),
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
        ({"doc_max_length": -1}, "doc_max_length must be at least 1, got -1"),
        ({"skip_instruction": "yes"}, "skip_instruction"),
        ({"adapter_scale": 2}, "adapter_scale"),
    ],
)
def test_a_setting_that_is_not_built_is_refused_by_name(
    tmp_path: Path, llama: Path, settings: dict[str, object], message: str
) -> None:
    folder = merged(tmp_path, llama, **settings)
    with pytest.raises(RecipeError, match=message) as told:
        resolve(source(folder), MEAN)
    assert "llm2vec_config.json" in str(told.value)


def adapter(folder: Path, **settings: object) -> Path:
    """Return a folder that is an adapter by its file, without weights of any."""
    folder.mkdir(parents=True)
    mapping = {"base_model_class": "LlamaBiModel", "parent_library": "llm2vec.models"}
    write_json(folder / "adapter_config.json", {"auto_mapping": mapping, **settings})
    return folder


def test_adapters_of_llm2vec_make_a_model_that_attends_both_ways(
    tmp_path: Path, llama: Path
) -> None:
    first = adapter(tmp_path / "first", base_model_name_or_path="meta-llama/Llama-2-7b-chat-hf")
    recipe = resolve(find_model(llama, adapters=[first]))
    assert (recipe.attention, recipe.pooling) == (Attention.BIDIRECTIONAL, Pooling.MEAN)
    assert (recipe.passage_prompt.prefix, recipe.passage_prompt.suffix, recipe.span) == (
        *INST,
        PooledTokens.TEXT,
    )
    second = adapter(tmp_path / "second", base_model_name_or_path=str(llama))
    write_json(second / "llm2vec_config.json", {**FILE, "pooling_mode": "last_token"})
    recipe = resolve(find_model(llama, adapters=[first, second]))
    assert (recipe.pooling, recipe.max_tokens, recipe.span) == (Pooling.LAST, 96, PooledTokens.ALL)


def test_an_adapter_of_another_class_leaves_a_model_as_it_was(tmp_path: Path, llama: Path) -> None:
    plain = adapter(tmp_path / "plain", auto_mapping={"base_model_class": "LlamaModel"})
    assert resolve(find_model(llama, adapters=[plain]), MEAN).attention is Attention.CAUSAL


def test_llama_3s_turn_is_that_of_the_registry(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", "llama")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    name = "meta-llama/Meta-Llama-3-8B-Instruct"
    write_json(folder / "config.json", {**config, "_name_or_path": name})
    write_json(folder / "llm2vec_config.json", {"pooling_mode": "mean"})
    ours = resolve(source(folder)).passage_prompt
    assert (ours.prefix, ours.suffix) == LLAMA_3
    known = resolve(source(folder, "McGill-NLP/LLM2Vec-Meta-Llama-3-8B-Instruct-mntp"))
    assert known.passage_prompt == ours


def test_the_hint_for_a_second_adapter_names_the_one_below_it(tmp_path: Path, llama: Path) -> None:
    first = adapter(tmp_path / "mine", base_model_name_or_path=str(llama))
    second = adapter(tmp_path / "mine-too", base_model_name_or_path=str(first))
    call = f"find_model('{llama}', adapters=['{first}', '{second}'])"
    command = f"decant export {llama} TARGET --adapter {first} --adapter {second}`"
    for model, adapters in ((second, []), (first, [second])):
        with pytest.raises(RecipeError, match="and no weights of a model") as told:
            find_model(model, adapters=adapters)
        assert call in str(told.value)
        assert command in str(told.value)


def test_an_adapter_without_the_one_below_it_is_refused(tmp_path: Path, llama: Path) -> None:
    first = adapter(tmp_path / "mine", base_model_name_or_path=str(llama))
    second = adapter(tmp_path / "mine-too", base_model_name_or_path=str(first))
    with pytest.raises(RecipeError, match=f"with the adapter {first} merged, which is not among"):
        find_model(llama, adapters=[second])
    assert find_model(llama, adapters=[first, second]).base == "mine-too"
    merged_by_the_user = save_model(tmp_path / "merged", "llama")
    assert find_model(merged_by_the_user, adapters=[second]).base == "mine-too"


@pytest.mark.parametrize("known", [True, False])
def test_the_hint_for_llm2vecs_contrastive_adapter_has_its_first_adapter(
    tmp_path: Path, llama: Path, *, known: bool
) -> None:
    """Peft writes the bare model's name there, because MNTP was merged before."""
    name = "LLM2Vec-mntp" if known else "any"
    first = adapter(tmp_path / name, base_model_name_or_path=str(llama))
    second = adapter(tmp_path / f"{name}-supervised", base_model_name_or_path=str(llama))
    write_json(second / "llm2vec_config.json", FILE)
    below = first if known else "MNTP_ADAPTER"
    with pytest.raises(RecipeError, match="holds an adapter") as told:
        find_model(second)
    command = f"decant export {llama} TARGET --adapter {below} --adapter {second}`"
    assert command in str(told.value)
    assert ("put that for MNTP_ADAPTER" in str(told.value)) is not known
    if known:
        with pytest.raises(RecipeError, match="which is not among the adapters"):
            find_model(llama, adapters=[second])


def test_published_adapters_are_named_with_their_model(tmp_path: Path) -> None:
    below = "McGill-NLP/LLM2Vec-Mistral-7B-Instruct-v2-mntp"
    base = "mistralai/Mistral-7B-Instruct-v0.2"
    folder = adapter(tmp_path / f"{Path(below).name}-unsup-simcse", base_model_name_or_path=base)
    with pytest.raises(RecipeError) as told:
        find_model(folder)
    assert f"decant export {base} TARGET --adapter {below} --adapter {folder}`" in str(told.value)


def test_adapters_that_name_each_other_are_refused(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    adapter(first, base_model_name_or_path=str(second))
    adapter(second, base_model_name_or_path=str(first))
    with pytest.raises(RecipeError, match="name each other"):
        find_model(first)
