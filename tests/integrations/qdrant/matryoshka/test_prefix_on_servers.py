"""What a server is sent for collections with prefixes, and what its operators see of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from decant.embedders import HashEncoder
from decant.embedders.doctor import Health
from decant.integrations.qdrant import (
    Collection,
    Layout,
    Originals,
    Record,
    SearchMode,
    SearchOptions,
    ServerInference,
    Storage,
    Store,
    StoreInputError,
    Words,
    diagnose_store,
)
from decant.integrations.qdrant.matryoshka.prefix import OVERSAMPLING
from decant.integrations.qdrant.stores.protocol import PREFIX
from prefix_scene import DIM, SETTINGS, WIDTH, fill, naive
from qdrant_double import QdrantDouble, reached


@pytest.fixture
def latest() -> Iterator[tuple[QdrantDouble, Store]]:
    """Return a double of the newest server that we know, and the store over it."""
    with QdrantDouble(version="1.20.0") as double, reached(double) as store:
        yield double, store


def test_a_server_that_makes_vectors_cannot_cut_them(
    latest: tuple[QdrantDouble, Store], encoder: HashEncoder
) -> None:
    _, store = latest
    Collection.create(store, "docs", encoder, settings=SETTINGS)
    with pytest.raises(StoreInputError, match="first 8 values of its vectors, which a server"):
        Collection.open(store, "docs", ServerInference("hash"))


def test_a_server_gets_one_graph_and_searches_the_prefix_first(
    latest: tuple[QdrantDouble, Store], encoder: HashEncoder
) -> None:
    double, store = latest
    settings = replace(SETTINGS, storage=Storage.TURBO1, words=Words())
    collection = Collection.create(store, "docs", encoder, settings=settings)
    sent = double.requests("PUT", "/collections/docs")[0].body["vectors"]
    assert sent["dense"]["hnsw_config"] == {"m": 0, "payload_m": 0}
    assert sent["dense"]["memory"] == "cold"
    assert "quantization_config" not in sent["dense"]
    assert sent[PREFIX]["size"] == WIDTH
    assert sent[PREFIX]["quantization_config"]["turbo"]["bits"] == "bits1"
    collection.add([Record(id="1", text="a cat", metadata={"year": 1})])
    options = SearchOptions(ef=64)
    for mode in (SearchMode.DENSE, SearchMode.HYBRID):
        collection.search("a cat", mode=mode, where={"year": 1}, options=options, limit=3)
    collection.search("a cat", mode=SearchMode.DENSE, options=SearchOptions(exact=True))
    bodies = [it.body for it in double.requests("POST", "/query")]
    bodies += [one for it in double.requests("POST", "/query/batch") for one in it.body["searches"]]
    dense = [body for body in bodies if body.get("using") == "dense"]
    staged = [body for body in dense if body.get("prefetch")]
    (exact,) = [body for body in dense if not body.get("prefetch")]
    assert exact["params"]["exact"]
    assert len(staged) == 2
    for body in staged:
        (first,) = body["prefetch"]
        assert (first["using"], len(first["query"])) == (PREFIX, WIDTH)
        assert first["limit"] == OVERSAMPLING * body["limit"]
        assert first["filter"]
        assert first["params"]["hnsw_ef"] == 64
        assert first["params"]["quantization"] == {
            "rescore": True, "oversampling": Storage.TURBO1.oversampling,
        }  # fmt: skip
        assert len(body["query"]["nearest"]) == DIM


def test_candidates_stay_within_the_limit_of_strict_mode(encoder: HashEncoder) -> None:
    strict = {"max_query_limit": 25}
    with QdrantDouble(strict, version="1.20.0") as double, reached(double) as store:
        collection = Collection.create(store, "docs", encoder, settings=SETTINGS)
        vectors = fill(collection, 40)
        query = vectors[3] + vectors[9]
        hits = collection.search_vector(query, limit=5)
        asked = double.requests("POST", "/query") or double.requests("POST", "/query/batch")
        first = asked[0].body.get("searches", [asked[0].body])[0]["prefetch"][0]
        assert first["limit"] == 25
        assert [hit.id for hit in hits] == naive(vectors, query, 5, candidates=25)
        many = collection.search_vector(query, limit=30)
        assert [hit.id for hit in many] == naive(vectors, query, 30, candidates=40)


def test_a_server_changes_how_the_prefix_is_compressed_and_leaves_the_rest(
    latest: tuple[QdrantDouble, Store], encoder: HashEncoder
) -> None:
    double, store = latest
    collection = Collection.create(store, "docs", encoder, settings=SETTINGS)
    changed = collection.relayout(Layout(storage=Storage.INT8))
    assert changed == replace(store.layout("docs"), storage=Storage.INT8, prefix=WIDTH)
    sent = double.requests("PATCH", "/collections/docs")[0].body["vectors"]
    assert sent["dense"] == {"memory": "cold"}
    assert sent[PREFIX]["memory"] == "cold"
    assert "scalar" in sent[PREFIX]["quantization_config"]
    full = collection.relayout(Layout(storage=Storage.FULL))
    assert (full.storage, full.originals) == (Storage.FULL, Originals.DISK)
    sent = double.requests("PATCH", "/collections/docs")[-1].body["vectors"]
    assert sent[PREFIX]["memory"] == "cached"


def test_doctor_and_the_state_know_of_the_prefix(
    latest: tuple[QdrantDouble, Store], encoder: HashEncoder
) -> None:
    double, store = latest
    collection = Collection.create(store, "docs", encoder, settings=SETTINGS)
    state = collection.info().state
    assert state is not None
    sizes = {vector.name: (vector.dim, vector.bytes_each) for vector in state.vectors}
    assert sizes == {"dense": (DIM, 4 * DIM), PREFIX: (WIDTH, 4 * WIDTH)}
    found = {one.name: one for one in diagnose_store(store).findings}
    assert found["docs: vectors"].health is Health.GOOD
    del double.engine.named("docs")[1].vectors[PREFIX]
    found = {one.name: one for one in diagnose_store(store).findings}
    assert found["docs: vectors"].detail == f"the vector {PREFIX!r} is missing"
