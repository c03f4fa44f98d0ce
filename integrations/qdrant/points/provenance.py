"""What made the vectors of a collection: which precisions and providers filled it, and which asks.

A recipe decides which collection a vector belongs to, and its precisions share it. Their vectors
are near each other and not equal, so a collection notes each of them, in a point of its own without
a vector. The point's id is computed, so writers cannot overwrite each other's notes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from decant.embedders import Encoder

from ..stores.point_ids import Kind, note_id
from ..stores.protocol import Payload, Point, Select, Store, each
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
        precision: ``fp32``, ``int8`` …; ``given`` for vectors that a caller handed over;
            ``unknown`` for an encoder that does not say, and for what was there before anything
            was noted.
        provider: What ran: ONNX Runtime's name of it, or the name of another encoder's class; ""
            where it is not known.
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
        """Return it as people say it: ``int8 on CPUExecutionProvider``."""
        return f"{self.precision} on {self.provider}" if self.provider else self.precision

    def point(self) -> Point:
        """Return the note that says that this filled a collection."""
        payload: Payload = {
            "kind": Kind.NOTE.value,
            "note": _SUBJECT,
            "precision": self.precision,
            "provider": self.provider,
        }
        return Point(id=note_id(_SUBJECT, self.precision, self.provider), payload=payload)


def read_fillings(store: Store, name: str) -> tuple[Filling, ...]:
    """Return what filled a collection, sorted; empty where nothing was noted."""
    fields = Select(fields=("note", "precision", "provider"))
    held = [point.payload for page in each(store, name, NOTES, fields) for point in page]
    return tuple(
        sorted(
            Filling(precision=str(note["precision"]), provider=str(note["provider"]))
            for note in held
            if note["note"] == _SUBJECT
        )
    )


class FillingNotes:
    """Notes what fills one collection, once for each kind of filling.

    Args:
        store: What holds it.
        name: The collection.
        encoder: What makes its vectors.
        lock: The collection's.
    """

    def __init__(self, store: Store, name: str, encoder: Encoder, lock: CollectionLock) -> None:
        self._store = store
        self._name = name
        self._encoder = encoder
        self._lock = lock

    def embedded(self) -> None:
        """Note that vectors of the encoder are about to be stored."""
        self._note(Filling.of(self._encoder))

    def given(self) -> None:
        """Note that vectors that a caller made are about to be stored."""
        self._note(Filling(_GIVEN))

    def _note(self, filling: Filling) -> None:
        note = filling.point()
        if note.id in self._lock.noted:
            return
        with self._lock.noting:
            held = read_fillings(self._store, self._name)
            if filling not in held:
                notes = [note]
                if not held and self._has_passages():
                    notes.append(Filling(_UNKNOWN).point())
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
