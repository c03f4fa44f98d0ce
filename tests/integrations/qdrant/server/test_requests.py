"""What the remote store sends, as a double of a server sees it: reads, batches, changes, waits."""

from __future__ import annotations

import json
import math
import uuid
from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import QdrantClient

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import (
    Collection,
    CollectionMetadata,
    CollectionSettings,
    Document,
    Field,
    FieldIn,
    Point,
    Record,
    RemoteStore,
    Select,
    SparseVector,
    Store,
)
from decant.integrations.qdrant.server.capabilities import Server
from decant.integrations.qdrant.server.optimize import Patience
from decant.integrations.qdrant.server.points import check_size, to_struct
from decant.integrations.qdrant.stores.point_size import PointSizes
from decant.integrations.qdrant.stores.protocol import Json
from qdrant_double import Fault, Progress, QdrantDouble, reached

ENCODER = HashEncoder(8)
LARGEST = 33_554_432
ALL = Select()
THINGS = FieldIn(Field.KIND, ["thing"])


def number_to_id(number: int) -> str:
    return str(uuid.UUID(int=number + 1))


def point(number: int, **payload: Any) -> Point:
    return Point(
        id=number_to_id(number),
        payload={"kind": "thing", "id": f"r{number}", "n": number, **payload},
        dense=np.ones(8, np.float32),
    )


@pytest.fixture
def made(server: Store) -> Store:
    server.create("docs", CollectionMetadata.of(ENCODER), CollectionSettings())
    return server


class TestReplicas:
    def test_one_of_three_nodes_away_stops_nothing(
        self, server: Store, double: QdrantDouble
    ) -> None:
        docs = Collection.create(server, "docs", ENCODER)
        double.nodes_down = 1
        texts = [Document(source=f"d{n}", text=f"a ship {n}", root="r") for n in range(3)]
        assert docs.index(texts).added == 3
        assert docs.index(texts[:2]).removed == 1
        docs.add([Record(id="1", text="a cat")])
        assert [passage.id for passage in docs.get(["1"])] == ["1"]
        assert len(list(docs.each())) == 3
        assert docs.delete(["1"]) == 1
        docs.clear()
        assert docs.count() == 0

    def test_nothing_asks_for_more_replicas_than_the_server_does(
        self, made: Store, double: QdrantDouble
    ) -> None:
        made.upsert("docs", [point(1)])
        made.retrieve("docs", [number_to_id(1)], ALL)
        made.scroll("docs", THINGS, ALL, limit=10)
        assert all("consistency" not in asked.parameters for asked in double.asked)


