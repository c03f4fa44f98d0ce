"""Before the first use the server's model is proven to be the one that filled the collection."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient

from decant.embedders import CollectionMismatch, HashEncoder, Role, StoreError
from decant.integrations.qdrant import (
    Collection,
    Document,
    Record,
    Select,
    ServerInference,
    Store,
    connect,
)
from decant.integrations.qdrant.inference.proof import COSINE_TOLERANCE, SCORE_TOLERANCE
from decant.integrations.qdrant.points.golden import GOLDEN_TEXT, read_golden_vectors
from decant.integrations.qdrant.points.payloads import NOTES
from decant.integrations.qdrant.stores.protocol import each
from qdrant_double import QdrantDouble, ServiceAnswer

Rows = Callable[[list[str], Role], "np.typing.NDArray[np.float32]"]


class Careless:
    """A service that gives what it has under any name, whatever digest is asked for."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __call__(self, body: Any) -> ServiceAnswer:
        rows = [
            self.rows([one["data"]], Role(one["options"]["role"]))[0].tolist()
            for one in body["inputs"]
        ]
        return ServiceAnswer(body=json.dumps({"embeddings": rows, "usage": None}).encode())


def near(model: HashEncoder, distance: float) -> Rows:
    """Return vectors at this distance from the model's."""

    def rows(texts: list[str], role: Role) -> np.typing.NDArray[np.float32]:
        dense = model.encode(texts, role=role).dense.astype(np.float64)
        aside = np.roll(dense, 1, axis=1)
        aside -= (aside * dense).sum(axis=1, keepdims=True) * dense
        aside /= np.linalg.norm(aside, axis=1, keepdims=True)
        moved = dense + distance * aside
        return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True), np.float32)

    return rows


@pytest.fixture(scope="module")
def plain() -> HashEncoder:
    """Return a model without sparse vectors, which a careless service can stand for."""
    return HashEncoder(16)


@pytest.fixture
def made(store: Store, plain: HashEncoder) -> Collection:
    """Return an empty collection of that model."""
    collection = Collection.create(store, "plain", plain)
    collection.keep_golden_vectors()
    return collection


@pytest.fixture
def opened(store: Store, made: Collection) -> Collection:
    return Collection.open(store, made.name, ServerInference("plain"))


def points_in(double: QdrantDouble, name: str) -> int:
    """Return how many points there are, but for the lease and what deletions leave for an hour."""
    records, _ = double.engine.client.scroll(name, limit=1_000)
    held = [record.payload or {} for record in records]
    return sum(one.get("kind") != "tombstone" and one.get("note") != "writer" for one in held)


def other(texts: list[str], role: Role) -> np.typing.NDArray[np.float32]:
    return HashEncoder(16).encode([f"other {text}" for text in texts], role=role).dense


def test_another_model_is_refused_before_a_search(
    inferring: QdrantDouble, made: Collection, opened: Collection
) -> None:
    made.add([Record(text="the ferry leaves"), Record(text="rain on the pier")])
    inferring.inference = Careless(other)
    with pytest.raises(CollectionMismatch, match=r"asks as plain@\w+ is not the one that filled"):
        opened.search("ferry")
    inferring.inference = Careless(near(HashEncoder(16), 0.0))
    assert opened.search("ferry")


def test_another_model_is_refused_before_the_first_write_and_nothing_is_stored(
    inferring: QdrantDouble, opened: Collection
) -> None:
    inferring.inference = Careless(other)
    before = points_in(inferring, "plain")
    with pytest.raises(CollectionMismatch, match="golden vector, which must be 1"):
        opened.add([Record(text="the ferry leaves")])
    with pytest.raises(CollectionMismatch):
        opened.index([Document(source="a.txt", text="the ferry leaves")])
    assert opened.count() == 0
    assert opened.info().documents == 0
    # The open marker of the document, which the next run completes, was not even written.
    assert points_in(inferring, "plain") == before


