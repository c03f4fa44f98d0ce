"""The part of one tenant: dumped alone, and restored into a collection of its own or a tenant."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from decant.embedders import CollectionMismatch, HashEncoder, StoreError
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    DumpError,
    Layout,
    Record,
    Storage,
    Store,
    StoreInputError,
    TenantError,
    TenantGraphs,
    Tenants,
    TenantStore,
    Words,
    dump,
    restore,
)
from decant.integrations.qdrant.dumps.stored_settings import read_graph_settings
from dump_scene import ENCODER, ENGINES, SMALL, assert_same_points, documents, held_points, hits
from qdrant_double import QdrantDouble, reached
from stores import Between, Cut, cut_off

TENANTED = CollectionSettings(tenants=Tenants(), words=Words())
WAYS = [*((one, one) for one in ENGINES), ("edge", "server"), ("server", "local")]


def tenanted(store: Store, name: str = "docs", encoder: HashEncoder = ENCODER) -> Collection:
    """Return a collection in which two tenants have the same ids, sources and documents."""
    docs = Collection.create(store, name, encoder, settings=TENANTED)
    for tenant in ("acme", "zeta"):
        view = docs.tenant(tenant)
        view.index(documents(4), chunking=SMALL)
        view.add([Record(id=one, text=f"the {tenant} record {one} of the year") for one in "abc"])
    return docs


def of_tenant(store: Store, tenant: str, name: str = "docs") -> dict[str, Any]:
    """Return the points of a tenant as it sees them."""
    return held_points(cast("Store", TenantStore.of(store, name, tenant)), name)


@pytest.mark.parametrize(("source", "target"), WAYS)
def test_a_tenant_alone_becomes_a_collection_of_its_own(
    source: str, target: str, file: Path, request: pytest.FixtureRequest
) -> None:
    store: Store = request.getfixturevalue(source)
    docs = tenanted(store)
    wanted, found_before = of_tenant(store, "acme"), hits(docs.tenant("acme"))
    report = dump(store, "docs", file, tenant="acme")
    assert report.points == len(wanted)
    with zipfile.ZipFile(file) as archive:
        said = "".join(archive.read(name).decode("latin-1") for name in archive.namelist())
    assert "zeta" not in said
    assert store.card("docs").tenant_key not in said
    there: Store = request.getfixturevalue(target)
    restore(file, there, "acme")
    assert_same_points(held_points(there, "acme"), wanted)
    copy = Collection.open(there, "acme", ENCODER)
    assert there.card("acme").tenants is None
    # Engines differ in how they weigh words; a server before 1.20 counts those of all tenants.
    if there is store and target != "server":
        for found, before in zip(hits(copy), found_before, strict=True):
            assert found == pytest.approx(before, abs=1e-5)
    indexed = copy.index(documents(4), chunking=SMALL)
    assert (indexed.unchanged, indexed.embedded) == (4, 0)


@pytest.mark.parametrize(("source", "target"), WAYS)
def test_it_comes_into_a_collection_with_tenants_and_others_stay(
    source: str, target: str, file: Path, request: pytest.FixtureRequest
) -> None:
    store, there = (cast("Store", request.getfixturevalue(one)) for one in (target, source))
    docs = tenanted(store)
    if there is not store:
        tenanted(there)
    wanted = of_tenant(there, "acme")
    dump(there, "docs", file, tenant="acme")
    before = {one: of_tenant(store, one) for one in ("acme", "zeta")}
    report = restore(file, store, "docs", tenant="beta")
    assert report.written == report.points == len(wanted)
    assert docs.tenant_names() == ["acme", "beta", "zeta"]
    for tenant, points in before.items():
        assert_same_points(of_tenant(store, tenant), points)
    assert_same_points(of_tenant(store, "beta"), wanted)
    beta, acme = docs.tenant("beta"), docs.tenant("acme")
    for found, same in zip(hits(beta), hits(acme), strict=True):
        assert found == pytest.approx(same, abs=1e-5)
    indexed = beta.index(documents(4), chunking=SMALL)
    assert (indexed.unchanged, indexed.embedded) == (4, 0)
    assert beta.check().is_sound


def test_a_tenant_that_has_points_is_refused_until_it_is_cleared(store: Store, file: Path) -> None:
    docs = tenanted(store)
    dump(store, "docs", file, tenant="acme")
    wanted = of_tenant(store, "acme")
    with pytest.raises(StoreInputError, match=r"'acme' has \d+ points in 'docs' .* already"):
        restore(file, store, "docs", tenant="acme")
    docs.tenant("acme").delete(["a"])
    docs.tenant("acme").clear()
    restore(file, store, "docs", tenant="acme")
    assert_same_points(of_tenant(store, "acme"), wanted)


def interrupt(store: Store, file: Path, operation: str, number: int) -> None:
    """Restore a dump for the tenant ``beta``, and end before a write of this number, from 1."""
    calls: list[int] = []

    def cut(points: Sequence[Any]) -> None:
        calls.append(len(points))
        if len(calls) == number:
            raise Cut

    cutting = cast("Store", Between(store, operation, cut))
    with pytest.raises(Cut):
        restore(file, cutting, "docs", tenant="beta")


@pytest.mark.parametrize(
    ("operation", "number"),
    [("upsert", 1), ("upsert", 2), ("upsert", 4), ("set_fields", 1), ("set_fields", 2)],
)
def test_an_interrupted_restore_shows_nothing_and_is_completed(
    edge: Store, file: Path, monkeypatch: pytest.MonkeyPatch, operation: str, number: int
) -> None:
    monkeypatch.setattr("decant.integrations.qdrant.dumps.dump._BLOCK_POINTS", 5)
    docs = tenanted(edge)
    wanted, others = of_tenant(edge, "acme"), of_tenant(edge, "zeta")
    dump(edge, "docs", file, tenant="acme")
    interrupt(edge, file, operation, number)
    shown = of_tenant(edge, "beta")
    assert not shown or (operation, number) == ("set_fields", 2)
    if not shown:
        assert docs.tenant_names() == ["acme", "zeta"]
        assert docs.tenant("beta").search("the year") == []
    report = restore(file, edge, "docs", tenant="beta")
    assert report.points == len(wanted)
    assert_same_points(of_tenant(edge, "beta"), wanted)
    assert_same_points(of_tenant(edge, "zeta"), others)
    assert docs.tenant_names() == ["acme", "beta", "zeta"]
    assert len(held_points(edge, "docs")) == 3 * len(wanted)  # nothing is left over


def test_a_server_shows_nothing_before_all_is_there(
    server: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decant.integrations.qdrant.dumps.dump._BLOCK_POINTS", 5)
    docs = tenanted(server)
    wanted = of_tenant(server, "acme")
    dump(server, "docs", file, tenant="acme")
    seen: list[int] = []

    def tell(done: int, total: int) -> None:
        seen.append(docs.tenant("beta").count())
        if done > total / 2:
            raise Cut

    with pytest.raises(Cut):
        restore(file, server, "docs", tenant="beta", progress=tell)
    assert seen
    assert not any(seen)
    restore(file, server, "docs", tenant="beta")
    assert_same_points(of_tenant(server, "beta"), wanted)


@pytest.mark.parametrize(
    ("method", "calls"), [("upsert", 3), ("batch_update_points", 0), ("batch_update_points", 1)]
)
def test_an_interrupted_restore_on_a_server_is_completed_by_another_process(
    double: QdrantDouble, file: Path, method: str, calls: int
) -> None:
    with reached(double) as store:
        docs = tenanted(store)
        docs.tenant("beta").add([Record(id="gone", text="a yak")])
        docs.tenant("beta").clear()  # which leaves tombstones
        wanted, others = of_tenant(store, "acme"), of_tenant(store, "zeta")
        dump(store, "docs", file, tenant="acme")
        with cut_off(store, method, calls), pytest.raises(Cut):
            restore(file, store, "docs", tenant="beta")
    with reached(double) as store:
        restore(file, store, "docs", tenant="beta")
        found = of_tenant(store, "beta")
        # A cleared tenant keeps its own golden vectors, which are the same.
        assert_same_points(found, wanted)
        assert_same_points(of_tenant(store, "zeta"), others)
        beta = Collection.open(store, "docs", ENCODER).tenant("beta")
        assert beta.index(documents(4), chunking=SMALL).embedded == 0
        assert beta.check().is_sound


def test_another_dump_takes_the_place_of_one_that_nobody_completed(edge: Store, file: Path) -> None:
    tenanted(edge)
    dump(edge, "docs", file, tenant="acme")
    interrupt(edge, file, "set_fields", 1)
    other = file.with_name("other.dump")
    TenantStore.of(edge, "docs", "zeta").delete("docs", [*of_tenant(edge, "zeta")][:3])
    wanted = of_tenant(edge, "zeta")
    dump(edge, "docs", other, tenant="zeta")
    restore(other, edge, "docs", tenant="beta")
    assert_same_points(of_tenant(edge, "beta"), wanted)


def test_what_others_wrote_after_an_interruption_is_named(edge: Store, file: Path) -> None:
    docs = tenanted(edge)
    dump(edge, "docs", file, tenant="acme")
    interrupt(edge, file, "set_fields", 1)
    docs.tenant("beta").add([Record(id="mine", text="a yak")])
    with pytest.raises(StoreError, match="that are not of the dump"):
        restore(file, edge, "docs", tenant="beta")
    assert docs.tenant("beta").count() == 1
    docs.tenant("beta").clear()
    restore(file, edge, "docs", tenant="beta")
    assert docs.tenant("beta").count() == docs.tenant("acme").count()


def test_a_cut_dump_is_refused_before_anything_is_written(edge: Store, file: Path) -> None:
    tenanted(edge)
    dump(edge, "docs", file, tenant="acme")
    before, whole = held_points(edge, "docs"), file.read_bytes()
    for length in (0, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(DumpError):
            restore(file, edge, "docs", tenant="beta")
    assert held_points(edge, "docs").keys() == before.keys()


def test_a_dump_that_does_not_fit_is_refused_by_name(edge: Store, file: Path) -> None:
    tenanted(edge)
    tenanted(edge, "other", HashEncoder(24))
    Collection.create(edge, "plain", ENCODER)
    dump(edge, "docs", file, tenant="acme")
    with pytest.raises(CollectionMismatch, match="24 values"):
        restore(file, edge, "other", tenant="beta")
    with pytest.raises(TenantError, match="has no tenants"):
        restore(file, edge, "plain", tenant="beta")
    with pytest.raises(StoreInputError, match="no collection 'none'"):
        restore(file, edge, "none", tenant="beta")
    with pytest.raises(StoreInputError, match="the layout of 'docs' is that of all its tenants"):
        restore(file, edge, "docs", tenant="beta", layout=Layout(storage=Storage.INT8))
    with pytest.raises(StoreInputError, match=r"has no points in 'docs'.*: 'acme', 'zeta'"):
        dump(edge, "docs", file, tenant="acne", overwrite=True)
    with pytest.raises(TenantError, match="has no tenants"):
        dump(edge, "plain", file, tenant="acme", overwrite=True)
    whole = file.with_name("whole.dump")
    dump(edge, "docs", whole)
    with pytest.raises(StoreInputError, match="holds all of several tenants"):
        restore(whole, edge, "docs", tenant="beta")
    view = cast("Store", TenantStore.of(edge, "docs", "acme"))
    with pytest.raises(TenantError, match="not that of a tenant"):
        restore(file, view, "docs")
    assert Collection.open(edge, "docs", ENCODER).tenant_names() == ["acme", "zeta"]


def test_a_collection_without_tenants_comes_into_a_tenant(edge: Store, file: Path) -> None:
    docs = tenanted(edge)
    plain = Collection.create(edge, "plain", ENCODER, settings=CollectionSettings(words=Words()))
    plain.add([Record(id="a", text="a yak of the year")])
    dump(edge, "plain", file)
    restore(file, edge, "docs", tenant="beta")
    assert [hit.text for hit in docs.tenant("beta").search("the year")] == ["a yak of the year"]


def test_what_is_unfinished_goes_along_with_the_whole_collection(edge: Store, file: Path) -> None:
    tenanted(edge)
    wanted = of_tenant(edge, "acme")
    dump(edge, "docs", file, tenant="acme")
    interrupt(edge, file, "set_fields", 1)
    whole = file.with_name("whole.dump")
    dump(edge, "docs", whole)
    restore(whole, edge, "copy")
    assert Collection.open(edge, "copy", ENCODER).tenant_names() == ["acme", "zeta"]
    restore(file, edge, "copy", tenant="beta")
    assert_same_points(of_tenant(edge, "beta", "copy"), wanted)


def test_graphs_of_tenants_own_become_the_graph_of_the_collection(
    server: Store, file: Path
) -> None:
    settings = CollectionSettings(tenants=Tenants(graphs=TenantGraphs.OWN), hnsw_m=24)
    docs = Collection.create(server, "docs", ENCODER, settings=settings)
    docs.tenant("acme").add([Record(id="a", text="the acme of the year")])
    dump(server, "docs", file, tenant="acme")
    restore(file, server, "copy")
    assert read_graph_settings(server, "copy").links == 24


def test_points_go_to_the_shard_of_their_tenant(file: Path) -> None:
    settings = CollectionSettings(tenants=Tenants(dedicated=("acme", "beta")))
    with QdrantDouble() as double, reached(double) as store:
        docs = Collection.create(store, "docs", ENCODER, settings=settings)
        docs.tenant("acme").add([Record(id="a", text="the acme of the year")])
        dump(store, "docs", file, tenant="acme")
        before = len(double.asked)
        restore(file, store, "docs", tenant="beta")
        written = [one for one in double.asked[before:] if "/docs/points" in one.path]
        keys = [one.body.get("shard_key") for one in written if one.method == "PUT"]
        assert keys
        assert all(key["target"] == "beta" for key in keys)
        assert [hit.id for hit in docs.tenant("beta").search("the year")] == ["a"]
