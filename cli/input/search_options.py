"""Read the options of a search: its mode, its fusion, thresholds, groups, boosts and variety."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from .metadata_keys import read_key
from .open import open_reranker

if TYPE_CHECKING:
    from decant.integrations.qdrant import (
        Boost,
        Fusion,
        Recency,
        SearchDefaults,
        SearchMode,
        SearchOptions,
    )

ModeName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="MODE",
        help="dense, sparse, words, or hybrid, which fuses all rankings that the collection has. "
        "By default the mode that `decant tune-search` stored, else hybrid if the collection has "
        "more than dense vectors, else dense.",
    ),
]
FusionName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="How a hybrid search fuses rankings: dbsf, relative or rrf. By default the fusion "
        "that `decant tune-search` stored, else dbsf.",
    ),
]
Weights: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RANKING=NUMBER",
        help="The weight of a ranking in the fusion (that of --fusion, else the one that "
        "`decant tune-search` stored, else dbsf), for example words=2; 1 for rankings without "
        "one. Repeatable.",
    ),
]
Thresholds: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold",
        metavar="[RANKING=]NUMBER",
        help="The least score of a hit. A hybrid search needs the name of a ranking, as in "
        "dense=0.3, because fused scores take no threshold. Repeatable.",
    ),
]
PerDocument: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Show at most N hits of each document; --limit then counts documents.",
    ),
]
Distinct: TypeAlias = Annotated[
    bool, typer.Option("--distinct", help="Show only the best of passages with equal texts.")
]
Recent: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--recent",
        metavar="KEY=DAYS",
        help="Raise the scores of recent passages, by the date in the metadata entry KEY: by 100 % "
        "today, by 50 % after DAYS days, by 25 % after twice as many. Repeatable.",
    ),
]
Boosts: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--boost",
        metavar="KEY=WEIGHT",
        help="Raise scores by the number in the metadata entry KEY: stars=0.1 adds 20 % to the "
        "score of a passage with 2 stars. Repeatable.",
    ),
]
Variety: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--mmr",
        metavar="BALANCE",
        min=0,
        max=1,
        help="Choose hits that differ from each other (maximal marginal relevance): 1 is relevance "
        "alone, 0 variety alone.",
    ),
]
Ef: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--ef",
        metavar="N",
        min=1,
        help="How many candidates the vector index (HNSW) examines; more is slower and misses "
        "fewer.",
    ),
]
LateOrder: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--late",
        help="Order the 100 best hits anew by the vectors of their tokens (late interaction, "
        "MaxSim), in a collection made with --token-vectors.",
    ),
]
Exact: TypeAlias = Annotated[
    bool,
    typer.Option("--exact", help="Compare with every dense vector, without the vector index."),
]
RerankBy: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--rerank",
        metavar="BUNDLE",
        help="Order the best hits anew by the scores of this reranker, which `decant export` made; "
        "also the http(s)://… address of `decant serve`; hash compares words, without a model.",
    ),
]
Candidates: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--candidates",
        metavar="N",
        min=1,
        help="How many of the best hits --rerank scores; 50 by default.",
    ),
]

RerankInstruction: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--rerank-instruction",
        metavar="TEXT",
        help="The task of --rerank, for rerankers that take an instruction.",
    ),
]

_MOST_DAYS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedReranker:
    """The options of a reranker as they were typed.

    Args:
        place: Where it is.
        candidates: How many hits it scores; None: as many as by default.
        instruction: The task, in place of its own; None: its own.

    Raises:
        typer.BadParameter: There is no reranker, and another option is about it.
    """

    place: str | None
    candidates: int | None
    instruction: str | None

    def __post_init__(self) -> None:
        if self.place is not None:
            return
        if self.candidates is not None:
            raise typer.BadParameter("--candidates counts what --rerank scores; give --rerank, too")
        if self.instruction is not None:
            raise typer.BadParameter(
                "--rerank-instruction is the task of --rerank; give --rerank, too"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of a search as they were typed; see the option of each name."""

    threshold: list[str]
    per_document: int | None
    distinct: bool
    recent: list[str]
    boost: list[str]
    mmr: float | None
    ef: int | None
    exact: bool
    late: bool = False


