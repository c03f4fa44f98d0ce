"""Strategies for single words tokenise a word as it stands inside a text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import nn

from decant.embedders import Choices, Pooling, Role, TorchEncoder, resolve, strategies
from decant.embedders.tokens.content_words import wants_space
from folders import source
from models import save_model, save_sentence_transformer, tokenizer, write_json

WORDS = ("content-mean", "penultimate", "first-last", "last-four", "all-layers", "static")
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama whose byte-level vocabulary knows "the" behind a space."""
    return save_model(tmp_path_factory.mktemp("llama") / "model", "llama")


def wordpiece() -> Tokenizer:
    """Return a tokenizer as BERT's."""
    words = ["[UNK]", "the", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    vocabulary = {word: number for number, word in enumerate(words)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return made


def sentencepiece(*, prefix: bool) -> Tokenizer:
    """Return a tokenizer as Llama 2's, which puts a space before a text, or as Gemma's."""
    words = ["<unk>", "▁", *LETTERS, *(f"▁{letter}" for letter in LETTERS)]
    vocabulary = {word: number for number, word in enumerate(words)}
    merges = [("▁", letter) for letter in LETTERS]
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>"))
    before = [normalizers.Prepend("▁")] if prefix else []
    made.normalizer = normalizers.Sequence([*before, normalizers.Replace(" ", "▁")])
    return made


def unmerged() -> Tokenizer:
    """Return a tokenizer of bytes, to which a space is a token of its own."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={one: n for n, one in enumerate(letters)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return made


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (tokenizer(), True),
        (sentencepiece(prefix=False), True),
        (sentencepiece(prefix=True), False),
        (wordpiece(), False),
        (unmerged(), False),
    ],
    ids=["byte-level", "as Gemma's", "as Llama 2's", "WordPiece", "bytes"],
)
def test_a_space_is_wanted_where_a_word_alone_is_another_token(
    made: Tokenizer, *, wanted: bool
) -> None:
    assert wants_space(made) is wanted


def test_static_reads_the_row_of_the_word_as_texts_have_it(llama: Path) -> None:
    row = tokenizer().token_to_id("Ġthe")
    with TorchEncoder.from_pretrained(llama, strategy="static") as encoder:
        embeddings = encoder.model.backbone.get_input_embeddings()
        assert isinstance(embeddings, nn.Embedding)
        table = embeddings.weight.detach().numpy()
        for role in Role:
            (found,) = encoder.encode(["the"], role=role).dense
            np.testing.assert_allclose(found, table[row] / np.linalg.norm(table[row]), atol=1e-6)


@pytest.mark.parametrize("name", WORDS)
def test_strategies_for_words_write_the_space_into_the_recipe(
    llama: Path, tmp_path: Path, name: str
) -> None:
    recipe = resolve(source(llama), strategy=name)
    assert recipe.query_prompt.template == recipe.passage_prompt.template == " {text}"
    bare = resolve(
        source(llama), Choices(query_prompt="{text}", passage_prompt="{text}"), strategy=name
    )
    assert bare.passage_prompt.template == "{text}"
    assert bare.digest() != recipe.digest()
    folder = save_model(tmp_path / "model", "llama")
    sentencepiece(prefix=True).save(str(folder / "tokenizer.json"))
    assert resolve(source(folder), strategy=name) == bare


def test_strategies_for_texts_add_no_space(llama: Path) -> None:
    assert {name for name, one in strategies().items() if one.words} == set(WORDS)
    for name in ("mean", "weighted-mean", "last", "text-mean", "late-interaction"):
        recipe = resolve(source(llama), strategy=name)
        assert recipe.query_prompt.template == recipe.passage_prompt.template == "{text}"


def test_a_models_own_prompts_stay_as_they_are(tmp_path: Path) -> None:
    folder = save_sentence_transformer(tmp_path / "a", "qwen3", prompts={"query": "query: "})
    recipe = resolve(source(folder), strategy="static")
    assert (recipe.query_prompt.template, recipe.passage_prompt.template) == (
        "query: {text}",
        "{text}",
    )
    plain = save_sentence_transformer(tmp_path / "b", "qwen3")
    assert resolve(source(plain), strategy="static").query_prompt.template == " {text}"


def test_a_strategy_of_the_users_own_may_be_for_words(llama: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    choices = {"pooling": Pooling.MAX.value}
    write_json(path, {"name": "mine", "purpose": "p", "choices": choices, "words": True})
    assert resolve(source(llama), strategy=str(path)).passage_prompt.template == " {text}"
