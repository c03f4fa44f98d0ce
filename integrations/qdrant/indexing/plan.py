"""Decide what must happen to each document: which points to store, to move and to delete.

Plans are made for groups of documents, because a lookup costs a round trip. Nothing is written
here. Invariant: carrying out a plan whose claim is not stale makes the document's chunks exactly
those of its text, whatever an interrupted run left behind.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from ..points.flaws import find_flaw, is_usable
from ..points.handle import Target
from ..points.locks import Claim, Claims
from ..points.payloads import CHUNKS, MARKER, ChunkSum, Marker, State, sha256
from ..points.stored_passage import StoredPassage
from ..points.vectors import Row
from ..stores.changes import LeasingStore
from ..stores.filters import And, Field, FieldIn
from ..stores.point_ids import DocumentKey, Kind
from ..stores.protocol import Json, Payload, Point, Select, each_with, slices
from .chunking import Chunker, Chunking, Syntax, has_data, syntax_of
from .documents import Document

_MOVABLE = ("chunk", "start", "metadata")
_PLACED = Select(fields=("root", "source", *_MOVABLE))
_CONTENT = Select(fields=("id", "root", "source", "text", "text_sha256", *_MOVABLE), dense=True)
_LOOKUP, _LOOKUP_NUMBERS = 1_000, 400_000  # texts in one lookup, and what their vectors hold
# Twice float64's spacing, because engines return some numbers one unit in the last place off.
_SPACING = 2.0**-51
_PAGE, _HEAVY_PAGE = 1_000, 256  # chunks in a page, without and with vectors

_Stored: TypeAlias = "dict[str, Payload | None]"  # None: the chunk is damaged and is written again


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The changes for one document, in this order.

    Args:
        document: The document itself, to plan again if the claim gets stale.
        claim: It becomes stale once another writer has changed the state behind the plan.
        opening: The marker while chunks change.
        fresh: Chunks to store; those without a vector must be embedded.
        kept: How many chunks stay in the store, with their vectors.
        moved: Payload fields to replace in chunks that stay.
        gone: Point ids of the chunks to delete.
        closing: The marker when all changes are done.
        repairs: Whether the marker already stated that the document is complete.
    """

    document: Document
    claim: Claim
    opening: Marker
    fresh: tuple[Point, ...]
    kept: int
    moved: tuple[Point, ...]
    gone: tuple[str, ...]
    closing: Marker
    repairs: bool = False

    @property
    def is_new(self) -> bool:
        """Whether the document was never stored completely."""
        return self.opening.state is State.NEW

    @property
    def is_empty(self) -> bool:
        """Whether the stored chunks are already the right ones."""
        return not (self.fresh or self.moved or self.gone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plans:
    """The plans for a group of documents, and how many of them need none."""

    plans: list[Plan] = field(default_factory=list)
    unchanged: int = 0


class Planner:
    """Plans for one collection.

    Args:
        target: The collection; its encoder only counts tokens here.
        chunking: How to cut.
        claims: The claims of the run.
        verify: Whether to compare the stored chunks, texts and vectors included, of documents whose
            markers state that they are complete, too.
    """

    def __init__(
        self, target: Target, chunking: Chunking, claims: Claims, *, verify: bool = False
    ) -> None:
        self._store = target.store
        self._name = target.name
        self._claims = claims
        self._verify = verify
        self._is_leased = isinstance(target.store, LeasingStore)
        self._chunker = Chunker(target.encoder, chunking)
        self._recipe = target.encoder.recipe.digest()
        lookup = max(64, min(_LOOKUP, _LOOKUP_NUMBERS // target.encoder.dim))
        self._lookup = target.page(lookup)
        self._heavy_page = target.page(_HEAVY_PAGE)
        self._has_states = target.soft_tokens is not None
        self._has_tokens = target.token_vectors is not None
        self._has_prefix = bool(target.prefix)
        self._vectors = target.select(("text_sha256",))

    def plan(self, documents: Sequence[Document]) -> Plans:
        """Return the plans for these documents, which have different keys.

        Documents stay claimed until their plans are carried out; those that need none are released.
        """
        given = {document.key: document for document in documents}
        claims = self._claims.take(given.keys())
        ids = [key.marker_id for key in given]
        found = self._store.retrieve(self._name, ids, MARKER)
        markers = {marker.key: marker for marker in (Marker.read(p.payload) for p in found)}
        digests = {key: self._digest(document) for key, document in given.items()}
        changed = [
            key
            for key, digest in digests.items()
            if self._verify or not _is_done(markers.get(key), digest)
        ]
        # Without a marker there are no chunks, unless data were lost.
        stored = self._stored([key for key in changed if self._verify or key in markers])
        self._chunker.read_ahead([given[key].text for key in changed])
        plans = [
            self._compare(given[key], digests[key], markers.get(key), stored.get(key, {}))
            for key in changed
        ]
        plans = [
            replace(plan, claim=claims[plan.closing.key])
            for plan in plans
            if not _is_settled(markers.get(plan.closing.key), plan)
        ]
        planned = {plan.closing.key for plan in plans}
        self._claims.release([key for key in claims if key not in planned])
        return Plans(plans=self._with_known_vectors(plans), unchanged=len(documents) - len(plans))

    def _digest(self, document: Document) -> str:
        parts = {
            "text": document.text_sha256,
            "metadata": document.metadata,
            "max_tokens": self._chunker.max_tokens,
            "overlap": self._chunker.overlap,
            "recipe": self._recipe,
        }
        # Added only where it matters, so that documents that older versions indexed stay unchanged.
        if (syntax := syntax_of(document.source)) is not Syntax.PLAIN:
            parts["syntax"] = syntax.value
        if not self._chunker.counts_tokens:
            parts["unit"] = "characters"
        if len(document.text) > self._chunker.max_characters:
            parts["max_characters"] = self._chunker.max_characters
        if has_data(document.text):
            parts["data"] = "left out"
        return hashlib.sha256(_canonical(parts).encode()).hexdigest()

    def _stored(self, keys: Sequence[DocumentKey]) -> dict[DocumentKey, _Stored]:
        """Return the stored chunks of each document, by id, without their texts."""
        stored: dict[DocumentKey, _Stored] = {key: {} for key in keys}
        if not keys:
            return stored
        sources = sorted({key.source for key in keys})
        fetch, size = _PLACED, _PAGE
        if self._verify:
            size = self._heavy_page
            fetch = replace(
                _CONTENT,
                soft_tokens=self._has_states,
                token_vectors=self._has_tokens,
                prefix=self._has_prefix,
            )
        pages = each_with(self._store, self._name, CHUNKS, fetch, sources=sources, page=size)
        for page in pages:
            for point in page:
                # Several roots may have the same source.
                if (chunks := stored.get(DocumentKey.of(point.payload))) is not None:
                    placed = {name: point.payload[name] for name in _MOVABLE}
                    is_sound = not self._verify or self._is_sound(point)
                    chunks[point.id] = placed if is_sound else None
        return stored

    def _is_sound(self, point: Point) -> bool:
        flaw = find_flaw(point, has_prefix=self._has_prefix)
        return self._is_whole(point) and flaw is None and point.payload["id"] == point.id

    def _is_whole(self, point: Point) -> bool:
        """Return whether a chunk has all vectors that the encoder makes of every text."""
        if self._has_states and point.soft_tokens is None:
            return False
        if self._has_tokens and point.token_vectors is None:
            return False
        return is_usable(point.dense)

    def _compare(
        self, document: Document, digest: str, marker: Marker | None, stored: _Stored
    ) -> Plan:
        wanted = {point.id: point for point in self._points(document)}
        sums = ChunkSum()
        for point in wanted.values():
            sums.add(point.payload)
        moved = [
            Point(id=id_, payload={name: point.payload[name] for name in _MOVABLE})
            for id_, point in wanted.items()
            if stored.get(id_) is not None
        ]
        # A writer that gave up may have a request under way, which must find newer points.
        is_late = self._is_leased and marker is not None and marker.state is not State.DONE
        state = State.NEW if marker is None or marker.state is State.NEW else State.CHANGING
        key = document.key
        closing = Marker(
            key=key,
            state=State.DONE,
            digest=digest,
            chunks=sums.chunks,
            checksum=sums.checksum,
        )
        return Plan(
            document=document,
            claim=Claim(),
            opening=Marker(key=key, state=state),
            fresh=tuple(point for id_, point in wanted.items() if stored.get(id_) is None),
            kept=len(moved),
            moved=tuple(
                point for point in moved if is_late or not is_same(point.payload, stored[point.id])
            ),
            gone=tuple(id_ for id_ in stored if id_ not in wanted),
            closing=closing,
            repairs=_is_done(marker, digest),
        )

    def _points(self, document: Document) -> Iterable[Point]:
        seen: Counter[str] = Counter()
        key = document.key
        metadata = dict(document.metadata)  # one object, whose size is measured once
        chunks = self._chunker.cut(document.text, syntax_of(document.source))
        for index, chunk in enumerate(chunks):
            digest = sha256(chunk.text)
            identity = key.chunk_id(digest, seen[digest])
            seen[digest] += 1
            yield StoredPassage(
                kind=Kind.CHUNK,
                id=identity,
                text=chunk.text,
                source=key.source,
                root=key.root,
                chunk=index,
                start=chunk.start,
                metadata=metadata,
            ).point()

    def _with_known_vectors(self, plans: list[Plan]) -> list[Plan]:
        """Fill in the vectors of texts that the collection already holds.

        So nothing is embedded for a renamed file or a moved folder.
        """
        texts = {str(point.payload["text_sha256"]) for plan in plans for point in plan.fresh}
        known: dict[str, Row] = {}
        most = min(self._lookup, self._store.list_limit(self._name))
        for part in slices(sorted(texts), most):
            known |= self._known(part)
        if not known:
            return plans
        return [
            replace(plan, fresh=tuple(_with_vectors(point, known) for point in plan.fresh))
            for plan in plans
        ]

    def _known(self, texts: Sequence[str]) -> dict[str, Row]:
        # One page only. A very frequent text may crowd out others; those are embedded again, which
        # costs time and is never wrong.
        where = And([CHUNKS, FieldIn(Field.TEXT_SHA256, texts)])
        page = self._store.scroll(self._name, where, self._vectors, limit=2 * len(texts))
        # This encoder embedded the chunk, so without a sparse vector its text weighs nothing.
        return {
            str(point.payload["text_sha256"]): row
            for point in page.points
            if self._is_whole(point) and (row := Row.of_point(point)) is not None
        }


def _with_vectors(point: Point, known: Mapping[str, Row]) -> Point:
    row = known.get(str(point.payload["text_sha256"]))
    return point if row is None else row.on(point)


def _is_done(marker: Marker | None, digest: str) -> bool:
    return marker is not None and marker.state is State.DONE and marker.digest == digest


def _is_settled(marker: Marker | None, plan: Plan) -> bool:
    """Return whether the document needs no change, not even in its marker."""
    if marker is None or not (plan.repairs and plan.is_empty):
        return False
    known = (plan.closing.checksum, "")  # markers of an older decant have none
    return marker.chunks == plan.closing.chunks and marker.checksum in known


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def is_same(wanted: Json, stored: Json) -> bool:
    """Return whether a stored JSON value equals the wanted one, up to the engines' rounding."""
    # Compared as JSON, because for Python 1, 1.0 and True are equal.
    return _canonical(wanted) == _canonical(stored) or _is_near(wanted, stored)


def _is_near(wanted: Json, stored: Json) -> bool:
    match wanted, stored:
        case dict(), dict():
            pairs = wanted.items()
            return wanted.keys() == stored.keys() and all(
                _is_near(value, stored[key]) for key, value in pairs
            )
        case list(), list():
            return len(wanted) == len(stored) and all(map(_is_near, wanted, stored))
        case float(), float():
            return math.isclose(wanted, stored, rel_tol=_SPACING)
        case _:
            return type(wanted) is type(stored) and wanted == stored
