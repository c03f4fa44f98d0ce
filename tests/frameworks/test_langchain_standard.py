"""LangChain's whole standard suite for vector stores, on every engine, without an exception."""

from __future__ import annotations

import pytest
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from decant.integrations.langchain import DecantVectorStore
from decant.integrations.qdrant import Collection


class TestStandard(VectorStoreIntegrationTests):
    """The twelve synchronous and twelve asynchronous tests of LangChain."""

    @pytest.fixture
    def vectorstore(self, collection: Collection) -> VectorStore:
        """Return an empty vector store."""
        return DecantVectorStore(collection)
