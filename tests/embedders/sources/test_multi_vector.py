"""Folders of models of token vectors: what is read of them, and what is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decant.embedders import (
    Choices,
    Dense,
    LateInteraction,
    QueryExpansion,
    Recipe,
    RecipeError,
    find_model,
    resolve,
)
from late_models import (
    MARKERS,
    MASK,
    QUERY_TOKENS,
    TOKEN_WIDTH,
    WIDTH,
    save_colbert,
    save_multi_vector,
    save_pylate,
)
from models import write_json


def recipe_of(folder: Path) -> Recipe:
    return resolve(find_model(folder), Choices(pooling="mean"))  # type: ignore[arg-type]


def late_of(folder: Path) -> LateInteraction:
    late = recipe_of(folder).late_interaction
    assert late is not None
    return late


def changed(path: Path, **settings: object) -> None:
    """Change settings of a JSON file."""
    held = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, {**held, **settings})


@pytest.fixture
def multi(tmp_path: Path) -> Path:
    return save_multi_vector(tmp_path / "multi")


@pytest.fixture
def colbert(tmp_path: Path) -> Path:
    return save_colbert(tmp_path / "colbert")


def test_colberts_metadata_say_everything_but_the_pooling(colbert: Path) -> None:
    recipe = recipe_of(colbert)
    late = late_of(colbert)
    assert late.projection == Dense(path="", inputs=WIDTH, outputs=TOKEN_WIDTH, bias=False)
    assert late.expansion == QueryExpansion(length=QUERY_TOKENS, token=MASK)
    assert late.markers == MARKERS
    assert {".", "!"} <= {*late.skipped}
    assert recipe.max_tokens == 40
    prompts = (recipe.query_prompt.template, recipe.passage_prompt.template)
    assert prompts == tuple(f"{marker} {{text}}" for marker in MARKERS)


def test_without_metadata_a_checkpoint_has_colberts_defaults(colbert: Path) -> None:
    (colbert / "artifact.metadata").unlink()
    late = late_of(colbert)
    assert late.projection is not None
    assert late.projection.outputs == 128
    assert late.expansion is not None
    assert late.expansion.length == 32


def test_pylates_prefixes_are_markers_and_its_punctuation_is_skipped(tmp_path: Path) -> None:
    late = late_of(save_pylate(tmp_path / "pylate"))
    assert late.markers == MARKERS
    assert late.normalize
    assert "," in late.skipped


def test_sentence_transformers_modules_are_read(multi: Path) -> None:
    late = late_of(multi)
    assert late.skipped == (".", "!")
    assert late.expansion == QueryExpansion(length=QUERY_TOKENS, token=MASK, cut=False)
    changed(multi / "sentence_bert_config.json", query_expansion=None, query_length=9)
    assert (late_of(multi).expansion, late_of(multi).query_tokens) == (None, 9)


def test_other_comparisons_than_cosines_are_refused(colbert: Path) -> None:
    changed(colbert / "artifact.metadata", similarity="l2")
    with pytest.raises(RecipeError, match="similarity 'l2'"):
        recipe_of(colbert)


@pytest.mark.parametrize(
    ("file", "settings", "named"),
    [
        ("2_MultiVectorMask", {"skiplist_tasks": ["query", "document"]}, "skips tokens of"),
        ("2_MultiVectorMask", {"keep_only_token_ids": [3]}, "keeps tokens of images"),
        ("1_Dense", {"activation_function": "torch.nn.Tanh"}, "activation_function"),
        ("1_Dense", {"use_residual": True}, "use_residual"),
        ("1_Dense", {"module_input_name": "sentence_embedding"}, "module_input_name"),
        ("3_Normalize", {"module_input_name": "sentence_embedding"}, "module_input_name"),
    ],
)
def test_settings_that_give_other_vectors_are_refused_by_name(
    multi: Path, file: str, settings: dict[str, object], named: str
) -> None:
    changed(multi / file / "config.json", **settings)
    with pytest.raises(RecipeError, match=named):
        recipe_of(multi)


def test_a_module_that_pools_token_vectors_is_refused_with_what_does_so_here(multi: Path) -> None:
    listed = json.loads((multi / "modules.json").read_text(encoding="utf-8"))
    listed.append({"idx": 4, "name": "4", "path": "", "type": "x.HierarchicalTokenPooling"})
    write_json(multi / "modules.json", listed)
    with pytest.raises(RecipeError, match=r"HierarchicalTokenPooling.*pool_to"):
        recipe_of(multi)


def test_a_tokenizer_without_a_mask_token_cannot_fill_queries_up(colbert: Path) -> None:
    write_json(colbert / "tokenizer_config.json", {"model_max_length": 48})
    with pytest.raises(RecipeError, match="neither a mask_token nor an eos_token"):
        recipe_of(colbert)


@pytest.mark.parametrize(
    ("late", "named"),
    [
        ({"query_tokens": 0}, "query_tokens"),
        ({"query_tokens": 9, "expansion": QueryExpansion(length=12)}, "in one place"),
    ],
)
def test_lengths_that_contradict_each_other_are_refused(
    late: dict[str, object], named: str
) -> None:
    with pytest.raises(RecipeError, match=named):
        LateInteraction(**late)  # type: ignore[arg-type]
