"""A collection with tenants is migrated as a whole, and nothing of one tenant reaches another."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from decant.embedders import HashEncoder, Precision, Role, StoreError
from decant.integrations.qdrant import (
    Collection,
    CollectionFollower,
    CollectionMovedError,
    CollectionSettings,
    Layout,
    MigrationProgress,
    Record,
    Storage,
    Store,
    TenantError,
    Tenants,
    TenantStore,
    drop_replaced,
    migrate,
    rollback_migration,
    summarize,
)
from decant.integrations.qdrant.points.golden import GOLDEN_TEXT
from migration_scene import (
    NEW,
    OLD,
    SETTINGS,
    SMALL,
    Contents,
    Precise,
    contents,
    documents,
    payloads,
    records,
    throughout,
    without_grace,
)

BOTH = ("acme", "globex")
WITH_TENANTS = replace(SETTINGS, tenants=Tenants())


@pytest.fixture(params=["edge", "local", "server"])
def store(request: pytest.FixtureRequest) -> Store:
    """Return a store of each engine in turn."""
    found: Store = request.getfixturevalue(request.param)
    return without_grace(found)


def fill(notes: Collection) -> Collection:
    """Let two tenants have records and documents of the same ids, with other texts."""
    acme, globex = (notes.tenant(tenant) for tenant in BOTH)
    acme.index(documents(*range(12)), chunking=SMALL)
    acme.add(records(*range(20)))
    globex.index(documents(*range(4, 16), salt=3), chunking=SMALL)
    globex.add(
        [Record(id=f"record-{number}", text=f"the ship {number}") for number in range(0, 30, 2)]
    )
    return notes


@pytest.fixture
def notes(store: Store) -> Collection:
    return fill(Collection.create(store, "docs", OLD, settings=WITH_TENANTS))


def of(store: Store, tenant: str, name: str = "docs") -> Contents:
    """Return what a tenant has in what a name means."""
    return contents(TenantStore.of(store, name, tenant), name)


def migrated(store: Store, encoder: HashEncoder = NEW) -> str:
    migration = migrate(store, "docs", encoder)
    migration.run()
    migration.cut_over()
    return migration.target


def test_each_tenant_has_what_indexing_anew_would_have_made(
    notes: Collection, store: Store
) -> None:
    before = {tenant: payloads(of(store, tenant)) for tenant in BOTH}
    migrated(store)
    docs = Collection.open(store, "docs", NEW)
    assert docs.tenant_names() == list(BOTH)
    fresh = fill(Collection.create(store, "fresh", NEW, settings=WITH_TENANTS))
    for tenant in BOTH:
        after = of(store, tenant)
        assert payloads(after) == before[tenant]
        for identity, (payload, vector) in of(store, tenant, fresh.name).items():
            if payload["kind"] != "document":  # type: ignore[index]
                assert after[identity] == (payload, vector)
        view = docs.tenant(tenant)
        assert view.check().is_sound
        assert view.info().passages == notes.tenant(tenant).info().passages
        assert view.info().filled_by == fresh.tenant(tenant).info().filled_by != ()
    with pytest.raises(TenantError):
        docs.search("the ship 4")
    assert [hit.id for hit in docs.tenant("globex").search("the ship 4", limit=1)] == ["record-4"]
    assert all("ship" not in hit.text for hit in docs.tenant("acme").search("ship", limit=50))
    assert docs.tenant("acme").info().tenants == Tenants()
    assert summarize(store, "docs").tenants == BOTH


def test_a_view_that_was_opened_by_an_alias_is_opened_by_it_again(
    notes: Collection, store: Store
) -> None:
    migrated(store)
    view = Collection.open(store, "docs", NEW).tenant("acme")
    assert Collection.open(view.store, "docs", NEW).count() == view.count()
    assert summarize(view.store, "docs").held.passages == view.count()
    assert TenantStore.of(store, "docs", "acme").find("docs").name == store.find("docs").name


def test_a_text_of_one_tenant_is_never_the_vector_of_another(store: Store) -> None:
    encoder = Precise(Precision.FP32, 24)
    notes = Collection.create(store, "docs", OLD, settings=WITH_TENANTS)
    for tenant in BOTH:
        notes.tenant(tenant).add([Record(id="1", text="the same"), Record(id="2", text="the same")])
    done = migrate(store, "docs", encoder).run()
    assert [text for text in encoder.texts if text != GOLDEN_TEXT] == ["the same"] * 2
    assert done.embedded == 2


def test_another_layout_alone_copies_the_vectors_of_each_tenant(
    store: Store, request: pytest.FixtureRequest
) -> None:
    is_local = request.node.callspec.params["store"] == "local"  # which compresses nothing
    encoder = Precise(Precision.FP32)
    fill(Collection.create(store, "docs", encoder, settings=WITH_TENANTS))
    before = {tenant: of(store, tenant) for tenant in BOTH}
    layout = Layout(storage=Storage.FULL if is_local else Storage.INT8)
    migration = migrate(store, "docs", encoder, layout=layout)
    assert migration.run().embedded == 0
    migration.cut_over()
    for tenant in BOTH:
        after = of(store, tenant)
        for identity, (payload, vector) in before[tenant].items():
            close = vector if vector is None else pytest.approx(vector, abs=1e-6)
            assert after[identity] == (payload, close)


def test_progress_counts_the_points_of_all_tenants(notes: Collection, store: Store) -> None:
    seen: list[MigrationProgress] = []
    migration = migrate(store, "docs", NEW)
    total = sum(len(of(store, tenant)) for tenant in BOTH)
    assert migration.points == total
    done = migration.run(seen.append)
    assert {one.total for one in seen} == {total}
    assert [one.compared for one in seen] == sorted(one.compared for one in seen)
    assert seen[-1].compared == total
    assert done.embedded == seen[-1].embedded > 0
    assert done.left_out == 0


def test_tenants_that_come_or_go_while_it_runs_are_seen(notes: Collection, store: Store) -> None:
    migration = migrate(store, "docs", NEW)
    migration.run()
    notes.tenant("initech").add([Record(id="record-1", text="a stapler")])
    notes.tenant("globex").clear()
    notes.tenant("acme").delete(["record-3"])
    migration.cut_over()
    docs = Collection.open(store, "docs", NEW)
    assert [hit.text for hit in docs.tenant("initech").search("stapler")] == ["a stapler"]
    assert docs.tenant("globex").count() == 0
    assert of(store, "globex") == {}
    assert docs.tenant("acme").get(["record-3"]) == []


def test_the_cut_over_closes_the_views_of_all_tenants(notes: Collection, store: Store) -> None:
    views = [notes.tenant(tenant) for tenant in (*BOTH, "initech")]
    target = migrated(store)
    for view in [*views, notes.tenant("acme")]:
        for change in (
            lambda view=view: view.add(records(100)),
            lambda view=view: view.index(documents(1, salt=2)),
        ):
            with pytest.raises(CollectionMovedError, match=f"{target!r} takes its place"):
                change()
    # Whoever holds the old collection goes on searching it, in new views as well.
    assert notes.tenant("globex").search("the ship 4", limit=1)[0].id == "record-4"
    assert len(notes.tenant("acme").search("record 7", limit=1, with_vectors=True)) == 1


def test_rolling_back_keeps_what_each_tenant_wrote_since(notes: Collection, store: Store) -> None:
    migrated(store)
    docs = Collection.open(store, "docs", NEW)
    docs.tenant("acme").add(records(100))
    docs.tenant("globex").delete(["record-2"])
    docs.tenant("globex").index(documents(*range(4, 9), salt=1), chunking=SMALL)
    docs.tenant("initech").add([Record(id="record-1", text="a stapler")])
    wanted = {tenant: payloads(of(store, tenant)) for tenant in (*BOTH, "initech")}
    done = rollback_migration(store, "docs", old_encoder=OLD)
    assert done.was_cut_over
    assert {tenant: payloads(of(store, tenant)) for tenant in wanted} == wanted
    assert notes.tenant("initech").search("stapler", limit=1)[0].text == "a stapler"
    assert notes.tenant_names() == ["acme", "globex", "initech"]
    for tenant in wanted:
        assert notes.tenant(tenant).check().is_sound
        notes.tenant(tenant).add(records(200))
    with pytest.raises(CollectionMovedError):
        docs.tenant("acme").add(records(101))
    again = migrate(store, "docs", NEW)
    again.run()
    again.cut_over()
    assert drop_replaced(store, "docs", keep=timedelta(0)) == ["docs"]
    assert Collection.open(store, "docs", NEW).tenant("initech").get(["record-200"])


def test_the_overlap_is_that_within_each_tenant(store: Store) -> None:
    encoder = Precise(Precision.FP32)
    notes = Collection.create(store, "docs", encoder, settings=WITH_TENANTS)
    notes.tenant("acme").add(records(*range(1, 40)))
    notes.tenant("globex").add(records(*range(20, 30)))
    notes.tenant("initech").add([Record(text=" ")])
    same = migrate(store, "docs", encoder, layout=Layout(storage=Storage.FULL))
    same.run()
    found = same.overlap(limit=5, sample=20)
    assert found.least == 1.0
    assert 14 <= found.queries <= 20, "blank texts have no vectors"
    assert same.overlap(["the year 3"], old_encoder=encoder).queries == 3
    rollback_migration(store, "docs")
    other = migrate(store, "docs", NEW)
    other.run()
    assert 0.0 <= other.overlap(["the year 3", "topic t4"], old_encoder=encoder).mean < 1.0


def test_nothing_can_be_compared_without_a_passage(store: Store) -> None:
    Collection.create(store, "docs", OLD, settings=WITH_TENANTS)
    migration = migrate(store, "docs", NEW)
    migration.run()
    with pytest.raises(StoreError, match="nothing to compare"):
        migration.overlap()
    migration.cut_over()
    assert Collection.open(store, "docs", NEW).tenant_names() == []


@pytest.mark.parametrize("engine", ["local", "server"])
def test_from_a_folder_to_a_server(engine: str, request: pytest.FixtureRequest) -> None:
    edge, remote = (without_grace(request.getfixturevalue(one)) for one in ("edge", engine))
    fill(Collection.create(edge, "docs", OLD, settings=WITH_TENANTS))
    wanted = {tenant: payloads(of(edge, tenant)) for tenant in BOTH}
    migration = migrate(edge, "docs", NEW, to=remote)
    migration.run()
    migration.cut_over()
    assert {tenant: payloads(of(remote, tenant)) for tenant in BOTH} == wanted
    assert rollback_migration(edge, "docs", to=remote).was_cut_over
    Collection.open(edge, "docs", OLD).tenant("acme").add(records(100))


def test_a_view_of_one_tenant_is_refused(notes: Collection, store: Store) -> None:
    view = notes.tenant("acme").store
    calls: list[Callable[[], Any]] = [
        lambda: migrate(view, "docs", NEW),
        lambda: migrate(store, "docs", NEW, to=view),
        lambda: rollback_migration(view, "docs"),
        lambda: rollback_migration(store, "docs", to=view),
        lambda: drop_replaced(view, "docs"),
        lambda: CollectionFollower(view, "docs", [OLD]),
    ]
    for call in calls:
        with pytest.raises(TenantError, match="the store that connect"):
            call()
    assert store.names() == ["docs"]
    assert store.aliases.note("docs") is None
    migration = migrate(notes.store, "docs", NEW)  # that of an open collection will do
    migration.run()
    assert rollback_migration(notes.store, "docs").abandoned == migration.target


@dataclass(frozen=True, kw_only=True)
class User:
    """One who searches and writes as a tenant, whatever the name means."""

    follower: CollectionFollower
    stranger: str
    written: set[str] = field(default_factory=set)
    widths: set[int] = field(default_factory=set)

    def search(self, _: int) -> None:
        view = self.follower.current()
        hits = view.search("the record 4 and the ship 4", limit=10, with_vectors=True)
        assert len(hits) == 10
        for hit in hits:
            assert self.stranger not in hit.text
            made = view.encoder.encode([hit.text], role=Role.PASSAGE).dense[0]
            assert hit.vector == pytest.approx(made, abs=1e-5)
        self.widths.add(view.encoder.dim)

    def write(self, number: int) -> None:
        own = "ship" if self.stranger == "record" else "record"
        some = [Record(id=f"new-{number}", text=f"the {own} {number}")]
        self.written.update(self.follower.write(lambda docs: docs.add(some)))
        if number % 3 == 0:
            gone = f"new-{number // 2}"
            self.follower.write(lambda docs: docs.delete([gone]))
            self.written.discard(gone)
        if number % 4 == 0:
            changed = documents(4 + number % 8, salt=number)
            self.follower.write(lambda docs: docs.index(changed, chunking=SMALL))


def test_each_tenant_searches_and_writes_throughout(notes: Collection, store: Store) -> None:
    users = {
        tenant: User(
            follower=CollectionFollower(store, "docs", [OLD, NEW], tenant=tenant),
            stranger=stranger,
        )
        for tenant, stranger in zip(BOTH, ("ship", "record"), strict=True)
    }
    with ExitStack() as stack:
        works = [work for user in users.values() for work in (user.search, user.write)]
        waits = [stack.enter_context(throughout(work, least=2)) for work in works]

        def wait() -> None:
            for one in waits:
                one()

        migration = migrate(store, "docs", NEW)
        wait()
        migration.run()
        wait()
        migration.cut_over()
        wait()
        rollback_migration(store, "docs", old_encoder=OLD)
        wait()
    docs = Collection.open(store, "docs", OLD)
    for tenant, user in users.items():
        held = docs.tenant(tenant)
        assert {one.id for one in held.each() if one.id.startswith("new-")} == user.written
        assert not any(user.stranger in one.text for one in held.each())
        assert held.check().is_sound
        assert user.widths == {OLD.dim, NEW.dim}


def test_dedicated_shards_are_those_of_the_old_one(server: Store) -> None:
    store = without_grace(server)
    settings = CollectionSettings(tenants=Tenants(dedicated=("acme",)))
    fill(Collection.create(store, "docs", OLD, settings=settings))
    wanted = {tenant: payloads(of(store, tenant)) for tenant in BOTH}
    target = migrated(store)
    assert store.card(target).tenants == settings.tenants
    assert {tenant: payloads(of(store, tenant)) for tenant in BOTH} == wanted
