"""Adopted collections in dumps: every point to the letter, adopted in the same way afterwards."""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from decant.embedders import HashEncoder, Prompt, Role, StoreError
from decant.integrations.qdrant import (
    Collection,
    DumpError,
    FieldType,
    Layout,
    PayloadIndex,
    Record,
    RemoteStore,
    SearchDefaults,
    SearchMode,
    Storage,
    Store,
    StoreInputError,
    connect,
    dump,
    migrate,
    restore,
)
from decant.integrations.qdrant.adoption.stored_points import StoredPoints
from decant.integrations.qdrant.dumps.archive import DumpReader
from foreign_collections import PASSAGE, STYLES, TEXTS, adopt, fill
from qdrant_double import MIDDLING, QdrantDouble, reached
from stores import Cut, cut_off

ENCODER = HashEncoder(64, query_prompt=Prompt(prefix="query: "), passage_prompt=PASSAGE)
PLACES = ["local", "server"]
FREE = models.StrictModeConfig(enabled=False, max_query_limit=1_000)
ODD = "a name of ümlauts, 0.npy"
"""A name of a vector, as nearly any string can be one."""


def client_of(store: Store) -> QdrantClient:
    """Return the client of a store on a server."""
    assert isinstance(store, RemoteStore)
    return store.requests.client


@pytest.fixture(params=PLACES)
def store(request: pytest.FixtureRequest) -> Store:
    """Return a store that other programs fill, too."""
    found: Store = request.getfixturevalue(request.param)
    return found


def rich(store: Store, name: str = "notes") -> Collection:
    """Return an adopted collection of points with everything that a point can have."""
    client = client_of(store)
    draw = np.random.default_rng(0)
    client.create_collection(
        name,
        {
            "text-dense": models.VectorParams(size=64, distance=models.Distance.COSINE),
            ODD: models.VectorParams(size=3, distance=models.Distance.EUCLID),
            "tokens": models.VectorParams(
                size=4,
                distance=models.Distance.DOT,
                multivector_config=models.MultiVectorConfig(
                    comparator=models.MultiVectorComparator.MAX_SIM
                ),
            ),
        },
        sparse_vectors_config={"words": models.SparseVectorParams(modifier=models.Modifier.IDF)},
        metadata={"owner": {"team": 7}},
    )
    rows = ENCODER.encode(TEXTS, role=Role.PASSAGE).dense
    points = []
    for number, text in enumerate(TEXTS):
        vectors: dict[str, Any] = {"text-dense": rows[number].tolist()}
        if number % 2:
            vectors[ODD] = draw.standard_normal(3, np.float32).tolist()
        if number % 3:
            vectors["tokens"] = draw.standard_normal((number % 4 + 1, 4), np.float32).tolist()
        if number % 4:
            vectors["words"] = models.SparseVector(
                indices=draw.choice(2**31, number, replace=False).tolist(),
                values=draw.standard_normal(number, np.float32).tolist(),
            )
        points.append(
            models.PointStruct(
                id=number * 2**59 if number % 2 else str(uuid.uuid5(uuid.NAMESPACE_URL, text)),
                vector=vectors,
                payload={
                    "page_content": text,
                    "metadata": {"year": 1990 + number, "deep": [{"π": math.pi}, None, [], ""]},
                    "own field": number,
                },
            )
        )
    client.upsert(name, points)
    bare = models.PointStruct(id=2**64 - 1, vector={}, payload={"no text": True})
    client.upsert(name, [bare])
    return Collection.adopt(store, name, ENCODER, vector="text-dense")


def to_the_letter(store: Store, name: str) -> list[Any]:
    """Return all points of a collection, read by its program's client."""
    found, following = client_of(store).scroll(name, limit=1_000, with_vectors=True)
    assert following is None
    return [one.model_dump() for one in found]


