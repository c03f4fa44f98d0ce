"""Recipes of rerankers: what they refuse, what their digest depends on, and their templates."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decant.embedders import (
    Attention,
    ClassifierLabel,
    LabelTokens,
    LateInteraction,
    PairFormat,
    Pooling,
    Recipe,
    RecipeError,
    RerankRecipe,
    ScoreActivation,
)

TEMPLATE = "<task>{instruction}</task><q>{query}</q><p>{text}</p>answer:"
MODEL = Recipe(
    base="m", attention=Attention.CAUSAL, pooling=Pooling.LAST, max_tokens=64, normalize=False
)
PAIR = PairFormat(template=TEMPLATE, instruction="Find it")
RECIPE = RerankRecipe(model=MODEL, pair=PAIR, tokens=LabelTokens(true="yes", false="no"))
OTHERS = [
    replace(RECIPE, model=replace(MODEL, max_tokens=65)),
    replace(RECIPE, pair=replace(PAIR, instruction="Find them")),
    replace(RECIPE, pair=PairFormat(template="{query} {text}")),
    replace(RECIPE, tokens=LabelTokens(true="yes")),
    replace(RECIPE, tokens=LabelTokens(true="no", false="yes")),
    replace(RECIPE, tokens=None, label=ClassifierLabel()),
    replace(RECIPE, tokens=None, label=ClassifierLabel(index=1, count=3)),
    replace(RECIPE, tokens=None, label=ClassifierLabel(index=1, count=3, against=0)),
    replace(RECIPE, activation=ScoreActivation.IDENTITY),
]


def test_every_part_changes_the_digest() -> None:
    digests = {recipe.digest() for recipe in [RECIPE, *OTHERS]}
    assert len(digests) == 1 + len(OTHERS)


@pytest.mark.parametrize("recipe", [RECIPE, *OTHERS])
def test_a_recipe_survives_json_with_its_digest(recipe: RerankRecipe) -> None:
    read = RerankRecipe.from_json(recipe.to_json())
    assert read == recipe
    assert read.digest() == recipe.digest()


@pytest.mark.parametrize(
    ("template", "instruction"),
    [
        ("{query}", None),
        ("{text}", None),
        ("{text} {query}", None),
        ("{query} {query} {text}", None),
        ("{query} {instruction} {text}", "Find it"),
        ("{query} {text}", "Find it"),
        (TEMPLATE, None),
        (None, "Find it"),
    ],
)
def test_a_template_without_its_places_in_order_is_refused(
    template: str | None, instruction: str | None
) -> None:
    with pytest.raises(RecipeError, match="template"):
        PairFormat(template=template, instruction=instruction)


@given(query=st.text(min_size=1), task=st.text(min_size=1).filter(str.strip))
def test_a_query_may_hold_the_names_of_places(query: str, task: str) -> None:
    query = query + "{text}{instruction}{query}"
    prompt = PAIR.prompt(query, task)
    assert prompt.prefix == f"<task>{task}</task><q>{query}</q><p>"
    assert prompt.suffix == "</p>answer:"


def test_an_instruction_is_only_for_templates_with_its_place() -> None:
    with pytest.raises(RecipeError, match="no place for one"):
        PairFormat(template="{query} {text}").prompt("a", "Find it")
    with pytest.raises(RecipeError, match="blank"):
        PAIR.prompt("a", " ")
    with pytest.raises(RecipeError, match="two sequences"):
        PairFormat().prompt("a")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": ClassifierLabel()}, "exactly one"),
        ({"tokens": None}, "exactly one"),
        ({"pair": PairFormat()}, "next to random"),
        ({"model": replace(MODEL, normalize=True)}, "normalize=False"),
        ({"model": replace(MODEL, dim=1)}, "no dim"),
        ({"activation": "softmax"}, "no score activation is called 'softmax'"),
        (
            {"model": replace(MODEL, token_embeddings=True, late_interaction=LateInteraction())},
            "late interaction",
        ),
    ],
)
def test_parts_that_do_not_go_together_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        replace(RECIPE, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("index", "count", "against"), [(1, 1, None), (-1, 2, None), (0, 2, 0), (0, 2, 2)]
)
def test_a_label_is_one_of_the_outputs(index: int, count: int, against: int | None) -> None:
    with pytest.raises(RecipeError, match="one of the classifier"):
        ClassifierLabel(index=index, count=count, against=against)


@pytest.mark.parametrize(("true", "false"), [("", None), ("yes", ""), ("yes", "yes")])
def test_label_tokens_are_different_tokens(true: str, false: str | None) -> None:
    with pytest.raises(RecipeError, match="two different tokens"):
        LabelTokens(true=true, false=false)
