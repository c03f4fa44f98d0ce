"""Sentence-transformers' prompts, width and lower-casing are read, or refused where unclear."""

from __future__ import annotations

from pathlib import Path

import pytest

from decant.embedders import Choices, Pooling, RecipeError, resolve
from folders import folder_with, source
from models import write_json


def test_prompts_are_found_under_every_name_of_sentence_transformers(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    for prompts, default, expected in [
        ({"query": "q: ", "document": "d: "}, None, ("q: ", "d: ")),
        ({"query": "q: ", "passage": "p: "}, None, ("q: ", "p: ")),
        ({"query": "q: "}, None, ("q: ", "")),
        ({"x": "x: ", "query": "q: "}, "x", ("q: ", "x: ")),
        ({"x": "x: "}, "x", ("x: ", "x: ")),
        ({"x": "x: ", "document": "d: "}, None, ("", "d: ")),
        ({"x": "x: ", "query": ""}, None, ("", "")),
        ({"x": "", "y": None}, None, ("", "")),
        ({"query": None}, None, ("", "")),
        ({}, None, ("", "")),
    ]:
        write_json(
            folder / "config_sentence_transformers.json",
            {"prompts": prompts, "default_prompt_name": default},
        )
        recipe = resolve(source(folder))
        assert (recipe.query_prompt.prefix, recipe.passage_prompt.prefix) == expected


NAMED = {"sts_query": "", "web_search_query": "Find\nQuery: ", "bitext_query": "Same: "}


def with_prompts(folder: Path, prompts: dict[str, str]) -> Path:
    folder_with(folder)
    write_json(folder / "config_sentence_transformers.json", {"prompts": prompts})
    return folder


def test_prompts_of_which_none_is_said_to_be_the_querys_are_listed(tmp_path: Path) -> None:
    folder = with_prompts(tmp_path, NAMED)
    for choices in (None, Choices(passage_prompt="p: {text}")):
        with pytest.raises(RecipeError, match="'web_search_query', 'bitext_query'") as told:
            resolve(source(folder), choices)
        assert r"Choices(query_prompt='Find\nQuery: {text}')" in str(told.value)
        assert "--query-prompt" in str(told.value)


def test_prompts_under_other_names_give_way_to_what_someone_says(tmp_path: Path) -> None:
    folder = with_prompts(tmp_path, NAMED)
    for said in ("{text}", "mine: {text}"):
        recipe = resolve(source(folder), Choices(query_prompt=said))
        assert (recipe.query_prompt.template, recipe.passage_prompt.template) == (said, "{text}")
    row = resolve(source(folder, "google/embeddinggemma-300m"))
    assert row.query_prompt.prefix == "task: search result | query: "
    with pytest.raises(RecipeError, match="web_search_query"):  # a row without prompts
        resolve(source(folder, "nvidia/Nemotron-3-Embed-8B-BF16"))


def test_a_width_that_sentence_transformers_cuts_to_is_the_recipes(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    settings = folder / "config_sentence_transformers.json"
    for said, expected in ((None, None), (16, 16), (16.0, 16)):
        write_json(settings, {"truncate_dim": said})
        assert resolve(source(folder)).dim == expected
    assert resolve(source(folder), Choices(dim=8)).dim == 8
    for wrong in (0, -1, "16", True):
        write_json(settings, {"truncate_dim": wrong})
        with pytest.raises(RecipeError, match=r"config_sentence_transformers.json: truncate_dim"):
            resolve(source(folder))


def test_lower_casing_outside_the_tokenizer_is_refused(tmp_path: Path) -> None:
    """``do_lower_case`` is not dropped silently (vllm-project/vllm#11815)."""
    folder = folder_with(tmp_path)
    write_json(folder / "sentence_bert_config.json", {"do_lower_case": True})
    write_json(folder / "tokenizer.json", {"normalizer": None})
    with pytest.raises(RecipeError, match="Lowercase"):
        resolve(source(folder))
    write_json(folder / "tokenizer.json", {"normalizer": {"type": "Lowercase"}})
    assert resolve(source(folder)).pooling is Pooling.MEAN
