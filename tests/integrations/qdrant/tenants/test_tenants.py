"""What a tenant cannot do, what its collection is, and what a server is sent for it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest
from qdrant_client import models

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import (
    Collection,
    CollectionMetadata,
    CollectionSettings,
    Document,
    Equals,
    Field,
    FieldIn,
    Not,
    Or,
    Record,
    SearchMode,
    Select,
    Selection,
    StartsWith,
    Store,
    StoreInputError,
    TenantError,
    TenantGraphs,
    Tenants,
    TenantStore,
    Words,
    check_collection,
    count_selected,
    delete_selected,
    summarize,
)
from decant.integrations.qdrant.points.golden import read_golden_vectors
from decant.integrations.qdrant.points.locks import lock_of
from decant.integrations.qdrant.stores.filters import Where
from decant.integrations.qdrant.tenants.tenant_ids import TenantIds
from qdrant_double import QdrantDouble, reached

SETTINGS = CollectionSettings(tenants=Tenants())
CHOSEN = "0f0e4f7a-6f3e-4a52-9d4a-9f3f8c1f6f0e"


@pytest.fixture
def shared(store: Store, encoder: HashEncoder) -> Collection:
    return Collection.create(store, "docs", encoder, settings=SETTINGS)


@pytest.fixture
def acme(shared: Collection) -> Collection:
    view = shared.tenant("acme")
    view.add([Record(id="a", text="a ferry"), Record(id=CHOSEN, text="a lamp", source="s")])
    view.index([Document(source="s", root="r", text="an island in the sea")])
    return view


@pytest.fixture
def globex(acme: Collection, shared: Collection) -> Collection:
    view = shared.tenant("globex")
    view.add([Record(id="a", text="another ferry", source="s")])
    return view


def field_is(key: str, value: str) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=models.MatchValue(value=value))


EVERYBODY: list[Where] = [
    FieldIn(Field.TENANT, ["acme", "globex"]),
    Not(FieldIn(Field.TENANT, ["nobody"])),
    Or([FieldIn(Field.TENANT, ["acme"]), FieldIn(Field.TENANT, ["globex"])]),
    Or([Equals("n", 1), Not(Equals("n", 1))]),
    StartsWith(Field.TENANT, "a"),
    models.Filter(must=[field_is("tenant", "acme")]),
    models.Filter(should=[field_is("tenant", "acme"), field_is("tenant", "globex")]),
    models.Filter(must_not=[field_is("tenant", "nobody")]),
    models.Filter(
        min_should=models.MinShould(
            conditions=[field_is("tenant", "acme"), field_is("tenant", "globex")], min_count=1
        )
    ),
    models.Filter(must_not=[models.Filter(must=[field_is("tenant", "globex")])]),
]


@pytest.mark.parametrize("number", range(len(EVERYBODY)))
def test_no_condition_leads_to_another_tenant(globex: Collection, number: int) -> None:
    where = EVERYBODY[number]
    own = {"another ferry"}
    assert {passage.text for passage in globex.each(where)} <= own
    assert {hit.text for hit in globex.search("a ferry", where=where)} <= own
    assert globex.count(where) <= 1


def test_deleting_by_a_condition_on_tenants_leaves_the_others(
    acme: Collection, globex: Collection
) -> None:
    globex.delete_where(models.Filter(should=[field_is("tenant", "acme")]))
    globex.delete_where(Not(FieldIn(Field.TENANT, ["nobody"])))
    assert globex.count() == 0
    assert acme.count() == 3
    assert acme.check().is_sound


def test_the_same_ids_and_sources_are_other_passages(acme: Collection, globex: Collection) -> None:
    assert [passage.text for passage in acme.get(["a"])] == ["a ferry"]
    assert [passage.text for passage in globex.get(["a"])] == ["another ferry"]
    chunk = next(passage for passage in acme.each() if passage.is_chunk)
    assert globex.get([chunk.id, CHOSEN]) == []
    assert globex.delete([chunk.id, CHOSEN]) == 0
    globex.add([Record(id=chunk.id, text="mine"), Record(id=CHOSEN, text="mine, too")])
    assert acme.get([chunk.id])[0] == chunk
    assert globex.delete_source("s") == 1
    assert acme.count(FieldIn(Field.SOURCE, ["s"])) == 2
    globex.clear()
    assert acme.count() == 3
    assert acme.check().is_sound


def test_the_id_under_which_another_tenants_point_is_stored_leads_nowhere(
    store: Store, acme: Collection, globex: Collection
) -> None:
    page = store.scroll("docs", FieldIn(Field.TENANT, ["acme"]), Select(fields=()), limit=100)
    physical = [point.id for point in page.points]
    assert len(physical) > 4  # with the document's marker and a note
    assert globex.get(physical) == []
    assert globex.delete(physical) == 0
    globex.add([Record(id=one, text="taken over") for one in physical])
    assert acme.count() == 3
    assert acme.check().is_sound


def test_ids_are_permuted_by_tenant_and_by_key() -> None:
    identities = [str(uuid.UUID(int=number)) for number in range(200)]
    seen = set()
    for key, tenant in [("k", "a"), ("k", "b"), ("l", "a")]:
        ids = TenantIds(key, tenant)
        stored = [ids.stored(one) for one in identities]
        assert [ids.of_stored(one) for one in stored] == identities
        seen |= {*stored}
    assert len(seen) == 600


def test_a_view_holds_only_its_collection_and_leads_to_no_other_tenant(
    store: Store, acme: Collection, encoder: HashEncoder
) -> None:
    Collection.create(store, "other", encoder)
    assert acme.store.names() == ["docs"]
    with pytest.raises(StoreError, match="holds the collection 'docs' alone"):
        Collection.open(acme.store, "other", encoder)
    with pytest.raises(TenantError, match="leads to no other"):
        TenantStore.of(acme.store, "docs", "globex")
    again = Collection.open(acme.store, "docs", encoder)
    assert again.count() == 3
    with pytest.raises(TenantError):
        again.tenant("globex")


def test_tenants_have_locks_of_their_own(acme: Collection, globex: Collection) -> None:
    mark = acme.store.card("docs").mark
    assert lock_of(acme.store, "docs", mark) is not lock_of(globex.store, "docs", mark)
    assert lock_of(acme.store, "docs", mark) is lock_of(acme.store, "docs", mark)


def test_a_view_is_there_after_reopening(
    store: Store, acme: Collection, encoder: HashEncoder
) -> None:
    shared = Collection.open(store, "docs", encoder)
    assert shared.tenant("acme").count() == 3
    assert shared.tenant_names() == ["acme"]
    assert shared.tenant("nobody").count() == 0
    assert acme.info().tenants == Tenants()


@pytest.mark.parametrize(
    "name", ["", " a", "a\n", "x" * 201, "e\N{COMBINING ACUTE ACCENT}", "a\ud800", "\0", 7, None]
)
def test_names_that_could_be_mistaken_are_refused(shared: Collection, name: str) -> None:
    with pytest.raises(StoreInputError):
        shared.tenant(name)


@pytest.mark.parametrize("name", ["a b", "é", "tenant@example.org", "租户", "x" * 200, "*", "a/b"])
def test_other_names_are_taken(shared: Collection, name: str) -> None:
    view = shared.tenant(name)
    view.add([Record(text="x")])
    assert view.count() == 1
    assert shared.tenant_names() == [name]


def test_a_collection_without_tenants_has_none(collection: Collection) -> None:
    with pytest.raises(TenantError, match=r"has no tenants.*CollectionSettings\(tenants="):
        collection.tenant("acme")
    with pytest.raises(TenantError, match="only a collection with tenants"):
        collection.tenant_names()
    assert collection.for_tenant(None) is collection


def test_tenants_are_decided_when_a_collection_is_made(
    store: Store, shared: Collection, encoder: HashEncoder
) -> None:
    Collection.create(store, "plain", encoder)
    with pytest.raises(StoreError, match="was made without tenants"):
        Collection.open_or_create(store, "plain", encoder, settings=SETTINGS)
    own = CollectionSettings(tenants=Tenants(graphs=TenantGraphs.OWN))
    with pytest.raises(StoreError, match="cannot be changed"):
        Collection.open_or_create(store, shared.name, encoder, settings=own)
    assert Collection.open_or_create(store, "docs", encoder, settings=SETTINGS).tenant_names() == []


def test_an_older_decant_refuses_a_collection_with_tenants(encoder: HashEncoder) -> None:
    card = CollectionMetadata.of(encoder, CollectionSettings(tenants=Tenants()))
    assert json.loads(card.to_json())["format"] == 6
    assert CollectionMetadata.from_json(card.to_json(), where="here") == card
    plain = CollectionMetadata.of(encoder, CollectionSettings(words=Words()))
    assert json.loads(plain.to_json())["format"] == 4


def test_without_an_encoder_a_tenant_is_needed_too(
    store: Store, acme: Collection, globex: Collection
) -> None:
    chosen = Selection(sources=["s"])
    for work in (
        lambda: check_collection(store, "docs"),
        lambda: count_selected(store, "docs", chosen),
        lambda: delete_selected(store, "docs", chosen),
    ):
        with pytest.raises(TenantError, match="--tenant"):
            work()
    whole = summarize(store, "docs")
    assert whole.tenants == ("acme", "globex")
    assert whole.held.passages == 4
    own = TenantStore.of(store, "docs", "globex")
    assert summarize(own, "docs").held.passages == 1
    assert delete_selected(own, "docs", chosen).passages == 1
    assert check_collection(TenantStore.of(store, "docs", "acme"), "docs").is_sound
    assert acme.count() == 3


def test_words_are_weighed_by_the_tenants_own_texts(edge: Store, encoder: HashEncoder) -> None:
    words = CollectionSettings(words=Words(), tenants=Tenants())
    shared = Collection.create(edge, "docs", encoder, settings=words)
    alone = Collection.create(edge, "alone", encoder, settings=CollectionSettings(words=Words()))
    shared.tenant("globex").add([Record(text="ferry " * number) for number in range(1, 30)])
    texts = ["the ferry leaves", "a lamp on the ferry of the harbour", "a lamp"]
    for one in (shared.tenant("acme"), alone):
        one.add([Record(id=str(number), text=text) for number, text in enumerate(texts)])
    got, expected = (
        {hit.id: hit.score for hit in one.search("ferry lamp", mode=SearchMode.WORDS)}
        for one in (shared.tenant("acme"), alone)
    )
    assert got == pytest.approx(expected)
    assert len(got) == 3


@pytest.fixture
def keyed(double: QdrantDouble) -> Iterator[tuple[QdrantDouble, Collection]]:
    """Return a collection whose tenant has a shard of its own."""
    settings = CollectionSettings(tenants=Tenants(dedicated=("acme",)))
    with reached(double) as store:
        yield double, Collection.create(store, "docs", HashEncoder(16), settings=settings)


def test_requests_of_a_tenant_go_to_its_shard_or_the_common_one(
    keyed: tuple[QdrantDouble, Collection],
) -> None:
    double, shared = keyed
    assert double.engine.named("docs")[1].config["shard_keys"] == [" shared", "acme"]
    double.asked.clear()
    view = shared.tenant("globex")
    view.add([Record(id="a", text="a ferry")])
    view.index([Document(source="s", text="an island")])
    view.index([Document(source="s", text="an island", metadata={"moved": True})])
    view.search("ferry")
    view.search_many(["ferry", "island"])
    view.get(["a"])
    view.delete(["a"])
    assert view.count() == 1
    bodies = [asked.body for asked in double.asked if "/points" in asked.path]
    parts = [part for body in bodies for part in _parts(body)]
    assert len(parts) > 10
    expected = {"target": "globex", "fallback": " shared"}
    assert all(part["shard_key"] == expected for part in parts)


def test_a_server_is_sent_a_tenant_index_and_graphs_within_tenants(double: QdrantDouble) -> None:
    settings = CollectionSettings(tenants=Tenants(graphs=TenantGraphs.OWN))
    with reached(double) as store:
        Collection.create(store, "docs", HashEncoder(16), settings=settings)
        assert store.missing_indexes("docs") == []
    held = double.engine.named("docs")[1]
    assert held.config["hnsw_config"]["m"] == 0
    assert held.config["hnsw_config"]["payload_m"] == 16
    assert held.schemas["tenant"]["is_tenant"]


def test_dedicated_shards_are_refused_where_there_are_none(
    local: Store, encoder: HashEncoder
) -> None:
    settings = CollectionSettings(tenants=Tenants(dedicated=()))
    with pytest.raises(StoreInputError, match="dedicated shards need a cluster"):
        Collection.create(local, "docs", encoder, settings=settings)
    assert local.names() == []


def test_golden_vectors_serve_all_tenants(server: Store, encoder: HashEncoder) -> None:
    shared = Collection.create(server, "docs", encoder, settings=SETTINGS)
    shared.keep_golden_vectors()
    assert shared.tenant_names() == []
    for store in (shared.store, shared.tenant("acme").store):
        assert len(read_golden_vectors(store, "docs")) == 1


def _parts(body: dict[str, object]) -> list[dict[str, object]]:
    if "searches" in body:
        return body["searches"]  # type: ignore[return-value]
    if "operations" in body:
        return [next(iter(one.values())) for one in body["operations"]]  # type: ignore[attr-defined]
    return [body]
