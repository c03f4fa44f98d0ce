"""What an audit found: one value, as JSON and in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never


class Verdict(StrEnum):
    """What the vectors of a collection are.

    PASSED: all that were compared are the encoder's. OTHER_RECIPE: all are the model's, made in one
    other way. MIXTURE: several of these, or some that nothing explains. UNKNOWN: none is explained.
    """

    PASSED = "passed"
    OTHER_RECIPE = "other_recipe"
    MIXTURE = "mixture"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorShare:
    """The points of a sample whose vectors were made in one way.

    Args:
        made: The way in words; None for those that nothing explains.
        points: How many there are.
        share: Their share of the compared points.
        low: The lower bound of the 95 % interval of their share of the collection.
        high: The upper bound.
        cosine: The mean cosine of their vectors with those that this way gives; for points that
            nothing explains, with the nearest.
        examples: Ids of some of them.
    """

    made: str | None
    points: int
    share: float
    low: float
    high: float
    cosine: float
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What an audit found.

    Args:
        verdict: What the vectors are.
        collection: The collection's name.
        place: The address of the store.
        model: The encoder's model.
        digest: The digest of its recipe.
        layout: Where texts, metadata and vectors lie, in words.
        distance: What compares vectors there.
        width: How many values they have.
        points: How many points the collection holds.
        drawn: How many were drawn.
        textless: How many of them hold no text that can be embedded.
        vectorless: How many others have no vector.
        seed: What decided which.
        shares: How the compared points were made, most points first.
        median_cosine: The median cosine of stored vectors with those of the recipe itself.
        least_cosine: The least of them.
        gate: The least cosine at which two vectors count as one.
        unseen: Ways that give the same vectors as the recipe in this sample.
        untried: Ways that were not tried, with the reason.
        notes: What cannot be seen here, in whole sentences.
    """

    verdict: Verdict
    collection: str
    place: str
    model: str
    digest: str
    layout: str
    distance: str
    width: int
    points: int
    drawn: int
    textless: int
    vectorless: int
    seed: int
    shares: tuple[VectorShare, ...]
    median_cosine: float
    least_cosine: float
    gate: float
    unseen: tuple[str, ...] = ()
    untried: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether all compared vectors are the encoder's."""
        return self.verdict is Verdict.PASSED

    @property
    def compared(self) -> int:
        """How many points were compared."""
        return sum(one.points for one in self.shares)

    @property
    def summary(self) -> str:
        """The verdict in one sentence."""
        first = self.shares[0]
        match self.verdict:
            case Verdict.PASSED:
                return (
                    f"all {self.compared} compared vectors are those of {self.model}; with 95 % "
                    f"confidence at most {1 - first.low:.1%} of the collection are others"
                )
            case Verdict.OTHER_RECIPE:
                return f"all {self.compared} compared vectors are of {self.model} with {first.made}"
            case Verdict.MIXTURE:
                return "a mixture: " + "; ".join(map(_in_words, self.shares))
            case Verdict.UNKNOWN:
                return (
                    f"no compared vector is explained by {self.model} in any way that was tried; "
                    f"the nearest has a mean cosine of {first.cosine:.4f}, so {self._guess(first)}"
                )
            case _:
                assert_never(self.verdict)

    def lines(self) -> Iterator[str]:
        """Yield the report in words, line by line."""
        yield f"{self.verdict.value}: {self.summary}"
        for one in self.shares:
            ids = f", such as {', '.join(one.examples)}" if one.made != self.shares[0].made else ""
            yield f"  {_in_words(one)}, mean cosine {one.cosine:.5f}{ids}"
        yield (
            f"{self.points} points, {self.drawn} drawn by seed {self.seed}, {self.compared} "
            f"compared, {self.textless} without a text, {self.vectorless} without a vector"
        )
        yield (
            f"cosine with the recipe's vectors: median {self.median_cosine:.5f}, least "
            f"{self.least_cosine:.5f}; one from {self.gate} on"
        )
        yield from (f"not told apart in this sample: {way}" for way in self.unseen)
        yield from (f"not tried: {way}" for way in self.untried)
        yield from self.notes

    def _guess(self, share: VectorShare) -> str:
        if share.cosine > 0.9:
            return "they may be of other weights or of a coarser precision of this model"
        return "they are of another model, or of other texts"


def _in_words(share: VectorShare) -> str:
    made = "made in none of the ways tried" if share.made is None else share.made
    return f"{share.share:.1%} ({share.low:.1%} to {share.high:.1%}) {made}"
