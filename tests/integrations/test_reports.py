"""What users of other tools reported, replayed here: what is written, deleted and written again.

Each test names the reports, as repository#number. Where LangChain or LlamaIndex themselves decide
what happens, the test holds what they do, and that ``Collection.index`` does it right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import IndexingResult, InMemoryRecordManager, index
from llama_index.core import Document as LlamaIndexDocument
from llama_index.core import VectorStoreIndex
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.schema import TextNode, TransformComponent
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores.types import VectorStoreQuery

from decant.embedders import HashEncoder, Role
from decant.integrations.langchain import DecantEmbeddings
from decant.integrations.langchain import DecantVectorStore as LangChainStore
from decant.integrations.llama_index import DecantEmbedding
from decant.integrations.llama_index import DecantVectorStore as LlamaIndexStore
from decant.integrations.qdrant import Collection, Equals, Record, Store, connect
from decant.integrations.qdrant import Document as SourceDocument
from tree_nodes import left


def test_metadata_called_id_are_metadata_and_no_id(collection: Collection) -> None:
    """langchain-ai/langchain#27223: a search after ``from_documents``."""
    made = LangChainStore.from_documents(
        [Document("an oak", id="oak", metadata={"id": 7, "_id": "x", "text": "y", "vector": [1]})],
        DecantEmbeddings(encoder=collection.encoder),
        collection=collection,
    )
    (found,) = made.similarity_search("oak", filter={"id": 7})
    assert found.id == "oak"
    assert found.metadata == {"id": 7, "_id": "x", "text": "y", "vector": [1]}


def indexed(store: LangChainStore, records: InMemoryRecordManager, first: str) -> IndexingResult:
    texts = [first, *(f"page {number}" for number in range(1, 40))]
    documents = [Document(text, metadata={"source": "book"}) for text in texts]
    return index(
        documents,
        records,
        store,
        cleanup="incremental",
        source_id_key="source",
        key_encoder="sha256",
        batch_size=20,
    )


def test_a_source_that_is_longer_than_a_batch_ends_right(collection: Collection) -> None:
    """langchain-ai/langchain#22135, #19335, #21028: LangChain re-adds the second batch.

    It has deleted it with the first. The end is right; ``Collection.index`` makes no such detour.
    """
    store, records = LangChainStore(collection), InMemoryRecordManager("book")
    records.create_schema()
    indexed(store, records, "page 0")
    again = indexed(store, records, "page 0")
    assert again["num_added"] == again["num_deleted"]
    assert collection.count() == 40
    indexed(store, records, "a new page")
    texts = {passage.text for passage in collection.each()}
    assert len(texts) == collection.count() == 40
    assert "page 0" not in texts
    collection.clear()
    ours = [SourceDocument(source=f"{number}", text=f"page {number}") for number in range(40)]
    assert collection.index(ours).embedded == 40
    assert collection.index(ours).embedded == 0


def files(*numbers: int, text: str = "about file") -> list[SourceDocument]:
    return [
        SourceDocument(root="repo", source=f"{number}.md", text=f"{text} {number}")
        for number in numbers
    ]


def test_files_that_are_deleted_or_changed_leave_no_vectors(collection: Collection) -> None:
    """RooCodeInc/Roo-Code#12115, mhalder/qdrant-mcp-server#33."""
    collection.index(files(*range(18)))
    collection.index(files(5, text="another text of file"))
    (document,) = LangChainStore(collection).similarity_search("file", k=99)
    assert document.page_content == "another text of file 5"


def test_a_text_that_was_deleted_may_come_again(collection: Collection) -> None:
    """open-webui/open-webui#12155, #7181, #10255, #29636: "duplicate content"."""
    langchain, llama_index = LangChainStore(collection), LlamaIndexStore(collection)
    for _ in range(3):
        langchain.add_texts(["an oak"], ids=["oak"])
        llama_index.add([TextNode(id_="birch", text="a birch")])
        assert collection.index(files(1)).added == 1
        assert collection.count() == 3
        langchain.delete(["oak"])
        llama_index.delete("birch")
        collection.delete_source("1.md")
        assert collection.count() == 0


