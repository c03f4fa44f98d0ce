"""DecantEmbeddings: LangChain's own standard tests, then what they do not ask."""

from __future__ import annotations

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from decant.embedders import HashEncoder, Prompt, Role, TextError
from decant.integrations.langchain import DecantEmbeddings
from gated_encoder import GatedEncoder, through


class TestStandardUnit(EmbeddingsUnitTests):
    """LangChain's unit tests of an embedding."""

    @property
    def embeddings_class(self) -> type[Embeddings]:
        """The class under test."""
        return DecantEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, object]:
        """What it is made with."""
        return {"encoder": HashEncoder(dim=6)}


class TestStandardIntegration(EmbeddingsIntegrationTests):
    """LangChain's integration tests of an embedding."""

    @property
    def embeddings_class(self) -> type[Embeddings]:
        """The class under test."""
        return DecantEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, object]:
        """What it is made with."""
        return {"encoder": HashEncoder(dim=6)}


@pytest.fixture
def encoder() -> HashEncoder:
    return HashEncoder(
        8, query_prompt=Prompt.parse("ask: {text}"), passage_prompt=Prompt.parse("tell: {text}")
    )


def test_documents_are_passages_and_queries_are_queries(encoder: HashEncoder) -> None:
    embeddings = DecantEmbeddings(encoder=encoder)
    passage = encoder.encode(["a tree"], role=Role.PASSAGE).dense[0]
    query = encoder.encode(["a tree"], role=Role.QUERY).dense[0]
    assert embeddings.embed_documents(["a tree"]) == [passage.tolist()]
    assert embeddings.embed_query("a tree") == query.tolist()
    assert not np.array_equal(passage, query)


def test_no_documents_give_no_vectors(encoder: HashEncoder) -> None:
    assert DecantEmbeddings(encoder=encoder).embed_documents([]) == []


def test_an_empty_document_is_named_by_its_index(encoder: HashEncoder) -> None:
    with pytest.raises(TextError, match="text 1"):
        DecantEmbeddings(encoder=encoder).embed_documents(["a", ""])


async def test_the_asynchronous_methods_leave_the_event_loop_free() -> None:
    encoder = GatedEncoder()
    embeddings = DecantEmbeddings(encoder=encoder)
    query = await through(encoder, embeddings.aembed_query("a tree"))
    rows = await through(encoder, embeddings.aembed_documents(["a tree", "a house"]))
    assert query == embeddings.embed_query("a tree")
    assert rows == embeddings.embed_documents(["a tree", "a house"])