@pytest.mark.parametrize("is_empty", [True, False])
def test_rounding_passes_and_another_precision_does_not(
    inferring: QdrantDouble,
    store: Store,
    made: Collection,
    plain: HashEncoder,
    *,
    is_empty: bool,
) -> None:
    if not is_empty:
        made.add([Record(text=f"text {number} of several") for number in range(20)])
    for distance, passes in ((0.0, True), (1e-4, True), (1e-1, False)):
        inferring.inference = Careless(near(plain, distance))
        opened = Collection.open(store, made.name, ServerInference("plain"))
        if passes:
            opened.add([Record(id="x", text="one more")])
            opened.delete(["x"])
        else:
            with pytest.raises(CollectionMismatch, match="in fp32"):
                opened.add([Record(text="one more")])


def test_the_tolerances_are_of_one_distance() -> None:
    """|q - g|² = 2 (1 - cosine), and no score moves by more than |q - g|."""
    assert np.sqrt(2 * COSINE_TOLERANCE) >= SCORE_TOLERANCE


def test_an_empty_collection_is_searched_without_a_proof(
    inferring: QdrantDouble, opened: Collection
) -> None:
    inferring.inference = Careless(other)
    assert opened.search("ferry") == []


def test_the_proof_is_asked_for_once(inferring: QdrantDouble, opened: Collection) -> None:
    asked: list[str] = []
    service = Careless(near(HashEncoder(16), 0.0))

    def ask(body: Any) -> ServiceAnswer:
        asked.extend(one["data"] for one in body["inputs"])
        return service(body)

    inferring.inference = ask
    opened.add([Record(text="a"), Record(text="b")])
    opened.add([Record(text="c")])
    opened.search("d")
    # As a query and as a passage: searched for where nothing is yet, then stored for a moment.
    assert asked.count(GOLDEN_TEXT) == 4
    assert {*asked} == {GOLDEN_TEXT, *"abcd"}


def test_golden_vectors_are_nothing_that_anybody_finds(
    inferring: QdrantDouble, made: Collection, opened: Collection, plain: HashEncoder
) -> None:
    made.add([Record(id="1", text="the ferry leaves")])
    inferring.inference = Careless(near(plain, 0.0))
    assert [hit.id for hit in opened.search(GOLDEN_TEXT, limit=100)] == ["1"]
    assert [passage.id for passage in opened.each()] == ["1"]
    assert opened.count() == opened.info().passages == 1
    assert opened.check().findings == ()
    client = QdrantClient(url=inferring.url, check_compatibility=False)
    vector = plain.encode([GOLDEN_TEXT], role=Role.PASSAGE).dense[0].tolist()
    found = client.query_points("plain", query=vector, using="dense", limit=100).points
    assert [(point.payload or {})["id"] for point in found] == ["1"]
    client.close()


def test_golden_vectors_are_to_the_bit_those_of_the_encoder(
    store: Store, made: Collection, plain: HashEncoder
) -> None:
    (golden,) = read_golden_vectors(store, made.name)
    assert (golden.text, golden.precision) == (GOLDEN_TEXT, "fp32")
    for role in Role:
        expected = plain.encode([GOLDEN_TEXT], role=role).dense[0]
        np.testing.assert_array_equal(golden.vectors[role], expected)


def test_the_first_write_with_the_encoder_keeps_them_and_clearing_leaves_them(
    store: Store, plain: HashEncoder
) -> None:
    collection = Collection.create(store, "plain", plain)
    assert read_golden_vectors(store, "plain") == ()
    collection.add([Record(text="a")])
    assert len(read_golden_vectors(store, "plain")) == 1
    collection.clear()
    assert len(read_golden_vectors(store, "plain")) == 1
    collection.add([Record(text="a")])
    assert len(read_golden_vectors(store, "plain")) == 1


