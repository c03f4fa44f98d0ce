"""Filters for Qdrant Edge, made from decant's conditions and from qdrant-client's models.

The models are recognised by their class names, so this file does not import qdrant-client: a caller
with one of its filters has imported it already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import qdrant_edge as edge

from decant.embedders import StoreError

from ..stores.range_bounds import Numbers, Times

if TYPE_CHECKING:
    from qdrant_client import models

EdgeCondition: TypeAlias = Any
"""``qdrant_edge.ConditionType`` exists only in its stub, so it has no name at run time."""


class EdgeDialect:
    """Writes filters for Edge; see :class:`Dialect`."""

    def equals(self, path: str, value: str | int | bool) -> EdgeCondition:
        """Return the condition that the value at ``path`` is this one."""
        return edge.FieldCondition(path, match=_value(value))

    def any_of(self, path: str, values: list[str] | list[int]) -> EdgeCondition:
        """Return the condition that the value at ``path`` is one of these."""
        return edge.FieldCondition(path, match=edge.MatchAny(values))

    def within(self, path: str, bounds: Numbers) -> EdgeCondition:
        """Return the condition that the number at ``path`` is within the bounds."""
        span = edge.RangeFloat(gte=bounds.gte, gt=bounds.gt, lte=bounds.lte, lt=bounds.lt)
        return edge.FieldCondition(path, range=span)

    def during(self, path: str, bounds: Times) -> EdgeCondition:
        """Return the condition that the string at ``path`` is a time within the bounds."""
        return edge.FieldCondition(path, range=_times(bounds))

    def starts_with(self, path: str, prefix: str) -> EdgeCondition:
        """Return the condition that the string at ``path`` starts with this prefix."""
        return edge.FieldCondition(path, match=edge.MatchPrefix(prefix))

    def empty(self, path: str) -> EdgeCondition:
        """Return the condition that ``path`` has no value."""
        return edge.IsEmptyCondition(path)

    def join(
        self,
        *,
        must: Sequence[EdgeCondition] = (),
        should: Sequence[EdgeCondition] = (),
        must_not: Sequence[EdgeCondition] = (),
    ) -> edge.Filter:
        """Return a filter: all of ``must``, one of ``should`` if any, none of ``must_not``."""
        return edge.Filter(
            must=list(must) or None, should=list(should) or None, must_not=list(must_not) or None
        )

    def native(self, where: models.Filter) -> EdgeCondition:
        """Read a filter of qdrant-client."""
        return _filter(where)


def _filter(given: Any) -> edge.Filter:
    if type(given).__name__ != "Filter":
        raise StoreError(
            f"a filter is a condition of decant or a qdrant_client.models.Filter, not {given!r}"
        )
    least = given.min_should
    return edge.Filter(
        must=_conditions(given.must),
        should=_conditions(given.should),
        must_not=_conditions(given.must_not),
        min_should=least
        and edge.MinShould(_conditions(least.conditions) or [], int(least.min_count)),
    )


def _conditions(given: Any) -> list[EdgeCondition] | None:
    if given is None:
        return None
    return [_condition(item) for item in (given if isinstance(given, list) else [given])]


def _condition(given: Any) -> EdgeCondition:
    match type(given).__name__:
        case "Filter":
            return _filter(given)
        case "FieldCondition":
            return _field(given)
        case "IsEmptyCondition":
            return edge.IsEmptyCondition(given.is_empty.key)
        case "IsNullCondition":
            return edge.IsNullCondition(given.is_null.key)
        case "HasIdCondition":
            return edge.HasIdCondition(set(given.has_id))
        case "HasVectorCondition":
            return edge.HasVectorCondition(given.has_vector)
        case "NestedCondition":
            return edge.NestedCondition(given.nested.key, _filter(given.nested.filter))
        case name:
            raise StoreError(f"Edge has no condition {name}; write the filter without it")


def _field(given: Any) -> edge.FieldCondition:
    return edge.FieldCondition(
        given.key,
        match=given.match and _match(given.match),
        range=given.range and _range(given.range),
        geo_bounding_box=given.geo_bounding_box
        and edge.GeoBoundingBox(
            _point(given.geo_bounding_box.top_left), _point(given.geo_bounding_box.bottom_right)
        ),
        geo_radius=given.geo_radius
        and edge.GeoRadius(_point(given.geo_radius.center), given.geo_radius.radius),
        geo_polygon=given.geo_polygon
        and edge.GeoPolygon(
            [_point(point) for point in given.geo_polygon.exterior.points],
            [
                [_point(point) for point in ring.points]
                for ring in given.geo_polygon.interiors or []
            ],
        ),
        values_count=given.values_count and _values_count(given.values_count),
        is_empty=given.is_empty,
        is_null=given.is_null,
    )


def _match(given: Any) -> Any:
    match type(given).__name__:
        case "MatchValue":
            return _value(given.value)
        case "MatchAny":
            return edge.MatchAny(given.any)
        case "MatchExcept":
            return edge.MatchExcept(given.except_)
        case "MatchText":
            return edge.MatchText(given.text)
        case "MatchTextAny":
            return edge.MatchTextAny(given.text_any)
        case "MatchPhrase":
            return edge.MatchPhrase(given.phrase)
        case "MatchPrefix":
            return edge.MatchPrefix(given.prefix)
        case "MatchSubstring":
            return edge.MatchSubstring(given.substring)
        case name:
            raise StoreError(f"Edge has no match {name}; write the filter without it")


def _value(value: str | int | bool) -> edge.MatchValue:
    # Edge 0.9.0 reads True as the integer 1, and numpy's boolean as a boolean.
    return edge.MatchValue(cast("bool", np.bool_(value)) if isinstance(value, bool) else value)


def _range(given: Any) -> edge.RangeFloat | edge.RangeDateTime:
    if type(given).__name__ == "Range":
        return edge.RangeFloat(gte=given.gte, gt=given.gt, lte=given.lte, lt=given.lt)
    return _times(given)


def _times(given: Any) -> edge.RangeDateTime:
    bounds = (given.gte, given.gt, given.lte, given.lt)
    gte, gt, lte, lt = (None if bound is None else bound.isoformat() for bound in bounds)
    return edge.RangeDateTime(gte=gte, gt=gt, lte=lte, lt=lt)


def _values_count(given: Any) -> edge.ValuesCount:
    return edge.ValuesCount(gte=given.gte, gt=given.gt, lte=given.lte, lt=given.lt)


def _point(given: Any) -> edge.GeoPoint:
    return edge.GeoPoint(given.lon, given.lat)
