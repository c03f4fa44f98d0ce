"""The collections of a server: their indexes, aliases and names, as a double of one shows them."""

from __future__ import annotations

import threading

import httpx
import pytest

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import (
    Collection,
    CollectionMetadata,
    CollectionSettings,
    Equals,
    FieldType,
    PayloadIndex,
    Record,
    RemoteStore,
    Store,
)
from qdrant_double import Fault, QdrantDouble, reached

ENCODER = HashEncoder(8)
KEYS: list[str | tuple[str, ...]] = ["größe", "a b", "a.b", ("a b", "c"), "x-y_z", "年", ("p", "q")]
SPELLED = CollectionSettings(
    indexed=(
        *(PayloadIndex(key=key) for key in KEYS),
        PayloadIndex(key="year", type=FieldType.INTEGER),
    )
)


def alias(double: QdrantDouble, name: str, of: str) -> None:
    double.engine.aliases[name] = of


def make_foreign(double: QdrantDouble, name: str) -> None:
    """Make a collection as another program does."""
    url = f"{double.url}/collections/{name}"
    assert httpx.put(url, json={"vectors": {}}, verify=False).is_success


class TestIndexes:
    def test_opening_sends_none_again_however_keys_are_spelled(
        self, server: Store, double: QdrantDouble
    ) -> None:
        server.create("docs", CollectionMetadata.of(ENCODER), SPELLED)
        made = double.requests("PUT", "/index")
        assert len(made) == 4 + len(KEYS) + 1
        server.card("docs")
        Collection.open(server, "docs", ENCODER)
        assert double.requests("PUT", "/index") == made

    def test_a_key_that_may_only_read_opens_and_searches(self, double: QdrantDouble) -> None:
        with reached(double) as store:
            made = Collection.create(store, "docs", ENCODER, settings=SPELLED)
            made.add([Record(id="1", text="a cat", metadata={"größe": "XL"})])
        double.keys, double.read_only_keys = {"all"}, {"reads"}
        with reached(double, api_key="reads") as store:
            opened = Collection.open(store, "docs", ENCODER)
            assert [hit.id for hit in opened.search("cat", where=Equals("größe", "XL"))] == ["1"]
            assert Collection.open_or_create(store, "docs", ENCODER).count() == 1
            assert store.names() == ["docs"]
            with pytest.raises(StoreError, match="Global manage access is required"):
                opened.add([Record(id="2", text="a dog")])

    def test_it_opens_where_indexes_are_missing_that_it_may_not_make(
        self, double: QdrantDouble
    ) -> None:
        with reached(double) as store:
            Collection.create(store, "docs", ENCODER, settings=SPELLED)
        double.engine.held["docs"].indexes.clear()
        double.keys, double.read_only_keys = {"all"}, {"reads"}
        with reached(double, api_key="reads") as store:
            assert Collection.open(store, "docs", ENCODER).count() == 0
        with reached(double, api_key="all") as store:
            store.card("docs")
        assert len(double.engine.held["docs"].indexes) == 4 + len(KEYS) + 1

    def test_it_opens_where_the_owner_allows_no_more_of_them(
        self, server: Store, double: QdrantDouble
    ) -> None:
        server.create("docs", CollectionMetadata.of(ENCODER), SPELLED)
        del double.engine.held["docs"].indexes["source"]
        double.limit("docs", max_payload_index_count=1)
        assert server.card("docs").dim == 8

    def test_another_failure_while_completing_them_is_no_secret(
        self, server: Store, double: QdrantDouble
    ) -> None:
        server.create("docs", CollectionMetadata.of(ENCODER), CollectionSettings())
        double.engine.held["docs"].indexes.clear()
        busy = Fault(status=500, said="Service internal error: the disk is full")
        double.faults.extend([None, None, *[busy] * 12])  # four indexes, three attempts
        with pytest.raises(StoreError, match=r"indexing '\w+' in 'docs'.*the disk is full"):
            server.card("docs")

    def test_those_of_a_new_collection_are_made_together(self, double: QdrantDouble) -> None:
        all_four = threading.Barrier(4)

        def wait(method: str, path: str) -> None:
            if path.endswith("/index"):
                all_four.wait(timeout=10)  # or it is broken, and no answer comes

        double.before = wait
        with reached(double) as store:
            store.create("docs", CollectionMetadata.of(ENCODER), CollectionSettings())
        assert len(double.engine.held["docs"].indexes) == 4


