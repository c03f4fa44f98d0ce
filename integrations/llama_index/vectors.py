"""The vectors of nodes: computed here, or the nodes' own after a check.

LlamaIndex embeds with whatever model its index was given, so a vector of the right width may still
be of another model. One node of each call is embedded again and compared. That costs one text, and
finds another model, or another pooling of the same model, before anything is written.
LlamaIndex's extractors may have added metadata to a node after it was embedded, so its earlier
texts are tried, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from llama_index.core.schema import BaseNode, MetadataMode
from numpy.typing import NDArray

from decant.embedders import CollectionMismatch, Encoder, Role, StoreError
from decant.embedders.tokens import is_blank

# Precisions of one model agree to at least 0.95 (the gate of int8 in the certificate).
_SAME = 0.9
_TRIED = 16  # the most texts with which a node may have been embedded


def embedded_text(node: BaseNode) -> str:
    """Return the text that a node shows to embedding models, with its metadata."""
    return node.get_content(metadata_mode=MetadataMode.EMBED)


def node_vectors(nodes: Sequence[BaseNode], encoder: Encoder) -> NDArray[np.float32]:
    """Return one row per node, float32 of shape ``(N, D)``; each node shows some text to models.

    Nodes without embeddings are embedded with the text that they show to models.

    Raises:
        ValueError: Some nodes have an embedding and some have none.
        StoreError: An embedding is not of the encoder's width.
        CollectionMismatch: The embeddings are not of the encoder's recipe.
        TextError: The encoder refuses a text.
    """
    bare = [node.node_id for node in nodes if node.embedding is None]
    if not bare:
        return _own(nodes, encoder)
    if len(bare) < len(nodes):
        raise ValueError(
            f"{len(bare)} of {len(nodes)} nodes have no embedding, the first is {bare[0]!r}; "
            "embed all of them, or none, and decant embeds them"
        )
    return encoder.encode([embedded_text(node) for node in nodes], role=Role.PASSAGE).dense


def node_texts(nodes: Sequence[BaseNode]) -> list[str]:
    """Return the text of each node of which a server makes the vector.

    Raises:
        StoreError: A node has an embedding, which cannot be compared without the model.
    """
    for node in nodes:
        if node.embedding is not None:
            raise StoreError(
                f"the node {node.node_id!r} has an embedding, and the Qdrant server makes the "
                "vectors of this collection; add nodes without embeddings, or open the collection "
                "with its encoder"
            )
    return [embedded_text(node) for node in nodes]


def _own(nodes: Sequence[BaseNode], encoder: Encoder) -> NDArray[np.float32]:
    for node in nodes:
        if (width := len(node.get_embedding())) != encoder.dim:
            raise StoreError(
                f"the embedding of node {node.node_id!r} has {width} values, the collection's "
                f"vectors have {encoder.dim}; give the index or pipeline "
                "embed_model=DecantEmbedding(encoder=collection.encoder)"
            )
    rows = np.array([node.get_embedding() for node in nodes], np.float32)
    rows = rows.reshape(len(nodes), encoder.dim)  # also for no nodes
    if nodes:
        _compare(nodes[0], rows[0], encoder)
    return rows


def _compare(node: BaseNode, row: NDArray[np.float32], encoder: Encoder) -> None:
    now = _cosines(row, [embedded_text(node)], encoder)[0]
    if now >= _SAME:
        return
    earlier = _cosines(row, list(islice(_earlier_texts(node), _TRIED)), encoder)
    if max(earlier, default=now) < _SAME:
        recipe = encoder.recipe
        raise CollectionMismatch(
            f"the embedding of node {node.node_id!r} is not one of {recipe.base} "
            f"({recipe.digest()}), which fills this collection: its cosine to ours is {now:.3f} "
            f"with the metadata that it has now, and {max(earlier, default=now):.3f} at best with "
            "fewer of them. Either another model made it: give the index or pipeline "
            "embed_model=DecantEmbedding(encoder=collection.encoder). Or its text, metadata or "
            "templates were changed after it was embedded: let extractors run before the "
            "embedding. To store other vectors on purpose, use "
            "collection.add(records, vectors=...)"
        )


def _cosines(row: NDArray[np.float32], texts: Sequence[str], encoder: Encoder) -> list[float]:
    seen = [text for text in texts if not is_blank(text, encoder.tokenizer)]
    ours = encoder.encode(seen, role=Role.PASSAGE).dense
    lengths = np.linalg.norm(row) * np.linalg.norm(ours, axis=1)  # (T,)
    return [
        float(cosine)
        for cosine in np.divide(ours @ row, lengths, np.zeros_like(lengths), where=lengths > 0)
    ]


def _earlier_texts(node: BaseNode) -> Iterator[str]:
    """Yield earlier texts of a node: its text alone, then with fewer metadata.

    Metadata that were added last are at the end.
    """
    yield node.get_content(metadata_mode=MetadataMode.NONE)
    names = list(node.metadata)
    for count in range(len(names) - 1, 0, -1):
        fewer = {name: node.metadata[name] for name in names[:count]}
        yield embedded_text(node.model_copy(update={"metadata": fewer}))
