"""Dumps of collections: the same on every engine afterwards, whole or refused."""

from __future__ import annotations

import hashlib
import json
import stat
import zipfile
from pathlib import Path
from threading import Event, Thread
from typing import cast

import numpy as np
import pytest

from decant.embedders import StoreError
from decant.integrations.qdrant import (
    Collection,
    CollectionMetadata,
    CollectionSettings,
    Document,
    Layout,
    Point,
    Record,
    SearchDefaults,
    SearchMode,
    Select,
    Storage,
    Store,
    StoreInputError,
    TenantError,
    Tenants,
    TenantStore,
    connect,
    dump,
    read_fillings,
    restore,
)
from decant.integrations.qdrant.dumps.stored_settings import read_graph_settings
from decant.integrations.qdrant.points.golden import read_golden_vectors
from decant.integrations.qdrant.points.payloads import PASSAGES
from decant.integrations.qdrant.stores.point_ids import record_id
from decant.integrations.qdrant.stores.protocol import each
from decant.integrations.qdrant.stores.sparse_vector import SparseVector
from dump_scene import (
    ENCODER,
    ENGINES,
    SMALL,
    assert_same_points,
    documents,
    fill,
    held_points,
    hits,
    made,
)
from qdrant_double import MIDDLING, QdrantDouble, reached, serve


@pytest.mark.parametrize("target", ENGINES)
def test_a_restored_collection_is_the_same_on_every_engine(
    store: Store, target: str, file: Path, request: pytest.FixtureRequest
) -> None:
    docs = made(store)
    docs.set_search_defaults(SearchDefaults(mode=SearchMode.DENSE))
    wanted, found_before = held_points(store, "docs"), hits(docs)
    report = dump(store, "docs", file)
    there: Store = request.getfixturevalue(target)
    restored = restore(file, there, "copy")
    assert restored.points == report.points == len(wanted)
    assert restored.written == report.points
    assert_same_points(held_points(there, "copy"), wanted)
    copy = Collection.open(there, "copy", ENCODER)
    if there is store:  # engines differ in how they weigh words
        for found, wanted_hits in zip(hits(copy), found_before, strict=True):
            assert found == pytest.approx(wanted_hits, abs=1e-5)
    assert copy.search_defaults == SearchDefaults(mode=SearchMode.DENSE)
    assert read_fillings(there, "copy") == read_fillings(store, "docs")
    assert there.aliases.indexed("copy") == store.aliases.indexed("docs")
    if "local" not in (target, request.node.callspec.params["store"]):
        graph = read_graph_settings(there, "copy")
        assert (graph.links, graph.ef_construct) == (24, 64)
    indexed = copy.index(documents(), chunking=SMALL)
    assert (indexed.unchanged, indexed.embedded) == (30, 0)


def test_dense_searches_find_the_same_with_the_same_scores_between_engines(
    edge: Store, local: Store, server: Store, file: Path
) -> None:
    docs = made(edge)
    dump(edge, "docs", file)
    vectors = [Collection.open(edge, "docs", ENCODER).search("the year", mode=SearchMode.DENSE)]
    for there in (local, server):
        restore(file, there, "copy")
        copy = Collection.open(there, "copy", ENCODER)
        vectors.append(copy.search("the year", mode=SearchMode.DENSE))
    assert docs.name == "docs"
    ids = [[hit.id for hit in found] for found in vectors]
    scores = [[hit.score for hit in found] for found in vectors]
    assert ids[0] == ids[1] == ids[2]
    np.testing.assert_allclose(scores[1:], [scores[0]] * 2, atol=1e-6)


def test_golden_vectors_go_along(server: Store, local: Store, file: Path) -> None:
    made(server)
    dump(server, "docs", file)
    restore(file, local, "copy")
    (before,), (after,) = read_golden_vectors(server, "docs"), read_golden_vectors(local, "copy")
    assert after.precision == before.precision
    for role, vector in before.vectors.items():
        assert after.vectors[role].tobytes() == vector.tobytes()


def test_sparse_vectors_and_soft_tokens_go_along(store: Store, edge: Store, file: Path) -> None:
    card = CollectionMetadata(recipe=ENCODER.recipe, dim=16, sparse=True, soft_tokens=3)
    store.create("rich", card, CollectionSettings(soft_tokens=True))
    draw = np.random.default_rng(0)
    points = [
        Point(
            id=record_id(str(number)),
            payload={"kind": "record", "id": str(number), "text": f"text {number}"},
            dense=draw.standard_normal(16, np.float32) if number % 5 else None,
            sparse=SparseVector(
                indices=np.arange(number + 1, dtype=np.int64) * 10**8,
                values=draw.standard_normal(number + 1, np.float32),
            )
            if number % 3
            else None,
            soft_tokens=draw.standard_normal((number % 4 + 1, 3), np.float32),
        )
        for number in range(30)
    ]
    store.upsert("rich", points)
    dump(store, "rich", file)
    restore(file, edge, "copy")
    assert_same_points(held_points(edge, "copy"), held_points(store, "rich"))