def test_the_same_text_under_two_names_is_embedded_once(collection: Collection) -> None:
    """open-webui/open-webui#29636: the same content in two files is two documents."""
    same = [SourceDocument(source=name, text="the same words") for name in ("a", "b")]
    collection.index(same[:1])
    report = collection.index(same)
    assert (report.added, report.embedded) == (1, 0)
    assert collection.count() == 2


def test_thousands_of_ids_are_deleted_at_once(collection: Collection) -> None:
    """langgenius/dify#35041: 8,600 ids were too many for one request."""
    ids = [str(number) for number in range(2_600)]  # more than two requests take
    row = collection.encoder.encode(["oak"], role=Role.PASSAGE).dense
    collection.add(
        [Record(id=one, text="oak") for one in ids], vectors=row.repeat(len(ids), axis=0)
    )
    LangChainStore(collection).delete(ids[1:])
    assert [passage.id for passage in collection.each()] == ["0"]


def test_a_deletion_by_filter_says_how_many_there_were(collection: Collection) -> None:
    """deepset-ai/haystack-core-integrations#2334, #2800."""
    LangChainStore(collection).add_texts(["a", "b", "c"], [{"x": 1}, {"x": 1}, {"x": 2}])
    assert collection.count(Equals("x", 1)) == 2
    assert collection.delete_where(Equals("x", 1)) == 2
    assert collection.delete_where(Equals("x", 1)) == 0
    assert collection.count() == 1


def test_ids_that_are_names_are_found_after_opening_again(
    tmp_path: Path, encoder: HashEncoder
) -> None:
    """microsoft/kernel-memory#1087, agentuniverse-ai/agentUniverse#917, #710."""
    names = ["doc/1#a", "größe 2", "7"]
    with connect(tmp_path / "index") as store:
        made = LangChainStore(Collection.create(store, "named", encoder))
        assert made.add_texts(names, ids=names) == names
    with connect(tmp_path / "index") as store:
        collection = Collection.open(store, "named", encoder)
        again = LangChainStore(collection)
        assert [one.id for one in again.get_by_ids(names)] == names
        assert left(LlamaIndexStore(collection)) == sorted(names)
        again.add_texts(["another text"], ids=[names[0]])
        again.delete(names[1:])
        assert [one.page_content for one in again.similarity_search("text")] == ["another text"]


def test_refreshing_an_index_that_was_opened_again_adds_its_documents_again(
    collection: Collection, encoder: HashEncoder
) -> None:
    """run-llama/llama_index#8832: which documents there are is in LlamaIndex's docstore alone.

    A pipeline whose docstore is kept knows them, and so does ``Collection.index``.
    """
    embedding = DecantEmbedding(encoder=encoder)
    two = [LlamaIndexDocument(doc_id=name, text=f"about {name}") for name in ("oak", "birch")]
    for count in (2, 4):
        opened = VectorStoreIndex.from_vector_store(
            LlamaIndexStore(collection), embed_model=embedding
        )
        opened.refresh_ref_docs(two)
        assert collection.count() == count
    collection.clear()
    kept = SimpleDocumentStore()
    for _ in range(2):
        pipeline(collection, kept).run(documents=two)
        assert collection.count() == 2


def pipeline(
    collection: Collection, kept: SimpleDocumentStore, *before: TransformComponent
) -> IngestionPipeline:
    return IngestionPipeline(
        transformations=[*before, DecantEmbedding(encoder=collection.encoder)],
        vector_store=LlamaIndexStore(collection),
        docstore=kept,
        docstore_strategy=DocstoreStrategy.UPSERTS,
    )


class Failing(TransformComponent):
    """Fails, as a language model that cannot be reached does."""

    def __call__(self, nodes: object, **kwargs: object) -> list[TextNode]:
        raise ConnectionError("no answer")


