"""A double of a Qdrant server that asks ``decant serve`` for vectors, over REST and gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from decant.embedders import HashEncoder, Prompt
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Record,
    ServerInference,
    Store,
    Words,
)
from qdrant_double import QdrantDouble, grpc_front, reached
from served_inference import serve_inference

TEXTS = {
    "ferry": "the ferry leaves at seven",
    "bus": "the bus stops at noon near the pier",
    "log": "an error E1234 in the log of the server",
    "cat": "a cat sat on a mat and looked at the rain",
    "rain": "rain falls on the pier at noon",
}


@pytest.fixture(scope="session")
def model() -> HashEncoder:
    """Return the model: queries and passages differ, and there are sparse vectors."""
    return HashEncoder(16, query_prompt=Prompt(prefix="query: "), max_tokens=24, sparse=True)


@pytest.fixture
def inferring(double: QdrantDouble, model: HashEncoder) -> Iterator[QdrantDouble]:
    """Return the double with ``decant serve`` as its inference service."""
    with serve_inference({"minilm": model}) as service:
        double.inference = service
        yield double


@pytest.fixture(params=["rest", "grpc"])
def store(request: pytest.FixtureRequest, inferring: QdrantDouble) -> Iterator[Store]:
    """Return the store over the double."""
    front = grpc_front(inferring) if request.param == "grpc" else nullcontext()
    with front as port, reached(inferring, grpc_port=port) as store:
        yield store


@pytest.fixture
def empty(store: Store, model: HashEncoder) -> Collection:
    """Return an empty collection with words, opened with its model, which keeps golden vectors."""
    settings = CollectionSettings(words=Words())
    collection = Collection.create(store, "docs", model, settings=settings)
    collection.keep_golden_vectors()
    return collection


@pytest.fixture
def filled(empty: Collection) -> Collection:
    """Return a collection that its model filled."""
    empty.add(
        [
            Record(id=name, text=text, source=name[0], metadata={"letters": len(name)})
            for name, text in TEXTS.items()
        ]
    )
    return empty


@pytest.fixture
def remote(store: Store, filled: Collection) -> Collection:
    """Return the filled collection, opened without its model."""
    return Collection.open(store, filled.name, ServerInference("minilm"))
