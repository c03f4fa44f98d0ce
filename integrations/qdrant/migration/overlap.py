"""Compare what the old and the new collection find, before a name means the new one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from decant.embedders import Encoder, Role

from ..points.payloads import PASSAGES
from ..stores.input_errors import StoreInputError
from ..stores.protocol import Point, Ranking, Select, Store
from ..stores.queries import Query

_DEEPER = 4  # times the limit, so that hits with the score of the last one are seen
_ROUNDING = 1e-6
_SCANNED = 2_000  # passages among which the sample is spread evenly


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapReport:
    """How much the best hits of two collections have in common.

    Args:
        queries: How many queries were compared.
        limit: How many hits of each.
        mean: The mean share of hits that both found, between 0 and 1.
        least: The smallest share of a query.
        least_query: The text of that query.
        by_passages: Whether the queries were passages of the collection, each searched by its own
            stored vector, because no queries or no encoder of the old collection were given.
    """

    queries: int
    limit: int
    mean: float
    least: float
    least_query: str
    by_passages: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the collections.

    Args:
        store: Its store.
        name: Its own name.
        encoder: Its encoder.
    """

    store: Store
    name: str
    encoder: Encoder | None


def compare_queries(
    old: Side, new: Side, queries: Sequence[str], *, limit: int = 10
) -> OverlapReport:
    """Return the overlap of the hits of queries, each embedded by the encoder of its side.

    Raises:
        StoreInputError: There is no query.
    """
    rankings = []
    for side in (old, new):
        assert side.encoder is not None
        rows = side.encoder.encode(queries, role=Role.QUERY).dense
        depth = _DEEPER * limit
        rankings.append(side.store.rank(side.name, list(rows), limit=depth, where=PASSAGES))
    return _report(queries, rankings, limit, by_passages=False)


def compare_passages(old: Side, new: Side, *, sample: int = 100, limit: int = 10) -> OverlapReport:
    """Return the overlap of the neighbours of passages that are spread over the collection.

    Raises:
        StoreInputError: The collection holds no passage with a vector.
    """
    fetch = Select(fields=("kind",))
    held = old.store.scroll(old.name, PASSAGES, fetch, limit=_SCANNED).points
    places = np.unique(np.linspace(0, max(len(held) - 1, 0), min(sample, len(held)), dtype=int))
    ids = [held[place].id for place in places]
    points = [_vectors(side, ids) for side in (old, new)]
    both = [identity for identity in ids if all(identity in side for side in points)]
    texts = [str(points[0][identity].payload.get("text", "")) for identity in both]
    rankings = []
    for side, there in zip((old, new), points, strict=True):
        rows: list[Query] = [row for one in both if (row := there[one].dense) is not None]
        # The passage itself is the best hit on both sides, and says nothing.
        found = side.store.rank(side.name, rows, limit=_DEEPER * limit + 1, where=PASSAGES)
        rankings.append(
            [[hit for hit in one if hit[0] != own] for one, own in zip(found, both, strict=True)]
        )
    return _report(texts, rankings, limit, by_passages=True)


def combined(reports: Sequence[OverlapReport], limit: int, *, by_passages: bool) -> OverlapReport:
    """Return the overlap of all queries of several reports.

    Raises:
        StoreInputError: There is no report.
    """
    if not reports:
        raise _nothing()
    queries = sum(one.queries for one in reports)
    worst = min(reports, key=lambda one: one.least)
    return OverlapReport(
        queries=queries,
        limit=limit,
        mean=sum(one.mean * one.queries for one in reports) / queries,
        least=worst.least,
        least_query=worst.least_query,
        by_passages=by_passages,
    )


def _vectors(side: Side, ids: Sequence[str]) -> dict[str, Point]:
    fetch = Select(fields=("text",), dense=True)
    found = side.store.retrieve(side.name, ids, fetch)
    return {point.id: point for point in found if point.dense is not None}


def _report(
    queries: Sequence[str],
    rankings: Sequence[Sequence[Ranking]],
    limit: int,
    *,
    by_passages: bool,
) -> OverlapReport:
    if not queries:
        raise _nothing()
    shares = [_share(one, other, limit) for one, other in zip(*rankings, strict=True)]
    worst = int(np.argmin(shares))
    return OverlapReport(
        queries=len(queries),
        limit=limit,
        mean=float(np.mean(shares)),
        least=shares[worst],
        least_query=queries[worst],
        by_passages=by_passages,
    )


def _nothing() -> StoreInputError:
    return StoreInputError(
        "there is nothing to compare the collections by: no query was given, or the old "
        "collection holds no passage with a vector"
    )


def _share(old: Ranking, new: Ranking, limit: int) -> float:
    """Return which share of the hits of both rankings is also among the best of the other.

    Of equal scores engines return any, so a hit counts as one of the best if it scores as much as
    the last of them.
    """
    first, second = {one for one, _ in old[:limit]}, {one for one, _ in new[:limit]}
    if not first and not second:
        return 1.0
    common = len(first & _best(new, limit)) + len(second & _best(old, limit))
    return common / (len(first) + len(second))


def _best(ranking: Ranking, limit: int) -> set[str]:
    least = min((score for _, score in ranking[:limit]), default=0.0) - _ROUNDING
    return {identity for identity, score in ranking if score >= least}