def assert_same(found: list[Any], wanted: list[Any]) -> None:
    """Compare points, exactly but for the vectors that local mode normalises once more."""
    assert [one["id"] for one in found] == [one["id"] for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one["payload"] == other["payload"]
        mine, theirs = one["vector"], other["vector"]
        if isinstance(theirs, list):
            mine, theirs = {"text-dense": mine}, {"text-dense": theirs}
        assert mine.keys() == theirs.keys()
        for name, vector in theirs.items():
            if name == "text-dense":
                np.testing.assert_allclose(mine[name], vector, atol=1e-7)
            elif isinstance(vector, dict):
                assert mine[name]["indices"] == vector["indices"]
                assert as_stored(mine[name]["values"]) == as_stored(vector["values"])
            else:
                assert as_stored(mine[name]) == as_stored(vector)


def as_stored(numbers: Any) -> bytes:
    """Return the bytes of numbers as a server stores them; JSON has some digits more."""
    return np.asarray(numbers, np.float32).tobytes()


def hits(collection: Collection) -> list[tuple[str, float, str]]:
    """Return what some searches find, with scores that the last bit of a vector does not change."""
    queries = [("the owl of the year 1992", None), ("a cat", {"year": 1990})]
    return [
        (hit.id, round(hit.score, 5), hit.text)
        for query, where in queries
        for hit in collection.search(query, limit=5, where=where)
    ]


@pytest.mark.parametrize("target", PLACES)
def test_a_restored_collection_has_the_same_points_to_the_letter(
    store: Store, target: str, file: Path, request: pytest.FixtureRequest
) -> None:
    docs = rich(store)
    docs.add([Record(id="free", text="a gnu", source="zoo")])
    docs.set_search_defaults(SearchDefaults(mode=SearchMode.DENSE))
    wanted, found_before = to_the_letter(store, "notes"), hits(docs)
    report = dump(store, "notes", file)
    assert report.points == len(wanted) == len(TEXTS) + 2
    there: Store = request.getfixturevalue(target)
    assert restore(file, there, "copy").written == len(wanted)
    assert_same(to_the_letter(there, "copy"), wanted)
    copy = Collection.open(there, "copy", ENCODER)
    assert hits(copy) == found_before
    assert copy.search_defaults == docs.search_defaults
    before, after = store.card("notes"), there.card("copy")
    assert (after.payload_layout, after.recipe) == (before.payload_layout, before.recipe)
    assert after.mark != before.mark
    config = client_of(there).get_collection("copy").config
    assert config.params.vectors == client_of(store).get_collection("notes").config.params.vectors
    assert (config.metadata or {})["owner"] == {"team": 7}
    copy.add([Record(text="a yak")])
    assert copy.count() == docs.count() + 1


@pytest.mark.parametrize("style", STYLES)
def test_layouts_of_all_programs_go_along(
    server: Store, local: Store, file: Path, style: str
) -> None:
    fill(client_of(server), ENCODER, style)  # whose vector has no name
    docs = adopt(server, ENCODER, style)
    dump(server, "notes", file)
    restore(file, local, "notes")
    assert_same(to_the_letter(local, "notes"), to_the_letter(server, "notes"))
    assert hits(Collection.open(local, "notes", ENCODER)) == hits(docs)


def test_indexes_layout_and_settings_of_the_server_go_along(file: Path) -> None:
    with QdrantDouble() as double, reached(double) as store:
        client = client_of(store)
        params = models.VectorParams(
            size=64, distance=models.Distance.COSINE, on_disk=True, memory=models.Memory.COLD
        )
        client.create_collection(
            "notes",
            params,
            shard_number=3,
            replication_factor=2,
            hnsw_config=models.HnswConfigDiff(m=24, ef_construct=64),
            quantization_config=models.ScalarQuantization(
                scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8)
            ),
        )
        rows = ENCODER.encode(TEXTS, role=Role.PASSAGE).dense.tolist()
        points = [
            models.PointStruct(id=number, vector=row, payload={"page_content": text})
            for number, (row, text) in enumerate(zip(rows, TEXTS, strict=True))
        ]
        client.upsert("notes", points)
        client.create_payload_index("notes", "group", models.PayloadSchemaType.INTEGER)
        by_tenant = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
        client.create_payload_index("notes", "owner", by_tenant)
        docs = Collection.adopt(store, "notes", ENCODER)
        docs.add_index(PayloadIndex(key="year", type=FieldType.INTEGER))
        with docs.bulk():  # which defers the index, and the dump has the links that it gets
            dump(store, "notes", file)
        restore(file, store, "copy")
        first, second = (client.get_collection(name) for name in ("notes", "copy"))
        assert second.config.params.shard_number == 3
        assert second.config.params.replication_factor == 2
        assert second.config.quantization_config == first.config.quantization_config
        assert second.config.hnsw_config == first.config.hnsw_config
        assert {*first.payload_schema} == {"group", "owner", "metadata.source", "metadata.year"}
        assert second.payload_schema.keys() == first.payload_schema.keys()
        assert second.payload_schema["owner"].params == by_tenant
        assert store.aliases.indexed("copy") == store.aliases.indexed("notes")
        assert store.layout("copy") == store.layout("notes")


def test_the_file_holds_points_to_the_bit(store: Store, file: Path) -> None:
    rich(store)
    assert isinstance(store, RemoteStore)
    dump(store, "notes", file)
    wanted = [one for page in StoredPoints(store.requests, "notes").pages(4) for one in page]
    with DumpReader(file) as reader:
        found = [one for block in reader.raw_blocks() for one in block]
    assert [one.to_bytes() for one in found] == [one.to_bytes() for one in wanted]
    assert len({one.to_bytes() for one in found}) == len(TEXTS) + 1