def test_without_golden_vectors_the_error_says_how_to_add_them(
    inferring: QdrantDouble, store: Store, made: Collection, opened: Collection
) -> None:
    made.add([Record(text="a")])
    notes = [point.id for page in each(store, "plain", NOTES, Select(fields=())) for point in page]
    store.delete("plain", notes)
    inferring.inference = Careless(near(HashEncoder(16), 0.0))
    with pytest.raises(StoreError, match=r"decant serve BUNDLE --store .*keep_golden_vectors\(\)"):
        opened.search("a")
    made.keep_golden_vectors()
    assert opened.search("a")


def test_damaged_golden_vectors_are_named(store: Store, made: Collection) -> None:
    (point,) = (point for page in each(store, "plain", NOTES, Select()) for point in page)
    store.set_fields("plain", [type(point)(id=point.id, payload={"query": "no base64!"})])
    with pytest.raises(StoreError, match=r"golden vectors of the collection 'plain' in .* damaged"):
        read_golden_vectors(store, made.name)


def test_a_probe_that_a_killed_process_left_is_no_hit(
    inferring: QdrantDouble,
    store: Store,
    opened: Collection,
    plain: HashEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inferring.inference = Careless(near(plain, 0.0))
    delete = type(store).delete
    monkeypatch.setattr(type(store), "delete", lambda *_: None)
    opened.add([Record(id="1", text="the ferry leaves")])
    monkeypatch.setattr(type(store), "delete", delete)
    assert [hit.id for hit in opened.search(GOLDEN_TEXT, limit=10)] == ["1"]
    assert opened.count() == 1
    assert [hit.id for hits in opened.search_many([GOLDEN_TEXT, "ferry"]) for hit in hits] == [
        "1",
        "1",
    ]


def test_decant_serve_itself_refuses_another_recipe(
    inferring: QdrantDouble, store: Store, model: HashEncoder
) -> None:
    other_recipe = HashEncoder(16, max_tokens=25, sparse=True)
    collection = Collection.create(store, "newer", other_recipe)
    collection.add([Record(text="a")])
    opened = Collection.open(store, "newer", ServerInference("minilm"))
    with pytest.raises(StoreError, match=f"minilm has the recipe {model.recipe.digest()} here"):
        opened.search("a")
    with pytest.raises(StoreError, match="there is no model 'absent' here; there are: minilm"):
        Collection.open(store, "newer", ServerInference("absent")).search("a")
    assert inferring.inference is not None


@pytest.fixture
def edge_collection(edge: Store, plain: HashEncoder) -> Collection:
    return Collection.create(edge, "docs", plain)


def test_edge_and_local_mode_and_a_client_that_embeds_itself_are_refused_by_name(
    edge: Store, edge_collection: Collection, local: Store, plain: HashEncoder, double: QdrantDouble
) -> None:
    with pytest.raises(StoreError, match=r"EdgeStore, which holds 'docs' in .* asks no inference"):
        Collection.open(edge, edge_collection.name, ServerInference("plain"))
    Collection.create(local, "docs", plain).add([Record(text="a")])
    with pytest.raises(StoreError, match="RemoteStore over the client's local mode asks no infer"):
        Collection.open(local, "docs", ServerInference("plain")).search("a")
    client = QdrantClient(url=double.url, check_compatibility=False)
    with connect(client) as store:
        Collection.create(store, "docs", plain).add([Record(text="a")])
        with pytest.raises(StoreError, match=r"QdrantClient\(…, cloud_inference=True\)"):
            Collection.open(store, "docs", ServerInference("plain")).search("a")
    client.close()


def test_a_collection_is_not_made_without_its_model(store: Store) -> None:
    for make in (Collection.create, Collection.open_or_create):
        with pytest.raises(StoreError, match=r"decant create .* new --model BUNDLE"):
            make(store, "new", ServerInference("plain"))  # type: ignore[arg-type]
    assert "new" not in store.names()


@pytest.mark.parametrize("name", ["", "minilm@abc", "minilm:query", 7])
def test_a_name_with_more_than_a_name_is_refused(name: object) -> None:
    with pytest.raises(StoreError, match="takes the model's name at the inference service"):
        ServerInference(name)  # type: ignore[arg-type]
