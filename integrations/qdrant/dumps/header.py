"""What a dump says of itself and of its collection: the JSON members of its ZIP archive.

``collection.json`` is the collection's own metadata, and ``dump.json`` a :class:`DumpHeader`; of an
adopted collection ``stored.json`` has how its server keeps it. See ``docs/file-formats.md``.
Invariant: a reader that does not know the format reads nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

from decant.embedders.json_records import decode, parse

from ..stores.collection_metadata import CollectionMetadata
from ..stores.collection_settings import (
    CollectionSettings,
    FieldType,
    Layout,
    PayloadIndex,
    StoredLayout,
    TenantGraphs,
)
from ..stores.input_errors import StoreInputError

FORMAT = 2
# A dump gets the oldest format that can express it, so that a decant that does not know adopted
# collections in dumps reads all others.
OWN_FORMAT, ADOPTED_FORMAT = 1, 2
HEADER, CARD, STORED, SUMS = "dump.json", "collection.json", "stored.json", "SHA256SUMS"


class DumpError(StoreInputError):
    """A file is no dump, is damaged or cut, or a newer decant made it; nothing was restored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedPath:
    """A metadata entry that is indexed.

    Args:
        path: Its path in the payload.
        type: The type of its values.
    """

    path: str
    type: FieldType


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpHeader:
    """What a dump says of itself.

    Args:
        format: The format of the file: 1, or 2 if the collection was adopted.
        made_by: The version of decant.
        made_at: When it was begun, in ISO 8601.
        name: The collection's name.
        engine: The engine that held it.
        points: How many points it holds: chunks, records, markers of documents, notes.
        documents: How many documents are among these.
        passages: How many chunks and records.
        blocks: In how many blocks they lie.
        layout: How the engine stored it.
        hnsw_m: Links per node of the vector index, over all points or within each tenant.
        hnsw_ef_construct: Candidates examined while it is built.
        indexed: The metadata entries that are indexed.
        average_length: How many words the texts have on average, as a server noted it that ranks
            words without an index of texts.
    """

    format: int = OWN_FORMAT
    made_by: str
    made_at: str
    name: str
    engine: str
    points: int = 0
    documents: int = 0
    passages: int = 0
    blocks: int = 0
    layout: StoredLayout
    hnsw_m: int
    hnsw_ef_construct: int
    indexed: tuple[IndexedPath, ...] = ()
    average_length: float | None = None

    @property
    def is_adopted(self) -> bool:
        """Whether the points are those of another program, to the letter."""
        return self.format == ADOPTED_FORMAT

    @classmethod
    def from_json(cls, raw: bytes, *, where: str) -> Self:
        """Read the header of a dump.

        Raises:
            DumpError: It is damaged, or of a newer format.
        """
        data = parse(raw, where=where, error=DumpError)
        found = data.get("format") if isinstance(data, dict) else None
        if not isinstance(found, int):
            raise DumpError(f"{where} has no format; the file is damaged, or no dump of decant")
        if found > FORMAT:
            raise DumpError(
                f"{where} has format {found}, and this decant reads up to {FORMAT}; upgrade decant"
            )
        return decode(cls, data, where=where, error=DumpError)

    def settings(
        self, card: CollectionMetadata, asked: Layout, *, on_server: bool
    ) -> CollectionSettings:
        """Return the settings of the collection that is made of the dump.

        Args:
            card: Its metadata.
            asked: Where its layout shall differ.
            on_server: Whether a server will hold it; else shards, replicas and strict mode are
                left out.
        """
        indexes = (PayloadIndex.at(one.path, one.type) for one in self.indexed)
        held, links = self.layout, self.hnsw_m
        settings = CollectionSettings(
            storage=held.storage,
            originals=held.originals if asked.storage is None else None,
            indexed=tuple(one for one in indexes if one is not None),
            hnsw_m=links,
            hnsw_ef_construct=self.hnsw_ef_construct,
            soft_tokens=card.soft_tokens is not None,
            words=card.words,
            tenants=card.tenants,
            prefix=card.prefix,
            token_vectors=None if card.token_vectors is None else card.token_vectors.settings,
        )
        if on_server:
            settings = replace(
                settings,
                shards=held.shards,
                replicas=held.replicas,
                write_consistency=held.write_consistency,
                strict=held.strict or None,
            )
        values = {one.name: getattr(asked, one.name) for one in fields(Layout)}
        given = {name: value for name, value in values.items() if value is not None}
        return replace(settings, **given)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSettings:
    """How a vector index is built, as an engine reports it.

    Args:
        links: Links per node of the graph over all points.
        tenant_links: Links per node within one tenant; None: as over all.
        ef_construct: Candidates examined while it is built.
    """

    links: int
    tenant_links: int | None
    ef_construct: int

    def links_of(self, card: CollectionMetadata) -> int:
        """Return ``hnsw_m`` of the settings that gave this graph."""
        is_own = card.tenants is not None and card.tenants.graphs is TenantGraphs.OWN
        return self.tenant_links or 0 if is_own else self.links
