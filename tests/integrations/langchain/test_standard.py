"""LangChain's whole standard suite for vector stores, on every engine, without an exception."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from decant.embedders import HashEncoder
from decant.integrations.langchain import DecantVectorStore
from decant.integrations.qdrant import Collection
from qdrant_double import QdrantDouble, reached

STRICT = {
    "max_query_limit": 2,
    "upsert_max_batchsize": 1,
    "search_allow_exact": False,
    "unindexed_filtering_retrieve": False,
    "unindexed_filtering_update": False,
    "condition_max_size": 2,
    "filter_max_conditions": 3,
    "read_rate_limit": 4,
    "write_rate_limit": 4,
}


class TestStandard(VectorStoreIntegrationTests):
    """The twelve synchronous and twelve asynchronous tests of LangChain."""

    @pytest.fixture
    def vectorstore(self, collection: Collection) -> VectorStore:
        """Return an empty vector store."""
        return DecantVectorStore(collection)


@pytest.fixture(scope="module", params=[{}, STRICT], ids=["lenient", "strict"])
def served(request: pytest.FixtureRequest, encoder: HashEncoder) -> Iterator[Collection]:
    """Return a collection at a double of a server, without and with limits."""
    minutes = itertools.count(step=60)
    with QdrantDouble(strict=request.param) as double:
        double.engine.clock = lambda: float(next(minutes))
        with reached(double) as store:
            yield Collection.create(store, "docs", encoder)


class TestStandardOverHttp(VectorStoreIntegrationTests):
    """The same, as a server answers over HTTP."""

    @pytest.fixture
    def vectorstore(self, served: Collection) -> Iterator[VectorStore]:
        """Return an empty vector store."""
        yield DecantVectorStore(served)
        served.clear()
