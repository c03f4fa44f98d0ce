"""A LlamaIndex node comes out of a collection as it went in, and its text can be read there."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import PurePosixPath
from uuid import UUID

import numpy as np
import pytest
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    ObjectType,
    RelatedNodeInfo,
    TextNode,
)
from pydantic import AnyUrl

from decant.embedders import StoreError
from decant.integrations.llama_index import DecantVectorStore
from decant.integrations.llama_index.nodes import to_node, to_record
from decant.integrations.qdrant import Collection, Passage, Record
from decant.integrations.qdrant import Document as SourceDocument

FULL = TextNode(
    id_="any string / ü",
    text="oak trees\n\ngrow",
    metadata={"title": "Woods", "year": 1900, "none": None, "nested": {"a": [1, {"b": None}]}},
    excluded_embed_metadata_keys=["year"],
    excluded_llm_metadata_keys=["title"],
    metadata_template="{key} = {value}",
    text_template="{content} ({metadata_str})",
    start_char_idx=3,
    end_char_idx=18,
    relationships={
        NodeRelationship.SOURCE: RelatedNodeInfo(
            node_id="woods.txt", node_type=ObjectType.DOCUMENT, metadata={"x": 1}, hash="abc"
        ),
        NodeRelationship.NEXT: RelatedNodeInfo(node_id="next one"),
        NodeRelationship.CHILD: [RelatedNodeInfo(node_id="c1"), RelatedNodeInfo(node_id="c2")],
    },
)
NODES: list[BaseNode] = [
    FULL,
    TextNode(text="nothing but a text"),
    ImageNode(text="a picture of an oak", image_url="https://example.org/oak.png"),
    IndexNode(text="points at more", index_id="elsewhere"),
    IndexNode(text="holds a node", index_id="inside", obj=TextNode(text="inner", id_="inner")),
    Document(text="a whole document", metadata={"file": "a.txt"}),
    Node(
        text_resource=MediaResource(text="words", mimetype="text/plain"),
        image_resource=MediaResource(url=AnyUrl("https://example.org/oak.png")),
    ),
]


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.class_name())
def test_a_node_comes_back_as_it_went_in(collection: Collection, node: BaseNode) -> None:
    store = DecantVectorStore(collection)
    before = node.to_dict()
    assert store.add([node]) == [node.node_id]
    (back,) = store.get_nodes([node.node_id])
    assert type(back) is type(node)
    assert back.to_dict() == before
    assert node.to_dict() == before
    assert back.hash == node.hash
    assert back.ref_doc_id == node.ref_doc_id


def test_metadata_come_back_in_their_order_whatever_the_stores_is(collection: Collection) -> None:
    node = TextNode(text="an oak", metadata={"z": 1, "a": 2, "m": {"y": 1}})
    record = to_record(node)
    passage = Passage(
        id=node.node_id,
        text=record.text,
        source=record.source,
        root=None,
        start=0,
        metadata=dict(sorted(record.metadata.items())),
    )
    back = to_node(passage)
    assert [*back.metadata] == ["z", "a", "m"]
    assert back.hash == node.hash
    assert back.to_dict() == node.to_dict()


def test_dates_of_an_inner_node_are_kept_as_text(collection: Collection) -> None:
    store = DecantVectorStore(collection)
    inner = TextNode(text="inner", id_="inner", metadata={"when": date(2026, 1, 2)})
    store.add([IndexNode(text="holds a node", index_id="inside", obj=inner, id_="outer")])
    (back,) = store.get_nodes(["outer"])
    assert isinstance(back, IndexNode)
    assert isinstance(back.obj, TextNode)
    assert (back.obj.text, back.obj.metadata) == ("inner", {"when": "2026-01-02"})


def test_text_metadata_and_source_can_be_read_by_anything(collection: Collection) -> None:
    DecantVectorStore(collection).add([FULL])
    (held,) = collection.get([FULL.node_id])
    assert held.text == FULL.text
    assert held.source == "woods.txt"
    assert {key: held.metadata[key] for key in FULL.metadata} == FULL.metadata


def test_a_chunk_of_our_own_index_is_a_text_node_with_its_source(collection: Collection) -> None:
    text = "oak trees grow"
    collection.index([SourceDocument(source="woods.txt", text=text, metadata={"page": 3})])
    (node,) = DecantVectorStore(collection).get_nodes()
    assert isinstance(node, TextNode)
    assert node.text == text
    assert node.metadata == {"page": 3, "source": "woods.txt"}
    assert node.ref_doc_id == "woods.txt"
    assert (node.start_char_idx, node.end_char_idx) == (0, len(text))


def test_a_node_of_a_later_kind_says_to_upgrade(collection: Collection) -> None:
    collection.add([Record(id="x", text="a", metadata={"_node": {"class_name": "HoloNode"}})])
    with pytest.raises(StoreError, match=r"HoloNode.*upgrade"):
        DecantVectorStore(collection).get_nodes(["x"])


class Special(TextNode):
    """A node of a class that a store cannot know."""

    extra: int = 0


def test_a_node_that_could_not_be_restored_is_refused(collection: Collection) -> None:
    with pytest.raises(TypeError, match="Special"):
        DecantVectorStore(collection).add([TextNode(text="fine"), Special(text="a", extra=1)])
    assert collection.count() == 0


def test_a_node_that_holds_bytes_is_refused(collection: Collection) -> None:
    node = Node(
        text_resource=MediaResource(text="words"), image_resource=MediaResource(data=b"picture")
    )
    with pytest.raises(ValueError, match="holds bytes"):
        DecantVectorStore(collection).add([node])


def test_our_own_metadata_key_is_refused(collection: Collection) -> None:
    with pytest.raises(ValueError, match="_node"):
        DecantVectorStore(collection).add([TextNode(text="a", metadata={"_node": 1})])


def test_metadata_that_are_not_json_are_refused(collection: Collection) -> None:
    with pytest.raises(StoreError, match="metadata"):
        DecantVectorStore(collection).add([TextNode(text="a", metadata={"day": object()})])


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (datetime(2024, 1, 31, 12, tzinfo=UTC), "2024-01-31T12:00:00+00:00"),
        (date(2024, 1, 31), "2024-01-31"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (PurePosixPath("a/b"), "a/b"),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
    ],
)
def test_values_of_python_in_metadata_are_stored_as_json_once(
    value: object, stored: object
) -> None:
    node = TextNode(id_="n", text="x", metadata={"v": value})
    related = RelatedNodeInfo(node_id="d", metadata={"v": value})
    node.relationships = {NodeRelationship.SOURCE: related, NodeRelationship.CHILD: [related]}
    record = to_record(node)
    assert record.metadata["v"] == stored
    assert str(record.metadata).count(repr(stored)) == 1, record.metadata
    assert node.metadata == related.metadata == {"v": value}, "the caller's node was changed"
    passage = Passage(
        id="n", text="x", source="d", root=None, start=0, metadata=dict(record.metadata)
    )
    back = to_node(passage)
    assert back.metadata == {"v": stored}
    assert back.source_node is not None
    assert back.source_node.metadata == {"v": stored}


def test_metadata_of_a_related_node_that_are_not_json_are_named() -> None:
    node = TextNode(id_="n", text="x")
    node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id="d", metadata={"v": {1}})
    with pytest.raises(StoreError, match=r"node 'd', related to 'n', .*\['v'\]: a set is not JSON"):
        to_record(node)
