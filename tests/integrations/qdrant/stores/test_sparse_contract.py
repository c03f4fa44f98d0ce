"""What every store has to do with sparse vectors and with both fused, whatever engine it has."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import (
    CollectionMetadata,
    CollectionSettings,
    Engine,
    FieldType,
    PayloadIndex,
    Point,
    Range,
    ScoredPoint,
    Select,
    SparseVector,
    Store,
)
from decant.integrations.qdrant.stores.protocol import Ranking
from decant.integrations.qdrant.stores.queries import Query
from live_server import LIVE, connect_live
from qdrant_double import MIDDLING, serve

NAME, DIM = "sparse-contract", 4
INDEXED = CollectionSettings(indexed=(PayloadIndex(key="n", type=FieldType.INTEGER),))
EVERYTHING = Select(dense=True, sparse=True)
AXIS = np.asarray([1, 0, 0, 0], np.float32)


def sparse(weights: Mapping[int, float]) -> SparseVector:
    return SparseVector(
        indices=np.asarray([*weights], np.int64), values=np.asarray([*weights.values()], np.float32)
    )


def point(number: int, weights: Mapping[int, float] | None = None) -> Point:
    """Return a point whose dense vector turns away from the first axis as its number grows."""
    angle = number / 1_000
    return Point(
        id=str(uuid.UUID(int=number + 1)),
        payload={"kind": "thing", "metadata": {"n": number}},
        dense=np.asarray([np.cos(angle), np.sin(angle), 0, 0], np.float32),
        sparse=None if weights is None else sparse(weights),
    )


def numbers(found: Sequence[ScoredPoint]) -> list[int]:
    return [uuid.UUID(item.point.id).int - 1 for item in found]


def weights_of(vector: SparseVector | None) -> dict[int, float]:
    assert vector is not None
    return dict(zip(vector.indices.tolist(), vector.values.tolist(), strict=True))


class SparseContract:
    """The tests; a subclass gives an open store in the fixture ``store``."""

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError("a contract class needs its own `store` fixture")

    @pytest.fixture
    def made(self, store: Store) -> Store:
        """The store, with one empty collection that has sparse vectors."""
        store.create(NAME, CollectionMetadata.of(HashEncoder(DIM, sparse=True)), INDEXED)
        return store

    def test_the_card_says_that_there_are_sparse_vectors(self, made: Store) -> None:
        assert made.card(NAME).sparse
        made.create("dense-contract", CollectionMetadata.of(HashEncoder(DIM)), CollectionSettings())
        assert not made.card("dense-contract").sparse

    def test_both_vectors_come_back_as_they_went(self, made: Store) -> None:
        stored = point(3, {2**32 - 1: 0.5, 0: 1.5, 7: -2.0})
        made.upsert(NAME, [stored, point(4)])
        found = {p.id: p for p in made.retrieve(NAME, [stored.id, point(4).id], EVERYTHING)}
        assert weights_of(found[stored.id].sparse) == {2**32 - 1: 0.5, 0: 1.5, 7: -2.0}
        dense = found[stored.id].dense
        assert dense is not None
        assert stored.dense is not None
        np.testing.assert_allclose(dense, stored.dense, atol=1e-6)
        assert found[point(4).id].sparse is None
        (bare,) = made.retrieve(NAME, [stored.id], Select(dense=True))
        assert bare.sparse is None
        (alone,) = made.retrieve(NAME, [stored.id], Select(sparse=True))
        assert alone.dense is None
        assert alone.sparse is not None

    def test_writing_an_id_again_without_a_sparse_vector_takes_it_away(self, made: Store) -> None:
        made.upsert(NAME, [point(1, {5: 1.0})])
        made.upsert(NAME, [point(1)])
        assert made.query(NAME, sparse({5: 1.0}), EVERYTHING, limit=3) == []

    def test_setting_fields_keeps_both_vectors(self, made: Store) -> None:
        made.upsert(NAME, [point(1, {5: 1.0})])
        made.set_fields(NAME, [Point(id=point(1).id, payload={"metadata": {"n": 9}})])
        (found,) = made.query(NAME, sparse({5: 2.0}), EVERYTHING, limit=3, where=Range("n", gte=9))
        assert found.score == pytest.approx(2)
        assert found.point.dense is not None

    def test_a_sparse_query_ranks_by_the_inner_product(self, made: Store) -> None:
        made.upsert(NAME, [point(0, {1: 1, 2: 1}), point(1, {1: 3}), point(2, {3: 9}), point(3)])
        found = made.query(NAME, sparse({1: 2, 2: 5}), EVERYTHING, limit=10)
        assert numbers(found) == [0, 1]
        assert [item.score for item in found] == pytest.approx([7, 6])
        assert numbers(made.query(NAME, sparse({1: 2, 2: 5}), EVERYTHING, limit=1, offset=1)) == [1]
        where = Range("n", gte=1)
        assert numbers(made.query(NAME, sparse({1: 2}), EVERYTHING, limit=9, where=where)) == [1]

    def test_many_points_are_written_and_found(self, made: Store) -> None:
        made.upsert(NAME, [point(number, {7: number + 1}) for number in range(700)])
        assert numbers(made.query(NAME, sparse({7: 1}), EVERYTHING, limit=3)) == [699, 698, 697]
        made.optimize(NAME)
        made.flush(NAME)
        assert numbers(made.query(NAME, sparse({7: 1}), EVERYTHING, limit=3)) == [699, 698, 697]
        assert numbers(made.query(NAME, AXIS, EVERYTHING, limit=2)) == [0, 1]

    def test_rankings_come_together_as_each_comes_alone(self, made: Store) -> None:
        made.upsert(NAME, [point(0, {1: 1}), point(1, {1: 5}), point(2), point(3, {2: 1})])
        queries: list[Query] = [AXIS, sparse({1: 1}), sparse({9: 1})]
        found = made.rank(NAME, queries, limit=3)
        assert [numbers(ranking) for ranking in map(self._read, [made] * 3, found)] == [
            [0, 1, 2],
            [1, 0],
            [],
        ]
        for query, ranking in zip(queries, found, strict=True):
            alone = made.query(NAME, query, Select(fields=()), limit=3)
            assert ranking == [(item.point.id, item.score) for item in alone]

    def test_what_matches_no_filter_takes_no_place_in_a_ranking(self, made: Store) -> None:
        made.upsert(NAME, [point(number, {1: 100 - number}) for number in range(50)])
        where = Range("n", gte=40)
        found = made.rank(NAME, [AXIS, sparse({1: 1})], limit=2, where=where)
        for ranking in found:
            assert numbers(self._read(made, ranking)) == [40, 41]

    @staticmethod
    def _read(store: Store, ranking: Ranking) -> list[ScoredPoint]:
        """Return a ranking with the payloads of its points."""
        held = store.retrieve(NAME, [identity for identity, _ in ranking], Select())
        points = {point.id: point for point in held}
        return [ScoredPoint(point=points[identity], score=score) for identity, score in ranking]

    def test_a_collection_without_sparse_vectors_refuses_them(self, store: Store) -> None:
        store.create(NAME, CollectionMetadata.of(HashEncoder(DIM)), CollectionSettings())
        store.upsert(NAME, [point(1)])
        with pytest.raises(StoreError, match="searching"):
            store.query(NAME, sparse({1: 1}), Select(), limit=1)
        with pytest.raises(StoreError, match="writing"):
            store.upsert(NAME, [point(2, {1: 1})])


class TestEdge(SparseContract):
    @pytest.fixture
    def store(self, edge: Store) -> Store:
        assert edge.engine is Engine.EDGE
        return edge


class TestLocalMode(SparseContract):
    @pytest.fixture
    def store(self, local: Store) -> Store:
        assert local.engine is Engine.REMOTE
        return local


class TestDouble(SparseContract):
    """With a double of a server, without and with every limit."""

    @pytest.fixture(params=["rest", "grpc", "rest-strict", "grpc-strict"])
    def store(self, request: pytest.FixtureRequest) -> Iterator[Store]:
        transport, _, strict = request.param.partition("-")
        with serve(MIDDLING if strict else None, grpc=transport == "grpc") as store:
            yield store


class TestServer(SparseContract):
    @pytest.fixture(params=LIVE)
    def store(self, request: pytest.FixtureRequest) -> Iterator[Store]:
        with connect_live(request.param) as store:
            for name in {NAME, "dense-contract"} & {*store.names()}:
                store.drop(name)
            yield store


BAD: list[tuple[NDArray[np.float32], list[int], str]] = [
    (np.asarray([1, np.nan], np.float32), [3, 4], "the value at index 4 is nan"),
    (np.asarray([np.inf, 1], np.float32), [3, 4], "the value at index 3 is inf"),
    (np.asarray([1, 1, 2], np.float32), [3, 4, 3], "index 3 comes 2 times"),
    (np.asarray([1], np.float32), [-1], "within 32 bits"),
    (np.asarray([1], np.float32), [2**32], "within 32 bits"),
    (np.asarray([], np.float32), [], "no entries"),
    (np.asarray([1, 2], np.float32), [1], r"indices have shape \(1,\), values \(2,\)"),
    (np.asarray([[1]], np.float32), [1], "must be"),
]


@pytest.mark.parametrize(("values", "indices", "said"), BAD)
def test_what_engines_would_take_in_silence_is_refused(
    values: NDArray[np.float32], indices: list[int], said: str
) -> None:
    with pytest.raises(StoreError, match=said):
        SparseVector(indices=np.asarray(indices, np.int64), values=values)
