"""Golden vectors: those of one text, which a collection keeps to recognise the model that made it.

A collection on a server keeps them in notes, one for each precision that filled it. They lie in the
payload, because every client that searches finds a point with a vector, and a vector of another
name would take its width in memory for every point of the collection.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from decant.embedders import Encoder, Role, StoreError

from ..stores.point_ids import Kind, note_id
from ..stores.protocol import Payload, Point, Select, Store, each
from ..tenants.tenant_store import TenantStore
from ..tenants.unbound_store import UnboundStore
from .payloads import NOTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

GOLDEN = "golden"
"""What a note with golden vectors says that it is."""

GOLDEN_TEXT = "The ferry leaves at seven, and number 42 waits by the old pier."
"""The text; notes keep their own, so that another one may be chosen."""

# Not "text", which a server may index: the statistics of BM25 are those of passages.
_TEXT = "golden_text"
_LITTLE = np.dtype("<f4")
_FIELDS = Select(fields=("note", "precision", _TEXT, *(role.value for role in Role)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GoldenVectors:
    """The dense vectors of one text.

    Args:
        text: The text.
        precision: That of the encoder.
        vectors: The text's vector as a query and as a passage, each float32, shape ``(D,)``.
    """

    text: str
    precision: str
    vectors: Mapping[Role, NDArray[np.float32]]

    @classmethod
    def of(cls, encoder: Encoder, *, precision: str) -> Self:
        """Embed the golden text."""
        vectors = {role: encoder.encode([GOLDEN_TEXT], role=role).dense[0] for role in Role}
        return cls(text=GOLDEN_TEXT, precision=precision, vectors=vectors)

    def point(self) -> Point:
        """Return the note, a point without a vector."""
        # Base64, because engines return some floats one unit in the last place off.
        payload: Payload = {
            "kind": Kind.NOTE.value,
            "note": GOLDEN,
            "precision": self.precision,
            _TEXT: self.text,
            **{role.value: _packed(row) for role, row in self.vectors.items()},
        }
        return Point(id=note_id(GOLDEN, self.precision), payload=payload)

    @classmethod
    def read(cls, payload: Payload) -> Self:
        """Read a payload that :meth:`point` made."""
        return cls(
            text=str(payload[_TEXT]),
            precision=str(payload["precision"]),
            vectors={role: _unpacked(str(payload[role.value])) for role in Role},
        )


def read_golden_vectors(store: Store, name: str) -> tuple[GoldenVectors, ...]:
    """Return the golden vectors that a collection keeps, with tenants also those for all of them.

    Raises:
        StoreError: A note is damaged.
    """
    if isinstance(store, UnboundStore):
        return read_golden_vectors(store.shared, name)
    kept = _read(store, name)
    return kept or _read(store.shared, name) if isinstance(store, TenantStore) else kept


def _read(store: Store, name: str) -> tuple[GoldenVectors, ...]:
    held = [point.payload for page in each(store, name, NOTES, _FIELDS) for point in page]
    try:
        return tuple(GoldenVectors.read(note) for note in held if note.get("note") == GOLDEN)
    except (KeyError, ValueError) as error:
        raise StoreError(
            f"the golden vectors of the collection {name!r} in {store.place} are damaged "
            f"({error!r}); write them anew with keep_golden_vectors() of a collection that was "
            "opened with its encoder"
        ) from error


def _packed(row: NDArray[np.float32]) -> str:
    return base64.b64encode(row.astype(_LITTLE).tobytes()).decode()


def _unpacked(packed: str) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(packed, validate=True), _LITTLE).astype(np.float32)
