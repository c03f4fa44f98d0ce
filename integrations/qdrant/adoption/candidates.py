"""The vectors of a sample under a recipe and its neighbours, as far as an encoder can make them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from decant.embedders import Encoder, Output, Pooling, RecipeError, Role
from decant.embedders.encoding import BatchEncoder

from .neighbours import Change, Part, changes, pairs, token_limit
from .sample import Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

Made: TypeAlias = "NDArray[np.float32]"
OnStep: TypeAlias = Callable[[str], object]

RECIPE = "as the recipe says"
_SCREENED = 16
_MOST_PAIRS = 60


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """The vectors of all texts of a sample, made in one way.

    Args:
        name: The way, in words.
        vectors: float32, shape (N, D).
    """

    name: str
    vectors: Made


@dataclass(slots=True, kw_only=True)
class CandidateMaker:
    """Makes the candidates of one sample.

    Args:
        encoder: The encoder whose recipe should have made the stored vectors.
        sample: What was read.
        on_step: Called with the name of each way, before the texts are embedded in it.
    """

    encoder: Encoder
    sample: Sample
    on_step: OnStep
    _untried: dict[str, list[str]] = field(default_factory=dict)
    _singles: list[Change] = field(default_factory=list)

    def recipe(self) -> Candidate:
        """Return the vectors that the recipe gives."""
        self.on_step(RECIPE)
        return Candidate(name=RECIPE, vectors=self._passages(self.sample.embedded))

    def neighbours(self) -> Iterator[Candidate]:
        """Yield the vectors under each neighbour of the recipe that shows in these texts."""
        if self.sample.texts != self.sample.embedded:
            self.on_step("text alone")
            vectors = self._passages(self.sample.texts)
            yield Candidate(name="the text alone, without its metadata", vectors=vectors)
        if not isinstance(self.encoder, BatchEncoder):
            yield from self._by_role()
            return
        tokenizer = self.encoder.text_tokenizer.bare
        longest = max((len(tokenizer.encode(text).ids) for text in self.sample.embedded), default=0)
        limit = token_limit(self.encoder)
        for change in changes(self.encoder.recipe, longest=longest, limit=limit):
            if (made := self._changed(change, self.sample.embedded)) is not None:
                self._singles.append(change)
                yield Candidate(name=change.name, vectors=made)

    def pairs(
        self, points: Sequence[int], fits: Callable[[Sequence[int], Made], bool]
    ) -> Iterator[Candidate]:
        """Yield the vectors under two changes at once, where they explain points that are left.

        Args:
            points: The points that no candidate explains.
            fits: Whether vectors of some points explain one of these.
        """
        some = list(points[:_SCREENED])
        for change in pairs(self._singles)[:_MOST_PAIRS]:
            screened = self._changed(change, [self.sample.embedded[row] for row in some])
            if screened is not None and fits(some, screened):
                whole = self._changed(change, self.sample.embedded)
                assert whole is not None
                yield Candidate(name=change.name, vectors=whole)

    @property
    def untried(self) -> tuple[str, ...]:
        """The ways that this encoder could not follow, those of one reason together."""
        return tuple(f"{', '.join(names)}: {reason}" for reason, names in self._untried.items())

    def _passages(self, texts: Sequence[str], encoder: Encoder | None = None) -> Made:
        return (encoder or self.encoder).encode(texts, role=Role.PASSAGE).dense

    def _by_role(self) -> Iterator[Candidate]:
        """Yield what an encoder can make that takes no other recipe."""
        recipe = self.encoder.recipe
        if recipe.query_prompt != recipe.passage_prompt:
            self.on_step("the query prompt on passages")
            vectors = self.encoder.encode(self.sample.embedded, role=Role.QUERY).dense
            yield Candidate(name="the query prompt on passages", vectors=vectors)
        self._skip(
            f"a {type(self.encoder).__name__} follows its own recipe alone; give a bundle, or the "
            "model's folder",
            "other prompts, ends and poolings",
        )

    def _skip(self, reason: str, name: str) -> None:
        names = self._untried.setdefault(reason, [])
        if name not in names:
            names.append(name)

    def _changed(self, change: Change, texts: Sequence[str]) -> Made | None:
        """Return the vectors under a change; None if it cannot be made, or changes no token."""
        encoder = self.encoder
        assert isinstance(encoder, BatchEncoder)
        try:
            recipe = change.on(encoder.recipe)
            if (pooled := self._pooled_here(change, texts)) is not None:
                return pooled
            other = encoder.with_recipe(recipe)
        except RecipeError as error:
            self._skip(str(error).split("; ")[-1], change.name)
            return None
        with other:
            if Part.POOLING not in change.parts and not _differs(encoder, other, texts):
                return None
            self.on_step(change.name)
            return self._passages(texts, other)

    def _pooled_here(self, change: Change, texts: Sequence[str]) -> Made | None:
        """Return vectors of another pooling of the states of tokens, if the graph gives them."""
        recipe = self.encoder.recipe
        pooling = change.fields.get("pooling")
        is_plain = not recipe.head and recipe.mix is None and recipe.dim is None
        if not (recipe.token_embeddings and is_plain and set(change.fields) == {"pooling"}):
            return None
        encoder = self.encoder
        assert isinstance(encoder, BatchEncoder)
        if "pooling" in encoder.variable_fields:
            return None
        self.on_step(change.name)
        rows = encoder.text_tokenizer(list(texts), role=Role.PASSAGE)
        states = encoder.encode(
            texts, role=Role.PASSAGE, outputs=[Output.TOKEN_EMBEDDINGS]
        ).token_embeddings
        assert states is not None
        pooled = [
            pool(state[row.counted : row.end], Pooling(str(pooling)))
            for row, state in zip(rows, states, strict=True)
        ]
        return np.array(pooled, np.float32)


def pool(states: Made, pooling: Pooling) -> Made:
    """Return the pooled states of one text, up to a factor.

    Args:
        states: float32, shape (T, d), those that count.
        pooling: How they combine.
    """
    match pooling:
        case Pooling.FIRST:
            return np.asarray(states[0], np.float32)
        case Pooling.LAST:
            return np.asarray(states[-1], np.float32)
        case Pooling.MAX:
            return np.asarray(states.max(axis=0), np.float32)
        case Pooling.WEIGHTED_MEAN:
            ranks = np.arange(1, len(states) + 1, dtype=np.float32)
            return np.asarray(ranks @ states / ranks.sum(), np.float32)
        case Pooling.MEAN | Pooling.MEAN_SQRT:
            return np.asarray(states.mean(axis=0), np.float32)


def _differs(first: BatchEncoder, second: BatchEncoder, texts: Sequence[str]) -> bool:
    """Return whether two encoders of one model tokenise a text differently."""
    ours = first.text_tokenizer(list(texts), role=Role.PASSAGE)
    theirs = second.text_tokenizer(list(texts), role=Role.PASSAGE)
    return any(
        (one.ids, one.counted, one.end) != (other.ids, other.counted, other.end)
        for one, other in zip(ours, theirs, strict=True)
    )
