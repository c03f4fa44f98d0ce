"""Adopted collections: searched, filtered and written, in the layout that they have."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from decant.embedders import CollectionMismatch, HashEncoder, Prompt, Role, StoreError
from decant.integrations.qdrant import (
    Collection,
    Document,
    Equals,
    Exists,
    Field,
    FieldIn,
    FieldType,
    Group,
    In,
    Not,
    PayloadIndex,
    Range,
    Record,
    RemoteStore,
    SearchMode,
    SearchOptions,
    ServerInference,
    StartsWith,
    Store,
    connect,
    summarize,
)
from foreign_collections import PASSAGE, STYLES, TEXTS, adopt, fill, payload
from qdrant_double import QdrantDouble, reached


@pytest.fixture
def encoder() -> HashEncoder:
    return HashEncoder(64, query_prompt=Prompt(prefix="query: "), passage_prompt=PASSAGE)


@pytest.fixture
def client(double: QdrantDouble) -> Iterator[QdrantClient]:
    client = QdrantClient(url=double.url, check_compatibility=False)
    yield client
    client.close()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("vector", ["", "text-dense"])
def test_a_collection_of_another_program_is_searched_filtered_and_read(
    server: Store, client: QdrantClient, encoder: HashEncoder, style: str, vector: str
) -> None:
    ids = fill(client, encoder, style, vector=vector)
    before = client.scroll("notes", limit=100, with_vectors=True)
    docs = adopt(server, encoder, style)
    assert client.scroll("notes", limit=100, with_vectors=True) == before
    best = docs.search("the owl of the year 1992", limit=3)
    # The naive loop: a cosine for each stored vector.
    query = encoder.encode(["the owl of the year 1992"], role=Role.QUERY).dense[0]
    stored = {str(one.id): one.vector for one in before[0]}
    rows = {
        key: np.array(row[vector] if isinstance(row, dict) else row) for key, row in stored.items()
    }
    expected = sorted(((float(query @ row), key) for key, row in rows.items()), reverse=True)[:3]
    assert [hit.id for hit in best] == [key for _, key in expected]
    assert [hit.score for hit in best] == pytest.approx([score for score, _ in expected], abs=1e-5)
    hit = next(hit for hit in best if hit.id == ids[2])
    assert (hit.text, hit.source) == (TEXTS[2], "book-2")
    assert hit.metadata["year"] == 1992
    assert docs.count() == 10
    assert docs.count({"year": 1993}) == 1
    assert docs.count(Range("year", gte=1995)) == 5
    assert docs.count(Not(In("year", [1990, 1991]))) == 8
    assert docs.count(FieldIn(Field.SOURCE, ["book-0"])) == 4
    assert docs.count(StartsWith("source", "book")) == 10
    assert docs.count(Exists("none")) == 0
    assert docs.count(FieldIn(Field.ID, ids[:3])) == 3
    assert [one.text for one in docs.get([ids[4], ids[1]])] == [TEXTS[4], TEXTS[1]]
    assert {one.text for one in docs.each()} == set(TEXTS)
    several = docs.search_many(["a cat", "a dog"], limit=2, where=Equals("year", 1991))
    assert [[hit.text for hit in hits] for hits in several] == [[TEXTS[1]], [TEXTS[1]]]


@pytest.mark.parametrize("style", STYLES)
def test_records_are_added_replaced_and_deleted_in_the_layout_of_the_collection(
    server: Store, client: QdrantClient, encoder: HashEncoder, style: str
) -> None:
    fill(client, encoder, style)
    docs = adopt(server, encoder, style)
    own = "0f0e4f7a-6f3e-4a52-9d4a-9f3f8c1f6f0e"
    docs.add(
        [
            Record(id=own, text="a yak", metadata={"year": 2024}, source="zoo"),
            Record(id="free", text="a gnu", metadata={"year": 2025}),
        ]
    )
    (point,) = client.retrieve("notes", [own], with_vectors=True)
    assert point.payload is not None
    if style == "llama_index":
        node = json.loads(point.payload["_node_content"])
        assert (node["text"], node["id_"]) == ("a yak", own)
        assert node["metadata"] == {"year": 2024, "source": "zoo"}
        assert node["excluded_embed_metadata_keys"] == ["year", "source"]
        assert point.payload["year"] == 2024
    else:
        fields = payload(style, "a yak", 0)
        names = {key for key, value in fields.items() if value is not None}
        assert names >= point.payload.keys()
    assert isinstance(point.vector, list)
    made = encoder.encode(["a yak"], role=Role.PASSAGE).dense[0]
    np.testing.assert_allclose(point.vector, made, atol=1e-6)
    assert [one.text for one in docs.get(["free", own])] == ["a gnu", "a yak"]
    assert docs.search("a gnu", limit=1)[0].id == "free"
    assert docs.search("a yak", limit=1)[0].source == "zoo"
    docs.add([Record(id="free", text="a new gnu")])
    assert docs.count() == 12
    assert docs.delete(["free", "no such id"]) == 1
    assert docs.delete_source("zoo") == 1
    assert docs.delete_where({"year": 1990}) == 1
    assert docs.count() == client.count("notes").count == 9
    assert docs.check().is_sound
    docs.clear()
    assert client.count("notes").count == 0


def test_an_adopted_collection_is_opened_listed_and_seen_to_be_what_it_is(
    server: Store, client: QdrantClient, encoder: HashEncoder, double: QdrantDouble
) -> None:
    fill(client, encoder, "langchain")
    assert "notes" not in server.names()
    adopt(server, encoder, "langchain")
    assert server.names() == ["notes"]
    with reached(double) as other:
        docs = Collection.open(other, "notes", encoder)
        assert docs.search("the fox of the year 1993", limit=1)[0].text == TEXTS[3]
        assert docs.info().passages == 10
        assert docs.info().filled_by == ()
        assert summarize(other, "notes").records == 10
        docs.add_index(PayloadIndex(key="year", type=FieldType.INTEGER))
        assert other.missing_indexes("notes") == []
    assert double.engine.held["notes"].indexes.keys() == {"metadata.source", "metadata.year"}
    with pytest.raises(CollectionMismatch):
        Collection.open(server, "notes", HashEncoder(64))
    with pytest.raises(StoreError, match="has metadata of decant already"):
        adopt(server, encoder, "langchain")


def test_ids_that_are_numbers_stay_and_are_seen_as_uuids(
    server: Store, client: QdrantClient, encoder: HashEncoder
) -> None:
    params = models.VectorParams(size=64, distance=models.Distance.COSINE)
    client.create_collection("notes", params)
    rows = encoder.encode(TEXTS, role=Role.PASSAGE).dense.tolist()
    numbers = [*range(9), 2**64 - 1]
    points = [
        models.PointStruct(id=number, vector=row, payload={"text": text})
        for number, row, text in zip(numbers, rows, TEXTS, strict=True)
    ]
    client.upsert("notes", points)
    docs = Collection.adopt(server, "notes", encoder)
    found = {one.text: one.id for one in docs.each()}
    assert found[TEXTS[8]].endswith("0008")
    assert [one.text for one in docs.get([found[TEXTS[9]], found[TEXTS[0]]])] == [
        TEXTS[9],
        TEXTS[0],
    ]
    docs.add([Record(id=found[TEXTS[8]], text="a yak")])
    (point,) = client.retrieve("notes", [8])
    assert point.payload == {"text": "a yak", "metadata": {}}
    assert docs.delete([found[TEXTS[9]]]) == 1
    assert client.retrieve("notes", [2**64 - 1]) == []


def test_what_others_write_afterwards_is_found_and_a_point_without_a_text_is_named(
    server: Store, client: QdrantClient, encoder: HashEncoder
) -> None:
    fill(client, encoder, "langchain")
    docs = adopt(server, encoder, "langchain")
    row = encoder.encode(["a yak"], role=Role.PASSAGE).dense[0].tolist()
    client.upsert(
        "notes",
        [models.PointStruct(id=5, vector=row, payload={"page_content": "a yak", "metadata": None})],
    )
    (hit,) = docs.search("a yak", limit=1)
    assert (hit.text, hit.metadata) == ("a yak", {})
    client.upsert("notes", [models.PointStruct(id=5, vector=row, payload={"metadata": {}})])
    with pytest.raises(StoreError, match="was found as a passage and holds none"):
        docs.search("a yak", limit=1)


def test_hits_are_grouped_by_their_source(
    server: Store, client: QdrantClient, encoder: HashEncoder
) -> None:
    fill(client, encoder, "langchain")
    docs = adopt(server, encoder, "langchain")
    options = SearchOptions(group=Group(by=Field.SOURCE, size=1))
    hits = docs.search("the cat of the year", limit=5, options=options)
    assert sorted(hit.source for hit in hits) == ["book-0", "book-1", "book-2"]


def test_what_does_not_pass_is_not_adopted_and_nothing_is_written(
    server: Store, client: QdrantClient, encoder: HashEncoder
) -> None:
    fill(client, encoder, "langchain")
    records, _ = client.scroll("notes", limit=3)
    texts = [(one.payload or {})["page_content"] for one in records]
    rows = encoder.encode(texts, role=Role.QUERY).dense.tolist()
    client.upsert(
        "notes",
        [
            models.PointStruct(id=one.id, vector=row, payload=one.payload)
            for one, row in zip(records, rows, strict=True)
        ],
    )
    with pytest.raises(CollectionMismatch, match=r"30\.0% .* the query prompt on passages"):
        adopt(server, encoder, "langchain")
    assert not client.get_collection("notes").config.metadata
    with pytest.raises(StoreError, match="has no metadata of decant"):
        Collection.open(server, "notes", encoder)


def test_a_distance_whose_scores_are_no_cosines_is_refused(
    server: Store, client: QdrantClient, encoder: HashEncoder
) -> None:
    params = models.VectorParams(size=64, distance=models.Distance.EUCLID)
    client.create_collection("notes", params)
    rows = encoder.encode(TEXTS, role=Role.PASSAGE).dense.tolist()
    points = [
        models.PointStruct(id=number, vector=row, payload={"text": text})
        for number, (row, text) in enumerate(zip(rows, TEXTS, strict=True))
    ]
    client.upsert("notes", points)
    with pytest.raises(StoreError, match="compares vectors by Euclid"):
        Collection.adopt(server, "notes", encoder)


def test_what_an_adopted_collection_does_not_have_is_refused_by_name(
    server: Store, client: QdrantClient, encoder: HashEncoder
) -> None:
    fill(client, encoder, "langchain")
    docs = adopt(server, encoder, "langchain")
    with pytest.raises(StoreError, match="indexing documents needs points in decant's own form"):
        docs.index([Document(source="a", text="b")])
    with pytest.raises(StoreError, match="keeping golden vectors needs"):
        docs.keep_golden_vectors()
    with pytest.raises(StoreError, match="embedding on the server needs"):
        Collection.open(server, "notes", ServerInference("tiny"))
    with pytest.raises(StoreError, match="have no 'root'"):
        docs.count(FieldIn(Field.ROOT, ["a"]))
    with pytest.raises(StoreError, match="source is 'a' and its metadata say 'b'"):
        docs.add([Record(text="a yak", source="a", metadata={"source": "b"})])
    with pytest.raises(StoreError, match="'words'"):
        docs.search("a cat", mode=SearchMode.WORDS)
    assert client.count("notes").count == 10


def test_an_entry_that_would_hide_a_field_of_the_layout_is_refused(
    server: Store, client: QdrantClient, encoder: HashEncoder
) -> None:
    fill(client, encoder, "flat")
    docs = adopt(server, encoder, "flat")
    with pytest.raises(StoreError, match=r"the metadata entry 'body' .* is a field of this"):
        docs.add([Record(text="a yak", metadata={"body": "b"})])


def test_local_mode_is_adopted_too(encoder: HashEncoder) -> None:
    client = QdrantClient(":memory:")
    fill(client, encoder, "langchain")
    with connect(client) as store:
        assert isinstance(store, RemoteStore)
        docs = adopt(store, encoder, "langchain")
        assert docs.search("the owl of the year 1992", limit=1)[0].text == TEXTS[2]
        docs.add([Record(text="a yak")])
        assert docs.count() == 11
    client.close()
