"""Filters as models of qdrant-client.

Passages are found by id through the ids of their points, which are computed from the passages' ids
(:func:`record_id`). That needs no payload index, which strict mode would require.
"""

from __future__ import annotations

from collections.abc import Sequence

from qdrant_client import models

from decant.embedders import StoreError

from ..stores.filters import Field, Where
from ..stores.point_ids import record_id
from ..stores.range_bounds import Numbers, Times
from ..stores.translation.translate import translate
from .limits import UNLIMITED, Limits


class RemoteDialect:
    """Writes filters for a server; see :class:`Dialect`.

    Args:
        values: How many values one condition may have; longer lists become several conditions.
    """

    def __init__(self, *, values: int = UNLIMITED) -> None:
        self._values = values

    def equals(self, path: str, value: str | int | bool) -> models.Condition:  # noqa: FBT001
        """Return the condition that the value at ``path`` is this one."""
        return models.FieldCondition(key=path, match=models.MatchValue(value=value))

    def any_of(self, path: str, values: list[str] | list[int]) -> models.Condition:
        """Return the condition that the value at ``path`` is one of these."""
        if len(values) <= self._values:
            return _any_of(path, values)
        starts = range(0, len(values), self._values)
        parts = [_any_of(path, values[start : start + self._values]) for start in starts]
        return self.join(should=parts)

    def within(self, path: str, bounds: Numbers) -> models.Condition:
        """Return the condition that the number at ``path`` is within the bounds."""
        span = models.Range(gt=bounds.gt, gte=bounds.gte, lt=bounds.lt, lte=bounds.lte)
        return models.FieldCondition(key=path, range=span)

    def during(self, path: str, bounds: Times) -> models.Condition:
        """Return the condition that the string at ``path`` is a time within the bounds."""
        span = models.DatetimeRange(gt=bounds.gt, gte=bounds.gte, lt=bounds.lt, lte=bounds.lte)
        return models.FieldCondition(key=path, range=span)

    def starts_with(self, path: str, prefix: str) -> models.Condition:
        """Return the condition that the string at ``path`` starts with this prefix."""
        if not hasattr(models, "MatchPrefix"):
            raise StoreError(
                "StartsWith needs qdrant-client 1.19 or newer and a server of that version; "
                "pip install -U qdrant-client"
            )
        return models.FieldCondition(key=path, match=models.MatchPrefix(prefix=prefix))

    def empty(self, path: str) -> models.Condition:
        """Return the condition that ``path`` has no value."""
        return models.IsEmptyCondition(is_empty=models.PayloadField(key=path))

    def join(
        self,
        *,
        must: Sequence[models.Condition] = (),
        should: Sequence[models.Condition] = (),
        must_not: Sequence[models.Condition] = (),
    ) -> models.Filter:
        """Return a filter: all of ``must``, one of ``should`` if any, none of ``must_not``."""
        return models.Filter(
            must=list(must) or None, should=list(should) or None, must_not=list(must_not) or None
        )

    def native(self, where: models.Filter) -> models.Condition:
        """Return a filter of qdrant-client unchanged."""
        if not isinstance(where, models.Filter):
            raise StoreError(
                f"a filter is a condition of decant or a qdrant_client.models.Filter, not {where!r}"
            )
        return where


def _any_of(path: str, values: list[str] | list[int]) -> models.Condition:
    if path == Field.ID:
        return models.HasIdCondition(has_id=[record_id(str(value)) for value in values])
    return models.FieldCondition(key=path, match=models.MatchAny(any=values))


def to_filter(where: Where, limits: Limits) -> models.Filter:
    """Return a condition as a filter of the client, within a server's limits."""
    dialect = RemoteDialect(values=limits.values)
    return dialect.join(must=[translate(where, dialect)])
