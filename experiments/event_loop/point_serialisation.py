"""Serialise points for a server: vectors as lists or as numpy rows, over gRPC and as JSON.

Nothing is sent. The sides take turns; the medians of the rounds are printed.

Usage: python experiments/event_loop/point_serialisation.py [--points 128] [--width 384]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
from qdrant_client import grpc, models
from qdrant_client.conversions.conversion import RestToGrpc
from qdrant_client.http.api.points_api import jsonable_encoder

from decant.integrations.qdrant.server.points import to_struct
from decant.integrations.qdrant.stores.protocol import Point


def as_lists(points: Sequence[Point]) -> list[models.PointStruct]:
    """Return points with lists, as decant passes them."""
    return [to_struct(point) for point in points]


def by_hand(points: Sequence[Point], vector: Callable[[Any], Any]) -> bytes:
    """Return the bytes of a gRPC request whose vectors do not pass through the client's models.

    The client's conversion refuses named numpy vectors, so that its own structures are made here.
    """
    made = [
        grpc.PointStruct(
            id=grpc.PointId(uuid=point.id),
            vectors=grpc.Vectors(
                vectors=grpc.NamedVectors(
                    vectors={"dense": grpc.Vector(dense=grpc.DenseVector(data=vector(point.dense)))}
                )
            ),
            payload=RestToGrpc.convert_payload(point.payload),
        )
        for point in points
    ]
    request: bytes = grpc.UpsertPoints(collection_name="docs", points=made).SerializeToString()
    return request


def over_grpc(structs: Sequence[models.PointStruct]) -> bytes:
    """Return the bytes of a gRPC request."""
    converted = [RestToGrpc.convert_point_struct(struct) for struct in structs]
    request: bytes = grpc.UpsertPoints(collection_name="docs", points=converted).SerializeToString()
    return request


def as_json(structs: Sequence[models.PointStruct]) -> bytes:
    """Return the bytes of a REST request, as the client writes them."""
    points = models.PointsList.model_construct(points=list(structs))
    written: Any = jsonable_encoder(points)
    return written if isinstance(written, bytes) else str(written).encode()


def by_orjson(points: Sequence[Point]) -> bytes:
    """Return the bytes of a REST request that orjson writes, numpy rows as they are."""
    import orjson

    body = {
        "points": [
            {"id": point.id, "vector": {"dense": point.dense}, "payload": point.payload}
            for point in points
        ]
    }
    written: bytes = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    return written


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=128)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=60)
    given = parser.parse_args()
    draw = np.random.default_rng(0)
    points = [
        Point(
            id=f"00000000-0000-4000-8000-{number:012}",
            payload={"kind": "record", "text": "words " * 60, "id": str(number), "metadata": {}},
            dense=draw.standard_normal(given.width).astype(np.float32),
        )
        for number in range(given.points)
    ]
    sides: dict[str, Callable[[], bytes]] = {
        "gRPC, lists": lambda: over_grpc(as_lists(points)),
        "gRPC, numpy": lambda: by_hand(points, lambda row: row),
        "gRPC, by hand": lambda: by_hand(points, lambda row: row.tolist()),
        "REST, the client": lambda: as_json(as_lists(points)),
    }
    if find_spec("orjson"):
        sides["REST, orjson"] = lambda: by_orjson(points)
    taken: dict[str, list[float]] = {name: [] for name in sides}
    sizes: dict[str, int] = {}
    for _ in range(given.rounds):
        for name, side in sides.items():
            began = time.perf_counter()
            sizes[name] = len(side())
            taken[name].append(time.perf_counter() - began)
    print(f"qdrant-client {version('qdrant-client')}, {given.points} points of {given.width}")
    for name, seconds in taken.items():
        print(f"{name:17} {1e3 * statistics.median(seconds):6.2f} ms, {sizes[name]:,} bytes")


if __name__ == "__main__":
    main()
