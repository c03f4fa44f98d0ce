"""Read the layout of a collection from what a server reports of it, whoever made it so."""

from __future__ import annotations

from qdrant_client import models

from ...stores.collection_settings import Originals, Storage, StoredLayout
from ...stores.protocol import DENSE, PREFIX

_TURBO = {
    None: Storage.TURBO4,  # the server's default
    models.TurboQuantBitSize.BITS4: Storage.TURBO4,
    models.TurboQuantBitSize.BITS1: Storage.TURBO1,
}
_ONE_BIT = (None, models.BinaryQuantizationEncoding.ONE_BIT)


def stored_layout(info: models.CollectionInfo) -> StoredLayout:
    """Return the layout that a server reports; of another program's, that of its one vector."""
    params, strict = info.config.params, info.config.strict_mode_config
    dense = _dense(params.vectors)
    prefix = params.vectors.get(PREFIX) if isinstance(params.vectors, dict) else None
    vectors = StoredLayout()
    if dense is not None:
        searched = prefix or dense
        vectors = StoredLayout(
            storage=_storage(searched.quantization_config or info.config.quantization_config),
            originals=_originals(dense),
        )
    return StoredLayout(
        storage=vectors.storage,
        originals=vectors.originals,
        shards=params.shard_number or 1,
        replicas=params.replication_factor or 1,
        write_consistency=params.write_consistency_factor or 1,
        strict=strict is not None and bool(strict.enabled),
        prefix=prefix.size if prefix else 0,
    )


def _dense(vectors: object) -> models.VectorParams | None:
    """Return the settings of decant's vector, or of the only one that there is."""
    if isinstance(vectors, dict):
        only = next(iter(vectors.values())) if len(vectors) == 1 else None
        vectors = vectors.get(DENSE, only)
    return vectors if isinstance(vectors, models.VectorParams) else None


def _storage(found: object) -> Storage | None:
    match found:
        case None:
            return Storage.FULL
        case models.ScalarQuantization():
            return Storage.INT8
        case models.TurboQuantization(turbo=turbo):
            return _TURBO.get(turbo.bits)
        case models.BinaryQuantization(binary=binary):
            return Storage.BINARY if binary.encoding in _ONE_BIT else None
        case _:
            return None


def _originals(params: models.VectorParams) -> Originals:
    # A server from 1.19 may report `on_disk` in addition to `memory`, which replaces it.
    is_on_disk = params.on_disk if params.memory is None else params.memory is models.Memory.COLD
    return Originals.DISK if is_on_disk else Originals.MEMORY
