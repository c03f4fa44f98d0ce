"""A LlamaIndex node as a record, and back without loss.

Text, metadata and the id of the source document are the record's own, so that every program can
read, filter and search them. The rest of a node (relationships, excluded keys, templates) is stored
under one metadata key, without default values. Related nodes carry a copy of their metadata, mostly
equal to the node's own; equal entries are stored once, by their names. The order of the metadata is
stored, too. A passage that was not
written by LlamaIndex becomes a plain text node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, TypeAlias

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

from decant.embedders import StoreError, TextError

from ..qdrant import Passage, Record
from ..qdrant.points.payloads import checked_metadata
from ..shown import with_source

_REST = "_node"
_SHARED = "_shared"
_KEYS = "_keys"
NODE = (_REST, "class_name")
"""The metadata entry that marks a passage as a node of LlamaIndex."""

_JSON = TypeAdapter(object)
_CLASSES: Mapping[str, type[BaseNode]] = {
    kind.class_name(): kind for kind in (TextNode, ImageNode, IndexNode, Node, Document)
}
# The record itself holds these; the embedding is the point's vector.
_ELSEWHERE = {"id_", "embedding", "metadata", "text"}


def to_records(nodes: Sequence[BaseNode]) -> list[Record]:
    """Return the nodes as records, in their order; see :func:`to_record`.

    Raises:
        StoreError: Metadata are not JSON; the message holds the node's index, its file or document
            and the key.
        TextError: A text is not valid Unicode; the message holds the same.
    """
    return [_numbered(index, node) for index, node in enumerate(nodes)]


def _numbered(index: int, node: BaseNode) -> Record:
    try:
        return to_record(node)
    except (StoreError, TextError) as error:
        named = (node.metadata.get(key) for key in ("file_path", "file_name", "source"))
        origin = next((name for name in named if isinstance(name, str)), node.ref_doc_id)
        where = f" of {origin!r}" if origin else ""
        raise type(error)(f"node {index}{where}: {error}") from error


def to_record(node: BaseNode) -> Record:
    """Return the node as a record; its source is the id of the document it came from.

    A node without a source document, such as a document that was not split, is its own source.

    Raises:
        TypeError: The node is of a class that could not be restored.
        ValueError: Its metadata use our key, or it holds bytes, which are not stored.
    """
    if type(node) is not _CLASSES.get(node.class_name()):
        raise TypeError(
            f"node {node.node_id!r} is a {type(node).__name__}, which could not be restored from "
            f"the store; use one of {', '.join(_CLASSES)}"
        )
    if _REST in node.metadata:
        raise ValueError(f"node {node.node_id!r} has the metadata key {_REST!r}, which is ours")
    metadata = checked_metadata(node.metadata, owner=f"record {node.node_id!r}")
    node = _with_plain_relations(node)
    rest = node.model_dump(mode="json", exclude=_ELSEWHERE, exclude_defaults=True)
    if isinstance(node, IndexNode) and node.obj is not None:
        # Older versions of llama-index-core dump the inner node as a text that no node is read
        # from.
        rest["obj"] = _JSON.dump_python(node.to_dict()["obj"], mode="json")
    if isinstance(node, Node):
        _refuse_bytes(node)
        if node.text_resource is not None:
            rest["text_resource"].pop("text", None)
    if "relationships" in rest:
        rest["relationships"] = _each(rest["relationships"], _shared, metadata)
    if len(metadata) > 1:
        rest[_KEYS] = [*metadata]
    return Record(
        id=node.node_id,
        text=node.get_content(metadata_mode=MetadataMode.NONE),
        metadata={**metadata, _REST: rest},
        source=node.ref_doc_id or node.node_id,
    )


def to_node(passage: Passage) -> BaseNode:
    """Return the node that :func:`to_record` stored; for others, a text node.

    A chunk of :meth:`Collection.index` names its document as its source node and, unless it has a
    metadata key ``source`` of its own, there too.

    Raises:
        StoreError: The node was stored with a class that this version does not know.
    """
    metadata = dict(passage.metadata)
    rest = metadata.get(_REST)
    if not isinstance(rest, dict) or not isinstance(name := rest.get("class_name"), str):
        return _plain(passage, metadata)
    del metadata[_REST]
    # Over gRPC entries come in any order, which the text that a model is shown would follow.
    order = [*map(str, held)] if isinstance(held := rest.get(_KEYS), list) else []
    metadata = {key: metadata[key] for key in order if key in metadata} | metadata
    kind = _CLASSES.get(name)
    if kind is None:
        raise StoreError(
            f"node {passage.id!r} was stored as a {name}, which this decant does not know; "
            "upgrade decant"
        )
    fields: dict[str, Any] = {**rest, "id_": passage.id, "metadata": metadata}
    fields.pop(_KEYS, None)
    if "relationships" in fields:
        fields["relationships"] = _each(fields["relationships"], _unshared, metadata)
    if issubclass(kind, TextNode):
        fields["text"] = passage.text
    elif isinstance(resource := rest.get("text_resource"), dict):
        fields["text_resource"] = {**resource, "text": passage.text}
    return kind.from_dict(fields)


def _plain(passage: Passage, metadata: Mapping[str, object]) -> TextNode:
    shown = with_source(passage, metadata)
    if not passage.source:
        return TextNode(id_=passage.id, text=passage.text, metadata=shown)
    return TextNode(
        id_=passage.id,
        text=passage.text,
        metadata=shown,
        start_char_idx=passage.start if passage.is_chunk else None,
        end_char_idx=passage.start + len(passage.text) if passage.is_chunk else None,
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=passage.source)},
    )


def _with_plain_relations(node: BaseNode) -> BaseNode:
    """Return a copy whose related nodes have plain JSON as metadata, like stored metadata."""

    def plain(related: RelatedNodeInfo) -> RelatedNodeInfo:
        owner = f"node {related.node_id!r}, related to {node.node_id!r},"
        return related.model_copy(
            update={"metadata": checked_metadata(related.metadata, owner=owner)}
        )

    relationships = {
        kind: [plain(one) for one in held] if isinstance(held, list) else plain(held)
        for kind, held in node.relationships.items()
    }
    return node.model_copy(update={"relationships": relationships})


_Related: TypeAlias = dict[str, Any]
"""The stored form of a related node."""


def _each(
    relationships: Mapping[str, _Related | list[_Related]],
    change: Callable[[_Related, Mapping[str, object]], _Related],
    own: Mapping[str, object],
) -> dict[str, _Related | list[_Related]]:
    """Return the relationships with ``change`` applied to each related node and the metadata."""
    return {
        kind: [change(one, own) for one in held] if isinstance(held, list) else change(held, own)
        for kind, held in relationships.items()
    }


def _shared(related: _Related, own: Mapping[str, object]) -> _Related:
    """Replace metadata entries that equal the node's own by their names."""
    held = related.get("metadata")
    if not held:
        return related
    names = [key for key in held if key in own and _is_same(held[key], own[key])]
    rest = {key: value for key, value in held.items() if key not in names}
    return {**related, "metadata": rest, _SHARED: names} if names else related


def _unshared(related: _Related, own: Mapping[str, object]) -> _Related:
    """Undo :func:`_shared`; a related node that was stored without it is not changed."""
    if _SHARED not in related:
        return related
    # Copied, because a change of a node's metadata must not reach into its relationships.
    shared = {key: deepcopy(own[key]) for key in related[_SHARED] if key in own}
    return {**related, "metadata": shared | related["metadata"]}


def _is_same(one: object, other: object) -> bool:
    """Return whether two values are the same JSON; True and 1 are not."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return one == other


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
