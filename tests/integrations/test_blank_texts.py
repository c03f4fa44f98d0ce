"""A blank page or an empty file does not end a run, and what does names its place, on every engine.

The rule: a text of nothing but white space has no vector. It is stored, found by id and by filter,
counted and deleted, and comes in no search.
"""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document as LangChainDocument
from llama_index.core import Document as LlamaIndexDocument
from llama_index.core import SimpleDirectoryReader, StorageContext, VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import BaseNode, MetadataMode, TextNode
from tokenizers.normalizers import BertNormalizer

from decant.embedders import CollectionMismatch, HashEncoder, Role, StoreError, TextError
from decant.integrations.langchain import DecantEmbeddings
from decant.integrations.langchain import DecantVectorStore as LangChainStore
from decant.integrations.llama_index import DecantEmbedding
from decant.integrations.llama_index import DecantVectorStore as LlamaIndexStore
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Document,
    Equals,
    Record,
    SearchMode,
    Store,
    Words,
)
from tree_nodes import ask, where

BLANK = ["", " ", "  \n", "\t\r\n", "\u2003"]
MANY = 600


@pytest.mark.parametrize("text", BLANK, ids=repr)
def test_a_blank_record_is_stored_and_never_searched(collection: Collection, text: str) -> None:
    collection.add([Record(id="page", text=text, metadata={"page": 2}), Record(id="b", text="oak")])
    (held,) = collection.get(["page"], with_vectors=True)
    assert (held.text, held.vector) == (text, None)
    assert [hit.id for hit in collection.search("oak", limit=9)] == ["b"]
    assert [passage.id for passage in collection.each(Equals("page", 2))] == ["page"]
    assert collection.count() == 2
    assert collection.delete(["page"]) == 1


def test_what_is_not_seen_is_blank_where_the_tokenizer_drops_it(store: Store) -> None:
    encoder = HashEncoder(16)
    # As BERT's: a zero-width space, a mark of byte order and unreadable bytes are no tokens.
    encoder.tokenizer.normalizer = BertNormalizer()
    unseen = "\u200b\ufeff\ufffd"
    collection = Collection.create(store, f"test-{uuid.uuid4().hex}", encoder)
    documents = [Document(source="a", text=f"{unseen} "), Document(source="b", text="oak")]
    assert collection.index(documents).embedded == 1
    collection.add([Record(id="page", text=unseen), Record(id="elm", text=f"{unseen}elm")])
    assert collection.get(["page"], with_vectors=True)[0].vector is None
    assert len(collection.search("oak", limit=9)) == 2
    assert collection.check().is_sound
    LlamaIndexStore(collection).add([TextNode(id_="node", text=unseen)])
    assert collection.get(["node"], with_vectors=True)[0].vector is None
    rows = DecantEmbedding(encoder=encoder).get_text_embedding_batch([unseen, "oak"])
    assert [len(row) for row in rows] == [0, 16]
    store.drop(collection.name)


def test_what_is_not_seen_and_is_a_token_has_a_vector(store: Store) -> None:
    collection = Collection.create(store, f"test-{uuid.uuid4().hex}", HashEncoder(16))
    collection.add([Record(id="page", text="\u200b")])
    assert collection.get(["page"], with_vectors=True)[0].vector is not None
    store.drop(collection.name)


def test_a_record_that_becomes_blank_loses_its_vector(collection: Collection) -> None:
    collection.add([Record(id="page", text="oak")])
    collection.add([Record(id="page", text="")])
    assert collection.search("oak") == []
    collection.add([Record(id="page", text="oak")])
    assert [hit.id for hit in collection.search("oak")] == ["page"]


def test_a_blank_record_may_have_a_vector_that_was_given(collection: Collection) -> None:
    vector = collection.encoder.encode(["an oak"], role=Role.PASSAGE).dense
    collection.add([Record(id="picture", text="")], vectors=vector)
    assert [hit.id for hit in collection.search("oak")] == ["picture"]


