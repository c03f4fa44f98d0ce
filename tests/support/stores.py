"""Stores that let a test do something at a chosen point of somebody else's work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from decant.integrations.qdrant import Store


class Between:
    """A store that calls back before each operation of one name that has something to do.

    Args:
        store: Carries everything out.
        operation: ``upsert``, ``set_fields`` or ``delete``.
        called: Is given the points or ids.
    """

    def __init__(self, store: Store, operation: str, called: Callable[[list[Any]], None]) -> None:
        self._store = store
        self._operation = operation
        self._called = called

    def __getattr__(self, name: str) -> object:
        value = getattr(self._store, name)
        if name != self._operation:
            return value

        def call(collection: str, items: Sequence[Any]) -> object:
            if items:
                self._called(list(items))
            return value(collection, items)

        return call
