"""Filters in the words of qdrant-client."""

from __future__ import annotations

from collections.abc import Sequence

from qdrant_client import models

from decant.embedders import StoreError

from .conditions import Range


class RemoteDialect:
    """Writes filters for a server; see :class:`Dialect`."""

    def equals(self, path: str, value: str | int | bool) -> models.Condition:  # noqa: FBT001
        """The value at ``path`` is this one."""
        return models.FieldCondition(key=path, match=models.MatchValue(value=value))

    def any_of(self, path: str, values: list[str] | list[int]) -> models.Condition:
        """The value at ``path`` is one of these."""
        return models.FieldCondition(key=path, match=models.MatchAny(any=values))

    def within(self, path: str, bounds: Range) -> models.Condition:
        """The number at ``path`` is within the bounds."""
        span = models.Range(gt=bounds.gt, gte=bounds.gte, lt=bounds.lt, lte=bounds.lte)
        return models.FieldCondition(key=path, range=span)

    def empty(self, path: str) -> models.Condition:
        """There is nothing at ``path``."""
        return models.IsEmptyCondition(is_empty=models.PayloadField(key=path))

    def join(
        self,
        *,
        must: Sequence[models.Condition] = (),
        should: Sequence[models.Condition] = (),
        must_not: Sequence[models.Condition] = (),
    ) -> models.Filter:
        """All of ``must``, one of ``should`` where there are any, none of ``must_not``."""
        return models.Filter(
            must=list(must) or None, should=list(should) or None, must_not=list(must_not) or None
        )

    def native(self, where: models.Filter) -> models.Condition:
        """Take a filter as it is."""
        if not isinstance(where, models.Filter):
            raise StoreError(
                f"a filter is a condition of decant or a qdrant_client.models.Filter, not {where!r}"
            )
        return where