class TestAliases:
    @pytest.fixture
    def docs(self, server: Store, double: QdrantDouble) -> Collection:
        collection = Collection.create(server, "docs", ENCODER)
        collection.add([Record(id="1", text="a cat")])
        alias(double, "live", "docs")
        return collection

    def test_a_collection_opens_by_one_and_works(self, docs: Collection, server: Store) -> None:
        for opened in (
            Collection.open(server, "live", ENCODER),
            Collection.open_or_create(server, "live", ENCODER),
        ):
            opened.add([Record(id="2", text="a dog")])
            assert opened.count() == docs.count() == 2
            assert opened.info().name == "live"

    def test_names_have_them(self, docs: Collection, server: Store) -> None:
        assert server.names() == ["docs", "live"]

    def test_dropping_one_is_refused_and_names_the_collection(
        self, docs: Collection, server: Store
    ) -> None:
        with pytest.raises(StoreError, match="'live' is an alias of the collection 'docs'"):
            server.drop("live")
        assert server.names() == ["docs", "live"]
        assert docs.count() == 1
        server.drop("docs")
        assert server.names() == []

    def test_making_a_collection_of_that_name_is_refused_with_a_way_that_works(
        self, docs: Collection, server: Store
    ) -> None:
        with pytest.raises(StoreError, match="an alias of 'docs'; open it with") as raised:
            Collection.create(server, "live", ENCODER)
        assert "drop" not in str(raised.value)


class TestDropping:
    def test_an_answer_that_got_lost_is_no_failure(
        self, server: Store, double: QdrantDouble
    ) -> None:
        server.create("docs", CollectionMetadata.of(ENCODER), CollectionSettings())
        # Two requests look at it, the third deletes it and is not answered.
        double.faults.extend([None, None, Fault(status=None, is_carried_out=True)])
        server.drop("docs")
        assert [asked.status for asked in double.requests("DELETE", "/docs")] == [None, 200]
        assert server.names() == []

    def test_a_damaged_card_is_no_hindrance_and_no_index_is_made_before(
        self, server: Store, double: QdrantDouble
    ) -> None:
        server.create("docs", CollectionMetadata.of(ENCODER), CollectionSettings())
        held = double.engine.held["docs"]
        held.config["metadata"]["decant"] = "{"
        held.indexes.clear()
        made = len(double.requests("PUT", "/index"))
        server.drop("docs")
        assert server.names() == []
        assert len(double.requests("PUT", "/index")) == made


class TestNames:
    def test_what_others_made_is_left_out_with_its_aliases(
        self, server: Store, double: QdrantDouble
    ) -> None:
        for number in range(20):
            make_foreign(double, f"foreign-{number}")
        server.create("docs", CollectionMetadata.of(ENCODER), CollectionSettings())
        alias(double, "live", "docs")
        alias(double, "other", "foreign-1")
        assert server.names() == ["docs", "live"]
        with pytest.raises(StoreError, match="was not made by decant"):
            server.card("foreign-1")

    def test_opening_or_making_does_not_look_at_all_of_them(
        self, server: Store, double: QdrantDouble
    ) -> None:
        for number in range(20):
            make_foreign(double, f"foreign-{number}")
        before = len(double.asked)
        Collection.open_or_create(server, "docs", ENCODER)
        assert len(double.asked) - before <= 10
        before = len(double.asked)
        Collection.open_or_create(server, "docs", ENCODER)
        assert len(double.asked) - before == 2

    def test_without_a_server_they_are_the_same(self, local: RemoteStore) -> None:
        local.create("docs", CollectionMetadata.of(ENCODER), CollectionSettings())
        local._client.create_collection("foreign", vectors_config={})
        assert local.names() == ["docs"]
