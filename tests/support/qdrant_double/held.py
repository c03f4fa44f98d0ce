"""One collection of the double beside its points: its settings, indexes, limits and status."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .answers import BadRequest, Refused, wrong
from .paths import displayed
from .strict import Strict

_HNSW = {
    "m": 16, "ef_construct": 100, "full_scan_threshold": 10000, "max_indexing_threads": 0,
    "on_disk": False,
}  # fmt: skip
_OPTIMIZERS = {
    "deleted_threshold": 0.2, "vacuum_min_vector_number": 1000, "default_segment_number": 0,
    "max_segment_size": None, "memmap_threshold": None, "indexing_threshold": 10000,
    "flush_interval_sec": 5, "max_optimization_threads": None, "prevent_unoptimized": None,
}  # fmt: skip
_FACTORS = ("shard_number", "replication_factor", "write_consistency_factor")
_WAL = {"wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a look at the collection shows of its optimizers."""

    status: str = "green"
    optimizer_status: Any = "ok"
    indexed: int = 0


@dataclass(slots=True)
class Held:
    """A collection.

    ``progress`` is taken by the next looks at the collection, one each; the last one stays.
    ``elsewhere`` are shards on other nodes, as a server shows them. ``recovered`` are the places of
    snapshots that it was recovered from.
    """

    config: dict[str, Any]
    strict: Strict
    indexes: dict[str, str] = field(default_factory=dict)
    schemas: dict[str, Any] = field(default_factory=dict)
    operations: int = 0
    elsewhere: list[dict[str, Any]] = field(default_factory=list)
    snapshots: dict[str, bytes] = field(default_factory=dict)
    recovered: list[str] = field(default_factory=list)
    progress: deque[Progress] = field(default_factory=lambda: deque([Progress()]))

    @property
    def vectors(self) -> dict[str, Any]:
        """The dense vectors and multivectors, by name; one without a name has the name ""."""
        return spaces(self.config)

    @property
    def sparse(self) -> dict[str, Any]:
        """The sparse vectors, by name."""
        found: dict[str, Any] = self.config.get("sparse_vectors") or {}
        return found

    def done(self) -> dict[str, Any]:
        """Return the result of one operation more."""
        self.operations += 1
        return {"operation_id": self.operations, "status": "completed"}

    def add_index(self, path: str, kind: Any) -> None:
        """Note an index, under the spelling that the server gives the path."""
        name = displayed(path)
        most = self.strict.limit("max_payload_index_count")
        if name not in self.indexes and most is not None and len(self.indexes) >= most:
            raise BadRequest(
                f"Collection already has the maximum number of payload indices ({most})",
                "Please delete an existing index before creating a new one.",
            )
        self.indexes[name] = kind if isinstance(kind, str) else str(kind["type"])
        self.schemas.pop(name, None)
        if not isinstance(kind, str):
            self.schemas[name] = kind

    def drop_index(self, path: str) -> None:
        """Forget an index."""
        self.indexes.pop(displayed(path), None)
        self.schemas.pop(displayed(path), None)

    def check_points(self, points: list[Any]) -> None:
        """Refuse points whose vectors do not fit; nothing is stored then."""
        for point in points:
            given = point.get("vector") or {}
            for name, vector in ({"": given} if isinstance(given, list) else given).items():
                if name in self.sparse:
                    continue
                if name not in self.vectors:
                    raise wrong(f"Not existing vector name error: {name}")
                rows = vector if self.vectors[name].get("multivector_config") else [vector]
                for row in rows:
                    self._check_width(name, row)

    def check_query(self, using: str | None, query: Any) -> None:
        """Refuse a vector to search with that does not fit."""
        using = using or ""
        if not isinstance(query, list):
            return
        if using not in self.vectors:
            raise wrong(f"Not existing vector name error: {using}")
        size = self.vectors[using]["size"]
        for row in query if query and isinstance(query[0], list) else [query]:
            if len(row) != size:
                raise wrong(f"Vector dimension error: expected dim: {size}, got {len(row)}")

    def _check_width(self, name: str, row: list[float]) -> None:
        size = self.vectors[name]["size"]
        if len(row) != size:
            raise wrong(
                f"Vector dimension error: expected dim: {size}, got {len(row)} for vector '{name}'"
            )

    def info(self, count: int, indexed_points: dict[str, int]) -> dict[str, Any]:
        """Return what the server tells of the collection."""
        now = self.progress.popleft() if len(self.progress) > 1 else self.progress[0]
        params = {
            **{name: self.config[name] for name in ("vectors", "sparse_vectors")
               if self.config.get(name)},
            **{name: self.config.get(name) or 1 for name in _FACTORS},
            "on_disk_payload": True,
        }  # fmt: skip
        config = {
            "params": params,
            "hnsw_config": _HNSW | (self.config.get("hnsw_config") or {}),
            "optimizer_config": _OPTIMIZERS,
            "wal_config": _WAL,
            "quantization_config": self.config.get("quantization_config"),
        }
        if self.strict.limits:
            config["strict_mode_config"] = self.strict.limits
        if self.config.get("metadata") is not None:
            config["metadata"] = self.config["metadata"]
        return {
            "status": now.status,
            "optimizer_status": now.optimizer_status,
            "indexed_vectors_count": now.indexed,
            "points_count": count,
            "segments_count": 2,
            "config": config,
            "payload_schema": {
                path: {"data_type": kind, "points": indexed_points[path]}
                | ({"params": self.schemas[path]} if path in self.schemas else {})
                for path, kind in self.indexes.items()
            },
            "update_queue": {"length": 0},
        }


def spaces(config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of each dense vector of a collection, by name."""
    found: dict[str, Any] = config.get("vectors") or {}
    return {"": found} if "size" in found else found


def check_config(config: dict[str, Any]) -> None:
    """Refuse the settings of a new collection that the recorded server refused."""
    for params in spaces(config).values():
        if params.get("memory") == "pinned":
            raise Refused(
                422,
                "Validation error in JSON body: [vectors.?.memory: `pinned` memory placement is "
                "not supported for dense vector storage]",
            )


def each_vector(query: Any) -> Iterator[tuple[str | None, Any]]:
    """Yield the vectors of a query and of what it fuses, with the names that they search in."""
    nearest = query.get("query")
    if isinstance(nearest, dict) and "nearest" in nearest:
        nearest = nearest["nearest"]
    yield query.get("using"), nearest
    for part in query.get("prefetch") or []:
        yield from each_vector(part)
