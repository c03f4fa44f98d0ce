"""LangChain's whole standard suite for vector stores, on every engine, without an exception."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from decant.embedders import HashEncoder
from decant.integrations.langchain import DecantVectorStore
from decant.integrations.qdrant import Collection, CollectionSettings, Tenants, Words
from qdrant_double import STRICT, serve

WORDS = CollectionSettings(words=Words())
TENANTS = CollectionSettings(words=Words(), tenants=Tenants())
SERVERS = {
    "lenient": ({}, CollectionSettings(), "1.19.0", False),
    "strict": (STRICT, CollectionSettings(), "1.19.0", False),
    "strict-sparse-words": (STRICT, WORDS, "1.19.0", False),
    "strict-indexed-words": (STRICT, WORDS, "1.20.0", False),
    "strict-words-grpc": (STRICT, WORDS, "1.20.0", True),
    "strict-tenants": (STRICT, TENANTS, "1.20.0", False),
    "strict-tenants-grpc": (STRICT, TENANTS, "1.20.0", True),
}


class TestStandard(VectorStoreIntegrationTests):
    """The twelve synchronous and twelve asynchronous tests of LangChain."""

    @pytest.fixture
    def vectorstore(self, collection: Collection) -> VectorStore:
        """Return an empty vector store."""
        return DecantVectorStore(collection)


@pytest.fixture(scope="module", params=SERVERS)
def served(request: pytest.FixtureRequest, encoder: HashEncoder) -> Iterator[Collection]:
    """Return a collection at a double of a server, without and with limits, with words too."""
    limits, settings, version, grpc = SERVERS[request.param]
    with serve(limits, version=version, grpc=grpc) as store:
        made = Collection.create(store, "docs", encoder, settings=settings)
        yield made.for_tenant(None if settings.tenants is None else "acme")


class TestStandardOnServers(VectorStoreIntegrationTests):
    """The same, as servers answer over REST and gRPC."""

    @pytest.fixture
    def vectorstore(self, served: Collection) -> Iterator[VectorStore]:
        """Return an empty vector store."""
        yield DecantVectorStore(served)
        served.clear()