class TestSizes:
    def test_large_metadata_go_in_several_requests(
        self, server: Store, double: QdrantDouble
    ) -> None:
        docs = Collection.create(server, "docs", ENCODER)
        records = [
            Record(id=str(n), text=f"text {n}", metadata={"page": f"{n}" + "x" * 300_000})
            for n in range(128)
        ]
        docs.add(records)
        sizes = [asked.size for asked in double.requests("PUT", "/points")]
        assert sum(sizes) > LARGEST
        assert max(sizes) < LARGEST
        assert len([size for size in sizes if size > 300_000]) == 3  # else the note of who fills it
        assert docs.count() == 128

    def test_changed_payloads_go_in_several_requests(
        self, made: Store, double: QdrantDouble
    ) -> None:
        made.upsert("docs", [point(n) for n in range(128)])
        changes = [
            Point(id=number_to_id(n), payload={"metadata": {"page": f"{n}" + "é" * 200_000}})
            for n in range(128)
        ]
        assert made.set_fields("docs", changes) == []
        sizes = [asked.size for asked in double.requests("POST", "/batch")]
        assert sum(sizes) > LARGEST
        assert max(sizes) < LARGEST

    @pytest.mark.parametrize("way", ["upsert", "set_fields"])
    def test_one_point_that_is_too_large_is_named_before_anything_is_sent(
        self, made: Store, double: QdrantDouble, way: str
    ) -> None:
        made.upsert("docs", [point(1), point(2)])
        asked = len(double.asked)
        points = [point(1), point(2, source="big.md", text="x" * 34_000_000)]
        with pytest.raises(StoreError, match=r"'r2' of source 'big.md' takes 340\d+ bytes"):
            getattr(made, way)("docs", points)
        assert len(double.asked) == asked

    def test_one_that_only_looks_too_large_is_measured(self) -> None:
        wide = point(2, text="é" * 10_000)  # as ASCII, which its bound counts, three times as long
        assert PointSizes().of(wide) > 60_000
        check_size(wide, 22_000)
        with pytest.raises(StoreError, match=r"'r2' takes 20\d\d\d bytes"):
            check_size(wide, 20_000)

    def test_over_grpc_nothing_is_too_large(self) -> None:
        from decant.integrations.qdrant.server.requests import Requests

        client = QdrantClient(":memory:")
        assert Requests(Server(client)).largest is None
        client.close()

    @pytest.mark.parametrize(
        "payload",
        [
            {},
            {"text": "\x07\x00\x1f" * 500, "é\x01": "naïve \U0001f600 \ud7ff" * 300},
            {"metadata": {"a": [0.1 + 0.2, -1e-300, 2**62, None, True, {"é": "\u0001"}] * 40}},
            {"source": '"\\' * 900, "chunk": 12, "start": 3, "nothing": None, "yes": False},
        ],
    )
    def test_a_bound_is_never_too_small_nor_far_off(self, payload: dict[str, Any]) -> None:
        drawn = np.random.default_rng(1)
        indices = np.sort(drawn.choice(2**32 - 1, 50, replace=False))
        full = Point(
            id=number_to_id(1),
            payload=payload,
            dense=(drawn.normal(size=384) * 1e-7).astype(np.float32),
            sparse=SparseVector(indices=indices, values=drawn.normal(size=50).astype(np.float32)),
            soft_tokens=-drawn.random((3, 24)).astype(np.float32),
        )
        bound = PointSizes().of(full)
        size = len(to_struct(full).model_dump_json().encode())
        assert size <= bound <= 8 * size

    @given(
        st.dictionaries(
            st.text(max_size=8),
            st.none()
            | st.booleans()
            | st.integers(-(10**40), 10**40)
            | st.floats(allow_nan=False)
            | st.text(max_size=60)
            | st.lists(st.integers(), max_size=3),
            max_size=40,
        )
    )
    def test_no_metadata_take_more_than_their_bound(self, metadata: dict[str, Json]) -> None:
        payload: dict[str, Json] = {"metadata": metadata}
        size = len(json.dumps(payload, ensure_ascii=False).encode(errors="surrogatepass"))
        assert PointSizes().of(Point(id=number_to_id(1), payload=payload)) >= size

    def test_metadata_that_points_share_count_for_each_of_them(self) -> None:
        sizes, shared = PointSizes(), {"page": "x" * 1_000}
        bounds = [sizes.of(point(n, metadata=shared)) for n in range(3)]
        assert min(bounds) == max(bounds) > 1_000


class TestSettingFields:
    @pytest.fixture
    def filled(self, made: Store) -> Store:
        made.upsert("docs", [point(n) for n in range(6)])
        return made

    def changes(self, *numbers: int) -> list[Point]:
        return [Point(id=number_to_id(n), payload={"n": 100 + n}) for n in numbers]

    def numbers(self, store: Store) -> list[int]:
        found = store.scroll("docs", THINGS, ALL, limit=100).points
        return [int(str(item.payload["n"])) for item in found]

    def test_points_that_are_gone_are_named_and_the_others_set(
        self, filled: Store, double: QdrantDouble
    ) -> None:
        gone = filled.set_fields("docs", self.changes(9, 0, 1, 8, 5))
        assert gone == [number_to_id(9), number_to_id(8)]
        assert self.numbers(filled) == [100, 101, 2, 3, 4, 105]
        assert double.requests("POST", "/batch")[0].status == 404

    def test_where_none_is_gone_it_is_one_request(
        self, filled: Store, double: QdrantDouble
    ) -> None:
        before = len(double.asked)
        assert filled.set_fields("docs", self.changes(0, 1, 2)) == []
        assert len(double.asked) == before + 1

    def test_all_may_be_gone(self, filled: Store) -> None:
        assert filled.set_fields("docs", self.changes(8)) == [number_to_id(8)]
        assert set(filled.set_fields("docs", self.changes(8, 9))) == {
            number_to_id(8),
            number_to_id(9),
        }
        assert self.numbers(filled) == [0, 1, 2, 3, 4, 5]

    def test_one_that_goes_while_we_ask_loses_no_other(
        self, filled: Store, double: QdrantDouble
    ) -> None:
        # The first batch says that a point is missing; read after that, all are there.
        double.faults.append(Fault(status=404, said="Not found: No point with id x found"))
        assert filled.set_fields("docs", self.changes(0, 1)) == []
        assert self.numbers(filled)[:2] == [100, 101]

    def test_a_collection_that_is_not_there_is_an_error(self, filled: Store) -> None:
        with pytest.raises(StoreError, match="Collection `nope` doesn't exist"):
            filled.set_fields("nope", self.changes(0, 1))

    def test_without_a_server_it_is_the_same(self, local: Store) -> None:
        local.create("docs", CollectionMetadata.of(ENCODER), CollectionSettings())
        local.upsert("docs", [point(n) for n in range(3)])
        assert local.set_fields("docs", self.changes(9, 1)) == [number_to_id(9)]
        assert self.numbers(local) == [0, 101, 2]
        with pytest.raises(StoreError, match="nope"):
            local.set_fields("nope", self.changes(1))


