"""The neighbours of a recipe: what goes wrong when a collection is filled, one change each.

A change replaces fields of the recipe. Whether an encoder can follow it depends on what it is: a
graph takes other tokens, so other prompts and ends; a model in PyTorch takes another pooling, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations
from typing import Any

from decant.embedders import OnnxEncoder, PooledTokens, Pooling, Prompt, Recipe

_LENGTHS = (64, 128, 256, 384, 512, 1_024, 2_048, 4_096, 8_192)


class Part(StrEnum):
    """The part of a recipe that a change replaces; two changes of one part exclude each other."""

    PROMPT = "prompt"
    END = "end"
    LENGTH = "length"
    POOLING = "pooling"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One way in which vectors may have been made otherwise than the recipe says.

    Args:
        name: The change in words, as a report has it.
        parts: Which parts of the recipe it replaces.
        fields: The new values of fields of the recipe.
    """

    name: str
    parts: frozenset[Part]
    fields: dict[str, Any]

    def on(self, recipe: Recipe) -> Recipe:
        """Return the recipe with the change.

        Raises:
            RecipeError: The values do not fit the rest of the recipe.
        """
        return replace(recipe, **self.fields)


def changes(recipe: Recipe, *, longest: int, limit: int | None) -> list[Change]:
    """Return the neighbours of a recipe that a sample of texts can show.

    Args:
        recipe: The recipe.
        longest: The tokens of the longest text of the sample, without prompt.
        limit: How many tokens the model takes at most, if that is known.
    """
    found = [*_prompts(recipe), *_ends(recipe), *_lengths(recipe, longest, limit)]
    return [*found, *_poolings(recipe)]


def pairs(singles: Sequence[Change]) -> list[Change]:
    """Return every two changes at once that can go together."""
    return [
        Change(
            name=f"{first.name}, and {second.name}",
            parts=first.parts | second.parts,
            fields={**first.fields, **second.fields},
        )
        for first, second in combinations(singles, 2)
        if not first.parts & second.parts
    ]


def _change(part: Part, name: str, **fields: object) -> Change:
    return Change(name=name, parts=frozenset({part}), fields=fields)


def _prompts(recipe: Recipe) -> Iterator[Change]:
    passage, query = recipe.passage_prompt, recipe.query_prompt
    plain = Prompt()
    if recipe.prepending is not None or recipe.span is PooledTokens.COPY:
        plain = passage  # the method is the prompt, so that nothing is left without it
    if query not in (passage, plain):
        yield _change(Part.PROMPT, "the query prompt on passages", passage_prompt=query)
    if passage != plain:
        yield _change(Part.PROMPT, "no prompt", passage_prompt=plain)
    for prompt, whose in ((passage, "passage"), (query, "query")):
        # A common slip: the blank at the prompt's end is stripped.
        stripped = replace(prompt, prefix=prompt.prefix.rstrip())
        if stripped not in (passage, query, plain):
            name = f"the {whose} prompt without the blank at its end"
            yield _change(Part.PROMPT, name, passage_prompt=stripped)


def _ends(recipe: Recipe) -> Iterator[Change]:
    if recipe.open_end:
        yield _change(Part.END, "an EOS at the end", open_end=False)
    else:
        yield _change(Part.END, "no EOS or other special token at the end", open_end=True)


def _lengths(recipe: Recipe, longest: int, limit: int | None) -> Iterator[Change]:
    for length in _LENGTHS:
        is_shorter = length < recipe.max_tokens and length < longest + 2
        is_longer = (
            limit is not None and recipe.max_tokens < length <= limit
        ) and longest + 2 > recipe.max_tokens
        if is_shorter or is_longer:
            yield _change(
                Part.LENGTH,
                f"texts cut to {length} tokens",
                max_tokens=length,
                max_text_tokens=None,
            )


def _poolings(recipe: Recipe) -> Iterator[Change]:
    for pooling in Pooling:
        # The mean and the sum over sqrt(count) point in one direction.
        alike = {pooling, recipe.pooling} <= {Pooling.MEAN, Pooling.MEAN_SQRT}
        if pooling is not recipe.pooling and not alike and pooling is not Pooling.MEAN_SQRT:
            yield _change(Part.POOLING, f"pooling '{pooling.value}'", pooling=pooling)
    spans = {
        PooledTokens.ALL: "all tokens pooled, those of the prompt too",
        PooledTokens.TEXT: "the tokens of the prompt not pooled",
        PooledTokens.CONTENT: "special tokens not pooled",
    }
    has_prompt = bool(recipe.passage_prompt.prefix)
    if recipe.span in spans:
        for span, name in spans.items():
            if span is not recipe.span and (has_prompt or span is PooledTokens.CONTENT):
                yield _change(Part.POOLING, name, span=span)
    if recipe.layer == -1 and recipe.mix is None and recipe.latent_heads is None:
        yield _change(Part.POOLING, "the last layer but one pooled", layer=-2)


def token_limit(encoder: object) -> int | None:
    """Return how many tokens the model of an encoder takes at most; None if that is unknown."""
    model = getattr(encoder, "model", None)
    if model is not None:
        found = getattr(model.backbone.config, "max_position_embeddings", None)
        return found if isinstance(found, int) else None
    if not isinstance(encoder, OnnxEncoder):
        return None
    try:
        config = json.loads((encoder.bundle.folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    found = config.get("max_position_embeddings") if isinstance(config, dict) else None
    return found if isinstance(found, int) else None
