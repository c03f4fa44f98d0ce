"""Prove that the model which a server asks is the one that made a collection.

The collection keeps golden vectors (``points/golden.py``), and the server never shows the vector
that it has made of a query. So the golden text is searched for by text, and the score of each
hit must be the cosine of the golden vector with that hit's own vector. A collection without
vectors has no hits: before it is written to, the server stores the golden text itself for a
moment, and the cosine of what it stored with the golden vector must be 1.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from decant.embedders import CollectionMismatch, Role, StoreError

from ..points.golden import GoldenVectors, read_golden_vectors
from ..stores.point_ids import Kind, note_id
from ..stores.protocol import DENSE, Point, Select, Store
from ..stores.text_to_embed import TextToEmbed

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PROBE = "probe"
_HITS = 8

# The float32 graph of one model on another machine or provider moves a score by some 1e-6 to 1e-5,
# float16 by some 1e-4; an int8 graph moves it by some 1e-2, and another model by more.
SCORE_TOLERANCE = 1e-3
# The cosine falls by half the square of that distance; the certificate's gate of float32 is as far.
COSINE_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class _Deviation:
    """How far a server's vectors are from golden ones, and the score that shows it best."""

    of: GoldenVectors
    is_equal: bool
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Compares the vectors that a server has made with those that the collection keeps.

    Args:
        store: The server.
        name: The collection's name.
        model: The model's name at the service, with its digest.
    """

    store: Store
    name: str
    model: str

    def find_precision(self, *, may_write: bool) -> str | None:
        """Return the precision of the golden vectors that the server's model gives.

        None if the collection has no vectors and must not be written to: then there is nothing to
        be found.

        Args:
            may_write: Whether the golden text may be stored for a moment where the collection has
                no vectors.

        Raises:
            CollectionMismatch: The model gives other vectors than any that are kept.
            StoreError: The collection keeps none, or the service failed.
        """
        kept = read_golden_vectors(self.store, self.name)
        if not kept:
            raise self._without_golden_vectors()
        found = [self._by_scores(golden) for golden in kept]
        if may_write and not any(found):
            found = [self._by_probe(golden) for golden in kept]
        compared = [one for one in found if one is not None]
        if not compared:
            return None
        if equal := [one.of.precision for one in compared if one.is_equal]:
            return equal[0]
        shown = "; ".join(f"{one.shown} in {one.of.precision}" for one in compared)
        raise CollectionMismatch(
            f"the model that the server at {self.store.place} asks as {self.model} is not the one "
            f"that filled the collection {self.name!r}: {shown}. Serve the bundle that filled it, "
            "in that precision (`decant serve BUNDLE --precision NAME`), or open the collection "
            "with its encoder"
        )

    def _by_scores(self, golden: GoldenVectors) -> _Deviation | None:
        """Search for the golden text; None if nothing in the collection has a vector."""
        asked = [self._text(golden, role) for role in Role]
        rankings = self.store.rank(self.name, asked, limit=_HITS)
        ids = dict.fromkeys(identity for ranking in rankings for identity, _ in ranking)
        if not ids:
            return None
        points = self.store.retrieve(self.name, [*ids], Select(fields=(), dense=True))
        rows = {point.id: point.dense for point in points if point.dense is not None}
        scores = [
            (score, cosine(golden.vectors[role], rows[identity]))
            for role, ranking in zip(Role, rankings, strict=True)
            for identity, score in ranking
            if identity in rows
        ]
        if not scores:  # all of them were deleted meanwhile
            return None
        given, expected = max(scores, key=lambda pair: abs(pair[0] - pair[1]))
        return _Deviation(
            golden,
            abs(given - expected) <= SCORE_TOLERANCE,
            f"a search for the golden text scores {given:.4f}, its vector {expected:.4f},",
        )

    def _by_probe(self, golden: GoldenVectors) -> _Deviation:
        """Have the server store the golden text, read its vectors, and delete them."""
        # Ids of this proof alone: others may prove the same at the same time.
        probes = {role: note_id(_PROBE, role.value, uuid.uuid4().hex) for role in Role}
        points = [
            Point(
                id=probes[role],
                payload={"kind": Kind.NOTE.value, "note": _PROBE},
                to_embed=(self._text(golden, role),),
            )
            for role in Role
        ]
        try:
            self.store.upsert(self.name, points)
            select = Select(fields=(), dense=True)
            held = self.store.retrieve(self.name, [*probes.values()], select)
        finally:
            self.store.delete(self.name, [*probes.values()])
        rows = {point.id: point.dense for point in held if point.dense is not None}
        if len(rows) < len(probes):
            raise StoreError(
                f"the golden text that was written to {self.name!r} in {self.store.place} had no "
                "vector when it was read again; somebody may have emptied the collection: do it "
                "again"
            )
        nearest = min(cosine(golden.vectors[role], rows[probes[role]]) for role in Role)
        return _Deviation(
            golden,
            nearest >= 1 - COSINE_TOLERANCE,
            f"its vector of the golden text has the cosine {nearest:.6f} with the golden vector, "
            "which must be 1,",
        )

    def _text(self, golden: GoldenVectors, role: Role) -> TextToEmbed:
        return TextToEmbed(text=golden.text, model=self.model, role=role, using=DENSE)

    def _without_golden_vectors(self) -> StoreError:
        return StoreError(
            f"the collection {self.name!r} in {self.store.place} keeps no golden vectors, by which "
            "the server's model could be proven to be the one that filled it. Where the model is, "
            f"run `decant serve BUNDLE --store {self.store.place}` once, which adds them, or call "
            f"Collection.open(store, {self.name!r}, load(BUNDLE)).keep_golden_vectors()"
        )


def cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the cosine of two vectors; -1 if they have different widths."""
    if one.shape != other.shape:
        return -1.0
    wide, also = one.astype(np.float64), other.astype(np.float64)
    length = float(np.linalg.norm(wide) * np.linalg.norm(also))
    return float(wide @ also) / length if length else 0.0
