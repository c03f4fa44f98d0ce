"""Read a sample of points from a collection on a server, whoever filled it.

Ids are listed and drawn by a seed, and the drawn points are read with their vectors. Nothing is
written. Invariant: what is compared later are pairs of a text and the vector stored for it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from qdrant_client import models

from ..foreign_payloads.find_layout import find_layout
from ..foreign_payloads.payload_layout import PayloadLayout
from ..server.point_form import to_point_id
from ..server.requests import Requests
from ..stores.input_errors import AbsentError, StoreInputError
from .settings import AuditSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_LISTED = 100_000
_PAGE = 1_000
_READ = 128
_STORED_AS_FLOATS = (None, models.Datatype.FLOAT32, models.Datatype.FLOAT16)


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorSpace:
    """The dense vectors of a collection, as its server describes them.

    Args:
        name: Their name; "" without one.
        width: How many values each has.
        distance: What compares them, in Qdrant's word.
    """

    name: str
    width: int
    distance: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Points that were drawn, those without a text or a vector left out.

    Args:
        space: Their vectors.
        layout: Where their texts lie.
        points: How many points the collection holds.
        drawn: How many were drawn.
        textless: How many of them hold no text.
        vectorless: How many others have no vector.
        ids: The ids of the rest.
        embedded: The text whose vector the program that filled the collection stores, of each.
        texts: The text of each, without anything that is embedded with it.
        vectors: float32, shape (N, D).
    """

    space: VectorSpace
    layout: PayloadLayout
    points: int
    drawn: int
    textless: int
    vectorless: int
    ids: tuple[str, ...]
    embedded: tuple[str, ...]
    texts: tuple[str, ...]
    vectors: NDArray[np.float32]


def read_sample(requests: Requests, name: str, width: int, settings: AuditSettings) -> Sample:
    """Draw points of a collection and read them.

    Args:
        requests: What sends requests.
        name: The collection.
        width: The width of the vectors that are looked for, by which one of several is chosen.
        settings: How many points, and where their texts lie.

    Raises:
        StoreError: There is no such collection, it is empty, its vectors are not floats, or where
            its texts lie is not known.
    """
    client, ask = requests.client, requests.ask
    what = f"auditing {name!r}"
    if not ask(what, partial(client.collection_exists, name)):
        held = ask(what, client.get_collections).collections
        shown = ", ".join(sorted(repr(item.name) for item in held)) or "no collection"
        raise AbsentError(f"there is no collection {name!r} at {requests.place}; it holds {shown}")
    info = ask(what, partial(client.get_collection, name))
    space = _choose_space(info, name, width, settings.vector)
    points = ask(what, partial(client.count, name, exact=True)).count
    records: list[models.Record] = []
    ids = _draw(requests, name, points, settings)
    vectors: bool | list[str] = [space.name] if space.name else True
    for start in range(0, len(ids), _READ):
        part = ids[start : start + _READ]
        read = partial(client.retrieve, name, part, with_payload=True, with_vectors=vectors)
        records += ask(what, read)
    records = [one for one in records if one.payload and _vector(one, space.name) is not None]
    if not records:
        raise StoreInputError(
            f"the collection {name!r} at {requests.place} holds {points} points, and none of the "
            f"{len(ids)} drawn has a payload and a vector {space.name!r}; there is nothing to audit"
        )
    payloads = [one.payload or {} for one in records]
    layout = find_layout(payloads, text=settings.text, metadata=settings.metadata)
    return _sample(records, space, replace(layout, vector=space.name), points, len(ids))


def _sample(
    records: Sequence[models.Record],
    space: VectorSpace,
    layout: PayloadLayout,
    points: int,
    drawn: int,
) -> Sample:
    rows = [
        (to_point_id(one.id), embedded, text, vector)
        for one in records
        if (text := layout.read_text(one.payload or {})) is not None and text.strip()
        if (embedded := layout.embedded_text(one.payload or {})) is not None
        if (vector := _vector(one, space.name)) is not None
    ]
    return Sample(
        space=space,
        layout=layout,
        points=points,
        drawn=drawn,
        textless=len(records) - len(rows),
        vectorless=drawn - len(records),
        ids=tuple(row[0] for row in rows),
        embedded=tuple(row[1] for row in rows),
        texts=tuple(row[2] for row in rows),
        vectors=np.array([row[3] for row in rows], np.float32).reshape(len(rows), space.width),
    )


def _draw(
    requests: Requests, name: str, points: int, settings: AuditSettings
) -> list[models.ExtendedPointId]:
    """Return the ids of drawn points, each once."""
    client = requests.client
    if points > _MOST_LISTED:
        query = models.SampleQuery(sample=models.Sample.RANDOM)
        draw = partial(
            client.query_points, name, query=query, limit=settings.sample, with_payload=False
        )
        return [one.id for one in requests.ask(f"drawing points of {name!r}", draw).points]
    ids: list[models.ExtendedPointId] = []
    after = None
    while True:
        page = min(_PAGE, requests.limits(name).page)
        scroll = partial(client.scroll, name, limit=page, offset=after, with_payload=False)
        found, after = requests.ask(f"listing the points of {name!r}", scroll)
        ids += [one.id for one in found]
        if after is None:
            break
    ids.sort(key=str)
    return random.Random(settings.seed).sample(ids, min(settings.sample, len(ids)))  # noqa: S311


def _vector(record: models.Record, name: str) -> list[float] | None:
    held = record.vector
    found = held.get(name) if isinstance(held, dict) else held
    return found if isinstance(found, list) and found else None  # type: ignore[return-value]


def _choose_space(
    info: models.CollectionInfo, name: str, width: int, wanted: str | None
) -> VectorSpace:
    given = info.config.params.vectors
    spaces = given if isinstance(given, dict) else {"": given} if given is not None else {}
    if wanted is None:
        fitting = [one for one, params in spaces.items() if params.size == width]
        choices = list(spaces) if len(spaces) == 1 else fitting
    else:
        choices = [wanted] if wanted in spaces else []
    if len(choices) != 1:
        shown = ", ".join(f"{one!r} ({params.size} wide)" for one, params in spaces.items())
        raise StoreInputError(
            f"which vector of {name!r} is meant is not clear: it has {shown or 'no dense vector'}, "
            f"and the encoder gives {width} values; name one (vector=…, --vector)"
        )
    params = spaces[choices[0]]
    if params.multivector_config is not None or params.datatype not in _STORED_AS_FLOATS:
        kind = "several" if params.multivector_config is not None else f"{params.datatype} ones"
        raise StoreInputError(
            f"the vector {choices[0]!r} of {name!r} is not one of floats but {kind}, which cannot "
            "be compared with an encoder's; name another vector"
        )
    return VectorSpace(name=choices[0], width=params.size, distance=str(params.distance.value))


def check_store(store: object, name: str) -> Requests:
    """Return what sends the requests of a store on a server.

    Raises:
        StoreError: The store is a folder, which no other program fills.
    """
    found = getattr(store, "requests", None)
    if not isinstance(found, Requests):
        raise StoreInputError(
            f"{name!r} lies in {store!r}: an audit reads collections of a Qdrant server, or of "
            "qdrant-client's local mode, because no other program fills a folder of Edge; give "
            "connect() an address or a client"
        )
    return found
