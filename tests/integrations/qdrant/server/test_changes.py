"""A run of indexing sends few requests, each in the order that makes a break in it harmless."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import Collection, Document, Point, RemoteStore, Select
from decant.integrations.qdrant.stores.changes import Delete, Upsert, change_in_order
from decant.integrations.qdrant.stores.filters import Field, FieldIn
from decant.integrations.qdrant.stores.protocol import Store, each
from qdrant_double import QdrantDouble, Refused, serve

ENCODER = HashEncoder(8)
GROUP = 256
EVERYTHING = FieldIn(Field.KIND, ["chunk", "record", "document"])


def documents(count: int, *, salt: str = "") -> list[Document]:
    return [Document(source=f"{n}.txt", text=f"text {n} {salt}", root="r") for n in range(count)]


def contents(store: Store) -> dict[str, dict[str, Any]]:
    pages = each(store, "docs", EVERYTHING, Select())
    return {point.id: dict(point.payload) for page in pages for point in page}


def written(double: QdrantDouble) -> list[tuple[str, str, str]]:
    """Return what each operation of each batch wrote, in order: what, source and state."""
    found = []
    for asked in double.requests("POST", "/points/batch"):
        for operation in asked.body["operations"]:
            for point in operation.get("upsert", {"points": []})["points"]:
                payload = point["payload"]
                if payload["kind"] == "tombstone":
                    found.append(("gone", point["id"], ""))
                else:
                    found.append((payload["kind"], payload["source"], payload.get("state", "")))
    return found


class TestRequests:
    def test_new_documents_take_one_write_for_256_and_two_reads_for_each_group(
        self, server: Store, double: QdrantDouble
    ) -> None:
        docs = Collection.create(server, "docs", ENCODER)
        before = len(double.asked)
        assert docs.index(documents(2 * GROUP)).added == 2 * GROUP
        writes = double.requests("POST", "/points/batch")
        assert len(writes) == 2
        # The markers and the known texts of groups of 64, 128, 256 and 64 documents, then the
        # run's markers and its count of chunks, three for the note of what fills it, and four for
        # the lease: read, taken, read again, and released.
        assert len(double.asked) - before <= 2 + 4 * 2 + 2 + 3 + 4

    def test_changed_documents_take_no_more_writes(
        self, server: Store, double: QdrantDouble
    ) -> None:
        docs = Collection.create(server, "docs", ENCODER)
        docs.index(documents(GROUP))
        before = len(double.requests("POST", "/points/batch"))
        report = docs.index(documents(GROUP, salt="anew"))
        assert (report.changed, report.deleted) == (GROUP, GROUP)
        assert len(double.requests("POST", "/points/batch")) == before + 1

    def test_a_document_opens_before_its_chunks_and_closes_after_them(
        self, server: Store, double: QdrantDouble
    ) -> None:
        docs = Collection.create(server, "docs", ENCODER)
        docs.index(documents(GROUP + 9))
        order = written(double)
        for document in documents(GROUP + 9):
            mine = [(kind, state) for kind, source, state in order if source == document.source]
            assert mine == [("document", "new"), ("chunk", ""), ("document", "done")]

    def test_no_operation_has_both_markers_and_chunks(
        self, server: Store, double: QdrantDouble
    ) -> None:
        # A server of several shards orders operations, and not the points of one.
        Collection.create(server, "docs", ENCODER).index(documents(20))
        (asked,) = double.requests("POST", "/points/batch")
        kinds = [
            {(point["payload"]["kind"], point["payload"].get("state")) for point in it["points"]}
            for it in (operation["upsert"] for operation in asked.body["operations"])
        ]
        assert kinds == [{("document", "new")}, {("chunk", None)}, {("document", "done")}]

    def test_old_chunks_go_after_the_new_ones_and_before_the_marker_closes(
        self, server: Store, double: QdrantDouble
    ) -> None:
        docs = Collection.create(server, "docs", ENCODER)
        docs.index(documents(1))
        before = len(written(double))
        docs.index(documents(1, salt="anew"))
        kinds = [(kind, state) for kind, _, state in written(double)[before:]]
        assert kinds == [
            ("document", "changing"),
            ("chunk", ""),
            ("gone", ""),
            ("document", "done"),
        ]

    @pytest.mark.parametrize("grpc", [False, True])
    def test_limits_hold_for_the_whole_request(self, grpc: bool) -> None:
        limits = {"upsert_max_batchsize": 7, "write_rate_limit": 9}
        with serve(limits, grpc=grpc) as store:
            docs = Collection.create(store, "docs", ENCODER)
            assert docs.index(documents(20)).added == 20
            assert docs.index(documents(20, salt="anew")).changed == 20
            assert docs.count() == 20

    def test_a_limit_that_was_set_meanwhile_is_learnt(
        self, server: Store, double: QdrantDouble
    ) -> None:
        docs = Collection.create(server, "docs", ENCODER)
        double.limit("docs", upsert_max_batchsize=5)
        assert docs.index(documents(30)).added == 30
        sizes = [
            sum(len(it.get("upsert", {"points": ()})["points"]) for it in asked.body["operations"])
            for asked in double.requests("POST", "/points/batch")
            if asked.status == 200
        ]
        assert sum(sizes) == 90
        assert max(sizes) <= 5

    def test_wide_points_go_in_several_requests(self, server: Store, double: QdrantDouble) -> None:
        Collection.create(server, "docs", ENCODER)
        texts = [_point(n, text="x" * 400_000) for n in range(100)]
        change_in_order(server, "docs", [Upsert(points=texts), Delete(ids=[texts[0].id])])
        sizes = [asked.size for asked in double.requests("POST", "/points/batch")]
        assert max(sizes) < 33_554_432 < sum(sizes)
        assert len(contents(server)) == 99

    def test_one_point_that_is_too_large_is_named_before_anything_is_sent(
        self, server: Store, double: QdrantDouble
    ) -> None:
        Collection.create(server, "docs", ENCODER)
        asked = len(double.asked)
        points = [_point(1), _point(2, source="big.md", text="x" * 34_000_000)]
        with pytest.raises(StoreError, match=r"of source 'big.md' takes 340\d+ bytes"):
            change_in_order(server, "docs", [Upsert(points=points), Delete(ids=["none"])])
        assert len(double.asked) == asked


@pytest.mark.parametrize("operations", range(1, 11))
def test_a_server_that_ends_within_a_batch_loses_nothing(
    server: RemoteStore, double: QdrantDouble, monkeypatch: pytest.MonkeyPatch, operations: int
) -> None:
    with serve() as other:
        Collection.create(other, "docs", ENCODER).index(documents(12, salt="anew"))
        expected = contents(other)
    docs = Collection.create(server, "docs", ENCODER)
    docs.index(documents(9))
    monkeypatch.setattr("decant.integrations.qdrant.indexing.writer._DOCUMENTS", 5)
    left = operations
    carry_out = double.engine._change

    def ending(name: str, operation: Any) -> dict[str, Any]:
        nonlocal left
        left -= 1
        if left < 0:
            raise Refused(503, "the server ends")
        return carry_out(name, operation)

    with monkeypatch.context() as broken:
        broken.setattr(double.engine, "_change", ending)
        with pytest.raises(StoreError, match="the server ends"):
            docs.index(documents(12, salt="anew"))
    _assert_whole(contents(server))
    docs.index(documents(12, salt="anew"))
    assert contents(server) == expected


def _assert_whole(found: dict[str, dict[str, Any]]) -> None:
    """No chunk is without its marker, and a closed marker has all its chunks."""
    markers = {it["source"]: it for it in found.values() if it["kind"] == "document"}
    chunks = [it["source"] for it in found.values() if it["kind"] == "chunk"]
    assert set(chunks) <= set(markers)
    for source, marker in markers.items():
        if marker["state"] == "done":
            assert chunks.count(source) == marker["chunks"]


def _point(number: int, **payload: Any) -> Point:
    identity = f"00000000-0000-0000-0000-{number:012x}"
    held = {"kind": "record", "id": identity, "text": "", "source": "", "root": "", **payload}
    return Point(id=identity, payload=held, dense=np.ones(8, np.float32))
