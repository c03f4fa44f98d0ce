"""What operators see of searches and writes: spans, headers at the server, events of the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from opentelemetry import trace

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Document,
    Record,
    SearchMode,
    Store,
    Words,
    connect,
)
from qdrant_double import QdrantDouble, grpc_front, reached
from recorded_spans import Recorded, id_of, parent_of, recorded_spans, traceparent

DOCUMENTS = [
    Document(source=f"{number}.txt", text=f"a text, number {number}", root="notes")
    for number in range(30)
]


@pytest.fixture
def spans() -> Iterator[Recorded]:
    with recorded_spans() as found:
        yield found


def test_a_search_is_a_span_with_counts(years: Collection, spans: Recorded) -> None:
    hits = years.search("the year 2003", limit=3)
    found = spans.one("decant.search")
    assert {
        "db.system.name": "qdrant",
        "db.collection.name": "docs",
        "db.operation.name": "search",
        "decant.engine": years.store.engine.value,
        "decant.mode": "dense",
        "decant.branches": "dense",
        "decant.queries": 1,
        "decant.limit": 3,
        "decant.offset": 0,
        "decant.filtered": False,
        "decant.hits": len(hits),
    }.items() <= dict(found.attributes).items()
    assert years.search_many(["a", "b"], limit=2)
    assert spans.named("decant.search")[-1].attributes["decant.queries"] == 2


def test_a_hybrid_search_names_its_branches(edge: Store, spans: Recorded) -> None:
    settings = CollectionSettings(words=Words(language="english"))
    docs = Collection.create(edge, "docs", HashEncoder(16, sparse=True), settings=settings)
    docs.search("a cat")
    found = spans.one("decant.search").attributes
    assert found["decant.mode"] == SearchMode.HYBRID.value
    assert set(found["decant.branches"].split()) == {"dense", "sparse", "words"}


def test_only_spans_of_servers_name_an_address(
    server: Store, edge: Store, encoder: HashEncoder, spans: Recorded
) -> None:
    for store in (server, edge):
        Collection.create(store, "docs", encoder).search("a cat")
    remote, local = spans.named("decant.search")
    assert remote.attributes["server.address"] == "127.0.0.1"
    assert remote.attributes["server.port"] == int(server.place.rpartition(":")[2])
    assert remote.kind.name == "CLIENT"
    assert not {name for name in local.attributes if name.startswith("server.")}
    assert edge.place not in spans.text()


def test_indexing_is_a_span_with_the_counts_of_its_report(
    collection: Collection, spans: Recorded
) -> None:
    report = collection.index(DOCUMENTS)
    found = spans.one("decant.index")
    counts = {f"decant.{name}": count for name, count in report.counts.items()}
    assert counts.items() <= dict(found.attributes).items()
    assert counts["decant.added"] == counts["decant.embedded"] == len(DOCUMENTS)


def test_the_threads_of_indexing_write_within_its_span(
    collection: Collection, spans: Recorded
) -> None:
    collection.index(DOCUMENTS)
    written = spans.named("decant.upsert")
    assert {parent_of(span) for span in written} == {id_of(spans.one("decant.index"))}
    assert sum(span.attributes["decant.points"] for span in written) == len(DOCUMENTS)


def test_a_failed_search_is_marked_by_its_type(collection: Collection, spans: Recorded) -> None:
    with pytest.raises(StoreError):
        collection.search("a cat", mode=SearchMode.SPARSE)
    assert spans.one("decant.search").attributes["error.type"].startswith("decant.")


@pytest.mark.parametrize("grpc", [False, True], ids=["rest", "grpc"])
def test_every_request_of_a_span_names_it_to_the_server(
    double: QdrantDouble, encoder: HashEncoder, spans: Recorded, grpc: bool
) -> None:
    if grpc:
        with grpc_front(double) as port, reached(double, grpc_port=port) as store:
            _check_headers(double, store, encoder, spans)
    else:
        with reached(double) as store:
            _check_headers(double, store, encoder, spans)


def _check_headers(
    double: QdrantDouble, store: Store, encoder: HashEncoder, spans: Recorded
) -> None:
    docs = Collection.create(store, "docs", encoder)
    assert {it.trace for it in double.asked} == {None}
    double.asked.clear()
    docs.search("a cat")
    searched = traceparent(spans.one("decant.search"))
    assert double.asked
    assert all(it.trace is not None and it.trace.startswith(searched) for it in double.asked)
    double.asked.clear()
    docs.index(DOCUMENTS)
    named = {it.trace[:52] for it in double.asked if it.trace is not None}
    assert {traceparent(span) for span in spans.named("decant.upsert")} <= named


def test_the_callers_span_goes_to_the_server_by_a_client_of_ones_own(
    double: QdrantDouble, spans: Recorded
) -> None:
    with connect(double.url) as store:
        double.asked.clear()
        with trace.get_tracer("test").start_as_current_span("request"):
            store.names()
    assert [it.trace[:52] for it in double.asked if it.trace] == [traceparent(spans.one("request"))]


def test_indexing_is_logged_at_info_and_searching_at_debug(
    collection: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "decant"):
        collection.index(DOCUMENTS)
        collection.search("a cat", limit=2)
        collection.add([Record(id="a", text="x")])
    events = {vars(it)["decant"]["event"]: it for it in caplog.records if hasattr(it, "decant")}
    assert events["index"].levelno == logging.INFO
    assert events["search"].levelno == events["add"].levelno == logging.DEBUG
    assert vars(events["index"])["decant"]["added"] == len(DOCUMENTS)
    assert vars(events["search"])["decant"]["hits"] == 2