def test_tenants_go_along_and_a_tenant_alone_is_refused(
    store: Store, edge: Store, file: Path
) -> None:
    docs = Collection.create(store, "docs", ENCODER, settings=CollectionSettings(tenants=Tenants()))
    for tenant in ("acme", "zeta"):
        docs.tenant(tenant).add([Record(id="a", text=f"the {tenant} of the year")])
    with pytest.raises(TenantError, match="what all tenants have"):
        dump(cast("Store", TenantStore.of(store, "docs", "acme")), "docs", file)
    dump(store, "docs", file)
    restore(file, edge, "copy")
    copy = Collection.open(edge, "copy", ENCODER)
    assert copy.tenant_names() == ["acme", "zeta"]
    (hit,) = copy.tenant("acme").search("the year")
    assert (hit.id, hit.text) == ("a", "the acme of the year")


def test_the_file_is_an_archive_of_well_known_parts(edge: Store, file: Path) -> None:
    made(edge)
    report = dump(edge, "docs", file)
    raw = file.read_bytes()
    assert (report.bytes, report.sha256) == (len(raw), hashlib.sha256(raw).hexdigest())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        for line in archive.read("SHA256SUMS").decode().splitlines():
            digest, name = line.split("  ")
            assert hashlib.sha256(archive.read(name)).hexdigest() == digest
        first = json.loads(archive.read("points-000001.jsonl").splitlines()[0])
        assert sorted(first) == ["id", "payload", "vectors"]
        assert json.loads(archive.read("dump.json"))["points"] == report.points
        text = archive.read("collection.json").decode()
    assert CollectionMetadata.from_json(text, where="here").recipe == ENCODER.recipe


def test_layouts_go_along_and_can_be_changed(edge: Store, local: Store, file: Path) -> None:
    settings = CollectionSettings(storage=Storage.TURBO4)
    Collection.create(edge, "docs", ENCODER, settings=settings).add([Record(text="rain")])
    dump(edge, "docs", file)
    restore(file, edge, "same")
    restore(file, edge, "other", layout=Layout(storage=Storage.INT8))
    assert edge.layout("same") == edge.layout("docs")
    assert edge.layout("other").storage is Storage.INT8
    with pytest.raises(StoreInputError, match="turbo4"):
        restore(file, local, "copy")
    assert local.names() == []
    restore(file, local, "copy", layout=Layout(storage=Storage.FULL))


def test_prefixes_of_vectors_are_made_again(store: Store, edge: Store, file: Path) -> None:
    settings = CollectionSettings(prefix=4, allow_any_dim=True)
    docs = Collection.create(store, "docs", ENCODER, settings=settings)
    docs.add([Record(id=str(number), text=f"the text {number}") for number in range(20)])
    dump(store, "docs", file)
    with pytest.raises(StoreInputError, match="have prefixes of 4 values"):
        restore(file, edge, "copy", layout=Layout(prefix=8))
    restore(file, edge, "copy")
    assert edge.layout("copy").prefix == 4
    copy = Collection.open(edge, "copy", ENCODER)
    fetch = Select(prefix=True)
    wanted = {one.id: one for page in each(store, "docs", PASSAGES, fetch) for one in page}
    for page in each(edge, "copy", PASSAGES, fetch):
        for one in page:
            prefix = wanted[one.id].prefix
            assert (one.prefix is None) == (prefix is None)
            if one.prefix is not None and prefix is not None:
                np.testing.assert_allclose(one.prefix, prefix, atol=1e-6)
    assert [hit.id for hit in copy.search("the text 7", limit=1)] == ["7"]


def test_a_file_or_collection_that_is_there_is_kept(edge: Store, file: Path) -> None:
    made(edge)
    dump(edge, "docs", file)
    before, points = file.read_bytes(), held_points(edge, "docs")
    with pytest.raises(StoreInputError, match="there is a file"):
        dump(edge, "docs", file)
    assert file.read_bytes() == before
    with pytest.raises(StoreError, match="already exists"):
        restore(file, edge, "docs")
    assert_same_points(held_points(edge, "docs"), points)
    with pytest.raises(StoreInputError, match="no collection 'none'"):
        dump(edge, "none", file, overwrite=True)
    assert file.read_bytes() == before


