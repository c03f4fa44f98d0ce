"""Collections that search the first values of vectors, and rescore by the whole vectors."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import qdrant_edge
from qdrant_client import models

from decant.embedders import HashEncoder, Recipe, RecipeError, StoreError
from decant.integrations.qdrant import (
    Collection,
    CollectionMetadata,
    CollectionSettings,
    Document,
    Flaw,
    Layout,
    Originals,
    Record,
    RemoteStore,
    SearchMode,
    SearchOptions,
    Storage,
    Store,
    StoreInputError,
    Words,
    check_collection,
    dump,
    migrate,
    restore,
    summarize,
)
from decant.integrations.qdrant.edge.store import EdgeStore
from decant.integrations.qdrant.matryoshka.prefix import OVERSAMPLING, is_prefix
from decant.integrations.qdrant.stores.point_ids import record_id
from decant.integrations.qdrant.stores.protocol import PREFIX, Point, Select
from migration_scene import without_grace
from prefix_scene import DIM, SETTINGS, WIDTH, fill, naive, unit


class Trained(HashEncoder):
    """Says that its model was trained to be cut."""

    def __init__(self, min_dim: int) -> None:
        super().__init__(DIM)
        self._trained = replace(super().recipe, min_dim=min_dim)

    @property
    def recipe(self) -> Recipe:
        return self._trained


@pytest.fixture
def short(store: Store, encoder: HashEncoder) -> Collection:
    """Return an empty collection with prefixes, on each engine in turn."""
    return Collection.create(store, "docs", encoder, settings=SETTINGS)


def prefixes(store: Store, name: str, ids: list[str]) -> list[Point]:
    return store.retrieve(name, [record_id(one) for one in ids], Select(dense=True, prefix=True))


def lose_prefix(store: Store, point: str) -> None:
    """Delete the prefix of a point as another program may."""
    if isinstance(store, RemoteStore):
        client = store.requests.client
        (held,) = client.retrieve("docs", [point], with_payload=True, with_vectors=True)
        assert isinstance(held.vector, dict)
        dense = held.vector["dense"]
        struct = models.PointStruct(id=point, payload=held.payload, vector={"dense": dense})
        client.upsert("docs", [struct])
        return
    assert isinstance(store, EdgeStore)
    operation = qdrant_edge.UpdateOperation.delete_vectors([point], [PREFIX])
    store.open_shard("docs").engine.update(operation)


@pytest.mark.parametrize("seed", range(3))
def test_with_enough_candidates_the_hits_are_those_of_an_exact_search(
    short: Collection, seed: int
) -> None:
    vectors = fill(short, 60, seed)
    query = unit(np.random.default_rng(seed + 100).standard_normal(DIM))
    cosines = vectors @ query
    best = [str(n) for n in np.argsort(-cosines)]
    hits = short.search_vector(query, limit=10)
    assert [hit.id for hit in hits] == best[:10]
    for hit in hits:
        assert hit.score == pytest.approx(float(cosines[int(hit.id)]), abs=1e-5)
    assert [hit.id for hit in short.search_vector(query, limit=10, offset=20)] == best[20:30]
    even = short.search_vector(query, limit=8, where={"even": True})
    assert [hit.id for hit in even] == [one for one in best if int(one) % 2 == 0][:8]


def test_searches_in_an_event_loop_find_the_same(short: Collection) -> None:
    fill(short, 60)
    for options in (SearchOptions(), SearchOptions(exact=True)):
        found = asyncio.run(short.asearch("t 7", limit=3, options=options))
        assert found == short.search("t 7", limit=3, options=options)


def test_few_candidates_are_those_of_the_prefix_and_scored_by_whole_vectors(
    short: Collection,
) -> None:
    vectors = fill(short, 300)
    missed = 0
    # A search asks for one hit more than its limit.
    for seed in range(20):
        query = unit(np.random.default_rng(seed).standard_normal(DIM))
        hits = short.search_vector(query, limit=2)
        assert [hit.id for hit in hits] == naive(vectors, query, 2, candidates=3 * OVERSAMPLING)
        for hit in hits:
            assert hit.score == pytest.approx(float(vectors[int(hit.id)] @ query), abs=1e-5)
        exact = short.search_vector(query, limit=2, options=SearchOptions(exact=True))
        assert [hit.id for hit in exact] == [str(n) for n in np.argsort(-(vectors @ query))[:2]]
        missed += exact[0].id != hits[0].id
    assert missed  # random vectors are not of Matryoshka: else nothing was compared here


def test_stores_make_prefixes_of_all_that_is_written(short: Collection, store: Store) -> None:
    short.add([Record(id="a", text="a cat"), Record(id="blank", text=" ")])
    short.index([Document(source="s", text="a dog sat. " * 9)])
    given = np.random.default_rng(0).standard_normal((1, DIM)).astype(np.float32)
    short.add([Record(id="b", text="b")], vectors=given)
    found = {point.id: point for point in prefixes(store, "docs", ["a", "b", "blank"])}
    for identity in ("a", "b"):
        point = found[record_id(identity)]
        assert point.dense is not None
        assert point.prefix is not None
        np.testing.assert_allclose(point.prefix, unit(point.dense[:WIDTH]), atol=1e-6)
    assert found[record_id("blank")].prefix is None
    assert short.search("a dog", limit=1)[0].source == "s"
    assert short.check().is_sound


def test_a_vector_whose_first_values_are_zeros_is_stored_and_found(short: Collection) -> None:
    vectors = np.eye(DIM, dtype=np.float32)[[0, DIM - 1]]
    short.add([Record(id=str(n), text=str(n)) for n in range(2)], vectors=vectors)
    assert short.search_vector(vectors[1], limit=1)[0].id == "1"
    assert short.check().is_sound


def test_the_layout_reads_back_and_old_formats_stay(store: Store, encoder: HashEncoder) -> None:
    Collection.create(store, "docs", encoder, settings=SETTINGS)
    Collection.create(store, "old", encoder)
    layout = store.layout("docs")
    assert (layout.prefix, layout.storage) == (WIDTH, Storage.FULL)
    assert Collection.open(store, "docs", encoder).info().layout == layout
    assert summarize(store, "docs").layout == layout
    assert f"prefix of {WIDTH} values" in str(layout)
    assert store.layout("old").prefix == 0
    assert store.card("docs").prefix == WIDTH
    where = "here"
    new = CollectionMetadata.of(encoder, prefix=WIDTH)
    assert CollectionMetadata.from_json(new.to_json(), where=where) == new
    assert '"format": 7' in new.to_json()
    old = CollectionMetadata.of(encoder).to_json()
    assert '"format": 1' in old
    assert "prefix" not in old.replace("prefix_prompt", "").split('"recipe"')[0]


@pytest.mark.parametrize("storage", Storage)
def test_each_storage_compresses_the_prefix_and_scores_by_the_originals(
    edge: Store, encoder: HashEncoder, storage: Storage
) -> None:
    settings = replace(SETTINGS, storage=storage, words=Words())
    collection = Collection.create(edge, "docs", encoder, settings=settings)
    layout = edge.layout("docs")
    assert (layout.storage, layout.originals) == (storage, Originals.DISK)
    vectors = fill(collection, 80)
    collection.optimize()
    query = unit(np.random.default_rng(5).standard_normal(DIM))
    hits = collection.search_vector(query, limit=20, mode=SearchMode.DENSE)
    assert [hit.id for hit in hits] == [str(n) for n in np.argsort(-(vectors @ query))[:20]]
    changed = collection.relayout(Layout(storage=Storage.FULL))
    assert (changed.storage, changed.originals) == (Storage.FULL, Originals.DISK)
    assert changed.prefix == WIDTH
    assert collection.relayout(Layout(originals=Originals.MEMORY)).originals is Originals.MEMORY
    again = collection.search_vector(query, limit=20, mode=SearchMode.DENSE)
    assert [hit.id for hit in again] == [hit.id for hit in hits]
    assert collection.search("t 7", limit=1, mode=SearchMode.WORDS)[0].id == "7"


def test_a_prefix_is_of_a_model_that_was_trained_for_it_or_allowed(store: Store) -> None:
    def make(encoder: HashEncoder, prefix: int, *, allowed: bool = False) -> Collection:
        settings = CollectionSettings(prefix=prefix, allow_any_dim=allowed)
        return Collection.create(store, "docs", encoder, settings=settings)

    with pytest.raises(RecipeError, match=r"no min_dim.*allow_any_dim=True"):
        make(HashEncoder(DIM), 8)
    with pytest.raises(RecipeError, match="trained to be cut to 16 values or more, got prefix=8"):
        make(Trained(16), 8)
    for longer in (DIM, DIM + 1):
        with pytest.raises(RecipeError, match=f"prefix={longer} is not shorter"):
            make(Trained(16), longer, allowed=True)
    with pytest.raises(StoreError, match="prefix must be at least 0"):
        CollectionSettings(prefix=-1)
    assert store.names() == []
    assert make(Trained(16), 16).info().layout.prefix == 16


def test_a_prefix_never_changes_and_another_one_is_not_opened(
    short: Collection, store: Store, encoder: HashEncoder
) -> None:
    with pytest.raises(StoreInputError, match=r"prefix is 8 there, and 4 was asked.*migrate"):
        short.relayout(Layout(prefix=4))
    for asked in (0, 4):
        settings = CollectionSettings(prefix=asked, allow_any_dim=True)
        with pytest.raises(StoreError, match=f"prefix is 8 there, and {asked} was asked for"):
            Collection.open_or_create(store, "docs", encoder, settings=settings)
    assert Collection.open_or_create(store, "docs", encoder, settings=SETTINGS).name == "docs"


@pytest.mark.parametrize("engine", ["edge", "local", "server"])
def test_a_lost_prefix_is_a_flaw_that_verifying_repairs(
    engine: str, request: pytest.FixtureRequest, encoder: HashEncoder
) -> None:
    store: Store = request.getfixturevalue(engine)
    collection = Collection.create(store, "docs", encoder, settings=SETTINGS)
    documents = [Document(source=str(n), text=f"cat number {n}") for n in range(3)]
    collection.index(documents)
    collection.add([Record(id="r", text="a record")])
    hit = collection.search("cat number 1", limit=1)[0]
    lose_prefix(store, hit.id)
    lose_prefix(store, record_id("r"))
    report = check_collection(store, "docs")
    assert report.unsearchable == 2
    assert {finding.flaw for finding in report.findings} == {Flaw.UNSEARCHABLE}
    collection.index(documents, verify=True)
    collection.add([Record(id="r", text="a record")])
    assert collection.check().is_sound


def test_a_prefix_is_that_of_its_vector() -> None:
    vector = unit(np.random.default_rng(0).standard_normal(DIM))
    assert is_prefix(unit(vector[:WIDTH]), vector)
    assert not is_prefix(unit(vector[1 : WIDTH + 1]), vector)
    assert not is_prefix(None, vector)


def test_migrations_keep_add_and_drop_prefixes(store: Store, encoder: HashEncoder) -> None:
    store = without_grace(store)
    collection = Collection.create(store, "docs", encoder)
    fill(collection, 30)
    asked = {
        "one": Layout(prefix=WIDTH, allow_any_dim=True),
        "two": Layout(),
        "three": Layout(prefix=0),
    }
    kept = {"one": WIDTH, "two": WIDTH, "three": 0}
    for step, layout in asked.items():
        other = encoder if step != "two" else Trained(4)
        migration = migrate(store, "docs", other, layout=layout)
        migration.run()
        migration.cut_over()
        opened = Collection.open(store, "docs", other)
        name = store.find("docs").name
        assert store.layout(name).prefix == kept[step], step
        points = store.retrieve(
            name, [record_id(str(n)) for n in range(30)], Select(dense=True, prefix=kept[step] > 0)
        )
        assert len(points) == 30
        for point in points:
            assert point.dense is not None
            assert is_prefix(point.prefix, point.dense) == (kept[step] > 0)
        assert opened.check().is_sound
        if step == "one":
            assert opened.search("t 4", limit=3)[0].id == "4"
        encoder = other


def test_a_migration_to_a_model_that_cannot_be_cut_says_what_to_do(
    store: Store, encoder: HashEncoder
) -> None:
    Collection.create(store, "docs", encoder, settings=SETTINGS)
    other = HashEncoder(DIM, max_tokens=100)
    with pytest.raises(RecipeError, match=r"prefix=8, and nothing says.*0 for none"):
        migrate(store, "docs", other)
    assert migrate(store, "docs", other, layout=Layout(prefix=0)).run().total == 0


def test_a_dump_brings_its_prefixes_to_another_engine(
    edge: Store, local: Store, encoder: HashEncoder, tmp_path: Path
) -> None:
    collection = Collection.create(edge, "docs", encoder, settings=SETTINGS)
    vectors = fill(collection, 30)
    dump(edge, "docs", tmp_path / "docs.dump")
    restore(tmp_path / "docs.dump", local, "docs")
    assert local.layout("docs").prefix == WIDTH
    restored = Collection.open(local, "docs", encoder)
    assert restored.check().is_sound
    query = vectors[3] + vectors[9]
    ids = [hit.id for hit in collection.search_vector(query, limit=5)]
    assert [hit.id for hit in restored.search_vector(query, limit=5)] == ids
