"""The largest requests that a server accepts for a collection: known, or learnt from refusals.

Owners of collections and providers of servers set limits, which Qdrant calls strict mode. They are
read when the collection is opened. If a limit was set later, the refusal names it, and the request
is sent again in smaller parts.
"""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from decant.embedders import StoreError

from .refusals import Refusal

if TYPE_CHECKING:
    from qdrant_client import models

UNLIMITED = sys.maxsize
_WRITES = 128
_BATCH = 1_024
_READS = 1_000
_PAGE = re.compile(r'Limit exceeded \d+ > (\d+) for "limit"')
_UPSERT = re.compile(r'Limit exceeded \d+ > (\d+) for "upsert limit"')
_VALUES = re.compile(r"Condition size limit reached \(\d+ > (\d+)\)")
_TOO_LARGE_FOR_RATE = re.compile(r"(Read|Write) rate limit exceeded, request larger than")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The largest requests for one collection.

    Args:
        page: Points that one page or query may request.
        writes: Points in one write.
        batch: Points in one request of several writes.
        ids: Points read or deleted by id in one request.
        values: Values in one condition of a filter.
        searches: Searches in one request.
        exact: Whether points may be counted exactly.
        oversampling: How many candidates a search may rescore, as a multiple of its limit.
        unindexed_updates: Whether a write may be filtered by a field without an index.
        more_indexes: Whether any number of payload indexes may be made.
    """

    page: int = UNLIMITED
    writes: int = _WRITES
    batch: int = _BATCH
    ids: int = _READS
    values: int = UNLIMITED
    searches: int = UNLIMITED
    exact: bool = True
    oversampling: float = math.inf
    unindexed_updates: bool = True
    more_indexes: bool = True

    @classmethod
    def of(cls, strict: models.StrictModeConfigOutput | None) -> Self:
        """Return the limits in a collection's own settings."""
        if strict is None or not strict.enabled:
            return cls()
        rate = min(strict.read_rate_limit or UNLIMITED, strict.write_rate_limit or UNLIMITED)
        most = min(strict.upsert_max_batchsize or UNLIMITED, strict.write_rate_limit or UNLIMITED)
        return cls(
            page=strict.max_query_limit or UNLIMITED,
            writes=min(_WRITES, most),
            batch=min(_BATCH, most),
            ids=min(_READS, rate),
            values=strict.condition_max_size or UNLIMITED,
            searches=strict.search_max_batchsize or UNLIMITED,
            exact=strict.search_allow_exact is not False,
            oversampling=strict.search_max_oversampling or math.inf,
            unindexed_updates=strict.unindexed_filtering_update is not False,
            more_indexes=strict.max_payload_index_count is None,
        )

    def learnt(self, error: StoreError, *, sent: int) -> Self | None:
        """Return the limits after a refusal; None if it names no new limit.

        Args:
            error: The error of the refusal.
            sent: How many points the request had.
        """
        said = Refusal.of(error).detail
        writes = _named(_UPSERT, said, self.writes)
        tighter = replace(
            self,
            page=_named(_PAGE, said, self.page),
            writes=writes,
            batch=self.batch if writes == self.writes else min(self.batch, writes),
            values=_named(_VALUES, said, self.values),
            exact=self.exact and "Exact search disabled" not in said,
        )
        if tighter != self:
            return tighter
        # The refusal does not name the capacity, so half as many points are tried, down to one.
        if (found := _TOO_LARGE_FOR_RATE.search(said)) and sent > 1:
            half = sent // 2
            is_write = found[1] == "Write"
            return replace(
                self,
                writes=min(self.writes, half) if is_write else self.writes,
                batch=min(self.batch, half) if is_write else self.batch,
                ids=min(self.ids, half),
            )
        return None


def most_writes(limits: Limits) -> int:
    """Return how many points one write may have."""
    return limits.writes


def most_ids(limits: Limits) -> int:
    """Return how many ids one request may have."""
    return limits.ids


def _named(limit: re.Pattern[str], said: str, known: int) -> int:
    """Return the limit that a refusal names, if it is smaller than the known one."""
    found = limit.search(said)
    return known if found is None else min(known, max(1, int(found[1])))
