"""Members of enumerations are taken by name, and what is none is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from decant.embedders import (
    Activation,
    Attention,
    Choices,
    Dense,
    PooledTokens,
    Pooling,
    Recipe,
    RecipeError,
    SparseHead,
    SparsePooling,
    TextFormat,
)

GIVEN: dict[str, Any] = {
    "attention": "bidirectional",
    "pooling": "mean_sqrt",
    "span": "text",
    "text_format": "quoted",
    "max_tokens": np.int64(9),
    "dim": np.int32(3),
}
MEANT = {
    "attention": Attention.BIDIRECTIONAL,
    "pooling": Pooling.MEAN_SQRT,
    "span": PooledTokens.TEXT,
    "text_format": TextFormat.QUOTED,
    "max_tokens": 9,
    "dim": 3,
}


def recipe(**said: Any) -> Recipe:
    return Recipe(**{"base": "m", **GIVEN, **said})


@pytest.mark.parametrize("made", [recipe(), Choices(**GIVEN)], ids=["recipe", "choices"])
def test_names_become_members_and_numbers_integers(made: Recipe | Choices) -> None:
    for name, value in MEANT.items():
        found = getattr(made, name)
        assert type(found) is type(value)
        assert found == value


def test_a_recipe_of_names_is_that_of_members() -> None:
    said = Recipe(base="m", **MEANT)  # type: ignore[arg-type]
    assert recipe() == said
    assert recipe().digest() == said.digest()
    assert Recipe.from_json(recipe().to_json()) == said
    assert Dense(path="d", inputs=1, outputs=1, activation="tanh").activation is Activation.TANH  # type: ignore[arg-type]
    assert SparseHead(weighting="last").weighting is SparsePooling.LAST  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [recipe, Choices], ids=["recipe", "choices"])
@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            {"pooling": "lasttoken"},
            "no pooling is called 'lasttoken'; known are 'mean', 'mean_sqrt'",
        ),
        ({"attention": "both"}, "no attention is called 'both'; known are 'causal'"),
        ({"span": "TEXT"}, "no pooled tokens is called 'TEXT'"),
        ({"dim": "8"}, "dim must be an integer, got '8'"),
        ({"max_tokens": 8.0}, "max_tokens must be an integer, got 8.0"),
        ({"layer": True}, "layer must be an integer, got True"),
    ],
)
def test_what_is_no_member_or_integer_is_refused_by_name(
    kind: Callable[..., object], said: dict[str, object], told: str
) -> None:
    with pytest.raises(RecipeError, match=told):
        kind(**said)


def test_a_name_does_not_slip_past_what_members_are_refused() -> None:
    with pytest.raises(RecipeError, match="gives every text the same vector"):
        recipe(pooling="first", attention="causal")
