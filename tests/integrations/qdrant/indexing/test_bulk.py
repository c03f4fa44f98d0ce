"""Bulk loads: a server builds no vector index meanwhile, and its own one afterwards."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from decant.embedders import HashEncoder
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Document,
    Record,
    Store,
    TenantError,
    TenantGraphs,
    Tenants,
    diagnose_store,
)
from decant.integrations.qdrant.stores.changes import DeferringStore
from qdrant_double import QdrantDouble

ENCODER = HashEncoder(16)
Links = Callable[[], tuple[int, int | None]]


@pytest.fixture
def links(double: QdrantDouble) -> Links:
    """Return a function that gives the links that the server has for ``docs``."""

    def found() -> tuple[int, int | None]:
        held: dict[str, Any] = double.engine.named("docs")[1].config["hnsw_config"]
        return held["m"], held.get("payload_m")

    return found


@pytest.fixture
def docs(server: Store) -> Collection:
    return Collection.create(server, "docs", ENCODER, settings=CollectionSettings(hnsw_m=24))


def interrupt(docs: Collection) -> None:
    """Leave the collection as a process does that is killed in a bulk load."""
    store = docs._store
    assert isinstance(store, DeferringStore)
    store.defer_index(docs.name)


def test_a_server_builds_no_index_during_a_load_and_its_own_afterwards(
    docs: Collection, links: Links
) -> None:
    assert links() == (24, None)
    with docs.bulk():
        assert links() == (0, None)
        docs.add([Record(id="a", text="rain")])
        docs.index([Document(source="d", text="sun")])
        assert links() == (0, None)
        assert [hit.id for hit in docs.search("rain", limit=1)] == ["a"]
    assert links() == (24, None)


def test_the_index_comes_back_after_an_error(docs: Collection, links: Links) -> None:
    with pytest.raises(RuntimeError, match="of the caller"), docs.bulk():
        raise RuntimeError("of the caller")
    assert links() == (24, None)


def test_the_index_comes_back_at_the_end_of_the_last_of_several_loads(
    docs: Collection, server: Store, links: Links
) -> None:
    other = Collection.open(server, "docs", ENCODER)
    with docs.bulk():
        with other.bulk():
            other.add([Record(text="rain")])
        assert links() == (0, None)
    assert links() == (24, None)


@pytest.mark.parametrize("mend", ["index", "optimize", "bulk"])
def test_what_a_killed_load_left_is_named_and_mended(
    mend: str,
    docs: Collection,
    server: Store,
    links: Links,
    caplog: pytest.LogCaptureFixture,
) -> None:
    interrupt(docs)
    assert links() == (0, None)
    said = [one.detail for one in diagnose_store(server, "docs").findings]
    assert any("a bulk load has turned it off" in one for one in said)
    again = Collection.open(server, "docs", ENCODER)
    assert again.check().is_index_deferred
    with caplog.at_level(logging.WARNING, logger="decant"):
        match mend:
            case "index":
                again.index([Document(source="d", text="sun")])
                assert "deferred_index_built" in caplog.text
            case "optimize":
                again.optimize()
            case _:
                with again.bulk():
                    pass
    assert links() == (24, None)
    assert not again.check().is_index_deferred
    said = [one.detail for one in diagnose_store(server, "docs").findings]
    assert not any("bulk load" in one for one in said)


def test_a_failure_between_the_two_steps_is_mended_by_the_next_call(
    docs: Collection, links: Links, double: QdrantDouble
) -> None:
    interrupt(docs)
    noted = json.loads(double.engine.named("docs")[1].config["metadata"]["decant_deferred_index"])
    assert noted == {"m": 24, "payload_m": None}
    interrupt(docs)  # a second load keeps the note of the first
    assert json.loads(
        double.engine.named("docs")[1].config["metadata"]["decant_deferred_index"]
    ) == {"m": 24, "payload_m": None}
    docs.optimize()
    assert links() == (24, None)


def test_the_graphs_of_tenants_are_deferred_too(server: Store, links: Links) -> None:
    tenants = Tenants(graphs=TenantGraphs.OWN)
    docs = Collection.create(server, "docs", ENCODER, settings=CollectionSettings(tenants=tenants))
    assert links() == (0, 16)
    with docs.bulk():
        docs.tenant("acme").add([Record(text="rain")])
        assert links() == (0, 0)
    assert links() == (0, 16)
    with pytest.raises(TenantError, match="that of all tenants"), docs.tenant("acme").bulk():
        pass


@pytest.mark.parametrize("engine", ["edge", "local"])
def test_elsewhere_there_is_nothing_to_defer(engine: str, request: pytest.FixtureRequest) -> None:
    store: Store = request.getfixturevalue(engine)
    docs = Collection.create(store, "docs", ENCODER)
    with docs.bulk():
        docs.add([Record(id="a", text="rain")])
    assert [hit.id for hit in docs.search("rain")] == ["a"]
