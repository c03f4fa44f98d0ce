"""What every store has to do, whatever engine is behind it: Edge, local mode, a live server."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import cast

import numpy as np
import pytest

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import (
    CollectionMetadata,
    CollectionSettings,
    Engine,
    Equals,
    Field,
    FieldIn,
    FieldType,
    Not,
    PayloadIndex,
    Point,
    Range,
    Select,
    Store,
)
from decant.integrations.qdrant.stores.protocol import each
from live_server import LIVE, connect_live
from qdrant_double import MIDDLING, serve
from tenanted_store import TenantedStore

NAME, DIM = "contract", 4
EVERYTHING = Select(dense=True)
INDEXED = CollectionSettings(
    indexed=tuple(PayloadIndex(key=key, type=FieldType.INTEGER) for key in ("n", "x"))
)
ANY = FieldIn(Field.KIND, ["thing", "marker"])


def number_to_id(number: int) -> str:
    return str(uuid.UUID(int=number + 1))


def point(number: int, **metadata: object) -> Point:
    """Return a thing whose vector turns away from the first axis as its number grows."""
    angle = number / 1_000
    dense = np.asarray([np.cos(angle), np.sin(angle), 0, 0], np.float32)
    payload = {"kind": "thing", "text": f"text {number}", "metadata": {"n": number, **metadata}}
    return Point(id=number_to_id(number), payload=payload, dense=dense)  # type: ignore[arg-type]


def marker(number: int) -> Point:
    return Point(id=number_to_id(number), payload={"kind": "marker", "source": "s"})


class StoreContract:
    """The tests; a subclass gives an open store in the fixture ``store``."""

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError("a contract class needs its own `store` fixture")

    @pytest.fixture
    def made(self, store: Store) -> Store:
        """The store, with one empty collection."""
        store.create(NAME, CollectionMetadata.of(HashEncoder(DIM)), INDEXED)
        return store

    def test_a_collection_has_the_name_and_the_card_it_was_made_with(self, store: Store) -> None:
        card = CollectionMetadata.of(HashEncoder(DIM))
        store.create(NAME, card, CollectionSettings())
        assert NAME in store.names()
        assert store.card(NAME) == card

    def test_settings_with_indexed_metadata_are_taken(self, store: Store) -> None:
        settings = CollectionSettings(indexed=(PayloadIndex(key="n"), PayloadIndex(key=("a", "b"))))
        store.create(NAME, CollectionMetadata.of(HashEncoder(DIM)), settings)
        store.upsert(NAME, [point(1, n="x"), point(2, n="y")])
        assert store.count(NAME, Equals("n", "x")) == 1
        store.add_index(NAME, PayloadIndex(key="m", type=FieldType.INTEGER))
        store.add_index(NAME, PayloadIndex(key="m", type=FieldType.INTEGER))
        store.upsert(NAME, [point(3, m=7)])
        assert store.count(NAME, Equals("m", 7)) == 1

    def test_a_collection_lacks_no_index(self, made: Store) -> None:
        made.add_index(NAME, PayloadIndex(key="m", type=FieldType.FLOAT))
        assert made.missing_indexes(NAME) == []

    def test_a_name_that_is_taken_is_refused_and_nothing_changes(self, made: Store) -> None:
        made.upsert(NAME, [point(1)])
        before = made.card(NAME)
        with pytest.raises(StoreError, match=f"'{NAME}' already exists"):
            made.create(NAME, CollectionMetadata.of(HashEncoder(8)), CollectionSettings())
        assert made.card(NAME) == before
        assert made.count(NAME, ANY) == 1

    def test_of_many_creators_one_wins(self, store: Store) -> None:
        cards = [CollectionMetadata.of(HashEncoder(DIM)) for _ in range(4)]
        start = threading.Barrier(len(cards))

        def create(card: CollectionMetadata) -> bool:
            start.wait()
            try:
                store.create(NAME, card, CollectionSettings())
            except StoreError as error:
                assert "already exists" in str(error)  # noqa: PT017 (some succeed)
                return False
            return True

        with ThreadPoolExecutor(len(cards)) as pool:
            won = list(pool.map(create, cards))
        assert won.count(True) == 1
        assert store.card(NAME) == cards[won.index(True)]

    def test_what_is_absent_is_said_with_what_is_there(self, made: Store) -> None:
        with pytest.raises(StoreError, match=f"no collection 'other'.*'{NAME}'"):
            made.card("other")
        with pytest.raises(StoreError, match="no collection 'other'"):
            made.drop("other")

    @pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "-x", "ä", "a b", "x" * 201])
    def test_a_name_that_no_file_system_takes_is_refused(self, store: Store, name: str) -> None:
        with pytest.raises(StoreError, match="cannot name a collection"):
            store.create(name, CollectionMetadata.of(HashEncoder(DIM)), CollectionSettings())

    def test_dropping_deletes_and_the_name_is_free_again(self, made: Store) -> None:
        made.upsert(NAME, [point(1)])
        made.drop(NAME)
        assert NAME not in made.names()
        made.create(NAME, CollectionMetadata.of(HashEncoder(DIM)), CollectionSettings())
        assert made.count(NAME, ANY) == 0

    def test_payloads_and_vectors_come_back_as_they_went(self, made: Store) -> None:
        value: dict[str, object] = {
            "none": None, "yes": True, "no": False, "int": -3, "big": 2**62, "float": 0.1,
            "whole": 2.0, "text": "naïve \U0001f600 \n", "list": [1, "x", None, [2]],
            "nested": {"a.b": {"c d": []}}, "empty": {}, "": "no name",
        }  # fmt: skip
        stored = point(7, **value)
        made.upsert(NAME, [stored])
        (found,) = made.retrieve(NAME, [stored.id], EVERYTHING)
        assert found.payload == stored.payload
        metadata = found.payload["metadata"]
        assert isinstance(metadata, dict)
        assert type(metadata["whole"]) is float
        assert type(metadata["yes"]) is bool
        assert found.dense is not None
        assert stored.dense is not None
        assert found.dense.dtype == np.float32
        np.testing.assert_allclose(found.dense, stored.dense, atol=1e-6)

    def test_only_the_fields_asked_for_come_back(self, made: Store) -> None:
        made.upsert(NAME, [point(1)])
        (found,) = made.retrieve(NAME, [number_to_id(1)], Select(fields=("text",)))
        assert found.payload == {"text": "text 1"}
        assert found.dense is None

    def test_ids_that_are_not_there_are_left_out(self, made: Store) -> None:
        made.upsert(NAME, [point(1)])
        found = made.retrieve(NAME, [number_to_id(2), number_to_id(1)], EVERYTHING)
        assert [item.id for item in found] == [number_to_id(1)]
        assert made.retrieve(NAME, [], EVERYTHING) == []

    def test_writing_an_id_again_replaces_the_point(self, made: Store) -> None:
        made.upsert(NAME, [point(1, old=1), point(1, older=1)])
        made.upsert(NAME, [point(1, new=1)])
        (found,) = made.retrieve(NAME, [number_to_id(1)], EVERYTHING)
        assert found.payload["metadata"] == {"n": 1, "new": 1}
        assert made.count(NAME, ANY) == 1

    def test_setting_fields_replaces_these_wholly_and_keeps_the_rest(self, made: Store) -> None:
        made.upsert(NAME, [point(1, deep={"a": 1}), point(2, deep={"a": 1})])
        made.set_fields(NAME, [Point(id=number_to_id(1), payload={"metadata": {"deep": {"b": 2}}})])
        first, second = sorted(
            made.retrieve(NAME, [number_to_id(1), number_to_id(2)], EVERYTHING),
            key=lambda item: item.id,
        )
        assert first.payload["metadata"] == {"deep": {"b": 2}}
        assert first.payload["text"] == "text 1"
        assert first.dense is not None
        assert second.payload["metadata"] == {"n": 2, "deep": {"a": 1}}

    def test_setting_fields_says_which_points_are_not_there_and_sets_the_others(
        self, made: Store
    ) -> None:
        made.upsert(NAME, [point(1), point(3)])
        changes = [Point(id=number_to_id(n), payload={"text": "new"}) for n in (1, 2, 3)]
        assert made.set_fields(NAME, changes) == [number_to_id(2)]
        assert made.set_fields(NAME, []) == []
        found = made.retrieve(NAME, [change.id for change in changes], EVERYTHING)
        assert [item.payload["text"] for item in found] == ["new", "new"]

    def test_deleting_ignores_what_is_not_there(self, made: Store) -> None:
        made.upsert(NAME, [point(1), point(2)])
        made.delete(NAME, [number_to_id(1), number_to_id(9)])
        made.delete(NAME, [])
        assert made.count(NAME, ANY) == 1

    def test_more_points_than_any_batch_are_written_and_paged_through(self, made: Store) -> None:
        made.upsert(NAME, [point(number) for number in range(1_500)])
        pages = list(each(made, NAME, ANY, Select(fields=("metadata",)), page=400))
        assert [len(page) for page in pages] == [400, 400, 400, 300]
        ids = [item.id for page in pages for item in page]
        assert ids == sorted(map(number_to_id, range(1_500)))
        many = made.retrieve(NAME, ids, Select(fields=()))
        assert len(many) == 1_500
        made.delete(NAME, ids)
        assert made.count(NAME, ANY) == 0

    def test_what_a_page_holds_may_be_deleted_before_the_next(self, made: Store) -> None:
        made.upsert(NAME, [point(number) for number in range(100)])
        seen = 0
        for page in each(made, NAME, ANY, Select(fields=()), page=7):
            seen += len(page)
            made.delete(NAME, [item.id for item in page])
        assert seen == 100
        assert made.count(NAME, ANY) == 0

    def test_long_texts_are_stored_together(self, made: Store) -> None:
        points = [point(number) for number in range(5)]
        for item in points:
            item.payload["text"] = "x" * 1_500_000
        made.upsert(NAME, points)
        assert made.count(NAME, ANY) == 5

    def test_the_nearest_come_first_with_their_cosine(self, made: Store) -> None:
        made.upsert(NAME, [point(number) for number in (300, 0, 100, 200)])
        query = np.asarray([2, 0, 0, 0], np.float32)  # its length is of no account
        found = made.query(NAME, query, EVERYTHING, limit=3)
        assert [item.point.id for item in found] == [number_to_id(n) for n in (0, 100, 200)]
        assert [item.score for item in found] == pytest.approx(np.cos([0, 0.1, 0.2]), abs=1e-5)
        further = made.query(NAME, query, EVERYTHING, limit=3, offset=2)
        assert [item.point.id for item in further] == [number_to_id(n) for n in (200, 300)]
        assert made.query(NAME, query, EVERYTHING, limit=3, offset=9) == []

    def test_a_query_takes_only_what_matches(self, made: Store) -> None:
        made.upsert(NAME, [point(number) for number in range(20)])
        query = np.asarray([1, 0, 0, 0], np.float32)
        found = made.query(NAME, query, EVERYTHING, limit=3, where=Range("n", gte=10))
        assert [item.point.payload["text"] for item in found] == ["text 10", "text 11", "text 12"]

    def test_points_without_vector_are_stored_and_never_found(self, made: Store) -> None:
        made.upsert(NAME, [point(1), marker(2)])
        query = np.asarray([1, 0, 0, 0], np.float32)
        assert len(made.query(NAME, query, EVERYTHING, limit=10)) == 1
        assert len(made.query(NAME, query, EVERYTHING, limit=10, where=Not(Equals("x", 1)))) == 1
        (found,) = made.retrieve(NAME, [number_to_id(2)], EVERYTHING)
        assert found.dense is None
        assert found.payload == {"kind": "marker", "source": "s"}
        assert made.count(NAME, FieldIn(Field.KIND, ["marker"])) == 1

    def test_threads_may_write_and_read_at_the_same_time(self, made: Store) -> None:
        query = np.asarray([1, 0, 0, 0], np.float32)

        def write(thread: int) -> None:
            for batch in range(5):
                first = thread * 1_000 + batch * 20
                made.upsert(NAME, [point(number) for number in range(first, first + 20)])

        def read(_: int) -> None:
            for _ in range(10):
                made.query(NAME, query, EVERYTHING, limit=5)
                made.count(NAME, ANY)

        with ThreadPoolExecutor(6) as pool:
            work = [pool.submit(write, thread) for thread in range(4)]
            work += [pool.submit(read, thread) for thread in range(2)]
            for item in work:
                item.result()
        assert made.count(NAME, ANY) == 400
        assert len(made.query(NAME, query, EVERYTHING, limit=1_000)) == 400

    def test_a_vector_of_another_width_is_refused(self, made: Store) -> None:
        wide = Point(id=number_to_id(1), payload={"kind": "thing"}, dense=np.ones(5, np.float32))
        with pytest.raises(StoreError, match="writing"):
            made.upsert(NAME, [wide])
        assert made.count(NAME, ANY) == 0

    def test_optimizing_and_flushing_change_nothing_that_is_found(self, made: Store) -> None:
        made.upsert(NAME, [point(number) for number in range(50)])
        query = np.asarray([1, 0, 0, 0], np.float32)
        before = [item.point.id for item in made.query(NAME, query, EVERYTHING, limit=10)]
        made.optimize(NAME)
        made.flush(NAME)
        after = [item.point.id for item in made.query(NAME, query, EVERYTHING, limit=10)]
        assert after == before

    def test_a_closed_store_says_so(self, made: Store) -> None:
        made.close()
        made.close()
        with pytest.raises(StoreError, match="closed"):
            made.count(NAME, ANY)


class TestEdge(StoreContract):
    @pytest.fixture
    def store(self, edge: Store) -> Store:
        assert edge.engine is Engine.EDGE
        return edge


class TestLocalMode(StoreContract):
    @pytest.fixture
    def store(self, local: Store) -> Store:
        assert local.engine is Engine.REMOTE
        return local

    @pytest.mark.skipif(
        version("qdrant-client").startswith(("1.16.", "1.17.", "1.18.", "1.19.")),
        reason="this client's local mode cannot count once it has refused a point",
    )
    def test_a_vector_of_another_width_is_refused(self, made: Store) -> None:
        super().test_a_vector_of_another_width_is_refused(made)


class TestDouble(StoreContract):
    """Over HTTP, with a double of a server."""

    @pytest.fixture
    def store(self, server: Store) -> Store:
        assert server.engine is Engine.REMOTE
        return server


class TestStrictDouble(StoreContract):
    """With a double that sets every limit there is, so low that all of them bind."""

    @pytest.fixture(params=[False, True], ids=["rest", "grpc"])
    def store(self, request: pytest.FixtureRequest) -> Iterator[Store]:
        with serve(MIDDLING, grpc=request.param) as store:
            yield store


class TestGrpcDouble(StoreContract):
    """Over gRPC, with a double of a server that scores texts."""

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        with serve(version="1.20.0", grpc=True) as store:
            yield store


class TestTenant(StoreContract):
    """Through the view of one tenant, next to another one that has points of the same ids."""

    @pytest.fixture(params=["edge", "server"])
    def store(self, request: pytest.FixtureRequest) -> Store:
        return cast("Store", TenantedStore(request.getfixturevalue(request.param)))

    def test_more_points_than_any_batch_are_written_and_paged_through(self, made: Store) -> None:
        made.upsert(NAME, [point(number) for number in range(1_500)])
        pages = list(each(made, NAME, ANY, Select(fields=("metadata",)), page=400))
        assert [len(page) for page in pages] == [400, 400, 400, 300]
        # The order is that of the stored ids, which a tenant does not see.
        ids = sorted(item.id for page in pages for item in page)
        assert ids == sorted(map(number_to_id, range(1_500)))


class TestServer(StoreContract):
    @pytest.fixture(params=LIVE)
    def store(self, request: pytest.FixtureRequest) -> Iterator[Store]:
        with connect_live(request.param) as store:
            for name in {NAME} & {*store.names()}:
                store.drop(name)
            yield store
