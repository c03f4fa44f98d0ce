"""Keys, TLS, strict mode, reading alone and the diagnosis, on a live server over REST and gRPC."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from qdrant_client import models

from decant.embedders import HashEncoder, StoreError
from decant.embedders.doctor import Health
from decant.integrations.qdrant import (
    Collection,
    Equals,
    FieldType,
    PayloadIndex,
    Record,
    RemoteStore,
    connect,
    diagnose_store,
)
from live_server import LIVE, connect_live

YEAR = PayloadIndex(key="year", type=FieldType.INTEGER)


@pytest.fixture(params=LIVE)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def docs(transport: str) -> Iterator[Collection]:
    """Return a collection of one record, and drop it afterwards."""
    with connect_live(transport) as store:
        made = Collection.create(store, f"test-{uuid.uuid4().hex}", HashEncoder(8))
        try:
            made.add([Record(id="a", text="a cat sat", metadata={"year": 1999})])
            yield made
        finally:
            store.drop(made.name)


def limit(docs: Collection, **limits: Any) -> None:
    """Set limits of strict mode for a collection."""
    assert isinstance(docs.store, RemoteStore)
    config = models.StrictModeConfig(enabled=True, **limits)
    docs.store.requests.client.update_collection(docs.name, strict_mode_config=config)


def test_a_wrong_key_is_refused_and_not_shown(transport: str) -> None:
    if not os.environ.get("QDRANT_API_KEY"):
        pytest.skip("the server needs no key: QDRANT_API_KEY is not set")
    for wrong in ("mistaken-key", ""):
        with pytest.raises(StoreError, match="QDRANT_API_KEY") as refusal:
            connect_live(transport, api_key=wrong)
        assert "mistaken-key" not in f"{refusal.value}{refusal.value.__cause__}"


def test_a_key_that_may_read_searches_and_writes_nothing(docs: Collection, transport: str) -> None:
    if not (key := os.environ.get("QDRANT_READ_ONLY_API_KEY")):
        pytest.skip("no key that may only read: QDRANT_READ_ONLY_API_KEY is not set")
    with connect_live(transport, api_key=key) as store:
        reading = Collection.open(store, docs.name, docs.encoder)
        assert [hit.id for hit in reading.search("a cat")] == ["a"]
        assert reading.check().is_sound
        for write in (reading.clear, lambda: reading.add([Record(id="b", text="rain")])):
            with pytest.raises(StoreError, match="refused") as refusal:
                write()
            assert key not in f"{refusal.value}{refusal.value.__cause__}"
    assert docs.count() == 1


def test_a_missing_index_is_named_by_a_check(docs: Collection, transport: str) -> None:
    docs.add_index(YEAR)
    assert isinstance(docs.store, RemoteStore)
    docs.store.requests.client.delete_payload_index(docs.name, YEAR.path)
    with connect_live(transport, read_only=True) as store:
        report = Collection.open(store, docs.name, docs.encoder).check()
        assert report.missing_indexes == (YEAR.path,)
    assert docs.check().missing_indexes == (), "opening with a key that may write makes it"


def test_the_authority_of_the_certificate_must_be_given(transport: str) -> None:
    if not os.environ.get("QDRANT_CA"):
        pytest.skip("the server has no authority of its own: QDRANT_CA is not set")
    connect_live(transport).close()
    if transport == "live":
        with pytest.raises(StoreError, match=r"CERTIFICATE_VERIFY_FAILED.*ca="):
            connect(os.environ["QDRANT_URL"], timeout=5, attempts=1)


def test_headers_of_a_proxy_do_no_harm(transport: str) -> None:
    headers = {"X-Request-Id": "decant", "Authorization-Of-A-Proxy": "Basic aHVzaA=="}
    with connect_live(transport, headers=headers) as store:
        assert isinstance(store.names(), list)


def test_a_reading_connection_writes_nothing(docs: Collection, transport: str) -> None:
    with connect_live(transport, read_only=True) as store:
        reading = Collection.open(store, docs.name, docs.encoder)
        assert [hit.id for hit in reading.search("a cat")] == ["a"]
        assert reading.check().is_sound
        with pytest.raises(StoreError, match="read_only=True"):
            reading.add([Record(id="b", text="rain")])
        with pytest.raises(StoreError, match="read_only=True"):
            store.drop(docs.name)
    assert docs.count() == 1


def test_a_filter_without_an_index_is_answered_with_the_way(docs: Collection) -> None:
    limit(docs, unindexed_filtering_retrieve=False, unindexed_filtering_update=False)
    for ask in (docs.count, docs.delete_where, lambda where: docs.search("cat", where=where)):
        with pytest.raises(StoreError, match=r"add_index\(.*--payload-index year:") as refusal:
            ask(Equals("year", 1999))
        assert "key='year'" in str(refusal.value)
    docs.add_index(YEAR)
    assert docs.count(Equals("year", 1999)) == 1
    assert [hit.id for hit in docs.search("cat", where=Equals("year", 1999))] == ["a"]


def test_the_diagnosis_names_what_binds(docs: Collection, transport: str) -> None:
    limit(docs, unindexed_filtering_retrieve=False, max_query_limit=100, search_allow_exact=False)
    with connect_live(transport, read_only=True) as store:
        found = {item.name: item for item in diagnose_store(store, docs.name).findings}
        for name in ("unindexed_filtering_retrieve", "max_query_limit", "search_allow_exact"):
            assert found[f"{docs.name}: {name}"].health is Health.NOTE
        for name in ("vectors", "payload indexes"):
            assert found[f"{docs.name}: {name}"].health is Health.GOOD


def test_the_diagnosis_names_missing_indexes(docs: Collection, transport: str) -> None:
    docs.add_index(YEAR)
    assert isinstance(docs.store, RemoteStore)
    docs.store.requests.client.delete_payload_index(docs.name, YEAR.path)
    with connect_live(transport, read_only=True) as store:
        found = {item.name: item for item in diagnose_store(store, docs.name).findings}
        missing = found[f"{docs.name}: payload indexes"]
        assert missing.health is Health.PROBLEM
        assert "metadata.year (integer)" in missing.detail
        assert diagnose_store(store, docs.name).problems == (missing,)
