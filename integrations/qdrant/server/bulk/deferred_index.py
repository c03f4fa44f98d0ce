"""Defer the vector index of a collection on a server: no links while much is written, then its own.

A server builds the index of each segment as it grows, and builds it again when segments are merged.
With ``m=0`` it builds none, and when the links are set it builds each once. The collection's own
numbers are noted in its metadata before they are changed. Invariant: a collection without links of
its own has such a note, so what a killed process left can be named and mended by anyone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from qdrant_client import models

from decant.embedders import StoreError
from decant.embedders.json_records import decode, encode, parse

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

DEFERRED = "decant_deferred_index"
"""The key of a collection's metadata with the links that its index shall get; "null": it has them.

Text, because clients differ in whether they send a null within metadata.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphLinks:
    """The links of a vector index.

    Args:
        m: Links per node of the graph over all points.
        payload_m: Links per node within one tenant; None: as over all.
    """

    m: int
    payload_m: int | None = None


def is_noted(metadata: Mapping[str, Any]) -> bool:
    """Return whether the metadata of a collection say that its index is deferred."""
    return metadata.get(DEFERRED) not in (None, "null")


def deferred_links(info: models.CollectionInfo, *, where: str) -> GraphLinks | None:
    """Return the links that a collection shall get, if its index is deferred.

    Args:
        info: What the server says of the collection.
        where: The collection, for messages.

    Raises:
        StoreError: The note is damaged.
    """
    noted = (info.config.metadata or {}).get(DEFERRED)
    if noted is None:
        return None
    what = f"the note of the deferred index of {where}"
    data = parse(str(noted), where=what, error=StoreError)
    return None if data is None else decode(GraphLinks, data, where=what, error=StoreError)


class DeferredIndex:
    """Defers the vector indexes of the collections on one server.

    Args:
        client: The client.
        ask: Sends one request; see :meth:`Server.ask`.
        place: The address, for messages.
    """

    def __init__(
        self, client: QdrantClient, ask: Callable[[str, Callable[[], Any]], Any], place: str
    ) -> None:
        self._client = client
        self._ask = ask
        self._place = place

    def defer(self, name: str) -> None:
        """Let the server build no vector index until :meth:`build`; nothing, if that is so."""
        info = self._info(name)
        if self._noted(name, info) is not None:
            return
        held = info.config.hnsw_config
        links = GraphLinks(m=held.m, payload_m=held.payload_m)
        self._note(name, links)
        none = GraphLinks(m=0, payload_m=None if links.payload_m is None else 0)
        self._set(name, none, f"deferring the vector index of {name!r}")

    def build(self, name: str) -> bool:
        """Give a collection its own links, and return whether its index was deferred."""
        if (links := self._noted(name, self._info(name))) is None:
            return False
        self._set(name, links, f"turning on the vector index of {name!r}")
        # In this order: after a failure between the two, the next call does both again.
        self._note(name, None)
        return True

    def _noted(self, name: str, info: models.CollectionInfo) -> GraphLinks | None:
        return deferred_links(info, where=f"the collection {name!r} at {self._place}")

    def _info(self, name: str) -> models.CollectionInfo:
        found: models.CollectionInfo = self._ask(
            f"looking at {name!r}", partial(self._client.get_collection, name)
        )
        return found

    def _note(self, name: str, links: GraphLinks | None) -> None:
        metadata = {DEFERRED: json.dumps(encode(links))}
        request = partial(self._client.update_collection, name, metadata=metadata)
        self._ask(f"noting that the vector index of {name!r} is deferred", request)

    def _set(self, name: str, links: GraphLinks, what: str) -> None:
        config = models.HnswConfigDiff(m=links.m, payload_m=links.payload_m)
        self._ask(what, partial(self._client.update_collection, name, hnsw_config=config))
