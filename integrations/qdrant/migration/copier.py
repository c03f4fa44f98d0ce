"""Make a collection equal to another one, but for its vectors: copy what differs, delete the rest.

Both are compared point for point, by their payloads, so nothing has to be noted while they are
written, and a copy that was interrupted goes on where it was. A text that was embedded once is not
embedded again. Points without a text, those of other programs among them, and notes are not copied.
Invariant: after a pass that
changed nothing, while nobody writes, both hold the same documents, chunks and records.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from decant.embedders import Role, StoreError

from ..indexing.plan import is_same
from ..inference.rows import make_rows
from ..inference.server_encoder import is_blank_for
from ..points.handle import Target
from ..points.locks import lock_of
from ..points.payloads import OWN_KINDS, PASSAGES
from ..points.provenance import Filling, FillingNotes, read_fillings
from ..points.stored_passage import PASSAGE_FIELDS
from ..points.vectors import Row
from ..stores.filters import And, Field, FieldIn
from ..stores.point_ids import Kind
from ..stores.protocol import Engine, Json, Point, Select, Store, each, slices

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
        left_out: How many points of the old collection hold no text with metadata, so that they
            are not copied; only other programs write such points.
    """

    compared: int = 0
    total: int = 0
    changed: int = 0
    embedded: int = 0
    tokens: int = 0
    seconds: float = 0.0
    left_out: int = 0

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


class Copies(Protocol):
    """What makes one collection equal to another."""

    def copy_changes(
        self, progress: Callable[[MigrationProgress], object] | None = None
    ) -> MigrationProgress:
        """Compare all points once, and copy and delete what differs.

        Args:
            progress: Called after each page.
        """
        ...


def copy_all(copies: Copies, what: str) -> None:
    """Copy until nothing differs, of a collection that takes no writes.

    Args:
        copies: What copies it.
        what: The collection, for messages.

    Raises:
        StoreError: It goes on changing.
    """
    for _ in range(_PASSES):
        if not copies.copy_changes().changed:
            return
    raise StoreError(
        f"{what} goes on changing although it is closed for writes, so its name was not changed; "
        "end what writes to it without decant, or with an older one"
    )


class Copier:
    """Copies one collection to another; see :class:`Copies`.

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
        self._counts = {"compared": 0, "changed": 0, "embedded": 0, "tokens": 0, "left_out": 0}

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
            whole = [one for one in page if _is_whole(one)]
            self._copy([one for one in whole if not _is_there(one, held)], held)
            self._leave_out([one.id for one in page if not _is_whole(one)], held)
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

    def _report(self, total: int, started: float) -> MigrationProgress:
        return MigrationProgress(total=total, seconds=monotonic() - started, **self._counts)

    def _leave_out(self, ids: Sequence[str], held: dict[str, Point]) -> None:
        """Count points that are not copied, and delete what is left of a copy of them."""
        self._counts["left_out"] += len(ids)
        copied = [identity for identity in ids if identity in held]
        self._target.store.delete(self._target.name, copied)
        self._counts["changed"] += len(copied)

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
        fetch, ids = self._target.select(), [one.id for one in points]
        parts = slices(ids, self._target.page(_PAGE))
        return [one for part in parts for one in self._source.retrieve(self._name, part, fetch)]

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
        while len(self._known) > self._target.held(_KNOWN):
            self._known.popitem(last=False)
        return found

    def _stored(self, digests: Sequence[str]) -> dict[str, Row]:
        """Return the vectors of texts that the new collection holds already."""
        target = self._target
        fetch = target.select(("text_sha256",))
        found = {}
        for part in slices(digests, min(target.page(_PAGE), target.store.list_limit(target.name))):
            where = And([PASSAGES, FieldIn(Field.TEXT_SHA256, part)])
            # One page: a text that it leaves out is embedded again, which is never wrong.
            page = target.store.scroll(target.name, where, fetch, limit=2 * len(part))
            for point in page.points:
                if (row := Row.of_point(point)) is not None:
                    found[_digest(point.payload)] = row
        return found


def copier_of(store: Store, source: str, target: Target, *, may_reuse: bool) -> Copier:
    """Return what copies a collection to another, and notes there what made the vectors.

    Args:
        store: The store of the first.
        source: Its name.
        target: The other, with its encoder.
        may_reuse: Whether vectors are copied where the encoder would give the same.
    """
    lock = lock_of(target.store, target.name, target.mark)
    lock.noted.clear()  # of another collection of this name, perhaps
    golden = target.store.engine is Engine.REMOTE
    notes = FillingNotes(target.store, target.name, target.encoder, lock, golden=golden)
    reuses_vectors = may_reuse and _gives_the_same(store, source, target)
    return Copier(store, source, target, notes.embedded, reuses_vectors=reuses_vectors)


def _gives_the_same(store: Store, source: str, target: Target) -> bool:
    """Return whether the encoder of the new collection made the vectors of the old one."""
    card = store.card(source)
    if card.recipe.digest() != target.encoder.recipe.digest() or card.dim != target.encoder.dim:
        return False
    if target.sparse and not card.sparse:
        return False
    if target.soft_tokens is not None and card.soft_tokens != target.soft_tokens:
        return False
    if target.token_vectors is not None and card.token_vectors != target.token_vectors:
        return False
    filled_by = read_fillings(store, source)
    ours = Filling.of(target.encoder)
    return (
        ours.is_known
        and bool(filled_by)
        and all(one.precision == ours.precision for one in filled_by)
    )


def _is_whole(point: Point) -> bool:
    """Return whether a point is a marker, or a passage that decant can read."""
    return point.payload.get("kind") in OWN_KINDS or point.payload.keys() >= PASSAGE_FIELDS


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
