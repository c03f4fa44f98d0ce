"""The layout of collections: asked for, read back, compared, changed; and searches in each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Layout,
    Originals,
    Record,
    SearchMode,
    SearchOptions,
    Storage,
    Store,
    StoredLayout,
    StoreInputError,
    Words,
    connect,
    summarize,
)
from decant.integrations.qdrant.server.store import RemoteStore
from qdrant_double import QdrantDouble, reached

COMPRESSED = [item for item in Storage if item is not Storage.FULL]


@pytest.fixture(params=["edge", "server"])
def keeps(request: pytest.FixtureRequest) -> Store:
    """Return a store that keeps layouts, of each engine in turn."""
    found: Store = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def latest() -> Iterator[tuple[QdrantDouble, Store]]:
    """Return a double of the newest server that we know, and the store over it."""
    with QdrantDouble(version="1.20.0") as double, reached(double) as store:
        yield double, store


def fill(collection: Collection, count: int) -> np.ndarray[Any, Any]:
    """Store random vectors, and return them in the order of their ids, which are their numbers."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((count, collection.encoder.dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    records = [
        Record(id=str(n), text=f"text {n}", metadata={"even": n % 2 == 0}) for n in range(count)
    ]
    collection.add(records, vectors=vectors)
    return vectors


@pytest.mark.parametrize("storage", Storage)
def test_a_layout_reads_back_as_it_was_asked_for(
    keeps: Store, encoder: HashEncoder, storage: Storage
) -> None:
    collection = Collection.create(
        keeps, "docs", encoder, settings=CollectionSettings(storage=storage)
    )
    place = Originals.MEMORY if storage is Storage.FULL else Originals.DISK
    expected = StoredLayout(storage=storage, originals=place)
    assert collection.info().layout == expected
    assert summarize(keeps, "docs").layout == expected


def test_the_place_of_the_originals_is_a_choice_of_its_own(
    keeps: Store, encoder: HashEncoder
) -> None:
    for name, storage, place in (("a", "full", "disk"), ("b", "int8", "memory")):
        settings = CollectionSettings(storage=Storage(storage), originals=Originals(place))
        Collection.create(keeps, name, encoder, settings=settings)
        assert keeps.layout(name) == StoredLayout(
            storage=Storage(storage), originals=Originals(place)
        )


def test_a_server_keeps_shards_replicas_and_strict_mode(
    latest: tuple[QdrantDouble, Store], encoder: HashEncoder
) -> None:
    _, store = latest
    asked = CollectionSettings(shards=3, replicas=2, write_consistency=2, strict=True)
    Collection.create(store, "docs", encoder, settings=asked)
    assert store.layout("docs") == StoredLayout(
        shards=3, replicas=2, write_consistency=2, strict=True
    )
    assert str(store.layout("docs")).endswith("3 shards, 2 replicas, strict mode")


@pytest.mark.parametrize("version", ["1.16.3", "1.18.0", "1.19.0", "1.20.0"])
@pytest.mark.parametrize("storage", Storage)
def test_each_server_gets_what_it_knows_or_a_refusal_that_names_its_version(
    version: str, storage: Storage, encoder: HashEncoder
) -> None:
    settings = CollectionSettings(storage=storage)
    with QdrantDouble(version=version) as double, reached(double) as store:
        if storage in (Storage.TURBO4, Storage.TURBO1) and version < "1.18":
            with pytest.raises(StoreError, match=rf"'{storage}' needs .* 1\.18 or later.* 1\.16"):
                Collection.create(store, "docs", encoder, settings=settings)
            assert store.names() == []
            return
        Collection.create(store, "docs", encoder, settings=settings)
        body = double.requests("PUT", "/collections/docs")[0].body["vectors"]["dense"]
    names = {
        *body,
        *(key for one in (body.get("quantization_config") or {}).values() for key in one),
    }
    if version >= "1.19":
        assert "memory" in names
        assert not names & {"on_disk", "always_ram"}
    else:
        assert "on_disk" in names
        assert "memory" not in names


def test_what_only_servers_have_is_refused_by_name_on_edge(
    edge: Store, encoder: HashEncoder
) -> None:
    for name, settings in (
        ("shards", CollectionSettings(shards=2)),
        ("replicas", CollectionSettings(replicas=2)),
        ("write_consistency", CollectionSettings(write_consistency=2)),
        ("strict", CollectionSettings(strict=True)),
    ):
        with pytest.raises(StoreInputError, match=name):
            Collection.create(edge, "docs", encoder, settings=settings)
    assert edge.names() == []


