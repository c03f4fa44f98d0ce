"""A LlamaIndex node as a record, and back without loss.

Text, metadata and the id of the source document are the record's own, so that they can be read,
filtered and searched by anything; what else a node holds (relationships, excluded keys, templates)
stands under one metadata key, without its defaults. A passage that was not written by
LlamaIndex becomes a plain text node.
"""

from __future__ import annotations

from collections.abc import Mapping

from llama_index.core.bridge.pydantic import TypeAdapter
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)

from decant.embedders import StoreError

from ..qdrant import Passage, Record

_REST = "_node"
_JSON = TypeAdapter(object)
_CLASSES: Mapping[str, type[BaseNode]] = {
    kind.class_name(): kind for kind in (TextNode, ImageNode, IndexNode, Node, Document)
}
# The record has them; the embedding is the point's vector.
_ELSEWHERE = {"id_", "embedding", "metadata", "text"}


def to_record(node: BaseNode) -> Record:
    """Return the node as a record; its source is the id of the document it came from.

    Raises:
        TypeError: The node is of a class that could not be given back.
        ValueError: Its metadata use our key, or it holds bytes, which are not stored.
    """
    if type(node) is not _CLASSES.get(node.class_name()):
        raise TypeError(
            f"node {node.node_id!r} is a {type(node).__name__}, which could not be restored from "
            f"the store; use one of {', '.join(_CLASSES)}"
        )
    if _REST in node.metadata:
        raise ValueError(f"node {node.node_id!r} has the metadata key {_REST!r}, which is ours")
    rest = node.model_dump(mode="json", exclude=_ELSEWHERE, exclude_defaults=True)
    if isinstance(node, IndexNode) and node.obj is not None:
        # Older versions of llama-index-core dump the inner node as a text that reads as no node.
        rest["obj"] = _JSON.dump_python(node.to_dict()["obj"], mode="json")
    if isinstance(node, Node):
        _refuse_bytes(node)
        if node.text_resource is not None:
            rest["text_resource"].pop("text", None)
    return Record(
        id=node.node_id,
        text=node.get_content(metadata_mode=MetadataMode.NONE),
        metadata={**node.metadata, _REST: rest},
        source=node.ref_doc_id or "",
    )


def to_node(passage: Passage) -> BaseNode:
    """Return the node that :func:`to_record` stored; for others, a text node.

    A chunk of :meth:`Collection.index` names its document as its source node and, unless it has a
    metadata key ``source`` of its own, there too.

    Raises:
        StoreError: The node was stored as something that this version does not know.
    """
    metadata = dict(passage.metadata)
    rest = metadata.pop(_REST, None)
    if not isinstance(rest, dict):
        return _plain(passage, metadata)
    kind = _CLASSES.get(name := str(rest.get("class_name")))
    if kind is None:
        raise StoreError(
            f"node {passage.id!r} was stored as a {name}, which this decant does not know; "
            "upgrade decant"
        )
    fields: dict[str, object] = {**rest, "id_": passage.id, "metadata": metadata}
    if issubclass(kind, TextNode):
        fields["text"] = passage.text
    elif isinstance(resource := rest.get("text_resource"), dict):
        fields["text_resource"] = {**resource, "text": passage.text}
    return kind.from_dict(fields)


def _plain(passage: Passage, metadata: Mapping[str, object]) -> TextNode:
    if not passage.source:
        return TextNode(id_=passage.id, text=passage.text, metadata=dict(metadata))
    return TextNode(
        id_=passage.id,
        text=passage.text,
        metadata={"source": passage.source, **metadata},
        start_char_idx=passage.start,
        end_char_idx=passage.start + len(passage.text),
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=passage.source)},
    )


def _refuse_bytes(node: Node) -> None:
    resources: list[MediaResource | None] = [
        node.text_resource,
        node.image_resource,
        node.audio_resource,
        node.video_resource,
    ]
    if any(resource is not None and resource.data is not None for resource in resources):
        raise ValueError(
            f"node {node.node_id!r} holds bytes, which a collection of texts does not store; "
            "give the resource a path or a url"
        )
