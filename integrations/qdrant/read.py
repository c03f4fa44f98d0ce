"""Read stored passages, and the states of appended tokens that are kept beside their vectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from decant.embedders import StoreError

from .coroutines.reads import Reads
from .points.handle import Target
from .points.passages import Passage, passage
from .points.payloads import checked_ids, is_passage
from .stores.point_ids import record_id
from .stores.protocol import Select

if TYPE_CHECKING:
    from numpy.typing import NDArray


async def fetch_passages(
    target: Target, reads: Reads, ids: Sequence[str], *, with_vectors: bool
) -> list[Passage]:
    """Return the passages with these ids that there are; see :meth:`Collection.get`."""
    ids = checked_ids(ids)
    wanted = [target.point_id(identity) for identity in ids]
    unique = list(dict.fromkeys(wanted))
    points = await reads.retrieve(target.name, unique, Select(dense=with_vectors))
    known = {point.id: passage(point) for point in points if is_passage(point)}
    return [known[point_id] for point_id in wanted if point_id in known]


def fetch_soft_tokens(target: Target, passages: Sequence[str | Passage]) -> NDArray[np.float32]:
    """Return what is kept of these passages; see :meth:`Collection.soft_tokens`."""
    appended = target.encoder.recipe.appended
    if target.soft_tokens is None or appended is None:
        raise StoreError(
            f"the collection {target.name!r} keeps no states; make it with "
            "CollectionSettings(soft_tokens=True) (decant index --soft-tokens) and an encoder "
            "whose recipe appends tokens"
        )
    ids = checked_ids(_ids_of(passages))
    wanted = [record_id(identity) for identity in ids]
    fetch = Select(fields=(), soft_tokens=True)
    points = target.store.retrieve(target.name, list(dict.fromkeys(wanted)), fetch)
    found = {point.id: point.soft_tokens for point in points}
    rows = np.zeros((len(ids), appended.read, target.soft_tokens), np.float32)
    for row, point_id in enumerate(wanted):
        states = found.get(point_id)
        if states is None:
            reason = (
                "has no states: its vector was given, or its text is blank"
                if point_id in found
                else "is not there"
            )
            raise StoreError(f"passage {ids[row]!r} of the collection {target.name!r} {reason}")
        rows[row] = states
    return rows


def _ids_of(passages: object) -> object:
    """Put ids in the place of passages; what is no list of them stays, and is refused later."""
    if not isinstance(passages, Iterable) or isinstance(passages, str | Mapping):
        return passages
    return [item.id if isinstance(item, Passage) else item for item in passages]
