"""What the tests of collections share: a store of each kind, filled and empty collections."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest
from qdrant_client import QdrantClient

from decant.embedders import HashEncoder, Role, Vectors
from decant.integrations.qdrant import (
    Collection,
    EdgeStore,
    Record,
    RemoteStore,
    Store,
    connect,
)
from decant.integrations.qdrant.points.golden import GOLDEN_TEXT
from memory_folder import memory_folder
from qdrant_double import QdrantDouble, reached
from tenanted_store import TenantedStore


@pytest.fixture
def encoder() -> HashEncoder:
    return HashEncoder(16)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Return an empty folder for stores."""
    return tmp_path


@pytest.fixture
def edge(scratch: Path) -> Iterator[Store]:
    """Return a store in a temporary folder."""
    with connect(scratch / "index") as store:
        assert isinstance(store, EdgeStore)
        yield store


@pytest.fixture
def local() -> Iterator[Store]:
    """Return the remote store over the client's local mode, which needs no server."""
    client = QdrantClient(":memory:")
    with connect(client) as store:
        assert isinstance(store, RemoteStore)
        yield store
    client.close()


@pytest.fixture
def double() -> Iterator[QdrantDouble]:
    """Return a double of a Qdrant server, which answers over HTTP as a real one does."""
    with QdrantDouble() as double:
        yield double


@pytest.fixture
def server(double: QdrantDouble) -> Iterator[Store]:
    """Return the remote store over the double."""
    with reached(double) as store:
        yield store


@pytest.fixture
def tenanted(edge: Store) -> Store:
    """Return a store that shows what one of several tenants has in its collections."""
    return cast("Store", TenantedStore(edge))


@pytest.fixture(params=["edge", "local", "server", "tenanted"])
def store(request: pytest.FixtureRequest) -> Store:
    """Return a store of each engine in turn."""
    found: Store = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module", params=["edge", "local", "server", "tenanted"])
def shared_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """Return a store of each engine in turn, for tests of a file that only read what is there."""
    found: Store
    with ExitStack() as stack:
        match request.param:
            case "local":
                client = QdrantClient(":memory:")
                stack.callback(client.close)
                found = stack.enter_context(connect(client))
            case "server":
                found = stack.enter_context(reached(stack.enter_context(QdrantDouble())))
            case kind:
                folder = memory_folder(tmp_path_factory.mktemp("shared"))
                place = stack.enter_context(folder) / "index"
                found = stack.enter_context(connect(place))
                if kind == "tenanted":
                    found = cast("Store", TenantedStore(found))
        yield found


@pytest.fixture
def collection(store: Store, encoder: HashEncoder) -> Collection:
    return Collection.create(store, "docs", encoder)


@pytest.fixture
def years(collection: Collection) -> Collection:
    """Return a collection of ten records, ``"0"`` to ``"9"``, with metadata."""
    collection.add(
        [
            Record(
                id=str(number),
                text=f"the year {number} of the reign",
                source=f"book-{number % 3}",
                metadata={
                    "year": 2000 + number,
                    "even": number % 2 == 0,
                    "tags": ["a", f"t{number}"],
                },
            )
            for number in range(10)
        ]
    )
    return collection


@pytest.fixture
def edge_years(edge: Store, encoder: HashEncoder) -> Collection:
    """Return a collection on Edge with one record."""
    collection = Collection.create(edge, "docs", encoder)
    collection.add([Record(id="1", text="the year one", metadata={"year": 1})])
    return collection


class Watched(HashEncoder):
    """Remembers the texts that it was given to embed as passages, in order.

    Golden vectors, which collections on a server keep, are left out.
    """

    def __init__(self) -> None:
        super().__init__(16)
        self.texts: list[str] = []
        self.streams = 0

    def stream(self, texts: Iterable[str], *, role: Role, **options: Any) -> Iterator[Vectors]:
        def watch() -> Iterator[str]:
            for text in texts:
                self.texts.append(text)
                yield text

        if role is Role.QUERY or texts == [GOLDEN_TEXT]:
            yield from super().stream(texts, role=role, **options)
        else:
            self.streams += 1
            yield from super().stream(watch(), role=role, **options)


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def embedded(watched: Watched) -> list[str]:
    """Return the texts that the encoder of ``docs`` has embedded as passages, so far."""
    return watched.texts


@pytest.fixture
def docs(store: Store, watched: Watched) -> Collection:
    """Return an empty collection whose encoder is watched."""
    return Collection.create(store, "docs", watched)
