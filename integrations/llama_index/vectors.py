"""The vectors of nodes: made here, or their own after a look at whether they belong.

LlamaIndex embeds with whatever model its index was given, so a vector of the right width may still
be of another model. One node of each call is embedded again and compared: that costs one text, and
another model, or another pooling of the same one, is found before anything is written.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from llama_index.core.schema import BaseNode, MetadataMode
from numpy.typing import NDArray

from decant.embedders import CollectionMismatch, Encoder, Role, StoreError

# The precisions of one model agree to 0.95 at worst (the gate of int8 in the certificate).
_SAME = 0.9


def node_vectors(nodes: Sequence[BaseNode], encoder: Encoder) -> NDArray[np.float32]:
    """Return one row per node, float32 of shape ``(N, D)``.

    Nodes without embeddings are embedded with the text that they show to models.

    Raises:
        ValueError: Some nodes have an embedding and some have none.
        StoreError: An embedding is not of the encoder's width.
        CollectionMismatch: The embeddings are not of the encoder's recipe.
        TextError: A node without embedding has no text.
    """
    bare = [node.node_id for node in nodes if node.embedding is None]
    if not bare:
        return _own(nodes, encoder)
    if len(bare) < len(nodes):
        raise ValueError(
            f"{len(bare)} of {len(nodes)} nodes have no embedding, the first is {bare[0]!r}; "
            "embed all of them, or none and they are embedded here"
        )
    return encoder.encode([_text(node) for node in nodes], role=Role.PASSAGE).dense


def _own(nodes: Sequence[BaseNode], encoder: Encoder) -> NDArray[np.float32]:
    for node in nodes:
        if (width := len(node.get_embedding())) != encoder.dim:
            raise StoreError(
                f"the embedding of node {node.node_id!r} has {width} values, the collection's "
                f"vectors have {encoder.dim}; give the index or pipeline "
                "embed_model=DecantEmbedding(encoder=collection.encoder)"
            )
    rows = np.array([node.get_embedding() for node in nodes], np.float32)  # (N, D)
    sample = next((index for index, node in enumerate(nodes) if _text(node)), None)
    if sample is not None:
        _compare(nodes[sample], rows[sample], encoder)
    return rows


def _compare(node: BaseNode, row: NDArray[np.float32], encoder: Encoder) -> None:
    ours = encoder.encode([_text(node)], role=Role.PASSAGE).dense[0]
    lengths = float(np.linalg.norm(row) * np.linalg.norm(ours))
    cosine = float(row @ ours) / lengths if lengths else 0.0
    if cosine < _SAME:
        recipe = encoder.recipe
        raise CollectionMismatch(
            f"the embedding of node {node.node_id!r} is not one of {recipe.base} "
            f"({recipe.digest()}), which fills this collection: its cosine to ours is "
            f"{cosine:.3f}. Give the index or pipeline "
            "embed_model=DecantEmbedding(encoder=collection.encoder); for vectors made otherwise "
            "on purpose there is collection.add(records, vectors=...)"
        )


def _text(node: BaseNode) -> str:
    return node.get_content(metadata_mode=MetadataMode.EMBED)
