"""How the points of a collection lie on a server: in decant's own form, or in an adopted layout.

A collection that another program made keeps its payloads, its ids and the name of its vector; what
the rest of decant sees are points as its own, all of them records. Invariant: what is written into
an adopted collection is in its own layout, and nothing but records is written.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from qdrant_client import models

from decant.embedders import StoreError

from ..foreign_payloads.payload_layout import SOURCE, PayloadLayout
from ..matryoshka.prefix import with_prefixes
from ..stores.filters import Field, Where
from ..stores.input_errors import StoreInputError
from ..stores.point_ids import Kind, adopted_id, is_any_uuid, record_id
from ..stores.protocol import Payload, Point, Select
from ..stores.range_bounds import Numbers, Times
from ..stores.translation.translate import translate
from .filters import RemoteDialect, to_filter
from .limits import UNLIMITED, Limits
from .points import Sent, VectorQuery, fields_of, from_record, to_query, to_struct, vectors_of
from .words.remote_words import RemoteWords

_NUMBER = "decada00-0000-8000"
_NUMBERED = re.compile(rf"{_NUMBER}-([0-9a-f]{{4}})-([0-9a-f]{{12}})")


class PointForm(Protocol):
    """Converts between points of decant and those of one collection on a server."""

    def ids(self, ids: Sequence[str]) -> list[models.ExtendedPointId]:
        """Return ids as the collection has them."""
        ...

    def shown_id(self, identity: models.ExtendedPointId | None) -> str | None:
        """Return an id of the collection as decant has it."""
        ...

    def path(self, path: str) -> str:
        """Return where a field of decant's payload lies in the collection's."""
        ...

    def struct(self, point: Point) -> models.PointStruct:
        """Return a point as it is stored."""
        ...

    def point(self, record: models.Record | models.ScoredPoint) -> Point:
        """Return a stored point."""
        ...

    def fields(self, fetch: Select) -> bool | list[str]:
        """Return the selection of payload fields."""
        ...

    def vectors(self, fetch: Select) -> bool | list[str]:
        """Return the selection of vectors."""
        ...

    def filter(self, where: Where, limits: Limits) -> models.Filter:
        """Return a condition as a filter of the client, within a server's limits."""
        ...

    def query(self, query: VectorQuery, *, words: bool = False) -> Sent:
        """Return a query in the client's form, and the name of the vector it is compared with."""
        ...


class OwnForm:
    """The points of collections that decant made."""

    def ids(self, ids: Sequence[str]) -> list[models.ExtendedPointId]:
        """Return ids, which are UUIDs."""
        return list(ids)

    def shown_id(self, identity: models.ExtendedPointId | None) -> str | None:
        """Return the id as a string."""
        return None if identity is None else str(identity)

    def path(self, path: str) -> str:
        """Return the path itself."""
        return path

    def struct(self, point: Point) -> models.PointStruct:
        """Return a point with named vectors."""
        return to_struct(point)

    def point(self, record: models.Record | models.ScoredPoint) -> Point:
        """Return a stored point."""
        return from_record(record)

    def fields(self, fetch: Select) -> bool | list[str]:
        """Return the selection of payload fields."""
        return fields_of(fetch)

    def vectors(self, fetch: Select) -> bool | list[str]:
        """Return the selection of vectors."""
        return vectors_of(fetch)

    def filter(self, where: Where, limits: Limits) -> models.Filter:
        """Return a condition as a filter of the client, within a server's limits."""
        return to_filter(where, limits)

    def query(self, query: VectorQuery, *, words: bool = False) -> Sent:
        """Return a query in the client's form, and the name of the vector it is compared with."""
        return to_query(query, words=words)