def test_limits_of_strict_mode_go_along_and_are_kept_to(server: Store, file: Path) -> None:
    rich(server)
    limits = models.StrictModeConfig.model_validate(
        MIDDLING | {"max_query_limit": 4, "upsert_max_batchsize": 3}
    )
    client_of(server).update_collection("notes", strict_mode_config=limits)
    dump(server, "notes", file)
    restore(file, server, "copy")
    first, second = (client_of(server).get_collection(name) for name in ("notes", "copy"))
    assert second.config.strict_mode_config == first.config.strict_mode_config
    client_of(server).update_collection("notes", strict_mode_config=FREE)
    client_of(server).update_collection("copy", strict_mode_config=FREE)
    assert_same(to_the_letter(server, "copy"), to_the_letter(server, "notes"))


def test_it_is_migrated_like_the_first(local: Store, file: Path) -> None:
    fill(client_of(local), ENCODER, "langchain")
    adopt(local, ENCODER, "langchain")
    dump(local, "notes", file)
    restore(file, local, "copy")
    migration = migrate(local, "copy", HashEncoder(24))
    migration.run()
    migration.cut_over()
    assert {one.text for one in Collection.open(local, "copy", HashEncoder(24)).each()} == {*TEXTS}


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decant.integrations.qdrant.dumps.dump._BLOCK_POINTS", 3)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("method", "calls"),
    [("upsert", 0), ("upsert", 1), ("upsert", 3), ("create_payload_index", 0)],
)
def test_an_interrupted_restore_opens_for_nobody_and_is_completed(
    double: QdrantDouble, server: Store, file: Path, method: str, calls: int
) -> None:
    rich(server)
    client_of(server).create_payload_index("notes", "group", models.PayloadSchemaType.INTEGER)
    wanted = to_the_letter(server, "notes")
    dump(server, "notes", file)
    client = QdrantClient(url=double.url, check_compatibility=False)
    with connect(client) as other:
        assert isinstance(other, RemoteStore)
        with cut_off(other, method, calls), pytest.raises(Cut):
            restore(file, other, "copy")
    client.close()
    with pytest.raises(StoreError, match="is being restored from a dump"):
        Collection.open(server, "copy", ENCODER)
    report = restore(file, server, "copy")
    assert report.written == len(wanted) - 3 * calls * (method == "upsert")
    assert_same(to_the_letter(server, "copy"), wanted)
    assert "group" in client_of(server).get_collection("copy").payload_schema
    assert Collection.open(server, "copy", ENCODER).count() == len(wanted)


def test_a_cut_file_is_refused_before_anything_is_made(local: Store, file: Path) -> None:
    rich(local)
    dump(local, "notes", file)
    whole = file.read_bytes()
    for length in (0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(DumpError):
            restore(file, local, "copy")
    assert [one.name for one in client_of(local).get_collections().collections] == ["notes"]


def test_a_vector_that_another_program_replaces_meanwhile_is_seen(local: Store, file: Path) -> None:
    rich(local)
    changes: list[int] = []

    def change(done: int, total: int) -> None:
        if done == total and len(changes) < 1:
            changes.append(done)
            row = models.PointVectors(id=2**59, vector={ODD: [1.0, 2.0, 3.0]})
            client_of(local).update_vectors("notes", [row])

    dump(local, "notes", file, progress=change)
    restore(file, local, "copy")
    assert changes
    assert_same(to_the_letter(local, "copy"), to_the_letter(local, "notes"))


def test_what_it_cannot_become_is_refused_by_name(local: Store, edge: Store, file: Path) -> None:
    rich(local)
    dump(local, "notes", file)
    with pytest.raises(StoreInputError, match="is a folder of Edge, which no other program opens"):
        restore(file, edge, "copy")
    with pytest.raises(StoreInputError, match="an adopted collection keeps its layout"):
        restore(file, local, "copy", layout=Layout(storage=Storage.INT8))
    with pytest.raises(StoreError, match="already exists"):
        restore(file, local, "notes")
    assert edge.names() == []
    assert local.names() == ["notes"]


def test_shards_that_its_program_chooses_by_keys_are_refused(server: Store, file: Path) -> None:
    rich(server)
    found = client_of(server).get_collection("notes")
    found.config.params.sharding_method = models.ShardingMethod.CUSTOM
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client_of(server), "get_collection", lambda _name: found)
        with pytest.raises(StoreInputError, match="shards that its program chooses by keys"):
            dump(server, "notes", file)
    assert not file.exists()


def ids(points: Sequence[Any]) -> list[int | str]:
    """Return the ids of points."""
    return [cast("int | str", point["id"]) for point in points]


def test_ids_of_both_kinds_stay(local: Store, file: Path) -> None:
    rich(local)
    dump(local, "notes", file)
    restore(file, local, "copy")
    kinds = {type(one) for one in ids(to_the_letter(local, "copy"))}
    assert kinds == {int, str}
