"""The layout of a collection in Qdrant Edge: what the engine is given for it, and what it has.

The engine keeps its settings in a file next to the segments, which is read here, because from
Python it reports none of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import assert_never

import qdrant_edge as edge

from decant.embedders import StoreError

from ..stores.collection_settings import Layout, Originals, Storage, StoredLayout
from ..stores.input_errors import StoreInputError
from ..stores.protocol import DENSE, PREFIX

_CONFIG = "edge_config.json"
_QUANTILE = 0.99  # of the numbers, by which INT8 sets its range: Qdrant's advice
_TURBO = {"bits1": Storage.TURBO1, "bits4": Storage.TURBO4}


def check_layout(layout: Layout) -> None:
    """Refuse settings that only a server has.

    Raises:
        StoreInputError: The message names them.
    """
    if names := layout.for_servers:
        raise StoreInputError(
            f"Qdrant Edge keeps a collection in one shard of this process and has no "
            f"{', '.join(names)}; leave them out, or use a Qdrant server"
        )


def quantization_of(storage: Storage) -> edge.QuantizationConfigType | None:
    """Return the quantization of a storage in Edge's form; None for FULL."""
    match storage:
        case Storage.FULL:
            return None
        case Storage.INT8:
            return edge.ScalarQuantizationConfig(
                edge.ScalarType.Int8, quantile=_QUANTILE, memory=edge.Memory.Pinned
            )
        case Storage.TURBO4 | Storage.TURBO1:
            sizes = edge.TurboQuantBitSize
            bits = sizes.Bits4 if storage is Storage.TURBO4 else sizes.Bits1
            return edge.TurboQuantQuantizationConfig(bits=bits, memory=edge.Memory.Pinned)
        case Storage.BINARY:
            return edge.BinaryQuantizationConfig(memory=edge.Memory.Pinned)
        case _:
            assert_never(storage)


def memory_of(originals: Originals) -> edge.Memory:
    """Return where Edge keeps original vectors."""
    return edge.Memory.Cold if originals is Originals.DISK else edge.Memory.Cached


def read_layout(shard: Path) -> StoredLayout:
    """Return the layout of a shard.

    Raises:
        StoreError: The engine's settings cannot be read.
    """
    path = shard / _CONFIG
    try:
        vectors = json.loads(path.read_text(encoding="utf-8"))["vectors"]
        whole, prefix = vectors[DENSE], vectors.get(PREFIX)
        quantization = (prefix or whole).get("quantization_config") or {}
        is_on_disk = whole.get("memory") == "cold"
        length = int(prefix["size"]) if prefix else 0
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"the engine's settings in {path} cannot be read ({error!r}); restore the collection "
            "from a copy, or index again"
        ) from error
    return StoredLayout(
        storage=_storage(quantization),
        originals=Originals.DISK if is_on_disk else Originals.MEMORY,
        prefix=length,
    )


def read_graph(shard: Path) -> tuple[int, int | None, int]:
    """Return how the vector index of a shard is built: its links, those in a tenant, candidates.

    Raises:
        StoreError: The engine's settings cannot be read.
    """
    path = shard / _CONFIG
    try:
        held = json.loads(path.read_text(encoding="utf-8"))["hnsw_config"]
        tenant_links = held.get("payload_m")
        return (
            int(held["m"]),
            None if tenant_links is None else int(tenant_links),
            int(held["ef_construct"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"the engine's settings in {path} cannot be read ({error!r}); restore the collection "
            "from a copy, or index again"
        ) from error


def _storage(stored: dict[str, dict[str, object]]) -> Storage | None:
    match stored:
        case {"scalar": _}:
            return Storage.INT8
        case {"turbo": {"bits": bits}}:
            return _TURBO.get(str(bits))
        case {"binary": {"encoding": encoding}} if encoding not in (None, "one_bit"):
            return None
        case {"binary": _}:
            return Storage.BINARY
        case _:
            return Storage.FULL if not stored else None
