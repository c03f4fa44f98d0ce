"""The precisions and providers that made the vectors of a collection and those of its queries.

All precisions of a recipe share a collection. Their vectors are near each other but not equal, so a
collection records each precision in a note, a point without a vector. The note's id is computed, so
writers cannot overwrite each other's notes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from decant.embedders import Encoder

from ..stores.point_ids import Kind, note_id
from ..stores.protocol import Payload, Point, Select, Store, each
from .golden import GOLDEN, GoldenVectors
from .locks import CollectionLock
from .payloads import NOTES, PASSAGES

_log = logging.getLogger("decant")

_UNKNOWN = "unknown"
_GIVEN = "given"
_SUBJECT = "filled_by"


@dataclass(frozen=True, slots=True, order=True)
class Filling:
    """How vectors were made.

    Args:
        precision: ``fp32``, ``int8`` …; ``given`` for vectors that a caller passed; ``unknown`` for
            an encoder without a precision, and for vectors that are older than the notes.
        provider: ONNX Runtime's name of the provider, or the name of another encoder's class; "" if
            it is unknown.
    """

    precision: str
    provider: str = ""

    @classmethod
    def of(cls, encoder: Encoder) -> Filling:
        """Return how an encoder makes vectors."""
        precision = getattr(encoder, "precision", _UNKNOWN)
        provider = getattr(encoder, "provider", type(encoder).__name__)
        return cls(precision=str(precision), provider=str(provider))

    @property
    def is_known(self) -> bool:
        """Whether the precision is that of an encoder."""
        return self.precision not in (_UNKNOWN, _GIVEN)

    def __str__(self) -> str:
        """Return a readable form: ``int8 on CPUExecutionProvider``."""
        return f"{self.precision} on {self.provider}" if self.provider else self.precision

    def point(self) -> Point:
        """Return the note for a collection that this filled."""
        payload: Payload = {
            "kind": Kind.NOTE.value,
            "note": _SUBJECT,
            "precision": self.precision,
            "provider": self.provider,
        }
        return Point(id=note_id(_SUBJECT, self.precision, self.provider), payload=payload)


def read_fillings(store: Store, name: str) -> tuple[Filling, ...]:
    """Return what filled a collection, sorted; empty if there are no notes."""
    return _fillings(_read_notes(store, name))


def _read_notes(store: Store, name: str) -> list[Payload]:
    fields = Select(fields=("note", "precision", "provider"))
    return [point.payload for page in each(store, name, NOTES, fields) for point in page]


def _fillings(notes: Sequence[Payload]) -> tuple[Filling, ...]:
    return tuple(
        sorted(
            Filling(precision=str(note["precision"]), provider=str(note["provider"]))
            for note in notes
            if note["note"] == _SUBJECT
        )
    )


class FillingNotes:
    """Records what fills one collection, once for each precision and provider.

    Args:
        store: The store that holds it.
        name: The collection's name.
        encoder: The encoder that makes its vectors; None: nothing is recorded.
        lock: The collection's lock.
        golden: Whether the golden vectors of the encoder are kept, too.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        encoder: Encoder | None,
        lock: CollectionLock,
        *,
        golden: bool,
    ) -> None:
        self._store = store
        self._name = name
        self._encoder = encoder
        self._lock = lock
        self._golden = golden

    def embedded(self) -> None:
        """Record that vectors of the encoder are about to be stored."""
        if self._encoder is not None:
            self._note(Filling.of(self._encoder), self._encoder if self._golden else None)

    def given(self) -> None:
        """Record that vectors of a caller are about to be stored."""
        if self._encoder is not None:
            self._note(Filling(_GIVEN), None)

    def keep_golden_vectors(self) -> None:
        """Keep the golden vectors of the encoder, in place of those of the same precision."""
        assert self._encoder is not None
        precision = Filling.of(self._encoder).precision
        golden = GoldenVectors.of(self._encoder, precision=precision)
        self._store.upsert(self._name, [golden.point()])

    def _note(self, filling: Filling, golden: Encoder | None) -> None:
        """Record a filling, and keep the golden vectors of an encoder, if one is given."""
        note = filling.point()
        if note.id in self._lock.noted:
            return
        with self._lock.noting:
            there = _read_notes(self._store, self._name)
            held = _fillings(there)
            notes = []
            if filling not in held:
                notes.append(note)
                if not held and self._has_passages():
                    notes.append(Filling(_UNKNOWN).point())
            known = {str(one["precision"]) for one in there if one["note"] == GOLDEN}
            if golden is not None and filling.precision not in known:
                found = GoldenVectors.of(golden, precision=filling.precision)
                notes.append(found.point())
            if notes:
                self._store.upsert(self._name, notes)
            self._lock.noted.add(note.id)
        others = {item.precision for item in held if item.is_known} - {filling.precision}
        if others and filling.is_known:
            _log.warning(
                "the collection %r holds vectors in %s and gets others in %s: they are near each "
                "other and not equal, so that scores differ a little; use one precision for both, "
                "or index into a new collection",
                self._name,
                ", ".join(sorted(others)),
                filling.precision,
            )

    def _has_passages(self) -> bool:
        page = self._store.scroll(self._name, PASSAGES, Select(fields=()), limit=1)
        return bool(page.points)