def test_local_mode_refuses_what_it_would_ignore(local: Store, encoder: HashEncoder) -> None:
    with pytest.raises(StoreInputError, match=r"local mode.*ignores int8"):
        Collection.create(local, "docs", encoder, settings=CollectionSettings(storage=Storage.INT8))
    assert Collection.create(local, "docs", encoder).info().layout == StoredLayout()


def test_numbers_below_one_and_unknown_names_are_refused() -> None:
    with pytest.raises(StoreError, match="shards must be at least 1"):
        Layout(shards=0)
    with pytest.raises(StoreError, match=r"no storage is called 'int4'.*'turbo4'"):
        Layout(storage="int4")  # type: ignore[arg-type]


def test_opening_with_another_layout_names_the_difference(
    keeps: Store, encoder: HashEncoder
) -> None:
    Collection.create(keeps, "docs", encoder, settings=CollectionSettings(storage=Storage.INT8))
    asked = CollectionSettings(storage=Storage.TURBO4)
    with pytest.raises(StoreError, match="storage is int8 there, and turbo4 was asked for"):
        Collection.open_or_create(keeps, "docs", encoder, settings=asked)
    for fitting in (None, CollectionSettings(), CollectionSettings(storage=Storage.INT8)):
        Collection.open_or_create(keeps, "docs", encoder, settings=fitting)


@pytest.mark.parametrize("storage", COMPRESSED)
def test_scores_of_compressed_collections_are_cosines_of_the_original_vectors(
    edge: Store, storage: Storage
) -> None:
    encoder = HashEncoder(64)
    collection = Collection.create(
        edge, "docs", encoder, settings=CollectionSettings(storage=storage, words=Words())
    )
    vectors = fill(collection, 600)
    collection.optimize()
    query = np.random.default_rng(1).standard_normal(64).astype(np.float32)
    query /= np.linalg.norm(query)
    cosines = vectors @ query
    for chosen in (None, {"even": True}):
        hits = collection.search_vector(query, limit=10, where=chosen, mode=SearchMode.DENSE)
        for hit in hits:
            assert hit.score == pytest.approx(float(cosines[int(hit.id)]), abs=1e-5)
    exact = collection.search_vector(
        query, limit=10, mode=SearchMode.DENSE, options=SearchOptions(exact=True)
    )
    assert [hit.id for hit in exact] == [str(n) for n in np.argsort(-cosines)[:10]]


@pytest.mark.parametrize("storage", COMPRESSED)
def test_a_search_that_may_rescore_everything_finds_what_an_exact_one_finds(
    edge: Store, storage: Storage
) -> None:
    collection = Collection.create(
        edge, "docs", HashEncoder(64), settings=CollectionSettings(storage=storage)
    )
    vectors = fill(collection, 40)
    collection.optimize()
    query = vectors[7] + vectors[11]
    hits = collection.search_vector(query, limit=40, mode=SearchMode.DENSE)
    assert [hit.id for hit in hits] == [str(n) for n in np.argsort(-(vectors @ query))]


def test_every_dense_query_of_a_compressed_collection_asks_the_server_to_rescore(
    latest: tuple[QdrantDouble, Store], encoder: HashEncoder
) -> None:
    double, store = latest
    settings = CollectionSettings(storage=Storage.TURBO1, words=Words())
    collection = Collection.create(store, "docs", encoder, settings=settings)
    collection.add([Record(id="1", text="a cat")])
    for mode in (SearchMode.DENSE, SearchMode.HYBRID):
        collection.search("a cat", mode=mode)
        collection.search("a cat", mode=mode, where={"year": 1}, options=SearchOptions(ef=64))
    bodies = [it.body for it in (*double.requests("POST", "/query"),)]
    bodies += [one for it in double.requests("POST", "/query/batch") for one in it.body["searches"]]
    dense = [body for body in bodies if body["using"] == "dense"]
    assert len(dense) >= 4
    for body in bodies:
        rescoring = (body.get("params") or {}).get("quantization")
        expected = {"rescore": True, "oversampling": Storage.TURBO1.oversampling}
        assert rescoring == (expected if body in dense else None)


def test_oversampling_stays_within_the_limit_of_strict_mode(encoder: HashEncoder) -> None:
    strict = {"search_max_oversampling": 1.5}
    with QdrantDouble(strict, version="1.20.0") as double, reached(double) as store:
        settings = CollectionSettings(storage=Storage.BINARY)
        Collection.create(store, "docs", encoder, settings=settings).search("a cat")
        (asked,) = double.requests("POST", "/query") or double.requests("POST", "/query/batch")
        body = asked.body.get("searches", [asked.body])[0]
        assert body["params"]["quantization"]["oversampling"] == 1.5


