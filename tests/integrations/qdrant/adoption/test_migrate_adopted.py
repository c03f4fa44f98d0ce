"""Adopted collections are migrated: their texts and metadata go into decant's own layout."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from qdrant_client import QdrantClient, models

from decant.embedders import HashEncoder, Prompt, Role, StoreError
from decant.integrations.qdrant import (
    Collection,
    CollectionMovedError,
    Document,
    Equals,
    Field,
    FieldIn,
    FieldType,
    PayloadIndex,
    Record,
    Storage,
    Store,
    connect,
    drop_replaced,
    migrate,
    rollback_migration,
)
from foreign_collections import PASSAGE, STYLES, TEXTS, adopt, fill
from migration_scene import without_grace
from qdrant_double import QdrantDouble

NEW = HashEncoder(24)


@pytest.fixture
def encoder() -> HashEncoder:
    return HashEncoder(64, query_prompt=Prompt(prefix="query: "), passage_prompt=PASSAGE)


@pytest.fixture
def client(double: QdrantDouble) -> Iterator[QdrantClient]:
    client = QdrantClient(url=double.url, check_compatibility=False)
    yield client
    client.close()


@pytest.fixture
def store(server: Store) -> Store:
    return without_grace(server)


def migrated(store: Store) -> Collection:
    migration = migrate(store, "notes", NEW)
    migration.run()
    migration.cut_over()
    return Collection.open(store, "notes", NEW)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("vector", ["", "text-dense"])
def test_texts_metadata_and_ids_are_those_of_the_adopted_collection(
    store: Store, client: QdrantClient, encoder: HashEncoder, style: str, vector: str
) -> None:
    ids = fill(client, encoder, style, vector=vector)
    adopted = adopt(store, encoder, style)
    adopted.add([Record(id="free", text="a gnu", metadata={"year": 2025}, source="zoo")])
    adopted.add_index(PayloadIndex(key="year", type=FieldType.INTEGER))
    before = {one.id: one for one in adopted.each()}
    foreign = client.scroll("notes", limit=100, with_vectors=True)
    docs = migrated(store)
    assert {one.id: one for one in docs.each()} == before
    assert before.keys() == {*ids, "free"}
    assert client.scroll("notes", limit=100, with_vectors=True) == foreign
    assert [one.text for one in docs.get([ids[3], "free"])] == [TEXTS[3], "a gnu"]
    hit = docs.search("the owl of the year 1992", limit=1, with_vectors=True)[0]
    assert (hit.id, hit.text, hit.source) == (ids[2], TEXTS[2], "book-2")
    made = NEW.encode([TEXTS[2]], role=Role.PASSAGE).dense[0]
    assert hit.vector == pytest.approx(made, abs=1e-6)
    assert docs.count(Equals("year", 1993)) == 1
    assert docs.count(FieldIn(Field.SOURCE, ["book-0"])) == 4
    held = store.aliases.indexed(store.find("notes").name)
    assert PayloadIndex(key="year", type=FieldType.INTEGER) in held
    # What an adopted collection does not have, it has from now on.
    docs.index([Document(source="a.txt", text="an island in the sea")])
    assert docs.check().is_sound
    assert docs.info().filled_by != ()


def test_the_adopted_collection_takes_no_writes_until_it_is_rolled_back(
    store: Store, client: QdrantClient, encoder: HashEncoder
) -> None:
    fill(client, encoder, "langchain")
    adopted = adopt(store, encoder, "langchain")
    docs = migrated(store)
    with pytest.raises(CollectionMovedError):
        adopted.add([Record(text="a yak")])
    assert adopted.search("the fox of the year 1993", limit=1)[0].text == TEXTS[3]
    docs.add([Record(id="since", text="a yak")])
    with pytest.raises(StoreError, match="copying back what was written since the cut-over"):
        rollback_migration(store, "notes", old_encoder=encoder)
    assert rollback_migration(store, "notes").name == "notes"
    adopted.add([Record(id="later", text="a gnu")])
    assert Collection.open(store, "notes", encoder).count() == 11
    assert [one.text for one in migrated(store).get(["later", "since"])] == ["a gnu"]
    assert drop_replaced(store, "notes", keep=timedelta(0)) == ["notes"]
    assert client.count("notes").count == 0
    assert Collection.open(store, "notes", NEW).count() == 11


def test_what_another_program_changes_meanwhile_is_copied(
    store: Store, client: QdrantClient, encoder: HashEncoder
) -> None:
    ids = fill(client, encoder, "langchain")
    adopt(store, encoder, "langchain")
    migration = migrate(store, "notes", NEW)
    migration.run()
    row = encoder.encode(["a yak"], role=Role.PASSAGE).dense[0].tolist()
    client.upsert(
        "notes",
        [
            models.PointStruct(id=ids[0], vector=row, payload={"page_content": "a yak"}),
            models.PointStruct(id=7, vector=row, payload={"page_content": "a gnu", "metadata": {}}),
        ],
    )
    client.delete("notes", [ids[1]])
    migration.cut_over()
    texts = {one.text for one in Collection.open(store, "notes", NEW).each()}
    assert texts == {*TEXTS[2:], "a yak", "a gnu"}


def test_points_without_a_text_are_counted_and_stay_behind(
    store: Store, client: QdrantClient, encoder: HashEncoder
) -> None:
    ids = fill(client, encoder, "langchain")
    adopt(store, encoder, "langchain")
    migration = migrate(store, "notes", NEW)
    assert migration.run().left_out == 0
    row = [1.0] * 64
    client.upsert(
        "notes",
        [
            models.PointStruct(id=5, vector=row, payload={"metadata": {}}),
            models.PointStruct(id=6, vector=row, payload={"page_content": "a", "metadata": [1]}),
            models.PointStruct(id=ids[0], vector=row, payload={}),
        ],
    )
    assert migration.run().left_out == 3
    migration.cut_over()
    assert {one.text for one in Collection.open(store, "notes", NEW).each()} == {*TEXTS[1:]}


def test_shards_and_compression_are_those_of_the_adopted_collection(
    store: Store, client: QdrantClient, encoder: HashEncoder
) -> None:
    fill(client, encoder, "langchain")
    client.delete_collection("notes")
    client.create_collection(
        "notes",
        models.VectorParams(size=64, distance=models.Distance.COSINE),
        shard_number=3,
        quantization_config=models.ScalarQuantization(
            scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8)
        ),
    )
    rows = encoder.encode(TEXTS, role=Role.PASSAGE).dense.tolist()
    points = [
        models.PointStruct(id=number, vector=row, payload={"page_content": text})
        for number, (row, text) in enumerate(zip(rows, TEXTS, strict=True))
    ]
    client.upsert("notes", points)
    adopt(store, encoder, "langchain")
    layout = migrated(store).info().layout
    assert (layout.shards, layout.storage) == (3, Storage.INT8)


def test_it_goes_to_a_folder_too(
    store: Store, edge: Store, client: QdrantClient, encoder: HashEncoder
) -> None:
    ids = fill(client, encoder, "haystack")
    adopt(store, encoder, "haystack")
    migration = migrate(store, "notes", NEW, to=edge)
    migration.run()
    migration.cut_over()
    docs = Collection.open(edge, "notes", NEW)
    assert [one.text for one in docs.get([ids[4]])] == [TEXTS[4]]
    assert docs.count(Equals("year", 1994)) == 1


def test_local_mode_is_migrated_too(encoder: HashEncoder) -> None:
    client = QdrantClient(":memory:")
    fill(client, encoder, "llama_index")
    with connect(client) as store:
        adopt(store, encoder, "llama_index")
        docs = migrated(store)
        assert docs.search("the owl of the year 1992", limit=1)[0].text == TEXTS[2]
        assert docs.count() == 10
    client.close()