def test_local_mode_lets_no_error_of_its_own_out(local: RemoteStore) -> None:
    local.create("docs", CollectionMetadata.of(ENCODER), CollectionSettings())
    local._client.close()
    with pytest.raises(StoreError, match="was refused"):
        local.count("docs", THINGS)


def test_a_cosine_is_at_most_one(made: Store) -> None:
    made.upsert("docs", [point(1)])
    found = made.query("docs", np.full(8, 0.1, np.float32), ALL, limit=1)
    assert found[0].score <= 1


@pytest.mark.parametrize("score", [1.0000001, -1.0000001, 0.5, 1.5e-45])
def test_a_score_that_rounding_took_out_of_bounds_comes_back(
    made: Store, monkeypatch: pytest.MonkeyPatch, double: QdrantDouble, score: float
) -> None:
    made.upsert("docs", [point(1)])
    answer = double.engine.query

    def rounded(name: str, body: Any) -> dict[str, Any]:
        found = answer(name, body)
        found["points"][0]["score"] = score
        return found

    monkeypatch.setattr(double.engine, "query", rounded)
    (found,) = made.query("docs", np.ones(8, np.float32), ALL, limit=1)
    assert found.score == math.copysign(min(1, abs(score)), score)


class TestOptimizing:
    def wait(self, double: QdrantDouble, *looks: Progress) -> list[tuple[int, int]]:
        """Optimize a collection of two points whose looks are these; return what progress told."""
        seconds = iter(range(1_000))
        patience = Patience(seconds=10, sleep=lambda _: None, clock=lambda: float(next(seconds)))
        told: list[tuple[int, int]] = []
        with reached(double, patience=patience) as store:
            docs = Collection.create(store, "docs", ENCODER)
            store.upsert("docs", [point(1), point(2)])
            double.engine.held["docs"].progress = deque(looks)
            docs.optimize(progress=lambda *counts: told.append(counts))
        return told

    def test_it_waits_for_green_and_tells_how_far_it_is(self, double: QdrantDouble) -> None:
        yellow = [Progress(status="yellow", indexed=n) for n in (0, 1)]
        assert self.wait(double, *yellow, Progress(indexed=2)) == [(0, 2), (1, 2), (2, 2)]

    def test_it_returns_at_once_where_nothing_is_to_do(self, double: QdrantDouble) -> None:
        assert self.wait(double, Progress()) == [(0, 2)]

    def test_it_gives_up_after_the_time_stated(self, double: QdrantDouble) -> None:
        with pytest.raises(StoreError, match="status yellow after 10 s: 1 vectors of 2 points"):
            self.wait(double, Progress(status="yellow", indexed=1))

    def test_optimizers_that_wait_are_woken_once(self, double: QdrantDouble) -> None:
        looks = [Progress(status=status) for status in ("grey", "grey", "yellow", "green")]
        assert len(self.wait(double, *looks)) == 4
        woken = [asked.body for asked in double.requests("PATCH", "/docs")]
        assert woken == [{"optimizers_config": {}}]

    def test_a_red_collection_is_an_error(self, double: QdrantDouble) -> None:
        with pytest.raises(StoreError, match="status red"):
            self.wait(double, Progress(status="red"))

    def test_optimizers_that_failed_are_an_error(self, double: QdrantDouble) -> None:
        failed = Progress(status="yellow", optimizer_status={"error": "out of disk"})
        with pytest.raises(StoreError, match=r"cannot build the index.*out of disk"):
            self.wait(double, failed)

    def test_without_a_server_there_is_nothing_to_wait_for(self, local: Store) -> None:
        told: list[int] = []
        Collection.create(local, "docs", ENCODER).optimize(progress=lambda *n: told.extend(n))
        assert told == []
