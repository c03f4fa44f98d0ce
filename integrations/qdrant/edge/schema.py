"""The schema of a collection in Qdrant Edge: its vectors, its HNSW graph, its indexed fields."""

from __future__ import annotations

from pathlib import Path

import qdrant_edge as edge

from ..matryoshka.prefix import prefix_part, whole_part
from ..stores.collection_metadata import CollectionMetadata
from ..stores.collection_settings import (
    LEAST_EF,
    CollectionSettings,
    FieldType,
    PayloadIndex,
    Storage,
    StoredLayout,
)
from ..stores.protocol import (
    DENSE,
    KEYWORDS,
    PREFIX,
    SPARSE,
    STATES,
    TENANT,
    TEXT,
    TOKENS,
)
from ..words.text_index import text_params
from .layouts import memory_of, quantization_of

_FULL_SCAN_KB = 10_000  # Qdrant's default: below this size, exact search is faster than the graph
_SCHEMA = {
    FieldType.KEYWORD: edge.PayloadSchemaType.Keyword,
    FieldType.INTEGER: edge.PayloadSchemaType.Integer,
    FieldType.FLOAT: edge.PayloadSchemaType.Float,
    FieldType.BOOL: edge.PayloadSchemaType.Bool,
    FieldType.DATETIME: edge.PayloadSchemaType.Datetime,
    FieldType.TEXT: edge.PayloadSchemaType.Text,
}


def index_field(entry: PayloadIndex) -> edge.UpdateOperation:
    """Return the operation that indexes a metadata entry."""
    return _index(entry.path, entry.type)


def indexed_fields(shard: edge.EdgeShard) -> tuple[PayloadIndex, ...]:
    """Return the metadata entries that a shard indexes."""
    kinds = {str(kind): ours for ours, kind in _SCHEMA.items()}
    schema = shard.info().payload_schema
    found = (PayloadIndex.at(path, kinds[str(held.data_type)]) for path, held in schema.items())
    return tuple(sorted((one for one in found if one is not None), key=lambda one: one.path))


def build_shard(path: Path, *, card: CollectionMetadata, settings: CollectionSettings) -> None:
    """Make an empty shard in a folder, flush it and close it."""
    links, payload_links = settings.graph_links
    config = edge.EdgeConfig(
        vectors=vector_params(card, StoredLayout().after(settings)),
        # No IDF modifier: the weights are the model's, which has learned what is rare.
        sparse_vectors={SPARSE: edge.EdgeSparseVectorParams()} if card.sparse else None,
        hnsw_config=edge.HnswIndexConfig(
            m=links,
            payload_m=payload_links,
            ef_construct=settings.hnsw_ef_construct,
            full_scan_threshold=_FULL_SCAN_KB,
        ),
    )
    shard = edge.EdgeShard.create(str(path), config)
    fields = dict.fromkeys(KEYWORDS, FieldType.KEYWORD)
    fields |= {item.path: item.type for item in settings.indexed}
    for field, kind in fields.items():
        shard.update(_index(field, kind))
    if card.tenants is not None:
        by_tenant = edge.KeywordIndexParams(is_tenant=True)
        shard.update(edge.UpdateOperation.create_field_index(TENANT, by_tenant))
    if card.words is not None:
        shard.update(edge.UpdateOperation.create_field_index(TEXT, text_params(card.words)))
    shard.flush()
    shard.close()


def _index(path: str, kind: FieldType) -> edge.UpdateOperation:
    return edge.UpdateOperation.create_field_index(path, _SCHEMA[kind])


def vector_params(
    card: CollectionMetadata, layout: StoredLayout
) -> dict[str, edge.EdgeVectorParams]:
    """Return the parameters of a collection's dense vectors and multivectors in this layout."""
    if card.prefix:
        params = {
            DENSE: _dense(card.dim, whole_part(layout), graph=_no_graph()),
            PREFIX: _dense(card.prefix, prefix_part(layout)),
        }
    else:
        params = {DENSE: _dense(card.dim, layout)}
    if card.soft_tokens is not None:
        params[STATES] = _rows(card.soft_tokens, edge.VectorStorageDatatype.Float32)
    if card.token_vectors is not None:
        params[TOKENS] = _rows(card.token_vectors.dim, edge.VectorStorageDatatype.Float16)
    return params


def _rows(size: int, datatype: edge.VectorStorageDatatype) -> edge.EdgeVectorParams:
    """Return the parameters of a multivector that has no index."""
    return edge.EdgeVectorParams(
        size=size,
        distance=edge.Distance.Dot,  # the distance Cosine would store normalised vectors
        multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim),
        datatype=datatype,
        hnsw_config=_no_graph(),
        memory=edge.Memory.Cold,
    )


def _dense(
    size: int, layout: StoredLayout, *, graph: edge.HnswIndexConfig | None = None
) -> edge.EdgeVectorParams:
    return edge.EdgeVectorParams(
        size=size,
        distance=edge.Distance.Cosine,
        quantization_config=quantization_of(layout.storage or Storage.FULL),
        memory=memory_of(layout.originals),
        hnsw_config=graph,
    )


def _no_graph() -> edge.HnswIndexConfig:
    return edge.HnswIndexConfig(
        m=0, payload_m=0, ef_construct=LEAST_EF, full_scan_threshold=_FULL_SCAN_KB
    )