def test_a_run_that_fails_has_deleted_in_llama_index_and_not_in_ours(
    collection: Collection,
) -> None:
    """run-llama/llama_index#22639: LlamaIndex deletes old nodes before it makes new ones."""
    kept = SimpleDocumentStore()
    old, new = (LlamaIndexDocument(doc_id="oak", text=text) for text in ("old", "new"))
    pipeline(collection, kept).run(documents=[old])
    with pytest.raises(ConnectionError):
        pipeline(collection, kept, Failing()).run(documents=[new])
    assert collection.count() == 0
    collection.index(files(1, text="old"))

    def read() -> Iterator[SourceDocument]:
        yield from files(1, text="new")
        raise ConnectionError("no answer")

    with pytest.raises(ConnectionError):
        collection.index(read())
    assert [passage.text for passage in collection.each()] == ["old 1"]


def test_a_pipeline_run_twice_stores_nothing_twice(collection: Collection) -> None:
    """run-llama/llama_index#13595."""
    documents = [LlamaIndexDocument(doc_id=name, text=f"about {name}") for name in "abc"]
    kept = SimpleDocumentStore()
    for _ in range(2):
        pipeline(collection, kept).run(documents=[*documents, documents[0]])
        assert collection.count() == 3


async def test_an_asynchronous_varied_search_keeps_to_the_filter(collection: Collection) -> None:
    """langchain-ai/langchain#15256."""
    store = LangChainStore(collection)
    facts = [{"kind": kind} for kind in ("tree", "sea", "tree", "sea")]
    await store.aadd_texts(["oak", "oak sea", "birch", "birch sea"], facts)
    found = await store.amax_marginal_relevance_search("oak", k=4, filter={"kind": "tree"})
    assert sorted(document.page_content for document in found) == ["birch", "oak"]


def test_a_second_event_loop_finds_the_store_in_order(collection: Collection) -> None:
    """qdrant/qdrant-client#863: a client that was bound to the first loop."""
    langchain, llama_index = LangChainStore(collection), LlamaIndexStore(collection)
    asyncio.run(langchain.aadd_texts(["an oak"], ids=["oak"]))
    query = VectorStoreQuery(query_str="an oak")
    for _ in range(2):
        assert len(asyncio.run(langchain.asimilarity_search("an oak"))) == 1
        assert asyncio.run(llama_index.aquery(query)).ids == ["oak"]


def test_eight_threads_write_search_and_delete_at_once(collection: Collection) -> None:
    """qdrant/qdrant-client#246."""
    store = LangChainStore(collection)

    def work(thread: int) -> int:
        ids = [f"{thread} {number}" for number in range(30)]
        store.add_texts(ids, [{"thread": thread}] * 30, ids=ids)
        found = store.similarity_search(ids[0], k=99, filter={"thread": thread})
        store.delete(ids[:10])
        return len(found)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [30] * 8
    assert collection.count() == 8 * 20


def test_a_filter_holds_in_both_rankings_of_a_hybrid_search(store: Store) -> None:
    """qdrant/qdrant-client#1372: the filter was ignored under fusion."""
    if "fused" in store.names():
        store.drop("fused")
    fused = LangChainStore(Collection.create(store, "fused", HashEncoder(16, sparse=True)))
    fused.add_texts(
        [f"cat {number}" for number in range(12)],
        [{"tenant": "red" if number % 3 else "blue"} for number in range(12)],
    )
    for tenant, count in (("red", 8), ("blue", 4)):
        found = fused.similarity_search("cat 3", k=12, filter={"tenant": tenant})
        assert [document.metadata["tenant"] for document in found] == [tenant] * count


def test_relevance_is_the_cosine_on_a_scale_from_zero_to_one(collection: Collection) -> None:
    """weaviate/weaviate#3385: a cosine of 0 is a relevance of 0.5, and thresholds say so.

    LangChain's scale is 0 to 1 and a cosine's -1 to 1; nothing is squeezed or cut.
    """
    store = LangChainStore(collection)
    store.add_texts(["oak birch pine", "sea"], ids=["trees", "sea"])
    found = store.similarity_search_with_relevance_scores("oak birch pine larch", k=2)
    cosines = store.similarity_search_with_score("oak birch pine larch", k=2)
    assert [document.id for document, _ in found] == ["trees", "sea"]
    assert [score for _, score in found] == pytest.approx([(cos + 1) / 2 for _, cos in cosines])
