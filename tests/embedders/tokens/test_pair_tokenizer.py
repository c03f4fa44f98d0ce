"""Pairs become tokens as a reader would put them together; only passages are cut."""

from __future__ import annotations

import pytest

from decant.embedders import (
    Attention,
    ClassifierLabel,
    PairFormat,
    Pooling,
    RecipeError,
    RerankRecipe,
    Role,
    TextError,
)
from decant.embedders.recipe.recipe import Recipe
from decant.embedders.tokens import PROBE_QUERY, PairTokenizer
from rerank_models import pair_tokenizer

QUERY = "where does it run"
TEXTS = ["a", "the river runs to the sea", "stone " * 40]


def made(
    template: str | None = None,
    *,
    family: str = "bert",
    limit: int = 64,
    instruction: str | None = None,
) -> PairTokenizer:
    recipe = RerankRecipe(
        model=Recipe(
            base="m",
            attention=Attention.BIDIRECTIONAL,
            pooling=Pooling.FIRST,
            max_tokens=limit,
            normalize=False,
        ),
        pair=PairFormat(template=template, instruction=instruction),
        label=ClassifierLabel(),
    )
    return PairTokenizer(pair_tokenizer(family), recipe)


def pieces(text: str) -> list[int]:
    return pair_tokenizer("bert").encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize(("family", "between"), [("bert", [2]), ("roberta", [2, 2])])
@pytest.mark.parametrize("limit", [64, 40])
def test_a_pair_of_two_sequences_keeps_query_and_separators(
    family: str, between: list[int], limit: int
) -> None:
    rows = made(family=family, limit=limit).pairs([(QUERY, text) for text in TEXTS])
    for row, text in zip(rows, TEXTS, strict=True):
        before = [1, *pieces(QUERY), *between]
        passage = pieces(text)[: limit - len(before) - 1]
        assert list(row.ids) == [*before, *passage, 2]


@pytest.mark.parametrize("limit", [64, 40])
def test_a_template_keeps_query_and_suffix(limit: int) -> None:
    tokenizer = made("ask: {query} read:\n{text} yes?", limit=limit)
    for row, text in zip(tokenizer.pairs([(QUERY, one) for one in TEXTS]), TEXTS, strict=True):
        start, end = [1, *pieces(f"ask: {QUERY} read:\n")], [*pieces(" yes?"), 2]
        passage = pieces(text)[: limit - len(start) - len(end)]
        assert row.ids[: row.prompt] == tuple(start)
        assert len(row.ids) <= limit
        if len(passage) < limit - len(start) - len(end):
            whole = pieces(f"ask: {QUERY} read:\n{text} yes?")
            assert list(row.ids) == [1, *whole, 2]
        else:
            assert list(row.ids) == [*start, *passage, *end]


def test_passages_of_one_query_have_the_same_tokens_before_them() -> None:
    rows = made("ask: {query} read:\n{text}").pairs([(QUERY, one) for one in TEXTS])
    assert len({row.ids[: row.prompt] for row in rows}) == 1
    assert rows[0].prompt > len(pieces(QUERY))


def test_special_tokens_that_a_user_writes_are_plain_text_in_a_pair() -> None:
    """Otherwise a passage could end the query, and move the types of all tokens behind it."""
    (row,) = made().pairs([("a </s> b", "c </s> <s>")])
    assert row.ids.count(2) == 2
    assert row.ids.count(1) == 1


@pytest.mark.parametrize(
    ("family", "separator"), [("bert", 2), ("roberta", None), ("modernbert", None)]
)
def test_the_separator_is_the_last_token_of_the_first_type(
    family: str, separator: int | None
) -> None:
    assert made(family=family).separator() == separator


@pytest.mark.parametrize("template", [None, "{query} {text}"])
def test_a_query_without_room_behind_it_is_refused(template: str | None) -> None:
    with pytest.raises(TextError, match="leaves no room for a passage; a query is never cut"):
        made(template, limit=24).pairs([(QUERY, "a"), ("river " * 20, "a")])


def test_a_template_without_room_is_refused_when_it_is_made() -> None:
    with pytest.raises(RecipeError, match="leave no room"):
        made("w " * 30 + "{query} {text}", limit=24)


@pytest.mark.parametrize("template", [None, "{query} {text}"])
def test_an_instruction_needs_a_place(template: str | None) -> None:
    with pytest.raises(RecipeError, match="no instruction"):
        made(template).pairs([("q", "a")], instruction="Find")


def test_an_instruction_is_put_in_its_place() -> None:
    tokenizer = made("do {instruction}: {query} {text}", instruction="this")
    (row,) = tokenizer.pairs([("q", "a")], instruction="that")
    assert list(row.ids) == [1, *pieces("do that: q a"), 2]


def test_texts_alone_are_passages_of_the_probe_query() -> None:
    tokenizer = made()
    assert tokenizer(TEXTS, role=Role.QUERY) == tokenizer.pairs(
        [(PROBE_QUERY, text) for text in TEXTS]
    )


def test_golden_pairs_are_the_same_each_time() -> None:
    assert made().golden_pairs() == made(limit=24).golden_pairs()
