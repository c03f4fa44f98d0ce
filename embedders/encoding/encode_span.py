"""The span of one call of an encoder: how many texts, tokens and batches, and what ran them."""

from __future__ import annotations

from collections.abc import Collection

from ..recipe.prompt import Role
from ..recipe.recipe import Recipe
from ..span_protocol import Span
from ..telemetry import span
from .protocol import Output

TEXTS, TOKENS, BATCHES = "decant.texts", "decant.tokens", "decant.batches"


def encode_span(
    encoder: object,
    recipe: Recipe,
    *,
    role: Role,
    outputs: Collection[Output] = (),
    current: bool = True,
) -> Span:
    """Return the span ``decant.encode``, to use in a ``with`` block.

    Args:
        encoder: What encodes; its ``precision`` and ``provider`` are noted if it has them.
        recipe: Its recipe.
        role: Whether the texts are queries or passages.
        outputs: What is wanted in addition to dense vectors.
        current: As for :func:`decant.embedders.telemetry.span`.
    """
    begun = span("decant.encode", current=current)
    if begun.is_recording:
        begun.set(
            {
                "decant.encoder": type(encoder).__name__,
                "decant.model": recipe.base,
                "decant.recipe": recipe.digest(),
                "decant.role": str(role),
                "decant.outputs": " ".join(["dense", *sorted(map(str, outputs))]),
            }
        )
        for name in ("precision", "provider"):
            if (value := getattr(encoder, name, None)) is not None:
                begun.set({f"decant.{name}": str(value)})
    return begun
