"""Read how a search ranks: its mode, its fusion, and what else is asked of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from decant.integrations.qdrant import Boost, Fusion, Recency, SearchMode, SearchOptions

ModeName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="MODE",
        help="dense, sparse, words or hybrid; by default what `decant tune-search` chose, else "
        "hybrid if the collection has more than dense vectors, else dense.",
    ),
]
FusionName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="How hybrid makes one ranking of several: dbsf (the default if `decant tune-search` "
        "chose none), relative or rrf.",
    ),
]
Weights: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RANKING=NUMBER",
        help="How much a ranking of hybrid counts, for example words=2; else 1. Repeatable.",
    ),
]
Thresholds: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold",
        metavar="[RANKING=]NUMBER",
        help="The least score of a hit, in a ranking if one is named, as in dense=0.3; a fused "
        "score takes none. Repeatable.",
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
    bool, typer.Option("--distinct", help="Show passages of equal texts once.")
]
Recent: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--recent",
        metavar="KEY=DAYS",
        help="Raise the scores of passages whose date in KEY is recent: twofold today, by half "
        "after so many days, and so on.",
    ),
]
Boosts: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--boost",
        metavar="KEY=WEIGHT",
        help="Raise scores by WEIGHT times the number in KEY, of the score itself. Repeatable.",
    ),
]
Variety: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--mmr",
        metavar="BALANCE",
        min=0,
        max=1,
        help="Choose hits that differ from each other: 1 is relevance alone, 0 variety alone.",
    ),
]
Ef: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--ef",
        metavar="N",
        min=1,
        help="How many candidates the index of dense vectors examines.",
    ),
]
Exact: TypeAlias = Annotated[
    bool, typer.Option("--exact", help="Compare with all dense vectors, without the index.")
]


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


def read_fusion(name: str | None, weights: list[str]) -> Fusion | None:
    """Return the fusion of this name and these weights; None if neither is given.

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
    return Fusion(method=known[name] if name else FusionMethod.DBSF, weights=found)


def read_options(asked: Asked) -> SearchOptions:
    """Return the options of a search.

    Raises:
        typer.BadParameter: One has not the form that its help states.
        StoreError: They exclude each other.
    """
    from decant.integrations.qdrant import MMR, Boost, Group, Recency, SearchOptions

    boosts: list[Recency | Boost] = []
    for pair in asked.recent:
        key, days = _pair(pair, "KEY=DAYS", "--recent")
        boosts.append(Recency(key, half_life=timedelta(days=days), weight=1.0))
    for pair in asked.boost:
        key, weight = _pair(pair, "KEY=WEIGHT", "--boost")
        boosts.append(Boost(key, weight=weight))
    return SearchOptions(
        score_threshold=_threshold(asked.threshold),
        group=None if asked.per_document is None else Group(size=asked.per_document),
        distinct=asked.distinct,
        boosts=boosts,
        mmr=None if asked.mmr is None else MMR(balance=asked.mmr),
        ef=asked.ef,
        exact=asked.exact,
    )


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
        return float(number)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not {form}", param_hint=option) from error