def read_mode(name: str | None) -> SearchMode | None:
    """Return the mode of this name; None for None.

    Raises:
        typer.BadParameter: There is none.
    """
    from decant.integrations.qdrant import SearchMode

    if name is None:
        return None
    try:
        return SearchMode(name)
    except ValueError as error:
        names = ", ".join(SearchMode)
        raise typer.BadParameter(f"{name!r} is none of {names}", param_hint="--mode") from error


def read_fusion(
    name: str | None, weights: list[str], defaults: SearchDefaults | None
) -> Fusion | None:
    """Return the fusion of this name and these weights; None if neither is given.

    Args:
        name: None: that of the collection's defaults, else DBSF.
        weights: Each ``RANKING=NUMBER``.
        defaults: How the collection is searched by default, if it says so.

    Raises:
        typer.BadParameter: There is none of this name, or a weight is not ``RANKING=NUMBER``.
    """
    from decant.integrations.qdrant import Fusion, FusionMethod

    if name is None and not weights:
        return None
    known = {method.value: method for method in FusionMethod}
    if name is not None and name not in known:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(known)}", param_hint="--fusion")
    found = dict(_pair(pair, "RANKING=NUMBER", "--weight") for pair in weights)
    stored = None if defaults is None else defaults.fusion
    if name is None and stored is not None:
        return replace(stored, weights={**stored.weights, **found})
    return Fusion(method=known[name] if name else FusionMethod.DBSF, weights=found)


def read_options(asked: Asked) -> SearchOptions:
    """Return the options of a search.

    Raises:
        typer.BadParameter: One has not the form that its help states.
        StoreError: They exclude each other.
    """
    from decant.integrations.qdrant import MMR, Boost, Group, Late, Recency, SearchOptions

    boosts: list[Recency | Boost] = []
    for pair in asked.recent:
        key, days = _pair(pair, "KEY=DAYS", "--recent")
        if not 0 < days <= _MOST_DAYS:
            raise typer.BadParameter(
                f"{pair!r} has no number of days above 0 and up to {_MOST_DAYS:,}",
                param_hint="--recent",
            )
        read = read_key(key, option="--recent")
        boosts.append(Recency(read, half_life=timedelta(days=days), weight=1.0))
    for pair in asked.boost:
        key, weight = _pair(pair, "KEY=WEIGHT", "--boost")
        boosts.append(Boost(read_key(key, option="--boost"), weight=weight))
    return SearchOptions(
        score_threshold=_threshold(asked.threshold),
        group=None if asked.per_document is None else Group(size=asked.per_document),
        distinct=asked.distinct,
        boosts=boosts,
        mmr=None if asked.mmr is None else MMR(balance=asked.mmr),
        ef=asked.ef,
        exact=asked.exact,
        late=Late() if asked.late else None,
    )


@contextmanager
def reranked(
    options: SearchOptions, asked: AskedReranker, *, provider: str
) -> Iterator[SearchOptions]:
    """Yield the options of a search with its reranker, which is open until the block ends.

    Args:
        options: All others.
        asked: The reranker.
        provider: What runs it.

    Raises:
        BundleError: There is no reranker.
        StoreError: The options exclude a reranker.
    """
    from decant.integrations.qdrant import Rerank

    if asked.place is None:
        yield options
        return
    with closing(open_reranker(asked.place, provider=provider)) as reranker:
        rerank = Rerank(reranker, instruction=asked.instruction)
        if asked.candidates is not None:
            rerank = replace(rerank, candidates=asked.candidates)
        yield replace(options, rerank=rerank)


def _threshold(given: list[str]) -> float | dict[str, float] | None:
    if len(given) == 1 and "=" not in given[0]:
        return _number(given[0], given[0], "NUMBER", "--threshold")
    named = dict(_pair(pair, "RANKING=NUMBER", "--threshold") for pair in given)
    return named or None


def _pair(text: str, form: str, option: str) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    if not name:
        raise typer.BadParameter(f"{text!r} is not {form}", param_hint=option)
    return name, _number(number, text, form, option)


def _number(number: str, text: str, form: str, option: str) -> float:
    try:
        found = float(number)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise typer.BadParameter(f"{text!r} is not {form}", param_hint=option)
    return found
