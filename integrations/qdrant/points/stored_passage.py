"""The payload of a chunk or record: its keys are written here, and read here, and nowhere else.

Filters, checks and plans name single keys (``stores/filters.py``: :class:`Field`); what a whole
passage holds is only here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from decant.embedders import StoreError

from ..stores.point_ids import Kind, is_uuid, record_id
from ..stores.protocol import Json, Payload, Point
from .payloads import sha256

PASSAGE_FIELDS = frozenset({"id", "text", "source", "root", "start", "metadata"})
"""The fields that the payload of every passage has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPassage:
    """A chunk of a document, or a record, as it lies in a store.

    Args:
        kind: Which of both.
        id: The chunk's, which is its point's too, or the record's own.
        text: To the letter.
        source: Of the document or record.
        root: Of the document; "" without, and for records.
        chunk: The chunk's number in its document; 0 for records.
        start: Where in the document it starts, in characters; 0 for records.
        metadata: The document's or record's; chunks of a document share one object.
    """

    kind: Kind
    id: str
    text: str
    source: str
    root: str = ""
    chunk: int = 0
    start: int = 0
    metadata: dict[str, Json]

    def point(self) -> Point:
        """Return the point that is stored, still without vectors."""
        payload: Payload = {
            "kind": self.kind.value,
            "id": self.id,
            "root": self.root,
            "source": self.source,
            "chunk": self.chunk,
            "start": self.start,
            "text": self.text,
            "text_sha256": sha256(self.text),
            "metadata": self.metadata,
        }
        return Point(id=self.id if self.kind is Kind.CHUNK else record_id(self.id), payload=payload)

    @classmethod
    def read(cls, point: Point) -> Self:
        """Read the payload that :meth:`point` wrote.

        Raises:
            StoreError: It is no passage, so another program wrote it, or the engine's files are
                damaged.
        """
        held = point.payload
        if not held.keys() >= PASSAGE_FIELDS:
            raise StoreError(
                f"the point {point.id} was found as a passage and holds none, only "
                f"{', '.join(sorted(held)) or 'nothing'}: another program wrote it, or the "
                f"engine's files are damaged; {_way_out(point.id)}, or restore the collection "
                "from a copy"
            )
        start, metadata = held["start"], held["metadata"]
        assert isinstance(start, int)
        assert isinstance(metadata, dict)
        return cls(
            kind=Kind.CHUNK if held.get("kind") == Kind.CHUNK else Kind.RECORD,
            id=str(held["id"]),
            text=str(held["text"]),
            source=str(held["source"]),
            root=str(held["root"]),
            chunk=int(str(held.get("chunk", 0))),
            start=start,
            metadata=metadata,
        )


def _way_out(identity: str) -> str:
    if is_uuid(identity):
        return f"delete it with collection.delete([{identity!r}])"
    return f"delete the point {identity} with the program that wrote it"
