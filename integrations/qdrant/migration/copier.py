"""Make a collection equal to another one, but for its vectors: copy what differs, delete the rest.

Both are compared point for point, by their payloads, so nothing has to be noted while they are
written, and a copy that was interrupted goes on where it was. A text that was embedded once is not
embedded again. Points of other programs, and notes, are not copied. Invariant: after a pass that
changed nothing, while nobody writes, both hold the same documents, chunks and records.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from decant.embedders import Role, StoreError

from ..indexing.plan import is_same
from ..inference.rows import make_rows
from ..inference.server_encoder import is_blank_for
from ..points.handle import Target
from ..points.payloads import OWN_KINDS, PASSAGES
from ..points.vectors import Row
from ..stores.filters import And, Field, FieldIn
from ..stores.point_ids import Kind
from ..stores.protocol import Json, Point, Select, Store, each, slices

COPIED = FieldIn(Field.KIND, (Kind.CHUNK, Kind.RECORD, Kind.DOCUMENT))
_PAGE = 256
_PASSES = 20
_KNOWN = 8_192  # texts whose vectors are kept for repetitions
_IDS = Select(fields=("kind",))


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationProgress:
    """How far a pass of a migration is.

    Args:
        compared: How many points of the old collection were compared with the new one.
        total: How many there were when the pass began.
        changed: How many points were written or deleted.
        embedded: How many texts were embedded.
        tokens: How many tokens these have.
        seconds: How long the pass has taken.
    """

    compared: int = 0
    total: int = 0
    changed: int = 0
    embedded: int = 0
    tokens: int = 0
    seconds: float = 0.0

    @property
    def tokens_per_second(self) -> float:
        """How many tokens were embedded in a second, comparing and writing included."""
        return self.tokens / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at the speed so far; None before the first point."""
        if not self.compared:
            return None
        return self.seconds / self.compared * max(self.total - self.compared, 0)


