"""Nodes and their documents: unsplit ones, metadata that came late, and none stored twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import TokenTextSplitter
from llama_index.core.schema import (
    BaseNode,
    MetadataMode,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
    TransformComponent,
)
from llama_index.core.storage.docstore import SimpleDocumentStore

from decant.embedders import CollectionMismatch, HashEncoder, Role
from decant.integrations.langchain import DecantVectorStore as LangChainStore
from decant.integrations.llama_index import DecantEmbedding, DecantVectorStore
from decant.integrations.llama_index.nodes import to_record
from decant.integrations.qdrant import Collection, Record
from tree_nodes import ask, left


def document(name: str, text: str) -> Document:
    return Document(doc_id=name, text=text)


@pytest.fixture
def unsplit(collection: Collection, encoder: HashEncoder) -> IngestionPipeline:
    return IngestionPipeline(
        transformations=[DecantEmbedding(encoder=encoder)],
        vector_store=DecantVectorStore(collection),
        docstore=SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
    )


def test_a_pipeline_updates_and_deletes_documents_that_are_not_split(
    unsplit: IngestionPipeline, collection: Collection
) -> None:
    unsplit.run(documents=[document("oak", "oak trees"), document("sea", "the sea")])
    unsplit.run(documents=[document("oak", "oak trees grow")])
    assert [node.get_content() for node in DecantVectorStore(collection).get_nodes()] == [
        "oak trees grow"
    ]


def test_an_index_deletes_a_document_that_was_not_split(
    collection: Collection, encoder: HashEncoder
) -> None:
    store = DecantVectorStore(collection)
    index = VectorStoreIndex(
        nodes=[document("oak", "oak trees"), document("sea", "the sea")],
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=DecantEmbedding(encoder=encoder),
    )
    index.delete_ref_doc("oak")
    assert left(store) == ["sea"]


def test_a_node_without_a_source_node_is_its_own_document(collection: Collection) -> None:
    store = DecantVectorStore(collection)
    store.add([TextNode(id_="oak", text="oak"), TextNode(id_="sea", text="sea")])
    assert store.get_nodes(["oak"])[0].ref_doc_id is None
    assert ask(store, "oak", doc_ids=["sea"]).ids == ["sea"]
    (shown,) = LangChainStore(collection).get_by_ids(["oak"])
    assert shown.metadata["source"] == "oak"
    store.delete("oak")
    assert left(store) == ["sea"]


def test_a_node_stored_by_an_earlier_version_without_a_source_is_deleted(
    collection: Collection,
) -> None:
    node = document("oak", "oak trees")
    made = to_record(node)
    earlier = Record(id=made.id, text=made.text, metadata=made.metadata, source="")
    collection.add([earlier, Record(id="sea", text="the sea", source="oak trees")])
    store = DecantVectorStore(collection)
    assert store.get_nodes(["oak"])[0].to_dict() == node.to_dict()
    store.delete("sea")  # the record of this id came from another document
    assert left(store) == ["oak", "sea"]
    store.delete("oak")
    assert left(store) == ["sea"]


class Extractor(TransformComponent):
    """Adds metadata, as LlamaIndex's extractors do with the help of a language model."""

    def __call__(self, nodes: Any, **kwargs: Any) -> Any:
        for node in nodes:
            node.metadata.update(
                {"title": "On the growth of trees", "keywords": "oak, birch, pine, larch, elm"}
            )
        return nodes


@pytest.mark.parametrize("before", [{}, {"file_name": "trees.txt", "page": 3}], ids=str)
def test_metadata_may_be_added_after_the_embedding(
    collection: Collection, encoder: HashEncoder, before: dict[str, Any]
) -> None:
    store = DecantVectorStore(collection)
    pipeline = IngestionPipeline(
        transformations=[DecantEmbedding(encoder=encoder), Extractor()], vector_store=store
    )
    pipeline.run(nodes=[TextNode(id_="oak", text="oak trees grow", metadata=before)])
    (node,) = store.get_nodes()
    assert node.metadata["title"] == "On the growth of trees"
    shown = TextNode(text="oak trees grow", metadata=before).get_content(
        metadata_mode=MetadataMode.EMBED
    )
    vector = encoder.encode([shown], role=Role.PASSAGE).dense[0]
    assert collection.search_vector(vector)[0].score == pytest.approx(1, abs=1e-5)