class AdoptedForm:
    """The points of a collection that another program made.

    Args:
        layout: Where they hold texts and metadata, and under which vector.
    """

    def __init__(self, layout: PayloadLayout) -> None:
        self._layout = layout

    def ids(self, ids: Sequence[str]) -> list[models.ExtendedPointId]:
        """Return ids, whole numbers in place of the UUIDs that stand for them."""
        return [from_point_id(identity) for identity in ids]

    def shown_id(self, identity: models.ExtendedPointId | None) -> str | None:
        """Return the id, a UUID in place of a whole number."""
        return None if identity is None else to_point_id(identity)

    def path(self, path: str) -> str:
        """Return where a metadata entry, or the source, lies in the payload.

        Raises:
            StoreInputError: It is another field of decant, which these points do not have.
        """
        if path == Field.SOURCE:
            return self._layout.path([SOURCE])
        head, _, entry = path.partition(".")
        if head != "metadata" or not entry:
            raise StoreInputError(
                f"the points of an adopted collection have no {path!r}; filter by the source, by "
                "ids and by metadata"
            )
        return self._layout.path([entry])

    def struct(self, point: Point) -> models.PointStruct:
        """Return a record in the collection's layout.

        Raises:
            StoreError: It is no record, or its metadata do not fit the layout.
        """
        held = point.payload
        if held.get("kind") != Kind.RECORD or point.sparse is not None or point.to_embed:
            raise StoreError(
                f"the point {point.id} is no record with a dense vector, and nothing else is "
                "written into an adopted collection"
            )
        metadata = held["metadata"]
        assert isinstance(metadata, dict)
        # Not the id of `point`, for which only a canonical UUID is one.
        given = str(held["id"])
        identity = adopted_id(given)
        payload = self._layout.write(
            str(held["text"]),
            metadata,
            source=str(held["source"]),
            identity=identity if is_any_uuid(given) else given,
            point_id=identity,
        )
        name, vector = self._layout.vector, point.dense
        stored: list[float] | dict[str, models.Vector] = {}
        if vector is not None:
            stored = {name: vector.tolist()} if name else vector.tolist()
        return models.PointStruct(id=from_point_id(identity), vector=stored, payload=payload)

    def point(self, record: models.Record | models.ScoredPoint) -> Point:
        """Return a stored point as a record; what holds no text has no ``text``."""
        identity = to_point_id(record.id)
        name, given = self._layout.vector, record.vector
        vector = given.get(name) if isinstance(given, dict) else given
        dense = None if not vector else np.asarray(vector, np.float32)
        held: Payload = record.payload or {}
        return Point(id=identity, payload=self._read(held, identity), dense=dense)

    def fields(self, fetch: Select) -> bool | list[str]:
        """Return that all payload fields are read if any is: they are not in decant's order."""
        return fetch.fields != ()

    def vectors(self, fetch: Select) -> bool | list[str]:
        """Return the selection of the one vector."""
        if not fetch.dense:
            return False
        return [self._layout.vector] if self._layout.vector else True

    def filter(self, where: Where, limits: Limits) -> models.Filter:
        """Return a condition as a filter of the client; a filter of the client stays as it is."""
        dialect = AdoptedDialect(self, values=limits.values)
        return dialect.join(must=[translate(where, dialect)])

    def query(self, query: VectorQuery, *, words: bool = False) -> Sent:
        """Return a dense query in the client's form, and the name of the collection's vector."""
        value, _ = to_query(query, words=words)
        return value, self._layout.vector or None

    def _read(self, held: Payload, identity: str) -> Payload:
        if not held:
            return {}
        text, metadata = self._layout.read_text(held), self._layout.read_metadata(held)
        given = self._layout.read_id(held)
        found: Payload = {
            "kind": Kind.RECORD.value,
            "id": given if given is not None and record_id(given) == identity else identity,
            "root": "",
            "chunk": 0,
            "start": 0,
        }
        if metadata is not None:
            found |= {"metadata": metadata, "source": _source(metadata.get(SOURCE))}
        if text is not None:
            found |= {"text": text, "text_sha256": hashlib.sha256(text.encode()).hexdigest()}
        return found


class AdoptedDialect(RemoteDialect):
    """Writes filters for an adopted collection: paths are its own, and all points are records.

    Args:
        form: The form of its points.
        values: How many values one condition may have.
    """

    def __init__(self, form: AdoptedForm, *, values: int = UNLIMITED) -> None:
        super().__init__(values=values)
        self._form = form

    def equals(self, path: str, value: str | int | bool) -> models.Condition:  # noqa: FBT001
        """Return the condition that the value at ``path`` is this one."""
        return super().equals(self._form.path(path), value)

    def any_of(self, path: str, values: list[str] | list[int]) -> models.Condition:
        """Return the condition that the value at ``path`` is one of these."""
        if path == Field.KIND:
            # No condition holds for all points, no id for none.
            return self.join() if Kind.RECORD in values else models.HasIdCondition(has_id=[])
        if path == Field.ID:
            ids = self._form.ids([adopted_id(str(value)) for value in values])
            return models.HasIdCondition(has_id=ids)
        return super().any_of(self._form.path(path), values)

    def within(self, path: str, bounds: Numbers) -> models.Condition:
        """Return the condition that the number at ``path`` is within the bounds."""
        return super().within(self._form.path(path), bounds)

    def during(self, path: str, bounds: Times) -> models.Condition:
        """Return the condition that the string at ``path`` is a time within the bounds."""
        return super().during(self._form.path(path), bounds)

    def starts_with(self, path: str, prefix: str) -> models.Condition:
        """Return the condition that the string at ``path`` starts with this prefix."""
        return super().starts_with(self._form.path(path), prefix)

    def empty(self, path: str) -> models.Condition:
        """Return the condition that ``path`` has no value."""
        return super().empty(self._form.path(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """What turns the points of collections into those of the client.

    Args:
        forms: The form of each collection's points.
        words: Adds the vectors of words.
        prefix: Returns how long the prefixes of a collection are.
    """

    forms: Mapping[str, PointForm]
    words: RemoteWords
    prefix: Callable[[str], int]

    def completed(self, name: str, points: Sequence[Point]) -> Sequence[Point]:
        """Return points with the vectors that are made of their texts and of other vectors."""
        # First the words: a collection that was not opened yet is opened for them.
        found = self.words.on(name, points)
        return with_prefixes(found, self.prefix(name))


def form_of(layout: PayloadLayout | None) -> PointForm:
    """Return the form of the points of a collection; None as ``layout`` is decant's own."""
    return OwnForm() if layout is None else AdoptedForm(layout)


def to_point_id(identity: models.ExtendedPointId) -> str:
    """Return the id of a point; a whole number becomes a UUID, of a kind that nothing else makes.

    >>> to_point_id(258)
    'decada00-0000-8000-0000-000000000102'
    """
    if not isinstance(identity, int):
        return str(identity)
    digits = f"{identity:016x}"
    return f"{_NUMBER}-{digits[:4]}-{digits[4:]}"


def from_point_id(identity: str) -> models.ExtendedPointId:
    """Return the id that a point has on the server.

    >>> from_point_id("decada00-0000-8000-0000-000000000102")
    258
    """
    found = _NUMBERED.fullmatch(identity)
    return identity if found is None else int(found[1] + found[2], 16)


def _source(value: object) -> str:
    return value if isinstance(value, str) else ""