class Copier:
    """Copies one collection to another.

    Args:
        source: The store of the first.
        name: Its name.
        target: The other, with its encoder.
        note: Called before vectors of the encoder are stored.
        reuses_vectors: Whether vectors are copied, too, because the encoder would give the same.
    """

    def __init__(
        self,
        source: Store,
        name: str,
        target: Target,
        note: Callable[[], None],
        *,
        reuses_vectors: bool,
    ) -> None:
        self._source = source
        self._name = name
        self._target = target
        self._note = note
        self._reuses_vectors = reuses_vectors
        self._known: OrderedDict[str, Row] = OrderedDict()
        self._counts = {"compared": 0, "changed": 0, "embedded": 0, "tokens": 0}

    def copy_changes(
        self, progress: Callable[[MigrationProgress], object] | None = None
    ) -> MigrationProgress:
        """Compare all points once, and copy and delete what differs.

        Args:
            progress: Called after each page.
        """
        source, name, target = self._source, self._name, self._target
        self._counts = dict.fromkeys(self._counts, 0)
        total, started = source.count(name, COPIED), monotonic()
        for page in each(source, name, COPIED, Select(), page=_PAGE):
            found = target.store.retrieve(target.name, [one.id for one in page], Select())
            held = {point.id: point for point in found}
            self._copy([one for one in page if not _is_there(one, held)], held)
            self._counts["compared"] += len(page)
            if progress is not None:
                progress(self._report(total, started))
        for page in each(target.store, target.name, COPIED, _IDS, page=_PAGE):
            ids = [point.id for point in page]
            there = {point.id for point in source.retrieve(name, ids, _IDS)}
            gone = [identity for identity in ids if identity not in there]
            target.store.delete(target.name, gone)
            self._counts["changed"] += len(gone)
        target.store.flush(target.name)
        return self._report(total, started)

    def copy_all(self) -> None:
        """Copy until nothing differs, of a collection that takes no writes.

        Raises:
            StoreError: It goes on changing.
        """
        for _ in range(_PASSES):
            if not self.copy_changes().changed:
                return
        raise StoreError(
            f"the collection {self._name!r} in {self._source.place} goes on changing although it "
            "is closed for writes, so its name was not changed; end what writes to it without "
            "decant, or with an older one"
        )

    def _report(self, total: int, started: float) -> MigrationProgress:
        return MigrationProgress(total=total, seconds=monotonic() - started, **self._counts)

    def _copy(self, points: Sequence[Point], held: dict[str, Point]) -> None:
        target = self._target
        moved = [one for one in points if _has_text_of(one, held.get(one.id))]
        # A point that was deleted since it was read is copied by the next pass.
        target.store.set_fields(target.name, moved)
        new = [one for one in points if not _has_text_of(one, held.get(one.id))]
        plain = [one for one in new if one.payload.get("kind") in OWN_KINDS]
        passages = [one for one in new if one.payload.get("kind") not in OWN_KINDS]
        target.store.upsert(target.name, plain)
        if passages:
            self._note()
        if self._reuses_vectors:
            target.store.upsert(target.name, self._with_their_vectors(passages))
        else:
            rows = self._rows(passages)
            known = [(one, rows.get(_digest(one.payload))) for one in passages]
            target.store.upsert(
                target.name, [one if row is None else row.on(one) for one, row in known]
            )
        self._counts["changed"] += len(points)

    def _with_their_vectors(self, points: Sequence[Point]) -> list[Point]:
        fetch = Select(
            dense=True,
            sparse=self._target.sparse,
            soft_tokens=self._target.soft_tokens is not None,
        )
        return self._source.retrieve(self._name, [one.id for one in points], fetch)

    def _rows(self, points: Sequence[Point]) -> dict[str, Row]:
        """Return the vectors of points, by the hashes of their texts; blank ones have none."""
        encoder = self._target.encoder
        texts = {_digest(one.payload): str(one.payload["text"]) for one in points}
        found = {digest: self._known[digest] for digest in texts if digest in self._known}
        missing = [digest for digest in texts if digest not in found]
        found |= self._stored(missing)
        fresh = [
            digest
            for digest in missing
            if digest not in found and not is_blank_for(encoder, texts[digest])
        ]
        if fresh:
            new = [texts[digest] for digest in fresh]
            owners = [f"the text {text[:40]!r}" for text in new]
            rows = make_rows(self._target, new, role=Role.PASSAGE, owners=owners)
            found |= dict(zip(fresh, rows, strict=True))
            tokenizer = encoder.tokenizer
            self._counts["embedded"] += len(new)
            self._counts["tokens"] += sum(
                len(one.ids) for one in tokenizer.encode_batch(new, add_special_tokens=False)
            )
        for digest in found:
            self._known[digest] = found[digest]
            self._known.move_to_end(digest)
        while len(self._known) > _KNOWN:
            self._known.popitem(last=False)
        return found

    def _stored(self, digests: Sequence[str]) -> dict[str, Row]:
        """Return the vectors of texts that the new collection holds already."""
        target = self._target
        fetch = Select(
            fields=("text_sha256",),
            dense=True,
            sparse=target.sparse,
            soft_tokens=target.soft_tokens is not None,
        )
        found = {}
        for part in slices(digests, min(_PAGE, target.store.list_limit(target.name))):
            where = And([PASSAGES, FieldIn(Field.TEXT_SHA256, part)])
            # One page: a text that it leaves out is embedded again, which is never wrong.
            page = target.store.scroll(target.name, where, fetch, limit=2 * len(part))
            for point in page.points:
                if point.dense is not None:
                    found[_digest(point.payload)] = Row(
                        dense=point.dense, sparse=point.sparse, soft_tokens=point.soft_tokens
                    )
        return found


def _is_there(point: Point, held: dict[str, Point]) -> bool:
    other = held.get(point.id)
    return other is not None and is_same(point.payload, other.payload)


def _has_text_of(point: Point, other: Point | None) -> bool:
    """Return whether the vectors of the other point fit this one, whose payload alone differs."""
    if other is None or point.payload.keys() != other.payload.keys():
        return False
    return all(
        point.payload[key] == other.payload[key]
        for key in ("kind", "text_sha256")
        if key in point.payload
    )


def _digest(payload: dict[str, Json]) -> str:
    return str(payload["text_sha256"])
