"""Decide what must happen to each document: nothing, or which points come, move and go.

Plans are made for groups of documents, because a lookup costs a round trip. Nothing is written
here. Invariant: carrying out a plan makes the document's chunks exactly those of its text,
whatever an interrupted run left behind.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .chunking import Chunker, Chunking, Syntax, syntax_of
from .conditions import All, Field, FieldIn
from .documents import Document
from .points import CHUNKS, DocumentKey, Kind, Marker, State, sha256
from .rows import Row
from .store import Fetch, Payload, Point, each, slices
from .target import Target

_MOVABLE = ("chunk", "start", "metadata")
_PLACED = Fetch(fields=("root", "source", *_MOVABLE))
_STATE = Fetch(fields=("root", "source", "state", "digest", "chunks"))
_LOOKUP = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What must happen to one document, in this order.

    Args:
        opening: Its marker while chunks come and go.
        fresh: Chunks to store; those without vector must be embedded.
        kept: How many chunks stay where they are, with their vectors.
        moved: Of those, the payload fields to replace.
        gone: Point ids of the chunks to delete.
        closing: Its marker when all of this is done.
    """

    opening: Marker
    fresh: tuple[Point, ...]
    kept: int
    moved: tuple[Point, ...]
    gone: tuple[str, ...]
    closing: Marker

    @property
    def is_new(self) -> bool:
        """Whether the document was never stored completely."""
        return self.opening.state is State.NEW


@dataclass(frozen=True, slots=True, kw_only=True)
class Plans:
    """The plans for a group of documents, and how many of them need none."""

    plans: list[Plan] = field(default_factory=list)
    unchanged: int = 0


class Planner:
    """Plans for one collection.

    Args:
        target: The collection; its encoder only counts tokens here, nothing is embedded.
        chunking: How to cut.
    """

    def __init__(self, target: Target, chunking: Chunking) -> None:
        self._store = target.store
        self._name = target.name
        self._chunker = Chunker(target.encoder, chunking)
        self._recipe = target.encoder.recipe.digest()
        self._vectors = Fetch(
            fields=("text_sha256",),
            dense=True,
            sparse=target.sparse,
            states=target.states is not None,
        )

    def plan(self, documents: Sequence[Document]) -> Plans:
        """Return what must happen to these documents, each of which has another key."""
        ids = [document.key.marker_id for document in documents]
        found = self._store.retrieve(self._name, ids, _STATE)
        markers = {marker.key: marker for marker in (Marker.read(p.payload) for p in found)}
        digests = {document.key: self._digest(document) for document in documents}
        changed = [
            document
            for document in documents
            if not _is_done(markers.get(document.key), digests[document.key])
        ]
        # Without a marker there are no chunks either, so only the others are looked up.
        stored = self._stored([doc.key for doc in changed if doc.key in markers])
        plans = [
            self._compare(doc, digests[doc.key], markers.get(doc.key), stored.get(doc.key, {}))
            for doc in changed
        ]
        return Plans(plans=self._with_known_vectors(plans), unchanged=len(documents) - len(changed))

    def _digest(self, document: Document) -> str:
        parts = {
            "text": document.text_sha256,
            "metadata": document.metadata,
            "max_tokens": self._chunker.max_tokens,
            "overlap": self._chunker.overlap,
            "recipe": self._recipe,
        }
        # Only where it is not plain, so that what older versions indexed as such is unchanged.
        if (syntax := syntax_of(document.source)) is not Syntax.PLAIN:
            parts["syntax"] = syntax.value
        return hashlib.sha256(_canonical(parts).encode()).hexdigest()

    def _stored(self, keys: Sequence[DocumentKey]) -> dict[DocumentKey, dict[str, Payload]]:
        """Return per document the chunks that are stored, by id, without their texts."""
        stored: dict[DocumentKey, dict[str, Payload]] = {key: {} for key in keys}
        if not keys:
            return stored
        where = All([CHUNKS, FieldIn(Field.SOURCE, sorted({key.source for key in keys}))])
        for page in each(self._store, self._name, where, _PLACED):
            for point in page:
                # The same source may lie in several roots.
                if (chunks := stored.get(DocumentKey.of(point.payload))) is not None:
                    chunks[point.id] = {name: point.payload[name] for name in _MOVABLE}
        return stored

    def _compare(
        self, document: Document, digest: str, marker: Marker | None, stored: dict[str, Payload]
    ) -> Plan:
        wanted = {point.id: point for point in self._points(document)}
        moved = [
            Point(id=id_, payload={name: point.payload[name] for name in _MOVABLE})
            for id_, point in wanted.items()
            if id_ in stored
        ]
        state = State.NEW if marker is None or marker.state is State.NEW else State.CHANGING
        return Plan(
            opening=Marker(key=document.key, state=state),
            fresh=tuple(point for id_, point in wanted.items() if id_ not in stored),
            kept=len(moved),
            moved=tuple(
                point
                for point in moved
                # As JSON, because Python takes 1, 1.0 and True for the same.
                if _canonical(point.payload) != _canonical(stored[point.id])
            ),
            gone=tuple(id_ for id_ in stored if id_ not in wanted),
            closing=Marker(key=document.key, state=State.DONE, digest=digest, chunks=len(wanted)),
        )

    def _points(self, document: Document) -> Iterable[Point]:
        seen: Counter[str] = Counter()
        metadata = dict(document.metadata)
        chunks = self._chunker.cut(document.text, syntax_of(document.source))
        for index, chunk in enumerate(chunks):
            digest = sha256(chunk.text)
            identity = document.key.chunk_id(digest, seen[digest])
            seen[digest] += 1
            payload: Payload = {
                "kind": Kind.CHUNK.value,
                "id": identity,
                "root": document.key.root,
                "source": document.key.source,
                "chunk": index,
                "start": chunk.start,
                "text": chunk.text,
                "text_sha256": digest,
                "metadata": metadata,
            }
            yield Point(id=identity, payload=payload)

    def _with_known_vectors(self, plans: list[Plan]) -> list[Plan]:
        """Fill in the vectors of texts that some chunk of the collection has already.

        So a renamed file or a moved folder embeds nothing.
        """
        texts = {str(point.payload["text_sha256"]) for plan in plans for point in plan.fresh}
        known: dict[str, Row] = {}
        for part in slices(sorted(texts), _LOOKUP):
            known |= self._known(part)
        if not known:
            return plans
        return [
            replace(plan, fresh=tuple(_with_vectors(point, known) for point in plan.fresh))
            for plan in plans
        ]

    def _known(self, texts: Sequence[str]) -> dict[str, Row]:
        # One page, though a text that is everywhere may crowd out others: those are embedded
        # again, which costs time and is never wrong.
        where = All([CHUNKS, FieldIn(Field.TEXT_SHA256, texts)])
        page = self._store.scroll(self._name, where, self._vectors, limit=2 * len(texts))
        # A chunk was embedded here, so where it has no sparse vector its text weighs nothing.
        return {
            str(point.payload["text_sha256"]): Row(
                dense=point.dense, sparse=point.sparse, states=point.states
            )
            for point in page.points
            if point.dense is not None
        }


def _with_vectors(point: Point, known: Mapping[str, Row]) -> Point:
    row = known.get(str(point.payload["text_sha256"]))
    return point if row is None else row.on(point)


def _is_done(marker: Marker | None, digest: str) -> bool:
    return marker is not None and marker.state is State.DONE and marker.digest == digest


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
