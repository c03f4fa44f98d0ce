"""A process that ends before any change of a store, on every engine: the next one completes it.

A kill at a random moment rarely hits the few changes of a cut-over. Here each change in turn is the
one that is never made: of points, of notes, of names.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import (
    Collection,
    CollectionFollower,
    CollectionSettings,
    Record,
    Store,
    Tenants,
    drop_replaced,
    migrate,
    rollback_migration,
)
from migration_scene import NEW, OLD, contents, migrate_now, payloads, without_grace

SLOW = pytest.mark.slow
STORES = ["edge", "local", pytest.param("server", marks=SLOW), pytest.param("tenanted", marks=SLOW)]
IN_STORE = ("create", "upsert", "set_fields", "delete", "drop")
IN_ALIASES = ("point", "set_note", "drop_replaced")


class PowerOff(BaseException):
    """The process ends."""


class Doomed:
    """Counts the changes of a store, and ends the process before one of them.

    Args:
        store: The store, whose methods are replaced until :meth:`mend`.
        last: How many changes are made.
    """

    def __init__(self, store: Store, last: int) -> None:
        self.left = last
        self._places = [(store, name) for name in IN_STORE]
        self._places += [(store.aliases, name) for name in IN_ALIASES]  # type: ignore[misc]
        for place, name in self._places:
            setattr(place, name, self._counted(getattr(place, name)))

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            # Nothing is changed after the end, such as by what runs in an `except`.
            if self.left <= 0:
                self.left = -1
                raise PowerOff
            self.left -= 1
            return call(*arguments, **options)

        return counted

    def mend(self) -> bool:
        """Restore the store, and return whether the process had ended."""
        for place, name in self._places:
            delattr(place, name)
        return self.left < 0


def make(store: Store) -> Collection:
    docs = Collection.create(without_grace(store), "docs", OLD)
    docs.add([Record(id=str(number), text=f"the text {number}") for number in range(5)])
    return docs


def remove(store: Store) -> None:
    for name in store.names():
        real = store.find(name).name
        if real == name or real not in store.names():
            store.drop(real)
    for name in store.names():
        store.drop(store.find(name).name)


@pytest.mark.parametrize("store", STORES, indirect=True)
def test_before_any_change_of_a_migration(store: Store) -> None:
    last, ended = 0, True
    while ended:
        make(store)
        doomed = Doomed(store, last)
        with suppress(PowerOff):
            migrate_now(store)
        ended = doomed.mend()
        # Whatever happened, the name means a whole collection, and one encoder fits.
        before = CollectionFollower(store, "docs", [OLD, NEW]).current()
        assert [hit.id for hit in before.search("the text 3", limit=1)] == ["3"]
        assert before.count() == 5
        target = migrate_now(store)
        after = Collection.open(store, "docs", NEW)
        after.add([Record(id="new", text="the text of later")])
        assert after.count() == 6
        assert store.names() == ["docs", target]
        remove(store)
        assert store.names() == []
        last += 1
    assert last > 10


@pytest.mark.parametrize("engine", ["edge", "local"])
def test_before_any_change_of_a_migration_with_tenants(
    engine: str, request: pytest.FixtureRequest
) -> None:
    store = without_grace(request.getfixturevalue(engine))
    last, ended = 0, True
    while ended:
        docs = Collection.create(store, "docs", OLD, settings=CollectionSettings(tenants=Tenants()))
        for tenant in ("acme", "globex"):
            texts = [Record(id=str(number), text=f"{tenant} {number}") for number in range(3)]
            docs.tenant(tenant).add(texts)
        doomed = Doomed(store, last)
        with suppress(PowerOff):
            migrate_now(store)
        ended = doomed.mend()
        for tenant in ("acme", "globex"):
            view = CollectionFollower(store, "docs", [OLD, NEW], tenant=tenant).current()
            assert {hit.text for hit in view.search("2")} == {f"{tenant} {n}" for n in range(3)}
        target = migrate_now(store)
        for tenant in ("acme", "globex"):
            after = Collection.open(store, "docs", NEW).tenant(tenant)
            after.add([Record(id="new", text="the text of later")])
            assert after.count() == 4
        assert store.names() == ["docs", target]
        remove(store)
        last += 1
    assert last > 12


@pytest.mark.parametrize("store", STORES, indirect=True)
@pytest.mark.parametrize("encoder", [None, OLD])
def test_before_any_change_of_a_rollback(store: Store, encoder: HashEncoder | None) -> None:
    last, ended = 0, True
    while ended:
        docs = make(store)
        migration = migrate(store, "docs", NEW)
        migration.run()
        migration.cut_over()
        Collection.open(store, "docs", NEW).add([Record(id="since", text="since then")])
        doomed = Doomed(store, last)
        with suppress(PowerOff):
            rollback_migration(store, "docs", old_encoder=encoder)
        ended = doomed.mend()
        CollectionFollower(store, "docs", [OLD, NEW]).current().search("the text 3")
        if store.find("docs").name != "docs":
            rollback_migration(store, "docs", old_encoder=encoder)
        docs.add([Record(id="later", text="written later")])
        held = {str(item["id"]) for item in payloads(contents(store, "docs")).values()}  # type: ignore[index]
        since = set() if encoder is None else {"since"}
        assert held == {"0", "1", "2", "3", "4", "later"} | since
        remove(store)
        last += 1
    assert last > 3


@pytest.mark.parametrize("engine", ["local", "server"])
def test_between_deleting_the_replaced_collection_and_marking_its_name(
    engine: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = request.getfixturevalue(engine)
    make(store)
    migration = migrate(store, "docs", NEW)
    migration.run()
    migration.cut_over()

    def stop(*_: object, **__: object) -> None:
        raise PowerOff

    with monkeypatch.context() as patch:
        patch.setattr(store.requests.client, "create_collection", stop)
        with pytest.raises(PowerOff):
            drop_replaced(store, "docs", keep=timedelta(0))
    assert store.names() == [migration.target]
    assert Collection.open(store, "docs", NEW).search("the text 3", limit=1)[0].id == "3"
    assert migrate(store, "docs", NEW).is_done
    assert drop_replaced(store, "docs", keep=timedelta(0)) == ["docs"]
    assert store.names() == ["docs", migration.target]


def test_a_damaged_note_is_told_and_does_not_prevent_deleting(edge: Store) -> None:
    make(edge)
    migration = migrate(edge, "docs", NEW)
    path = Path(edge.place) / "docs" / "migration.json"
    path.write_text('{"alias": 3}')
    with pytest.raises(StoreError, match="the note of a migration of"):
        migrate(edge, "docs", NEW)
    edge.drop("docs")
    edge.drop(migration.target)
    assert edge.names() == []


def test_a_damaged_alias_is_told_with_what_to_write(edge: Store) -> None:
    make(edge)
    target = migrate_now(edge)
    path = Path(edge.place) / "docs" / "alias.json"
    path.write_text("{}")
    with pytest.raises(StoreError, match="is damaged, which says what collection"):
        Collection.open(edge, "docs", NEW)
    path.write_text(f'{{"collection": "{target}"}}')
    assert Collection.open(edge, "docs", NEW).count() == 5


def test_the_time_to_keep_is_that_since_the_cut_over(store: Store) -> None:
    make(store)
    migration = migrate(store, "docs", NEW)
    migration.run()
    with pytest.raises(StoreError, match="no old vectors to drop"):
        drop_replaced(store, "docs", keep=timedelta(0))
    migration.cut_over()
    with pytest.raises(StoreError, match="are kept until"):
        drop_replaced(store, "docs", keep=timedelta(hours=1))
