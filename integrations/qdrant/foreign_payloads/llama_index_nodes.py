"""LlamaIndex's nodes in payloads: a text, its metadata, and the text that was embedded.

LlamaIndex writes a node's metadata as fields of the payload and the whole node as JSON into another
field (``llama_index.core.vector_stores.utils.node_to_metadata_dict``). It embeds metadata and text
together, but for the entries that the node excludes (``TextNode.get_content`` with
``MetadataMode.EMBED``). LlamaIndex itself is not imported: a payload is JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from decant.embedders.json_records import Json

_NODE = "_node_content"
_TYPE = "_node_type"
_DOCUMENT_IDS = ("document_id", "doc_id", "ref_doc_id")
_NO_DOCUMENT = "None"  # LlamaIndex writes the word

NODE_FIELDS = frozenset({_NODE, _TYPE, *_DOCUMENT_IDS})
"""The fields of a payload that are LlamaIndex's own."""

_METADATA_TEMPLATE = "{key}: {value}"
_TEXT_TEMPLATE = "{metadata_str}\n\n{content}"


def is_node(payload: Mapping[str, Json]) -> bool:
    """Return whether a payload holds a node of LlamaIndex with a text."""
    return text_of_node(payload) is not None


def text_of_node(payload: Mapping[str, Json]) -> str | None:
    """Return the text of a node; None if the payload holds no node with one."""
    return _text(_node(payload))


def embedded_text_of(payload: Mapping[str, Json]) -> str | None:
    """Return the text that LlamaIndex embeds of a node; None if the payload holds no such node."""
    node = _node(payload)
    text = _text(node)
    if node is None or text is None:
        return None
    metadata = _object(node.get("metadata"))
    excluded = node.get("excluded_embed_metadata_keys")
    left_out = set(map(str, excluded)) if isinstance(excluded, list) else set()
    template = _string(
        node, "metadata_template", _string(node, "metadata_tmpl", _METADATA_TEMPLATE)
    )
    separator = _string(node, "metadata_separator", _string(node, "metadata_seperator", "\n"))
    lines = [
        template.replace("{key}", key).replace("{value}", str(value))
        for key, value in metadata.items()
        if key not in left_out
    ]
    head = separator.join(lines).strip()
    if not head:
        return text
    whole = _string(node, "text_template", _TEXT_TEMPLATE)
    return whole.replace("{metadata_str}", head).replace("{content}", text).strip()


def node_payload(text: str, metadata: Mapping[str, Json], *, node_id: str) -> dict[str, Json]:
    """Return the payload of a node whose text alone is embedded, as it excludes all metadata."""
    keys: list[Json] = list(metadata)
    node: dict[str, Json] = {
        "id_": node_id,
        "embedding": None,
        "metadata": dict(metadata),
        "excluded_embed_metadata_keys": keys,
        "excluded_llm_metadata_keys": [],
        "relationships": {},
        "metadata_template": _METADATA_TEMPLATE,
        "metadata_separator": "\n",
        "text": text,
        "mimetype": "text/plain",
        "start_char_idx": None,
        "end_char_idx": None,
        "text_template": _TEXT_TEMPLATE,
        "class_name": "TextNode",
    }
    return {
        **metadata,
        _NODE: json.dumps(node, ensure_ascii=False),
        _TYPE: "TextNode",
        **dict.fromkeys(_DOCUMENT_IDS, _NO_DOCUMENT),
    }


def _node(payload: Mapping[str, Json]) -> dict[str, Json] | None:
    held = payload.get(_NODE)
    if not isinstance(held, str):
        return None
    try:
        node = json.loads(held)
    except ValueError:
        return None
    return node if isinstance(node, dict) else None


def _text(node: Mapping[str, Json] | None) -> str | None:
    if node is None:
        return None
    text = node.get("text")
    if not isinstance(text, str):  # a Node of several modalities
        text = _object(node.get("text_resource")).get("text")
    return text if isinstance(text, str) else None


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _string(node: Mapping[str, Json], key: str, otherwise: str) -> str:
    value = node.get(key)
    return value if isinstance(value, str) else otherwise
