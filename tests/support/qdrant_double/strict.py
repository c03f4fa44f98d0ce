"""Strict mode: the limits that a collection's owner has set, checked before a request runs.

Texts and order are those of the server (``lib/collection/src/operations/verification``).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .answers import BadRequest, Refused
from .paths import displayed

_BY_KIND = {bool: "bool", int: "integer", float: "float"}


@dataclass(slots=True)
class Bucket:
    """Tokens that come back within a minute."""

    clock: Callable[[], float] = time.monotonic
    _left: float = 0.0
    _at: float | None = None

    def take(self, cost: int, capacity: int, what: str) -> None:
        """Take tokens, or refuse."""
        if cost > capacity:
            raise Refused(
                429,
                f"Rate limiting exceeded: {what} rate limit exceeded, request larger than rate "
                "limiter capacity, please try to split your request",
            )
        now = self.clock()
        if self._at is None:
            self._left = float(capacity)
        else:
            self._left = min(capacity, self._left + (now - self._at) * capacity / 60)
        self._at = now
        if cost > self._left:
            wait = -int(-(cost - self._left) * 60 // capacity)
            raise Refused(
                429,
                f"Rate limiting exceeded: {what} rate limit exceeded: Operation requires {cost} "
                f"tokens but only {self._left:.1f} were available. Retry after {wait}s",
                retry_after=wait,
            )
        self._left -= cost


@dataclass(slots=True)
class Strict:
    """The limits of one collection; an absent one does not bind."""

    limits: dict[str, Any] = field(default_factory=dict)
    reads: Bucket = field(default_factory=Bucket)
    writes: Bucket = field(default_factory=Bucket)

    def limit(self, name: str) -> Any:
        """Return a limit that binds, or None."""
        return self.limits.get(name) if self.limits.get("enabled") else None

    def check_number(self, value: int, limit: str, name: str) -> None:
        """Refuse a number above its limit."""
        most = self.limit(limit)
        if most is not None and value > most:
            raise BadRequest(
                f'Limit exceeded {value} > {most} for "{name}"',
                f'Reduce the "{name}" parameter to or below {most}.',
            )

    def check_exact(self, exact: object) -> None:
        """Refuse an exact search."""
        if exact and self.limit("search_allow_exact") is False:
            raise BadRequest("Exact search disabled!", "Set exact=false.")

    def check_filter(self, given: Any, indexes: Mapping[str, str], *, update: bool = False) -> None:
        """Refuse a filter that is too large, or uses a field without index."""
        if not given:
            return
        conditions = list(_conditions(given))
        self._check_sizes(conditions)
        way = "unindexed_filtering_update" if update else "unindexed_filtering_retrieve"
        if self.limit(way) is not False:
            return
        for condition in conditions:
            key, kinds = _wanted(condition)
            if key is not None and indexes.get(displayed(key)) not in kinds:
                raise BadRequest(
                    f'Index required but not found for "{displayed(key)}" of one of the following '
                    f"types: [{', '.join(sorted(kinds))}]",
                    "Create an index for this key or use a different filter.",
                )

    def _check_sizes(self, conditions: list[Any]) -> None:
        most = self.limit("filter_max_conditions")
        if most is not None and len(conditions) > most:
            raise BadRequest(
                f"Filter condition limit reached ({len(conditions)} > {most})",
                "Reduce the amount of conditions of your filter.",
            )
        size = max((_size(condition) for condition in conditions), default=0)
        most = self.limit("condition_max_size")
        if most is not None and size > most:
            raise BadRequest(
                f"Condition size limit reached ({size} > {most})",
                "Reduce the size of your condition.",
            )

    def pay_read(self, cost: int) -> None:
        """Take tokens for a read."""
        if (capacity := self.limit("read_rate_limit")) is not None:
            self.reads.take(cost, capacity, "Read")

    def pay_write(self, cost: int) -> None:
        """Take tokens for a write."""
        if (capacity := self.limit("write_rate_limit")) is not None:
            self.writes.take(cost, capacity, "Write")


def conditions_in(given: Any) -> int:
    """Return how many conditions a filter has, all the way down."""
    return len(list(_conditions(given))) if given else 0


def _conditions(given: Any) -> Iterator[Any]:
    for clause in ("must", "should", "must_not"):
        held = given.get(clause) or []
        for condition in [held] if isinstance(held, dict) else held:
            if {"must", "should", "must_not", "min_should"} & {*condition}:
                yield from _conditions(condition)
            else:
                yield condition
    if least := given.get("min_should"):
        yield from _conditions({"should": least["conditions"]})


def _size(condition: Any) -> int:
    if "has_id" in condition:
        return len(condition["has_id"])
    match = condition.get("match") or {}
    return max(len(match.get(name) or []) for name in ("any", "except"))


def _wanted(condition: Any) -> tuple[str | None, set[str]]:
    """Return the field that a condition needs an index of, and which types will do."""
    anything = {"keyword", "integer", "float", "bool", "datetime", "text", "uuid", "geo"}
    for name in ("is_empty", "is_null"):
        if name in condition:
            return condition[name]["key"], anything
    if "key" not in condition:
        return None, set()
    if match := condition.get("match"):
        values = match.get("any") or match.get("except") or [match.get("value")]
        return condition["key"], set().union(*map(_kinds, values))
    if "range" in condition:
        held = [value for value in condition["range"].values() if value is not None]
        is_date = any(isinstance(value, str) for value in held)
        return condition["key"], {"datetime"} if is_date else {"float", "integer"}
    return condition["key"], anything


def _kinds(value: Any) -> set[str]:
    if not isinstance(value, str):
        return {_BY_KIND[type(value)]}
    try:
        uuid.UUID(value)
    except ValueError:
        return {"keyword"}
    return {"keyword", "uuid"}
