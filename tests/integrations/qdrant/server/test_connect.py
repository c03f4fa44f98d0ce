"""How ``connect`` reaches a server: keys, headers, gRPC, and reading alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import (
    Collection,
    Document,
    EdgeStore,
    Equals,
    PayloadIndex,
    Point,
    Record,
    RemoteStore,
    Store,
    connect,
)
from decant.integrations.qdrant.server.clients.client import _READING
from decant.integrations.qdrant.stores.point_ids import record_id
from fault_server import PEM, FaultServer, refused, running
from qdrant_double import QdrantDouble, reached

CHANGED = Point(id=record_id("a"), payload={"n": 1})
WRITES: dict[str, Callable[[Collection], object]] = {
    "making another": lambda docs: Collection.create(docs.store, "other", HashEncoder(16)),
    "adding": lambda docs: docs.add([Record(id="b", text="rain")]),
    "indexing": lambda docs: docs.index([Document(source="s", text="rain", root="r")]),
    "an index": lambda docs: docs.add_index(PayloadIndex(key="year")),
    "deleting": lambda docs: docs.delete(["a"]),
    "deleting a source": lambda docs: docs.delete_source("book"),
    "deleting by a filter": lambda docs: docs.delete_where(Equals("year", 1)),
    "deleting everything": lambda docs: docs.clear(),
    "dropping": lambda docs: docs.store.drop("docs"),
    "changing": lambda docs: docs.store.set_fields("docs", [CHANGED]),
}


@pytest.fixture
def plain() -> Iterator[FaultServer]:
    with running(FaultServer()) as server:
        yield server


class TestKeys:
    def test_the_environment_has_the_key(
        self, plain: FaultServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("QDRANT_API_KEY", "of-the-environment")
        connect(plain.url).close()
        assert set(plain.keys[1:]) == {"of-the-environment"}

    @pytest.mark.parametrize(("given", "sent"), [("given", "given"), ("", None)])
    def test_an_argument_goes_before_it(
        self, given: str, sent: str | None, plain: FaultServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("QDRANT_API_KEY", "of-the-environment")
        connect(plain.url, api_key=given).close()
        assert set(plain.keys[1:]) == {sent}

    def test_an_empty_variable_is_no_key(
        self, plain: FaultServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("QDRANT_API_KEY", "")
        connect(plain.url).close()
        assert set(plain.keys) == {None}

    def test_a_folder_and_a_client_do_without_it(
        self, plain: FaultServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("QDRANT_API_KEY", "of-the-environment")
        connect(tmp_path / "index").close()
        client = QdrantClient(url=plain.url, check_compatibility=False)
        connect(client).close()
        client.close()
        assert set(plain.keys) == {None}

    def test_a_wrong_one_is_refused_and_not_shown(
        self, double: QdrantDouble, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        double.keys = {"right"}
        monkeypatch.setenv("QDRANT_API_KEY", "wrong-one")
        with pytest.raises(StoreError, match=r"Invalid API key.*QDRANT_API_KEY") as refusal:
            connect(double.url)
        assert "wrong-one" not in str(refusal.value)
        monkeypatch.setenv("QDRANT_API_KEY", "right")
        connect(double.url).close()


class TestHeaders:
    @pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
    def server(self, request: pytest.FixtureRequest) -> Iterator[FaultServer]:
        with running(FaultServer(encrypted=request.param)) as server:
            yield server

    def test_they_go_with_each_request(self, server: FaultServer) -> None:
        headers = {"Authorization": "Basic aHVzaA==", "X-Team": "search"}
        ca = PEM if server.scheme == "https" else None
        with connect(server.url, headers=headers, ca=ca) as store:
            assert server.headers["authorization"] == "Basic aHVzaA=="
            assert store.names() == []
            assert server.headers["x-team"] == "search"

    def test_credentials_in_them_are_not_shown(self, plain: FaultServer) -> None:
        with connect(plain.url, headers={"authorization": "Bearer hush-hush"}) as store:
            plain.always = refused(400, "the token hush-hush is no good")
            with pytest.raises(StoreError, match=r"the token \(hidden\) is no good") as refusal:
                store.names()
            assert "hush" not in f"{refusal.value}{refusal.value.__cause__}"

    @pytest.mark.parametrize(
        ("headers", "said"),
        [
            ({"api-key": "hush"}, "give it as api_key="),
            ({"Api-Key": "hush"}, "give it as api_key="),
            ({"User-Agent": "hush"}, "'User-Agent' is set by the client"),
            ({"a b": "hush"}, "'a b' cannot name a header"),
            ({"": "hush"}, "'' cannot name a header"),
            ({"x-a": "hush\r\nx-b: 1"}, "value of the header 'x-a' begins or ends"),
            ({"x-a": " hush"}, "value of the header 'x-a' begins or ends"),
            ({"x-a": "hüsh"}, "value of the header 'x-a' begins or ends"),
        ],
    )
    def test_what_is_none_is_refused(self, headers: dict[str, str], said: str) -> None:
        with pytest.raises(StoreError, match=said) as refusal:
            connect("http://localhost", headers=headers)
        assert not any(value in str(refusal.value) for value in headers.values())

    def test_other_types_are_named(self) -> None:
        with pytest.raises(TypeError, match="both strings; got a str with a int"):
            connect("http://localhost", headers={"x-a": 1})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "option",
    [{"grpc": True}, {"headers": {"a": "b"}}, {"ca": "ca.pem"}, {"grpc_port": 6334}],
    ids=lambda option: next(iter(option)),
)
def test_settings_of_addresses_are_refused_elsewhere(option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(StoreError, match=rf"^{name} goes with an http\(s\) address only, not with"):
        connect("./index", **option)
    client = QdrantClient(":memory:")
    with pytest.raises(StoreError, match=rf"^{name} goes with .* only, not with a QdrantClient"):
        connect(client, **option)
    client.close()


def test_grpc_at_another_port_is_not_guessed() -> None:
    said = r"grpc=True means port 6334 .* http://localhost:7333 has another one; .* as grpc_port="
    with pytest.raises(StoreError, match=said):
        connect("http://localhost:7333", grpc=True)


@pytest.mark.parametrize(
    ("key", "shown", "option"),
    [
        ("flag", "key='flag', type=FieldType.BOOL", "flag:bool"),
        ("größe", "key='größe'", "'größe:bool'"),
        (("a", "b"), "key=('a', 'b'), type=FieldType.BOOL", "a.b:bool"),
        ("a.b", "key='a.b', type=FieldType.BOOL", "'\"a.b\":bool'"),
    ],
)
def test_a_filter_without_an_index_is_answered_with_the_way(
    double: QdrantDouble, key: str | tuple[str, str], shown: str, option: str
) -> None:
    with reached(double) as store:
        fill(store)
        double.limit("docs", unindexed_filtering_retrieve=False)
        docs = Collection.open(store, "docs", HashEncoder(16))
        with pytest.raises(StoreError) as refusal:
            docs.count(Equals(key, True))
    said = str(refusal.value)
    assert f"collection.add_index(PayloadIndex({shown}" in said
    assert "or when the collection is made with CollectionSettings(indexed=(" in said
    assert f"(`decant index … --payload-index {option}`)" in said


class TestReadOnly:
    @pytest.fixture(params=["edge", "local", "server"])
    def reading(self, request: pytest.FixtureRequest, scratch: Path) -> Iterator[Collection]:
        """Return a collection of one record that another connection made."""
        encoder = HashEncoder(16)
        match request.param:
            case "edge":
                with connect(scratch / "index") as store:
                    fill(store)
                with connect(scratch / "index", read_only=True) as store:
                    yield Collection.open(store, "docs", encoder)
            case "local":
                client = QdrantClient(":memory:")
                with connect(client) as store:
                    fill(store)
                with connect(client, read_only=True) as store:
                    yield Collection.open(store, "docs", encoder)
                client.close()
            case _:
                double = request.getfixturevalue("double")
                with reached(double) as store:
                    fill(store)
                double.asked.clear()
                with connect(double.url, read_only=True) as store:
                    yield Collection.open(store, "docs", encoder)
                known = ("exists", "query", "scroll", "count", "points", "batch")
                assert {
                    it.method for it in double.asked if not it.path.endswith(known)
                } == {"GET"}  # fmt: skip

    @pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
    def test_writes_are_refused_before_anything_happens(
        self, reading: Collection, write: Callable[[Collection], object]
    ) -> None:
        with pytest.raises(StoreError, match=r"was refused: .*read_only=True, and nothing was"):
            write(reading)
        assert [passage.id for passage in reading.each()] == ["a"]
        assert reading.store.names() == ["docs"]

    def test_reading_works(self, reading: Collection) -> None:
        assert [hit.id for hit in reading.search("where is the cat?")] == ["a"]
        assert reading.get(["a"])[0].text == "a cat sat"
        assert reading.count() == 1
        assert reading.check().is_sound
        assert reading.info().passages == 1

    def test_it_is_a_store_of_its_engine(self, reading: Collection) -> None:
        assert isinstance(reading.store, EdgeStore | RemoteStore)

    def test_missing_indexes_are_not_made(self, double: QdrantDouble) -> None:
        with reached(double) as store:
            fill(store)
        held = double.engine.held["docs"].indexes
        del held["root"]
        with connect(double.url, read_only=True) as store:
            Collection.open(store, "docs", HashEncoder(16))
        assert "root" not in held
        with connect(double.url) as store:
            Collection.open(store, "docs", HashEncoder(16))
        assert "root" in held

    def test_a_folder_that_is_not_there_is_not_made(self, tmp_path: Path) -> None:
        with connect(tmp_path / "index", read_only=True) as store:
            assert store.names() == []
            with pytest.raises(StoreError, match=r"making the collection 'docs' at .* was refused"):
                Collection.open_or_create(store, "docs", HashEncoder(16))
        assert list(tmp_path.iterdir()) == []

    def test_every_method_of_a_store_is_known_to_read_or_to_write(self) -> None:
        from decant.integrations.qdrant.read_only import ReadOnlyEdgeStore

        methods = {name for name, _ in inspect.getmembers(Store, inspect.isfunction)}
        reads = {
            "aclose", "card", "close", "count", "find", "layout", "list_limit", "missing_indexes",
            "names", "query", "rank", "retrieve", "scroll",
        }  # fmt: skip
        writes = {name for name in methods if name in vars(ReadOnlyEdgeStore)}
        assert {name for name in methods if not name.startswith("_")} == reads | writes

    def test_methods_known_to_read_are_the_clients(self) -> None:
        assert [name for name in _READING if not hasattr(QdrantClient, name)] == []


def fill(store: Store) -> None:
    docs = Collection.create(store, "docs", HashEncoder(16))
    docs.add([Record(id="a", text="a cat sat", source="book", metadata={"year": 1})])
