"""Store records as they are: embed their texts, once each, and write them in batches."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from decant.embedders import Encoder, Role, StoreError

from .passages import Record, record_point
from .points import Kind, checked_vectors, is_uuid
from .removal import Remover
from .store import Fetch, slices
from .target import Target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BATCH = 512
_OWNER = Fetch(fields=("kind", "root", "source"))


def add(
    target: Target,
    records: Sequence[Record],
    vectors: NDArray[np.float32] | None,
    remover: Remover,
) -> list[str]:
    """Store records and return their ids; see :meth:`Collection.add`."""
    ids = [str(uuid.uuid4()) if record.id is None else record.id for record in records]
    if vectors is not None:
        owners = [f"record {identity!r}" for identity in ids]
        vectors = checked_vectors(vectors, target.encoder.dim, owners)
    last = {identity: index for index, identity in enumerate(ids)}
    for part in slices(list(last.values()), _BATCH):
        if vectors is None:
            dense = _embed(target.encoder, [records[index].text for index in part])
        else:
            dense = vectors[list(part)]
        _make_way(target, [ids[index] for index in part], remover)
        points = [
            record_point(records[index], ids[index], row)
            for index, row in zip(part, dense, strict=True)
        ]
        target.store.upsert(target.name, points)
    return ids


def _embed(encoder: Encoder, texts: Sequence[str]) -> NDArray[np.float32]:
    unique = list(dict.fromkeys(texts))
    dense = encoder.encode(unique, role=Role.PASSAGE).dense
    owners = [f"the text {text[:40]!r}" for text in unique]
    dense = checked_vectors(dense, encoder.dim, owners)
    row = {text: index for index, text in enumerate(unique)}
    return dense[[row[text] for text in texts]]


def _make_way(target: Target, ids: Sequence[str], remover: Remover) -> None:
    """Prepare for ids that chunks may have: only UUIDs can be, for others are hashed."""
    taken = [identity for identity in ids if is_uuid(identity)]
    held = target.store.retrieve(target.name, taken, _OWNER)
    for point in held:
        if point.payload["kind"] == Kind.DOCUMENT:
            raise StoreError(f"the id {point.id!r} belongs to decant itself; choose another")
    remover.make_way(held)