def test_a_blank_record_is_found_by_no_mode_of_search(store: Store) -> None:
    if "modes" in store.names():
        store.drop("modes")
    settings = CollectionSettings(words=Words())
    both = Collection.create(store, "modes", HashEncoder(16, sparse=True), settings=settings)
    both.add([Record(id="page", text=" "), Record(id="cat", text="a cat")])
    for mode in SearchMode:
        assert [hit.id for hit in both.search("cat", mode=mode)] == ["cat"]


def pages() -> list[LangChainDocument]:
    return [
        LangChainDocument(
            "" if number == 417 else f"page {number} of the book", metadata={"page": number}
        )
        for number in range(MANY)
    ]


def test_langchain_stores_a_book_with_a_blank_page(collection: Collection) -> None:
    embeddings = DecantEmbeddings(encoder=collection.encoder)
    made = LangChainStore.from_documents(pages(), embeddings, collection=collection)
    assert collection.count() == MANY
    (passage,) = collection.each(Equals("page", 417))
    assert made.get_by_ids([passage.id])[0].page_content == ""
    assert len(made.similarity_search("page", k=MANY)) == MANY - 1
    made.delete(filter={"page": 417})
    assert collection.count() == MANY - 1


def test_langchain_gets_an_id_for_each_text(collection: Collection) -> None:
    given = LangChainStore(collection).add_texts(["oak", "", " \n"], ids=["a", "b", "c"])
    assert given == ["a", "b", "c"]
    varied = LangChainStore(collection).max_marginal_relevance_search("oak", k=3)
    assert [document.id for document in varied] == ["a"]


def test_llama_index_gets_an_id_for_each_node_with_and_without_embeddings(
    collection: Collection, encoder: HashEncoder
) -> None:
    store = LlamaIndexStore(collection)
    nodes: list[BaseNode] = [
        TextNode(id_="oak", text="oak"),
        TextNode(id_="blank", text=" \n"),
        TextNode(id_="empty", text=""),
        TextNode(id_="named", text="", metadata={"file_name": "empty.txt"}),
    ]
    assert store.add(nodes) == ["oak", "blank", "empty", "named"]
    assert set(ask(store, "oak").ids or []) == {"oak", "named"}
    store.clear()
    DecantEmbedding(encoder=encoder)(nodes)
    assert [bool(node.embedding) for node in nodes] == [True, False, False, True]
    assert store.add(nodes) == ["oak", "blank", "empty", "named"]
    assert set(ask(store, "oak").ids or []) == {"oak", "named"}
    assert len(store.get_nodes()) == 4


def test_a_node_is_embedded_with_its_metadata_though_it_has_no_text(collection: Collection) -> None:
    node = TextNode(id_="named", text="", metadata={"file_name": "empty.txt"})
    LlamaIndexStore(collection).add([node])
    shown = node.get_content(metadata_mode=MetadataMode.EMBED)
    vector = collection.encoder.encode([shown], role=Role.PASSAGE).dense[0]
    (hit,) = collection.search_vector(vector)
    assert hit.score == pytest.approx(1, abs=1e-5)
    assert hit.text == ""


def test_of_several_nodes_with_one_id_the_last_counts_blank_or_not(collection: Collection) -> None:
    store = LlamaIndexStore(collection)
    store.add([TextNode(id_="x", text="oak"), TextNode(id_="x", text="")])
    assert [node.get_content() for node in store.get_nodes()] == [""]
    store.add([TextNode(id_="x", text=""), TextNode(id_="x", text="oak")])
    assert ask(store, "oak").ids == ["x"]


