"""The prompts that AutoRegEmbed's recipe gives to texts are those that its training gave them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from torch import Tensor

from decant.embedders import Choices, Prompt, Role, TorchEncoder, find_model, resolve
from decant.training import (
    AlignmentSettings,
    AppendedBase,
    CompressionSettings,
    DistributionAlignment,
    Inputs,
    TrainingExample,
    frozen_decoder,
    open_base,
    open_compression,
)
from models import save_language_model

SETTINGS = CompressionSettings(tokens=3)
# What recipes had that were made before 2026-11-30.
BEFORE = (
    'Passage: "{text}". Use one word to represent the passage in a retrieval task. '
    "The word is: \u201c"
)
ROW = TrainingExample(query="the cat", positive="a hat", negatives=("in",), place="1")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny Llama with room for both prompts."""
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    return save_language_model(folder, "llama", layers=2, longest=192)


@pytest.fixture(scope="module")
def opened(llama: Path) -> AppendedBase:
    return open_compression(llama, SETTINGS)


@pytest.fixture
def stage_one(opened: AppendedBase, tmp_path: Path) -> Path:
    folder = tmp_path / "stage-one"
    folder.mkdir()
    opened.base.write(folder)
    return folder


def test_passages_get_the_prompt_that_alignment_trains(stage_one: Path, llama: Path) -> None:
    objective = DistributionAlignment(
        open_base(stage_one), AlignmentSettings(), frozen_decoder(llama)
    )
    batch = objective._collated([ROW])
    tokenizer = objective.base.tokenizer
    for name, text, role in (
        ("queries", ROW.query, Role.QUERY),
        ("positives", cast("str", ROW.positive), Role.PASSAGE),
    ):
        inputs = cast("Inputs", batch[name])
        trained = cast("Tensor", inputs["input_ids"])[0].tolist()
        ids = list(tokenizer([text], role=role)[0].ids)
        more = len(trained) - len(ids)
        # Behind the line break: the tokenizer's own end, and three appended tokens.
        assert ids == [*trained[: -4 - more], *trained[-4:]]
        assert tokenizer.bare.decode(trained[-4 - more : -4]) == "\n"


def test_equal_texts_have_equal_vectors_in_both_roles(stage_one: Path) -> None:
    encoder = TorchEncoder.from_pretrained(stage_one)
    query = encoder.encode(["the cat"], role=Role.QUERY).dense
    passage = encoder.encode(["the cat"], role=Role.PASSAGE).dense
    assert abs(query - passage).max() < 1e-6


def test_the_digest_says_which_prompt_passages_get(opened: AppendedBase) -> None:
    recipe = opened.base.model.recipe
    before = replace(recipe, passage_prompt=Prompt.parse(BEFORE))
    assert recipe.digest() != before.digest()


def test_folders_of_before_keep_their_prompt(llama: Path, tmp_path: Path) -> None:
    old = open_compression(llama, SETTINGS, choices=Choices(passage_prompt=BEFORE))
    folder = tmp_path / "old"
    folder.mkdir()
    old.base.write(folder)
    recipe = resolve(find_model(folder))
    assert recipe.passage_prompt.template == BEFORE
    assert open_base(folder).model.recipe == recipe  # and a second stage keeps it
    said = Choices(passage_prompt="{text}\nThis sentence means in one word: \u201c")
    mended = resolve(find_model(folder), said)
    assert (
        mended.passage_prompt.template
        == open_compression(llama, SETTINGS).base.model.recipe.passage_prompt.template
    )
