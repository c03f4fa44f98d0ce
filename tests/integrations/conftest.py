"""An empty collection on each engine; the remote adapter runs on qdrant-client's local mode."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from decant.embedders import HashEncoder, Prompt
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Record,
    Store,
    Tenants,
    connect,
)
from live_server import LIVE, connect_live
from memory_folder import memory_folder

ENGINES = ["edge", "remote", "tenant", *LIVE]


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """Return an empty folder, in memory where there is such a place."""
    with memory_folder(tmp_path) as folder:
        yield folder


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Return what holds the collection; with "tenant" it is a tenant's view on Edge."""
    return str(request.param)


@pytest.fixture(scope="module")
def store(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Return a store of each engine, and close it."""
    match engine:
        case "edge" | "tenant":
            otherwise = tmp_path_factory.mktemp("index")
            with memory_folder(otherwise) as folder, connect(folder) as opened:
                yield opened
        case "remote":
            client = QdrantClient(":memory:")
            with connect(client) as opened:
                yield opened
            client.close()
        case _:
            with connect_live(engine) as opened:
                yield opened


@pytest.fixture(scope="module")
def encoder() -> HashEncoder:
    """Return an encoder whose prompts differ, so that a mixed-up role shows."""
    return HashEncoder(
        48,
        query_prompt=Prompt.parse("query: {text}"),
        passage_prompt=Prompt.parse("passage: {text}"),
    )


@pytest.fixture(scope="module")
def kept(store: Store, encoder: HashEncoder, engine: str) -> Iterator[Collection]:
    """Return a collection that the tests of a module share: making one takes Edge half a second."""
    settings = CollectionSettings(tenants=Tenants() if engine == "tenant" else None)
    made = Collection.create(store, f"test-{uuid.uuid4().hex}", encoder, settings=settings)
    if engine == "tenant":
        # Another tenant's, with ids and words that tests use, too.
        records = [Record(id=str(number), text=f"foo bar {number}") for number in range(5)]
        made.tenant("other").add(records)
        yield made.tenant("acme")
    else:
        yield made
    store.drop(made.name)


@pytest.fixture
def collection(kept: Collection) -> Iterator[Collection]:
    """Return an empty collection, and empty it afterwards."""
    yield kept
    kept.clear()