def test_another_model_is_still_refused_whatever_the_metadata(collection: Collection) -> None:
    nodes: list[BaseNode] = [TextNode(text="oak trees", metadata={"a": 1, "b": 2})]
    MockEmbedding(embed_dim=48)(nodes)
    with pytest.raises(CollectionMismatch, match=r"Either another model.*Or its text, metadata"):
        DecantVectorStore(collection).add(nodes)
    assert collection.count() == 0


FACTS: dict[str, Any] = {
    "file_path": "/books/trees.pdf",
    "pages": list(range(40)),
    "about": {"trees": ["oak", "birch"], "year": 1900},
    "true": True,
    "nothing": None,
}


def chunks() -> list[BaseNode]:
    """Return three nodes that each know their document and their neighbours, with metadata."""
    whole = Document(doc_id="book", text="Oak trees grow. " * 60, metadata=FACTS)
    splitter = TokenTextSplitter(chunk_size=120, chunk_overlap=0, tokenizer=str.split)
    return list(splitter.get_nodes_from_documents([whole]))


def test_metadata_of_related_nodes_are_stored_once_and_come_back(collection: Collection) -> None:
    nodes = chunks()
    before = [node.to_dict() for node in nodes]
    assert len(nodes) >= 3
    assert {len(node.relationships) for node in nodes[1:-1]} == {3}
    store = DecantVectorStore(collection)
    store.add(nodes)
    back = store.get_nodes([node.node_id for node in nodes])
    assert [node.to_dict() for node in back] == before
    assert [node.to_dict() for node in nodes] == before
    stored = json.dumps(to_record(nodes[1]).metadata)
    assert stored.count("/books/trees.pdf") == 1


def test_related_metadata_that_differ_come_back_as_they_were(collection: Collection) -> None:
    origin = RelatedNodeInfo(
        node_id="book", metadata={**FACTS, "true": 1, "pages": [0], "only there": "x"}
    )
    node = TextNode(
        id_="x", text="oak", metadata=FACTS, relationships={NodeRelationship.SOURCE: origin}
    )
    node.metadata["added later"] = "y"
    store = DecantVectorStore(collection)
    store.add([node])
    (back,) = store.get_nodes()
    assert back.to_dict() == node.to_dict()
    source = back.source_node
    assert source is not None
    assert source.metadata["true"] is not True
    source.metadata["about"]["year"] = 2000
    assert back.metadata["about"]["year"] == 1900


def test_nodes_stored_by_an_earlier_version_with_all_metadata_are_read(
    collection: Collection,
) -> None:
    (_, node, *_) = chunks()
    relationships = {
        str(kind.value): related.model_dump(mode="json")
        for kind, related in node.relationships.items()
        if isinstance(related, RelatedNodeInfo)
    }
    rest: dict[str, Any] = {"class_name": "TextNode", "relationships": relationships}
    rest |= {"start_char_idx": node.start_char_idx, "end_char_idx": node.end_char_idx}  # type: ignore[attr-defined]
    metadata = {**node.metadata, "_node": rest}
    collection.add([Record(id=node.node_id, text=node.get_content(), metadata=metadata)])
    (back,) = DecantVectorStore(collection).get_nodes()
    assert back.to_dict() == node.to_dict()


def test_metadata_that_only_look_like_ours_are_shown(collection: Collection) -> None:
    collection.add(
        [
            Record(id="number", text="oak", metadata={"_node": 5}),
            Record(id="other", text="oak", source="a.md", metadata={"_node": {"x": 1}}),
        ]
    )
    number, other = DecantVectorStore(collection).get_nodes(["number", "other"])
    assert number.metadata == {"_node": 5}
    assert other.metadata == {"_node": {"x": 1}, "source": "a.md"}
