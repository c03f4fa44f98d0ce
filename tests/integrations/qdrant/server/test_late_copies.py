"""A late copy of any request of a run or a deletion changes nothing on a server."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from decant.embedders import HashEncoder
from decant.integrations.qdrant import (
    Chunking,
    Collection,
    CollectionSettings,
    Document,
    Select,
    Store,
    Tenants,
)
from decant.integrations.qdrant.stores.filters import Field, FieldIn
from decant.integrations.qdrant.stores.protocol import each
from qdrant_double import Asked, Fault, QdrantDouble, reached

ENCODER = HashEncoder(8)
SMALL = Chunking(max_tokens=8)
EVERYTHING = FieldIn(Field.KIND, ["chunk", "record", "document"])
LATE = ("/points", "/points/batch", "/points/delete", "/points/payload")


@pytest.fixture(params=["", "acme"])
def tenant(request: pytest.FixtureRequest) -> str:
    """Return whose collection it is: nobody's, and a tenant's."""
    found: str = request.param
    return found


def made(store: Store, tenant: str) -> Collection:
    """Make a collection, and return the view of a tenant, if one is given."""
    settings = CollectionSettings(tenants=Tenants() if tenant else None)
    docs = Collection.create(store, "docs", ENCODER, settings=settings)
    return docs.for_tenant(tenant or None)


def documents(*texts: str) -> list[Document]:
    """Return a document for each text, whose words become chunks."""
    return [
        Document(
            source=f"{n}.txt",
            text="\n\n".join(f"a long paragraph about the {word}" for word in text.split()),
            root="r",
        )
        for n, text in enumerate(texts)
    ]


def points(double: QdrantDouble) -> dict[str, Any]:
    """Return all that the server holds, tombstones and notes included."""
    if "docs" not in double.engine.held:
        return {}
    records, _ = double.engine.client.scroll("docs", limit=10_000, with_vectors=True)
    return {str(record.id): (record.payload, record.vector) for record in records}


def contents(store: Store) -> dict[str, Any]:
    """Return what a collection holds for its users."""
    pages = each(store, "docs", EVERYTHING, Select(dense=True))
    held = {}
    for point in (point for page in pages for point in page):
        vector = None if point.dense is None else point.dense.tolist()
        held[point.id] = (dict(point.payload), vector)
    return held


def live(docs: Collection) -> None:
    """Let a collection live: chunks come, stay, move, go and come again."""
    docs.index(documents("sea sky", "moon", "star"), chunking=SMALL)
    docs.index(documents("sun sea sky", "moon"), chunking=SMALL)
    docs.delete_source("1.txt")
    docs.index(documents("sea sky", "moon tide"), chunking=SMALL)
    docs.delete([hit.id for hit in docs.search("sky", limit=1)])
    docs.index(documents("sun", "moon"), chunking=SMALL)
    docs.clear()
    docs.index(documents("sea", "moon", "sun"), chunking=SMALL)


def is_write(asked: Asked) -> bool:
    return asked.body is not None and asked.path.endswith(LATE) and "ids" not in asked.body


@pytest.fixture
def log(tenant: str) -> list[Asked]:
    """Return the requests of such a life."""
    with QdrantDouble() as double, reached(double) as store:
        live(made(store, tenant))
        return [asked for asked in double.asked if asked.method in ("PUT", "POST")]


@pytest.fixture
def second() -> Iterator[QdrantDouble]:
    with QdrantDouble() as double:
        yield double


def deliver(double: QdrantDouble, asked: Asked) -> None:
    answer = double.answer(asked.method, asked.path, json.dumps(asked.body).encode(), None)
    assert answer is not None
    assert answer.status == 200


def test_a_copy_of_any_write_after_any_later_one_changes_nothing(
    log: list[Asked], second: QdrantDouble, tenant: str
) -> None:
    writes: list[Asked] = []
    for asked in log:
        deliver(second, asked)
        if not is_write(asked):
            continue
        writes.append(asked)
        held = points(second)
        for late in writes:
            deliver(second, late)
            assert points(second) == held, (late, len(writes))
    kinds = {name for late in writes for item in late.body.get("operations", []) for name in item}
    # Changes of a tenant are requests of their own, but for payload fields.
    assert kinds == ({"set_payload"} if tenant else {"upsert", "set_payload"})
    assert len(writes) > 30


def test_a_run_that_a_proxy_disturbs_ends_like_an_undisturbed_one(
    second: QdrantDouble, tenant: str
) -> None:
    chance = random.Random(5)
    with reached(second) as other:
        undisturbed = made(other, tenant)
        live(undisturbed)
        expected = contents(undisturbed.store)
    with QdrantDouble() as double, reached(double) as store:
        docs = made(store, tenant)
        arrived = 0

        def disturb(_method: str, _path: str) -> None:
            """Drop some requests or their answers, and deliver some that came before again."""
            nonlocal arrived
            arrived += 1
            if arrived % 3 == 0 and not double.faults:
                lost = Fault(status=None, is_carried_out=chance.random() < 0.5)
                double.faults.append(lost)
            else:
                double.faults.append(None)

        def repeat() -> None:
            double.before, double.faults = (lambda _method, _path: None), type(double.faults)()
            for late in chance.sample(writes := list(filter(is_write, double.asked)), len(writes)):
                deliver(double, late)

        double.before = disturb
        live(docs)
        repeat()
        assert contents(docs.store) == expected
        assert docs.check().is_sound


def test_tombstones_are_seen_by_nobody(second: QdrantDouble, tenant: str) -> None:
    with reached(second) as store:
        docs = made(store, tenant)
        docs.index(documents("sea sky", "moon"), chunking=SMALL)
        gone = [hit.id for hit in docs.search("sea", limit=10)]
        docs.delete(gone)
        docs.delete_source("0.txt")
        assert docs.search("sea", limit=10) == []
        assert docs.get(gone) == []
        assert docs.count() == docs.info().passages == 0
        assert docs.delete(gone) == 0
        assert docs.check().documents == 1
        assert docs.store.retrieve("docs", gone, Select()) == []
    left = [payload for payload, _ in points(second).values() if payload["kind"] == "tombstone"]
    assert len(left) == 4, "two chunks of one document, one of another, and a marker"
    assert {payload.get("tenant", "") for payload in left} == {tenant}


def test_tombstones_go_after_an_hour(
    second: QdrantDouble, monkeypatch: pytest.MonkeyPatch, tenant: str
) -> None:
    with reached(second) as store:
        docs = made(store, tenant)
        docs.index(documents("sea", "moon"), chunking=SMALL)
        docs.index(documents("sun"), chunking=SMALL)
    kinds = [payload["kind"] for payload, _ in points(second).values()]
    assert kinds.count("tombstone") == 3
    hour = 3_700
    with reached(second) as store, monkeypatch.context() as later:
        now = time.time() + hour
        later.setattr("decant.integrations.qdrant.server.changes.time.time", lambda: now)
        again = Collection.open(store, "docs", ENCODER).for_tenant(tenant or None)
        again.index(documents("sun"), chunking=SMALL)
    kinds = [payload["kind"] for payload, _ in points(second).values()]
    assert kinds.count("tombstone") == 0


def test_versions_count_for_each_tenant_and_nobody_deletes_tombstones_of_another(
    second: QdrantDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reached(second) as store:
        docs = Collection.create(
            store, "docs", ENCODER, settings=CollectionSettings(tenants=Tenants())
        )
        acme, globex = docs.tenant("acme"), docs.tenant("globex")
        for view in (acme, globex):
            view.index(documents("sea", "moon"), chunking=SMALL)
            view.index(documents("sun"), chunking=SMALL)
        acme.index(documents("moon"), chunking=SMALL)
        # A tenant's view sees its own lease, as another writer of it would, and no other's.
        runs = {
            payload["tenant"]: payload["run"]
            for payload, _ in points(second).values()
            if payload.get("note") == "writer"
        }
        assert runs == {"acme": 3, "globex": 2}
        assert docs.tenant_names() == ["acme", "globex"]
        assert docs.tenant("initech").delete_source("1.txt") == 0
        assert docs.tenant_names() == ["acme", "globex"], "who takes a lease has stored nothing"
        now = time.time() + 3_700
        monkeypatch.setattr("decant.integrations.qdrant.server.changes.time.time", lambda: now)
        docs.tenant("acme").index(documents("moon"), chunking=SMALL)
    gone = [payload for payload, _ in points(second).values() if payload["kind"] == "tombstone"]
    assert {payload["tenant"] for payload in gone} == {"globex"}
