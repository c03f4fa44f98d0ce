"""Stores that let a test do something at a chosen point of somebody else's work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from decant.integrations.qdrant import RemoteStore, Store


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


class Cut(Exception):
    """The process ends here."""


class CutClient:
    """A client of qdrant-client that ends the process at a call of one method.

    Args:
        client: Does everything.
        method: The method.
        calls: How many calls are carried out before.
    """

    def __init__(self, client: Any, method: str, calls: int) -> None:
        self._client = client
        self._method = method
        self._left = calls

    def __getattr__(self, name: str) -> Any:
        if name == self._method:
            self._left -= 1
            if self._left < 0:
                raise Cut
        return getattr(self._client, name)


@contextmanager
def cut_off(store: RemoteStore, method: str, calls: int) -> Iterator[None]:
    """Let a store's client be a :class:`CutClient` in the block."""
    client = CutClient(store.requests.client, method, calls)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(store.requests), "client", property(lambda _: client))
        yield
