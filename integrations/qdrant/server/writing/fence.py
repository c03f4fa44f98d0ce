"""Versions of points, by which a server refuses the late copy of a request.

Each write of a run has a version that is larger than those of all earlier ones, and each point that
it stores keeps it. The server changes a point only if the point's version is smaller, by a filter
of the request (Qdrant 1.16). A deleted point leaves a tombstone, a point without vectors that keeps
the version of the deletion, because a server stores a point that it does not have whatever the
filter is. Invariant: a request that arrives again, after itself or a later one to the same point,
changes nothing, as long as the tombstones are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qdrant_client import models

from ...stores.changes import Owner
from ...stores.filters import Field
from ...stores.point_ids import Kind
from ...stores.protocol import Payload, Point, Select

VERSION = "write_version"
"""The payload field with the version of the write that stored or changed a point."""

TOMBSTONE_SINCE = "tombstone_since"
"""The payload field of a tombstone with the second of its deletion."""

TOMBSTONES_KEPT = 3_600
"""Seconds for which tombstones are kept, far above any time that a proxy holds a request."""

# Engines compare numbers of a filter as float64, which is exact up to 2**53. So a collection may
# have half a thousand million runs.
STEPS = 2**24
"""How many versions a run has."""


def older_than(version: int) -> models.Filter:
    """Return the filter of points that neither this write nor a later one has changed."""
    return models.Filter(
        should=[
            models.FieldCondition(key=VERSION, range=models.Range(lt=version)),
            models.IsEmptyCondition(is_empty=models.PayloadField(key=VERSION)),
        ]
    )


def with_version(struct: models.PointStruct, version: int) -> models.PointStruct:
    """Return a point that keeps the version of its write."""
    payload = {**(struct.payload or {}), VERSION: version}
    return models.PointStruct.model_construct(id=struct.id, vector=struct.vector, payload=payload)


def upsert_of(structs: Sequence[models.PointStruct], version: int | None) -> models.UpsertOperation:
    """Return the operation that stores points; with a version, only over older ones."""
    if version is None:
        return models.UpsertOperation(upsert=models.PointsList(points=list(structs)))
    stamped = [with_version(struct, version) for struct in structs]
    return models.UpsertOperation(
        upsert=models.PointsList(points=stamped, update_filter=older_than(version))
    )


def tombstone(identity: models.ExtendedPointId, at: int, owner: Owner) -> models.PointStruct:
    """Return what remains of a point that is deleted at this second, still without a version."""
    kind: Payload = {Field.KIND.value: Kind.TOMBSTONE.value, TOMBSTONE_SINCE: at}
    payload = {**owner.payload, **kind}
    return models.PointStruct.model_construct(id=identity, vector={}, payload=payload)


def change_of(point: Point, version: int | None) -> models.UpdateOperation:
    """Return the replacement of a point's payload fields; with a version, only if it is older."""
    if version is None:
        change = models.SetPayload(payload=point.payload, points=[point.id])
    else:
        this = models.HasIdCondition(has_id=[point.id])
        change = models.SetPayload(
            payload={**point.payload, VERSION: version},
            filter=models.Filter(must=[this, older_than(version)]),
        )
    return models.SetPayloadOperation(set_payload=change)


def expired(now: float, owner: Owner) -> models.Filter:
    """Return the filter of an owner's tombstones that need not be kept any longer."""
    kind = models.MatchValue(value=Kind.TOMBSTONE.value)
    own = [
        models.FieldCondition(key=key, match=models.MatchValue(value=str(value)))
        for key, value in owner.payload.items()
    ]
    return models.Filter(
        must=[
            *own,
            models.FieldCondition(key=Field.KIND.value, match=kind),
            models.FieldCondition(
                key=TOMBSTONE_SINCE, range=models.Range(lt=now - TOMBSTONES_KEPT)
            ),
        ]
    )


def noticing_tombstones(fetch: Select) -> Select:
    """Return the same selection with the field by which tombstones are recognised."""
    if fetch.fields is None:
        return fetch
    return replace(fetch, fields=(*fetch.fields, TOMBSTONE_SINCE))


def is_tombstone(point: Point) -> bool:
    """Return whether a point that was read so is one."""
    return TOMBSTONE_SINCE in point.payload
