"""A collection of langchain-qdrant, adopted: LangChain's standard suite, and both stores."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore
from langchain_qdrant import QdrantVectorStore
from langchain_tests.integration_tests import VectorStoreIntegrationTests
from packaging.version import Version
from qdrant_client import QdrantClient, models

from decant.embedders import HashEncoder
from decant.integrations.langchain import DecantEmbeddings, DecantVectorStore
from decant.integrations.qdrant import Collection, audit, connect, dump, restore

WHY = "langchain-qdrant takes UUIDs alone as ids, and adds its own entries to what it returns"
UNFIT = {
    "test_add_documents",
    "test_add_documents_by_id_with_mutation",
    "test_add_documents_documents",
    "test_add_documents_with_existing_ids",
    "test_add_documents_with_ids_is_idempotent",
    "test_deleting_bulk_documents",
    "test_deleting_documents",
    "test_get_by_ids",
}
"""Tests that langchain-qdrant's store fails with any collection."""


@pytest.fixture
def stock(encoder: HashEncoder) -> Iterator[QdrantVectorStore]:
    """Return langchain-qdrant's store of one text."""
    client = QdrantClient(":memory:")
    params = models.VectorParams(size=encoder.dim, distance=models.Distance.COSINE)
    client.create_collection("notes", params)
    store = QdrantVectorStore(client, "notes", DecantEmbeddings(encoder=encoder))
    store.add_texts(["a cat sat"], metadatas=[{"year": 2001}])
    yield store
    client.close()


@pytest.fixture
def adopted(stock: QdrantVectorStore, encoder: HashEncoder) -> Iterator[Collection]:
    """Return the same collection after its adoption."""
    with connect(stock.client) as store:
        yield Collection.adopt(store, "notes", encoder)


class TestStandardOnAnAdoptedCollection(VectorStoreIntegrationTests):
    """LangChain's tests of decant's store, over a collection that langchain-qdrant made."""

    @pytest.fixture
    def vectorstore(self, adopted: Collection) -> VectorStore:
        """Return an empty vector store."""
        adopted.clear()
        return DecantVectorStore(adopted)


class TestStandardOfTheStockStore(VectorStoreIntegrationTests):
    """LangChain's tests of langchain-qdrant's own store, with the same results before and after."""

    @pytest.fixture(params=["never adopted", "adopted"])
    def vectorstore(self, request: pytest.FixtureRequest, stock: QdrantVectorStore) -> VectorStore:
        """Return an empty vector store."""
        if request.param == "adopted":
            request.getfixturevalue("adopted")
        stock.client.delete("notes", models.FilterSelector(filter=models.Filter()))
        if request.function.__name__.removesuffix("_async") in UNFIT:
            request.applymarker(pytest.mark.xfail(reason=WHY, strict=True))
        return stock


def test_both_stores_read_and_write_one_collection(
    stock: QdrantVectorStore, adopted: Collection, encoder: HashEncoder
) -> None:
    ours = DecantVectorStore(adopted)
    # The local mode of older clients, unlike servers, wants ids as they were stored, dashes or not.
    old = Version(version("qdrant-client")) < Version("1.20")
    ids = {"ids": [str(uuid.uuid4())]} if old else {}
    dog = Document("a dog ran", metadata={"year": 2002})
    (theirs_id,) = stock.add_documents([dog], **ids)
    (ours_id,) = ours.add_documents([Document("a hen sang", metadata={"year": 2003})])
    for store in (stock, ours):
        for text, year in (("a cat sat", 2001), ("a dog ran", 2002), ("a hen sang", 2003)):
            (found,) = store.similarity_search(text, k=1)
            assert (found.page_content, found.metadata["year"]) == (text, year)
        texts = {one.page_content for one in store.get_by_ids([theirs_id, ours_id])}
        assert texts == {"a dog ran", "a hen sang"}
    condition = models.FieldCondition(key="metadata.year", match=models.MatchValue(value=2003))
    chosen = models.Filter(must=[condition])
    for store in (stock, ours):
        (found,) = store.similarity_search("a cat sat", k=3, filter=chosen)
        assert found.page_content == "a hen sang"
    assert stock.delete([ours_id])
    ours.delete([theirs_id])
    assert [one.text for one in adopted.each()] == ["a cat sat"]
    assert audit(adopted.store, "notes", encoder).compared == 1


def test_the_stock_store_opens_what_was_restored_from_a_dump(
    stock: QdrantVectorStore, adopted: Collection, encoder: HashEncoder, tmp_path: Path
) -> None:
    animals = ("dog", "owl", "hen")
    stock.add_texts([f"a {one} sang" for one in animals], [{"kind": one} for one in animals])
    dump(adopted.store, "notes", tmp_path / "notes.dump")
    client = QdrantClient(":memory:")
    with connect(client) as there:
        restore(tmp_path / "notes.dump", there, "notes")
        copy = QdrantVectorStore(client, "notes", DecantEmbeddings(encoder=encoder))
        for query in ("a cat sat", "an owl sang"):
            before = stock.similarity_search_with_score(query, k=4)
            after = copy.similarity_search_with_score(query, k=4)
            assert [one.model_dump() for one, _ in after] == [one.model_dump() for one, _ in before]
            assert [score for _, score in after] == pytest.approx([score for _, score in before])
        (added,) = copy.add_texts(["a fox ran"])
        assert Collection.open(there, "notes", encoder).get([str(added)])[0].text == "a fox ran"
        assert copy.delete([added])
    client.close()
