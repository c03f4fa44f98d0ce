"""LangChain's ``index`` over our store; and where it goes wrong, that our own way does not.

LangChain's way keeps its state in a record manager beside the store. The last tests are defects of
that way which no store can repair; ``Collection.index``, whose state lies in the collection, has
none of them, and what it fills is searched through the same vector store.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import IndexingResult, InMemoryRecordManager, aindex, index

from decant.embedders import CollectionMismatch, HashEncoder
from decant.integrations.langchain import DecantVectorStore
from decant.integrations.qdrant import Chunking, Collection
from decant.integrations.qdrant import Document as SourceDocument

Cleanup = Literal["incremental", "full"]


@pytest.fixture
def records() -> InMemoryRecordManager:
    manager = InMemoryRecordManager("test")
    manager.create_schema()
    return manager


def pages(*texts: str, source: str = "a.txt") -> list[Document]:
    return [Document(text, metadata={"source": source}) for text in texts]


def stored(store: DecantVectorStore) -> set[str]:
    return {document.page_content for document in store.similarity_search("anything", k=100)}


def run(
    store: DecantVectorStore,
    records: InMemoryRecordManager,
    documents: Iterable[Document],
    cleanup: Cleanup,
) -> IndexingResult:
    return index(
        documents, records, store, cleanup=cleanup, source_id_key="source", key_encoder="sha256"
    )


@pytest.mark.parametrize("cleanup", ["incremental", "full"])
def test_index_with_sha256_keys_adds_skips_and_cleans(
    collection: Collection, records: InMemoryRecordManager, cleanup: Cleanup
) -> None:
    """langchain-ai/langchainjs#7924: the record of an edited text stayed."""
    store = DecantVectorStore(collection)
    first = run(store, records, pages("oak", "birch"), cleanup)
    again = run(store, records, pages("oak", "birch"), cleanup)
    edited = run(store, records, pages("oak", "pine"), cleanup)
    assert first == {"num_added": 2, "num_updated": 0, "num_skipped": 0, "num_deleted": 0}
    assert again == {"num_added": 0, "num_updated": 0, "num_skipped": 2, "num_deleted": 0}
    assert edited == {"num_added": 1, "num_updated": 0, "num_skipped": 1, "num_deleted": 1}
    assert stored(store) == {"oak", "pine"}


def test_full_cleanup_removes_a_source_that_left(
    collection: Collection, records: InMemoryRecordManager
) -> None:
    store = DecantVectorStore(collection)
    run(store, records, [*pages("oak"), *pages("sea", source="b.txt")], "full")
    left = run(store, records, pages("oak"), "full")
    assert left["num_deleted"] == 1
    assert stored(store) == {"oak"}


async def test_the_asynchronous_index_does_the_same(
    collection: Collection, records: InMemoryRecordManager
) -> None:
    store = DecantVectorStore(collection)

    async def run(documents: list[Document]) -> IndexingResult:
        return await aindex(
            documents,
            records,
            store,
            cleanup="incremental",
            source_id_key="source",
            key_encoder="sha256",
        )

    await run(pages("oak", "birch"))
    assert (await run(pages("oak", "pine")))["num_deleted"] == 1
    assert stored(store) == {"oak", "pine"}


LINES = [f"paragraph number {number} about trees and rivers" for number in range(10)]
CHUNKING = Chunking(max_tokens=8)


def fill(collection: Collection, *documents: SourceDocument) -> dict[str, int]:
    """Index our way, and return the counts that are not zero."""
    report = collection.index(documents, chunking=CHUNKING)
    names = ("added", "changed", "unchanged", "removed", "embedded", "reused", "deleted")
    return {name: count for name in names if (count := getattr(report, name))}


def paper(*lines: str, source: str = "paper.txt", **metadata: str) -> SourceDocument:
    text = "\n\n".join(lines)
    return SourceDocument(source=source, text=text, metadata=metadata, root="papers")


@pytest.fixture
def filled(collection: Collection) -> Collection:
    assert fill(collection, paper(*LINES)) == {"added": 1, "embedded": 10}
    return collection


def test_our_way_embeds_nothing_again_however_many_chunks_a_source_has(filled: Collection) -> None:
    assert fill(filled, paper(*LINES)) == {"unchanged": 1}


def test_our_way_sees_that_the_collection_was_emptied(filled: Collection) -> None:
    filled.clear()
    assert fill(filled, paper(*LINES)) == {"added": 1, "embedded": 10}
    assert len(DecantVectorStore(filled).similarity_search("trees", k=20)) == 10


def test_our_way_embeds_nothing_when_only_metadata_change(filled: Collection) -> None:
    assert "embedded" not in fill(filled, paper(*LINES, author="me"))
    documents = DecantVectorStore(filled).similarity_search("trees", k=20)
    assert [document.metadata["author"] for document in documents] == ["me"] * 10


def test_our_way_embeds_only_the_chunk_that_was_edited(filled: Collection) -> None:
    report = fill(filled, paper(*LINES[:-1], "an entirely new last paragraph here"))
    assert report["embedded"] == 1
    assert report["deleted"] == 1
    assert len(DecantVectorStore(filled).similarity_search("trees", k=20)) == 10


def test_our_way_refuses_another_model(filled: Collection) -> None:
    with pytest.raises(CollectionMismatch):
        Collection.open(filled.store, filled.name, HashEncoder(48))


def test_our_way_removes_a_source_that_vanished(filled: Collection) -> None:
    assert fill(filled, paper("another text", source="other.txt"))["removed"] == 1
    (document,) = DecantVectorStore(filled).similarity_search("trees", k=20)
    assert document.metadata["source"] == "other.txt"
