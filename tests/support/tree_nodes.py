"""Four texts with metadata in a LlamaIndex store, and the few questions that tests ask of it."""

from __future__ import annotations

from typing import Any

from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from decant.embedders import Role
from decant.integrations.llama_index import DecantVectorStore

TEXTS = {
    "oak": "oak trees grow slowly",
    "birch": "birch trees grow fast",
    "sea": "the sea is deep",
    "fallen": "birch trees fall",
}
FACTS: dict[str, dict[str, Any]] = {
    "oak": {"kind": "tree", "year": 1900, "height": 20.5, "tags": ["old", "hard"]},
    "birch": {"kind": "tree", "year": 1950, "height": 15.0, "tags": ["white"]},
    "sea": {"kind": "water", "year": 2000, "tags": []},
    "fallen": {"kind": "tree", "year": 2010, "tags": ["white", "old"], "file.name": "x"},
}
ALL = sorted(TEXTS)


def left(store: DecantVectorStore) -> list[str]:
    return sorted(node.node_id for node in store.get_nodes())


Value = str | int | float | list[str] | list[int] | list[float] | None


def where(key: str, value: Value, operator: str = "==") -> MetadataFilters:
    made = MetadataFilter(key=key, value=value, operator=FilterOperator(operator))
    return MetadataFilters(filters=[made])


def ask(
    store: DecantVectorStore,
    text: str,
    *,
    kwargs: dict[str, Any] | None = None,
    similarity_top_k: int = 9,
    **fields: Any,
) -> VectorStoreQueryResult:
    """Ask as an index does: it embeds the query itself, and passes ``kwargs`` on."""
    vector = store.collection.encoder.encode([text], role=Role.QUERY).dense[0].tolist()
    query = VectorStoreQuery(query_embedding=vector, similarity_top_k=similarity_top_k, **fields)
    return store.query(query, **(kwargs or {}))


def nodes() -> list[TextNode]:
    """Return a node for each text; its document is named after its kind."""
    return [
        TextNode(
            id_=identity,
            text=text,
            metadata=FACTS[identity],
            excluded_embed_metadata_keys=list(FACTS[identity]),
            relationships={
                NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"{FACTS[identity]['kind']}s")
            },
        )
        for identity, text in TEXTS.items()
    ]