@pytest.mark.parametrize("asked", Storage)
@pytest.mark.parametrize("made", [Storage.FULL, Storage.INT8])
def test_a_living_collection_changes_its_storage_and_keeps_its_points(
    keeps: Store, encoder: HashEncoder, made: Storage, asked: Storage
) -> None:
    settings = CollectionSettings(storage=made, words=Words())
    collection = Collection.create(keeps, "docs", encoder, settings=settings)
    fill(collection, 50)
    before = collection.get([str(n) for n in range(50)], with_vectors=True)
    if asked in (Storage.TURBO1, Storage.TURBO4) and isinstance(keeps, RemoteStore):
        assert (keeps.requests.version or ()) >= (1, 18)
    changed = collection.relayout(Layout(storage=asked))
    assert changed.storage is asked
    assert collection.relayout(Layout(storage=asked)) == changed == keeps.layout("docs")
    after = collection.get([str(n) for n in range(50)], with_vectors=True)
    assert [one.text for one in after] == [one.text for one in before]
    for one, other in zip(before, after, strict=True):
        assert one.vector is not None
        assert other.vector is not None
        np.testing.assert_array_equal(one.vector, other.vector)
    assert before[3].vector is not None
    hits = collection.search_vector(before[3].vector, limit=3)
    assert hits[0].id == "3"
    collection.add([Record(id="new", text="another text")])
    assert collection.search("another text", limit=1)[0].id == "new"


def test_a_new_layout_survives_closing_and_every_store_of_the_process_sees_it(
    scratch: Path, encoder: HashEncoder
) -> None:
    with ExitStack() as stack:
        one, two = (stack.enter_context(connect(scratch / "index")) for _ in range(2))
        collection = Collection.create(one, "docs", encoder)
        vectors = fill(collection, 30)
        other = Collection.open(two, "docs", encoder)
        collection.relayout(Layout(storage=Storage.INT8, originals=Originals.MEMORY))
        assert two.layout("docs").storage is Storage.INT8
        assert other.search_vector(vectors[4], limit=1)[0].id == "4"
    with connect(scratch / "index") as again:
        assert again.layout("docs") == StoredLayout(storage=Storage.INT8)
        assert Collection.open(again, "docs", encoder).info().passages == 30


def test_shards_and_replicas_of_a_living_collection_are_not_changed(
    latest: tuple[QdrantDouble, Store], encoder: HashEncoder
) -> None:
    double, store = latest
    collection = Collection.create(store, "docs", encoder)
    with pytest.raises(StoreInputError, match="shards is 1 there, and 4 was asked for"):
        collection.relayout(Layout(storage=Storage.INT8, shards=4))
    assert store.layout("docs") == StoredLayout()
    assert not double.requests("PATCH", "/collections/docs")
    assert collection.relayout(Layout(shards=1, write_consistency=2)).write_consistency == 2


def test_relayout_refuses_settings_that_never_change(edge: Store, encoder: HashEncoder) -> None:
    collection = Collection.create(edge, "docs", encoder)
    with pytest.raises(StoreInputError, match="only the layout"):
        collection.relayout(CollectionSettings(storage=Storage.INT8, words=Words()))
    assert collection.relayout(CollectionSettings(storage=Storage.INT8)).storage is Storage.INT8


def test_a_read_only_folder_keeps_its_layout(scratch: Path, encoder: HashEncoder) -> None:
    with connect(scratch / "index") as store:
        Collection.create(store, "docs", encoder)
    with connect(scratch / "index", read_only=True) as store:
        with pytest.raises(StoreError, match="changing the layout of 'docs'"):
            Collection.open(store, "docs", encoder).relayout(Layout(storage=Storage.INT8))
        assert store.layout("docs") == StoredLayout()


def test_the_quantization_of_another_program_is_shown_and_rescored(
    latest: tuple[QdrantDouble, Store], encoder: HashEncoder
) -> None:
    double, store = latest
    collection = Collection.create(store, "docs", encoder)
    held = double.engine.named("docs")[1]
    held.config["quantization_config"] = {"product": {"compression": "x16"}}
    assert str(store.layout("docs")).startswith("compressed by others")
    asked = CollectionSettings(storage=Storage.FULL)
    with pytest.raises(StoreError, match="storage is compressed by others there"):
        Collection.open_or_create(store, "docs", encoder, settings=asked)
    assert collection.relayout(Layout(storage=Storage.FULL)).storage is Storage.FULL