def test_a_store_that_is_only_read_can_be_dumped(scratch: Path, file: Path) -> None:
    with connect(scratch / "index") as store:
        made(store)
        wanted = held_points(store, "docs")
    with connect(scratch / "index", read_only=True) as store:
        dump(store, "docs", file)
    with connect(scratch / "other") as store:
        restore(file, store, "docs")
        assert_same_points(held_points(store, "docs"), wanted)


def test_a_collection_that_goes_on_changing_is_not_dumped(store: Store, file: Path) -> None:
    made(store)
    writes: list[int] = []

    def write(done: int, total: int) -> None:
        if done == total:
            writes.append(done)
            point = Point(id=record_id("x"), payload={"kind": "record", "text": str(len(writes))})
            store.upsert("docs", [point])

    with pytest.raises(StoreError, match="changed while it was dumped, 3 times"):
        dump(store, "docs", file, progress=write)
    assert len(writes) == 3
    assert [path.name for path in file.parent.glob("*dump*")] == []


def test_a_dump_begins_again_after_a_change(store: Store, edge: Store, file: Path) -> None:
    made(store)
    writes: list[int] = []

    def write(done: int, total: int) -> None:
        if done == total and not writes:
            writes.append(done)
            store.upsert("docs", [Point(id=record_id("x"), payload={"kind": "record", "id": "x"})])

    report = dump(store, "docs", file, progress=write)
    assert report.points == writes[0] + 1
    restore(file, edge, "copy")
    assert_same_points(held_points(edge, "copy"), held_points(store, "docs"))


def test_points_of_other_programs_are_left_out_and_counted(
    store: Store, edge: Store, file: Path
) -> None:
    made(store)
    store.upsert("docs", [Point(id=record_id("x"), payload={"page_content": "another program"})])
    report = dump(store, "docs", file)
    assert report.left_out == 1
    restore(file, edge, "copy")
    assert record_id("x") not in held_points(edge, "copy")


def test_shards_and_replicas_are_kept_between_servers(double: QdrantDouble, file: Path) -> None:
    with reached(double) as store, QdrantDouble() as other, reached(other) as there:
        settings = CollectionSettings(shards=3, replicas=2)
        fill(Collection.create(store, "docs", ENCODER, settings=settings))
        dump(store, "docs", file)
        restore(file, there, "copy")
        assert there.layout("copy") == store.layout("docs")
        assert there.layout("copy").shards == 3


def test_limits_of_strict_mode_are_kept_to(edge: Store, file: Path) -> None:
    with serve(MIDDLING) as store, serve(MIDDLING) as there:
        made(store)
        wanted = held_points(store, "docs")
        dump(store, "docs", file)
        restore(file, there, "copy")
        assert_same_points(held_points(there, "copy"), wanted)
    restore(file, edge, "copy")
    assert_same_points(held_points(edge, "copy"), wanted)


def test_points_of_tenants_go_to_the_shards_of_their_own(file: Path) -> None:
    settings = CollectionSettings(tenants=Tenants(dedicated=("acme",)))
    with QdrantDouble() as double, reached(double) as store:
        docs = Collection.create(store, "docs", ENCODER, settings=settings)
        for tenant in ("acme", "zeta"):
            docs.tenant(tenant).add([Record(id="a", text=f"the {tenant} of the year")])
        wanted = held_points(store, "docs")
        dump(store, "docs", file)
        restore(file, store, "copy")
        assert_same_points(held_points(store, "copy"), wanted)
        written = [one for one in double.asked if "/copy/points" in one.path]
        keys = [one.body.get("shard_key") for one in written if one.method == "PUT"]
        assert len(keys) >= 2
        assert None not in keys
        (hit,) = Collection.open(store, "copy", ENCODER).tenant("zeta").search("the year")
        assert hit.text == "the zeta of the year"


def test_writers_of_this_process_wait_for_a_dump(store: Store, edge: Store, file: Path) -> None:
    docs = made(store)
    begun, ended = Event(), Event()

    def write() -> None:
        begun.wait(30)
        docs.index([Document(source="late", root="late", text="written while it was dumped")])
        ended.set()

    writer = Thread(target=write)
    writer.start()

    def tell(done: int, total: int) -> None:
        begun.set()
        assert not ended.is_set()

    dump(store, "docs", file, progress=tell)
    writer.join(30)
    assert ended.is_set()
    restore(file, edge, "copy")
    assert held_points(store, "docs").keys() - held_points(edge, "copy").keys()
