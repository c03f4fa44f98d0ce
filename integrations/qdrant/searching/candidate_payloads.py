"""Read the payload fields by which hits are chosen, and say which boosts found nothing there.

A boost whose key is mistyped raises no score, and its search looks as if it had worked. So a search
whose candidates all lack what a boost reads says so, once a call, with the entries that they have.
It is no error: a filter may leave only passages without the entry.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import assert_never

from ..coroutines.reads import Source
from ..stores.filters import Key, path_of
from ..stores.protocol import Json, Payload, Select
from .boosts import entry_of, is_usable
from .options import Boost, Recency

_log = logging.getLogger("decant")

_MOST_READ = 100  # candidates whose metadata are read for the names of their entries
_MOST_NAMED = 10


class CandidatePayloads:
    """Reads payload fields of the candidates of a search, perhaps of one by several queries.

    Args:
        source: The collection, and what reads it.
        boosts: Those of the search; after it, :meth:`warn_of_boosts` reports which had no effect.
    """

    def __init__(self, source: Source, boosts: Sequence[Recency | Boost]) -> None:
        self._source = source
        self._unused = list(dict.fromkeys(boosts))
        self._ids: list[str] = []
        self._unusable: dict[Recency | Boost, Json] = {}

    async def fetch(self, ids: list[str], fields: tuple[str, ...]) -> dict[str, Payload]:
        """Return the given payload fields of points, by their ids; of those that are gone nothing.

        Raises:
            StoreError: The store failed.
        """
        found = await self._retrieve(ids, fields)
        if self._unused:
            self._ids += list(found)[: _MOST_READ - len(self._ids)]
            self._unused = [boost for boost in self._unused if not self._has_effect(boost, found)]
        return found

    async def warn_of_boosts(self) -> None:
        """Log a warning for each boost whose entry no candidate has, or none with such a value.

        Raises:
            StoreError: The store failed.
        """
        if not (self._unused and self._ids):
            return
        payloads = (await self._retrieve(self._ids, ("metadata",))).values()
        names = sorted({name for held in payloads for name in _entries(held.get("metadata"))})
        for boost in self._unused:
            _log.warning(
                "no candidate of the search in the collection %r has %s, so the boost by it has no "
                "effect; %s",
                self._source.name,
                self._lack(boost),
                _known(_name(boost.key), names),
            )

    async def _retrieve(self, ids: Sequence[str], fields: tuple[str, ...]) -> dict[str, Payload]:
        source = self._source
        points = await source.reads.retrieve(source.name, ids, Select(fields=fields))
        return {point.id: point.payload for point in points}

    def _has_effect(self, boost: Recency | Boost, found: Mapping[str, Payload]) -> bool:
        for payload in found.values():
            if is_usable(boost, value := entry_of(payload, boost.key)):
                return True
            if value is not None:
                self._unusable[boost] = value
        return False

    def _lack(self, boost: Recency | Boost) -> str:
        entry = f"the metadata entry {_name(boost.key)}"
        if boost not in self._unusable:
            return entry
        match boost:
            case Boost():
                kind = "a number"
            case Recency():
                kind = "a date or time"
            case _:
                assert_never(boost)
        return f"{kind} in {entry} (one has {self._unusable[boost]!r:.40})"


def _known(name: str, names: Sequence[str]) -> str:
    """Return what the candidates have, the name that is most like the given one first."""
    if not names:
        return "they have no metadata"
    near = get_close_matches(name, names, n=1)
    others = [one for one in names if one not in near]
    shown = ", ".join([*near, *others][:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return f"they have {shown}" + (f" and {more} more" if more > 0 else "")


def _entries(metadata: Json, above: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the names of the entries of metadata, those of nested ones with dots between."""
    if not isinstance(metadata, Mapping):
        return
    for name, value in metadata.items():
        key = (*above, name)
        yield from _entries(value, key) if isinstance(value, Mapping) else [_name(key)]


def _name(key: Key) -> str:
    """Return a key as ``--boost`` takes it: ``year``, ``author.born``, or ``"a.b"`` in quotes."""
    return path_of(key).removeprefix("metadata.")