def test_a_pipeline_and_an_index_take_an_empty_file(
    collection: Collection, encoder: HashEncoder, tmp_path: Path
) -> None:
    for name, text in (("full.txt", "oak trees grow"), ("empty.txt", ""), ("blank.txt", " \n")):
        (tmp_path / name).write_text(text)
    documents = SimpleDirectoryReader(str(tmp_path)).load_data()
    for document in documents:
        document.excluded_embed_metadata_keys = list(document.metadata)
    store, model = LlamaIndexStore(collection), DecantEmbedding(encoder=encoder)
    run = IngestionPipeline(transformations=[model], vector_store=store).run(documents=documents)
    assert len(run) == collection.count() == 3
    store.delete_nodes(filters=where("file_name", "empty.txt"))
    assert collection.count() == 2
    context = StorageContext.from_defaults(vector_store=store)
    index = VectorStoreIndex.from_documents(documents, storage_context=context, embed_model=model)
    index.insert(LlamaIndexDocument(text=""))
    (found,) = {hit.node.get_content() for hit in index.as_retriever().retrieve("oak trees")}
    assert found == "oak trees grow"


def test_a_blank_node_does_not_bring_in_another_models_vector(collection: Collection) -> None:
    nodes: list[BaseNode] = [TextNode(id_="blank", text=" "), TextNode(text="oak")]
    MockEmbedding(embed_dim=48)(nodes)
    store = LlamaIndexStore(collection)
    store.add(nodes[:1])
    assert collection.get(["blank"], with_vectors=True)[0].vector is None
    with pytest.raises(CollectionMismatch):
        store.add(nodes)


def test_several_texts_may_hold_a_blank_one_and_one_alone_may_not_be_blank(
    encoder: HashEncoder,
) -> None:
    embedding = DecantEmbedding(encoder=encoder)
    rows = embedding.get_text_embedding_batch(["oak", " ", "birch"])
    assert [len(row) for row in rows] == [48, 0, 48]
    assert rows[2] == embedding.get_text_embedding("birch")
    assert rows == asyncio.run(embedding.aget_text_embedding_batch(["oak", " ", "birch"]))
    with pytest.raises(TextError, match="is empty"):
        embedding.get_text_embedding("")
    with pytest.raises(TextError, match="text 2"):
        embedding.get_text_embedding_batch(["", "oak", "\ud800"])


def when(number: int) -> dict[str, Any]:
    noted: dict[str, Any] = {"file_path": "book.pdf", "source": "book.pdf", "page": number}
    return {**noted, "notes": {"read": [1, timedelta(days=1)]}} if number == 417 else noted


def test_langchain_names_the_text_and_the_file_that_cannot_be_stored(
    collection: Collection,
) -> None:
    documents = [
        LangChainDocument(f"page {number}", metadata=when(number)) for number in range(MANY)
    ]
    with pytest.raises(StoreError, match=r"text 417 of source 'book.pdf'.*timedelta"):
        LangChainStore(collection).add_documents(documents)
    assert collection.count() == 0


def test_llama_index_names_the_node_and_the_file_that_cannot_be_stored(
    collection: Collection,
) -> None:
    """As in qdrant/qdrant-client#461, whose date can be stored by now and a duration cannot."""
    nodes = [TextNode(text=f"page {number}", metadata=when(number)) for number in range(MANY)]
    with pytest.raises(StoreError, match=r"node 417 of 'book.pdf'.*timedelta"):
        LlamaIndexStore(collection).add(nodes)
    assert collection.count() == 0


def test_a_text_that_is_no_unicode_is_named_by_index_and_source(collection: Collection) -> None:
    with pytest.raises(TextError, match=r"text 1 of source 'a.md'.*position 3"):
        LangChainStore(collection).add_texts(["a", "oak\ud800"], [{}, {"source": "a.md"}])
    with pytest.raises(TextError, match=r"node 1 of 'a.md'.*position 3"):
        LlamaIndexStore(collection).add(
            [TextNode(text="a"), TextNode(text="oak\ud800", metadata={"file_name": "a.md"})]
        )
    assert collection.count() == 0
