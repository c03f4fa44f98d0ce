"""A named way to make vectors: a :class:`Strategy` from the table, a file, or the user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .. import json_records
from ..errors import RecipeError
from ..recipe.enums import Attention
from .choices import Choices

if TYPE_CHECKING:
    from .find import ModelFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSize:
    """The facts of a model that strategies depend on.

    Args:
        layers: The number of its layers.
        vocabulary: The number of its tokens.
        converse: Writes a conversation up to the model's answer with its chat template, from the
            system's and the user's turn; None: it has no template.
        width: The width of its states; None: ``config.json`` does not state it.
    """

    layers: int
    vocabulary: int
    converse: Callable[[str, str], str] | None = None
    width: int | None = None

    def scaled(self, layer: int) -> int:
        """Return the layer that is as deep here as ``layer`` is among 32, at least 1."""
        return max(1, round(layer * self.layers / 32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """A named way to make vectors.

    Args:
        name: Its name.
        purpose: What it is for, in one line.
        source: The paper, and the place in it.
        choose: Makes the choices for a model; the user's choices override them.
        causal: Whether it is for causal models only.
        passes: Passes through the model for each text.
        adds: Tokens in addition to the text's own, in words.
        head: Whether it needs the model's language-model head.
        chat: Whether it asks in a conversation, if the model has a chat template.
        words: Whether it is for single words. They then begin as they do inside a text: behind a
            space, if the vocabulary has other tokens for that, and without a prompt.

    >>> mine = Strategy(name="mine", purpose="a test", choose=lambda _: Choices(layer=-2))
    >>> mine.choose(ModelSize(layers=4, vocabulary=100)).layer
    -2
    """

    name: str
    purpose: str
    choose: Callable[[ModelSize], Choices]
    source: str = ""
    causal: bool = False
    passes: str = "1"
    adds: str = "none"
    head: bool = False
    chat: bool = False
    words: bool = False

    @property
    def needs(self) -> str:
        """What it needs of a model, as text for readers."""
        kind = "a causal model" if self.causal else "any model"
        return f"{kind} with its language-model head" if self.head else kind


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    name: str
    purpose: str
    choices: Choices
    source: str = ""
    causal: bool = False
    passes: str = "1"
    adds: str = "none"
    words: bool = False


def read_strategy(path: Path) -> Strategy:
    """Read a strategy of the user's own.

    The file holds ``name``, ``purpose`` and ``choices`` (fields of :class:`Choices`), and may hold
    ``source``, ``causal``, ``passes``, ``adds`` and ``words``.

    Raises:
        RecipeError: The file is missing, no JSON, or has an unknown key or a value of another type.
    """
    found = json_records.read(_Written, path, error=RecipeError)
    return Strategy(
        name=found.name,
        purpose=found.purpose,
        choose=lambda _: found.choices,
        source=found.source,
        causal=found.causal,
        passes=found.passes,
        adds=found.adds,
        words=found.words,
    )


def check_strategy(strategy: Strategy, attention: Attention | None, source: ModelFiles) -> None:
    """Refuse a strategy that does not suit the model.

    Raises:
        RecipeError: It is for causal models, and this model is not causal.
    """
    if strategy.causal and attention is Attention.BIDIRECTIONAL:
        raise RecipeError(
            f"strategy {strategy.name!r} is for causal models, and {source.base} is bidirectional; "
            "choose another (decant strategies), or pass attention='causal' if it is one"
        )
