"""Store records as they are: embed their texts, once each, and write them in batches.

A blank text, which has no token, is stored without a vector: an empty file or page must not end a
whole run, and no search should find it.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from decant.embedders import Role, TextError, Vectors
from decant.embedders.log_events import log_event

from ..inference.rows import make_rows
from ..inference.server_encoder import is_blank_for
from ..operations.store_span import store_span
from ..points.handle import Target
from ..points.passages import Record, record_point
from ..points.vectors import Row, given_rows
from ..stores.point_ids import is_uuid
from ..stores.protocol import slices
from .delete import Remover
from .items import check_series, checked_item

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BATCH = 512
_CALL = "add()"
_RECORDS = "give records: add([Record(text=...), ...])"


def add(
    target: Target,
    records: Iterable[Record],
    vectors: Vectors | NDArray[np.float32] | None,
    remover: Remover,
    note: Callable[[], None],
    *,
    texts: Sequence[str] | None = None,
) -> list[str]:
    """Store records and return their ids; see :meth:`Collection.add`.

    ``note`` is called before the first write.
    """
    check_series(records, _CALL, Record, _RECORDS)
    records = [
        checked_item(record, Record, place, _CALL, _RECORDS) for place, record in enumerate(records)
    ]
    ids = [str(uuid.uuid4()) if record.id is None else record.id for record in records]
    embedded = _embedded_texts(records, texts)
    given = None
    if vectors is not None:
        given = given_rows(target, vectors, [f"record {identity!r}" for identity in ids])
    last = {identity: index for index, identity in enumerate(ids)}
    for part in slices(list(last.values()), target.held(_BATCH)):
        rows: list[Row | None]
        if given is None:
            owners = [_owner(records[index], index) for index in part]
            rows = _embed(target, [embedded[index] for index in part], owners)
        else:
            rows = [given[index] for index in part]
        points = [
            record_point(records[index], ids[index], row)
            for index, row in zip(part, rows, strict=True)
        ]
        note()
        # Ids that are UUIDs may belong to chunks; all other ids are hashed.
        with (
            remover.replacing([ids[index] for index in part if is_uuid(ids[index])]),
            store_span(target.store, target.name, "upsert") as span,
        ):
            span.set({"decant.points": len(points)})
            target.store.upsert(target.name, points)
        log_event("add", {"collection": target.name, "points": len(points)}, level=logging.DEBUG)
    return ids


def _embedded_texts(records: Sequence[Record], texts: Sequence[str] | None) -> Sequence[str]:
    """Return the text that is embedded for each record.

    Raises:
        TextError: There are not as many texts as records.
    """
    if texts is None:
        return [record.text for record in records]
    if isinstance(texts, str) or len(texts) != len(records):
        raise TextError(
            f"texts holds what is embedded in place of each record's own text, {len(records)} "
            f"texts, got {'one string' if isinstance(texts, str) else len(texts)}"
        )
    return texts


def _owner(record: Record, place: int) -> str:
    """Return what names a record in messages, which never quote its text."""
    return f"record {place} of the call" if record.id is None else f"record {record.id!r}"


def _embed(target: Target, texts: Sequence[str], owners: Sequence[str]) -> list[Row | None]:
    encoder = target.encoder
    first: dict[str, str] = {}  # of equal texts the first record stands for all
    for text, owner in zip(texts, owners, strict=True):
        first.setdefault(text, owner)
    unique = {text: owner for text, owner in first.items() if not is_blank_for(encoder, text)}
    if not unique:
        return [None] * len(texts)
    rows = make_rows(target, [*unique], role=Role.PASSAGE, owners=[*unique.values()])
    row = dict(zip(unique, rows, strict=True))
    return [row.get(text) for text in texts]
