"""From rankings to the hits of a page: fetched in depths, fused, boosted, deduplicated, grouped.

The hits of the first places of each ranking come first; those that twice this depth adds come
behind them, and so on. Each step looks at one depth and at what came before it, never at the page,
so that pages cut from one search never overlap and make up one long page.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

from ..points.passages import BranchScore
from ..stores.filters import Field, path_of
from ..stores.point_ids import Kind
from ..stores.protocol import Payload, Ranking
from ..stores.queries import SearchMode
from .boosts import boost_fields, boosted, entry_of, settle
from .fusion import by_score
from .options import Group, SearchOptions

# In these a passage that is not found has the score 0.
_ZERO_WITHOUT = frozenset({SearchMode.SPARSE, SearchMode.WORDS})


@dataclass(frozen=True, kw_only=True)
class Rankings:
    """The rankings of a search, to some depth.

    Args:
        named: Each by its name, of which no two are equal.
        ended: The names of those by words or sparse vectors that hold every passage whose score is
            above 0.
    """

    named: Mapping[str, Ranking]
    ended: frozenset[str] = frozenset()

    @classmethod
    def fetched(cls, found: Mapping[SearchMode, Ranking], depth: int) -> Self:
        """Return rankings as a store gave them, asked for this many hits; equal ones by id."""
        return cls(
            named={mode.value: by_score(ranking) for mode, ranking in found.items()},
            ended=frozenset(
                mode.value
                for mode, ranking in found.items()
                if mode in _ZERO_WITHOUT and len(ranking) < depth
            ),
        )

    def above(self, least: Mapping[str, float]) -> Self:
        """Return the rankings without the hits whose scores are less than these."""
        if not least:
            return self
        named = {
            name: [hit for hit in ranking if hit[1] >= least[name]] if name in least else ranking
            for name, ranking in self.named.items()
        }
        whole = {name for name, ranking in named.items() if len(ranking) == len(self.named[name])}
        return replace(self, named=named, ended=self.ended & whole)

    def branches(self, identity: str) -> tuple[BranchScore, ...]:
        """Return the places of a hit in the rankings that hold it."""
        found = []
        for name, ranks in self._places.items():
            if (rank := ranks.get(identity)) is not None:
                score = self.named[name][rank - 1][1]
                found.append(BranchScore(name=name, rank=rank, score=score))
        return tuple(found)

    @cached_property
    def _places(self) -> dict[str, dict[str, int]]:
        return {
            name: {identity: rank for rank, (identity, _) in enumerate(ranking, 1)}
            for name, ranking in self.named.items()
        }


@dataclass(frozen=True, slots=True)
class Candidate:
    """A hit before it is read.

    Args:
        id: Of its point.
        score: That of the ranking or the fusion, with boosts.
        boost: What boosts added to the score.
        rankings: Those of the depth at which it was found.
    """

    id: str
    score: float
    boost: float
    rankings: Rankings

    @property
    def branches(self) -> tuple[BranchScore, ...]:
        """The places of the hit in the rankings that found it."""
        return self.rankings.branches(self.id)


@dataclass(frozen=True, slots=True)
class Depth:
    """The rankings to some depth, and the hits that are new at it, best first."""

    rankings: Rankings
    hits: Ranking


async def in_depths(
    fetch: Callable[[int], Awaitable[Rankings]],
    combine: Callable[[Rankings], Ranking],
    *,
    first: int,
) -> AsyncGenerator[Depth, None]:
    """Yield the hits of a search depth by depth, each twice as deep as the one before.

    Args:
        fetch: Returns the rankings of a search, each to at most so many places.
        combine: Makes one ranking of them.
        first: The first depth.
    """
    seen: set[str] = set()
    depth = first
    while True:
        rankings = await fetch(depth)
        hits = combine(rankings)
        if seen:
            hits = [hit for hit in hits if hit[0] not in seen]
        yield Depth(rankings, hits)
        if all(len(ranking) < depth for ranking in rankings.named.values()):
            return
        seen.update(identity for identity, _ in hits)
        depth *= 2


async def units(
    depths: AsyncGenerator[Depth, None],
    options: SearchOptions,
    facts: Callable[[list[str], tuple[str, ...]], Awaitable[Mapping[str, Payload]]],
) -> AsyncGenerator[list[Candidate], None]:
    """Yield what the limit of a search counts, best first: single hits, or groups of hits.

    Args:
        depths: As :func:`in_depths` yields them; closed in the end.
        options: Boosts, ``distinct`` and groups are applied.
        facts: Returns the given payload fields of points, by their ids; of those that are gone
            nothing, and they are left out.
    """
    boosts = settle(options.boosts)
    fields = _fields(options)
    texts: set[object] = set()
    groups: set[tuple[object, ...]] = set()
    async with aclosing(depths):
        async for depth in depths:
            if not fields:
                for identity, score in depth.hits:
                    yield [Candidate(identity, score, 0.0, depth.rankings)]
                continue
            held = await facts([identity for identity, _ in depth.hits], fields)
            plain = {identity: score for identity, score in depth.hits if identity in held}
            order = by_score(
                (identity, boosted(score, held[identity], boosts))
                for identity, score in plain.items()
            )
            found = [
                Candidate(identity, score, score - plain[identity], depth.rankings)
                for identity, score in order
            ]
            if options.distinct:
                found = _distinct(found, held, texts)
            if options.group is None:
                for candidate in found:
                    yield [candidate]
            else:
                for unit in _grouped(found, held, options.group, groups):
                    yield unit


def _fields(options: SearchOptions) -> tuple[str, ...]:
    fields = boost_fields(options.boosts)
    if options.distinct:
        fields.append(Field.TEXT_SHA256.value)
    if (group := options.group) is not None:
        match group.by:
            case None:
                fields += [Field.ROOT.value, Field.SOURCE.value, Field.KIND.value]
            case Field():
                fields.append(group.by.value)
            case _:
                fields.append(path_of(group.by))
    return tuple(fields)


def _distinct(
    found: list[Candidate], held: Mapping[str, Payload], seen: set[object]
) -> list[Candidate]:
    kept = []
    for candidate in found:
        text = held[candidate.id].get(Field.TEXT_SHA256)
        if text not in seen:
            seen.add(text)
            kept.append(candidate)
    return kept


def _grouped(
    found: list[Candidate], held: Mapping[str, Payload], group: Group, seen: set[tuple[object, ...]]
) -> list[list[Candidate]]:
    """Return the groups that are new at a depth; hits of earlier groups are left out."""
    made: dict[tuple[object, ...], list[Candidate]] = {}
    for candidate in found:
        key = _key(candidate.id, held[candidate.id], group)
        if key not in seen and len(members := made.setdefault(key, [])) < group.size:
            members.append(candidate)
    seen.update(made)
    return list(made.values())


def _key(identity: str, payload: Payload, group: Group) -> tuple[object, ...]:
    """Return what the passages of a group share; a passage without it is told apart by its id."""
    if group.by is not None:
        own = isinstance(group.by, Field)
        value = payload.get(str(group.by)) if own else entry_of(payload, group.by)
        # The type, too, because True equals 1; JSON's lists and objects by their text.
        known = value if isinstance(value, str | int | float) else repr(value)
        return (identity,) if value is None else (type(value).__name__, known)
    source = payload.get(Field.SOURCE)
    if payload.get(Field.KIND) != Kind.CHUNK and not source:
        return (identity,)
    return (payload.get(Field.ROOT), source)
