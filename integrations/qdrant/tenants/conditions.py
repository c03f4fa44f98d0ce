"""Conditions of one tenant: its own in front of every other, and ids as they are stored.

Invariant: what :meth:`TenantConditions.within` returns holds for points of the tenant alone,
whatever it is given, because the tenant's condition is joined to it by And.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, assert_never, cast

from ..stores.filters import (
    And,
    Equals,
    Exists,
    Field,
    FieldIn,
    In,
    Not,
    Or,
    Range,
    StartsWith,
    Where,
    check_nesting,
)
from ..stores.point_ids import record_id
from ..stores.protocol import Engine
from .tenant_ids import TenantIds

if TYPE_CHECKING:
    from qdrant_client import models

_CLAUSES = ("must", "should", "must_not")


class TenantConditions:
    """Makes the conditions of one tenant.

    Args:
        tenant: The tenant.
        ids: The ids of its points.
        engine: Servers find passages by the ids of points, Edge by those in payloads.
    """

    def __init__(self, tenant: str, ids: TenantIds, engine: Engine) -> None:
        self.own = FieldIn(Field.TENANT, (tenant,))
        self._ids = ids
        self._engine = engine

    def within(self, where: Where | None) -> Where:
        """Return the condition that a point is the tenant's and meets ``where``."""
        return self.own if where is None else And([self.own, self._stored(where)])

    def _stored(self, where: Where) -> Where:
        """Return a condition with ids as they are stored."""
        match where:
            case And(parts):
                return And([self._stored(part) for part in parts])
            case Or(parts):
                return Or([self._stored(part) for part in parts])
            case Not(part):
                return Not(self._stored(part))
            case FieldIn(Field.ID, values):
                return self._by_id([str(value) for value in values])
            case FieldIn() | Equals() | In() | Range() | Exists() | StartsWith() | Mapping():
                return where
            case _:
                check_nesting(where)
                return cast("models.Filter", self._of_client(where))

    def _by_id(self, ids: list[str]) -> Where:
        match self._engine:
            case Engine.EDGE:
                return FieldIn(Field.ID, ids)
            case Engine.REMOTE:
                return FieldIn(Field.ID, [self._ids.stored(record_id(each)) for each in ids])
            case _:
                assert_never(self._engine)

    def _of_client(self, given: Any) -> Any:  # noqa: ANN401 - models of qdrant-client
        """Return a filter of qdrant-client with ids as they are stored.

        Models are recognised by their class names, so this file does not import qdrant-client.
        """
        match type(given).__name__:
            case "HasIdCondition":
                ids = [
                    each if isinstance(each, int) else self._ids.stored(str(each))
                    for each in given.has_id
                ]
                return given.model_copy(update={"has_id": ids})
            case "Filter":
                changed = {name: self._clause(getattr(given, name)) for name in _CLAUSES}
                if (least := given.min_should) is not None:
                    conditions = self._clause(least.conditions)
                    changed["min_should"] = least.model_copy(update={"conditions": conditions})
                return given.model_copy(update=changed)
            case _:
                return given

    def _clause(self, given: Any) -> Any:  # noqa: ANN401 - as above
        if isinstance(given, list):
            return [self._of_client(each) for each in given]
        return self._of_client(given)
