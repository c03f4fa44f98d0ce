"""A double of a Qdrant server over REST and gRPC, for tests: answers as a recorded one did.

It takes the calls that decant makes, in one process, on loopback ports. Points lie in
qdrant-client's local mode; what that lacks is added here: payload indexes, API keys, strict mode,
aliases, limits of a request, the statuses and sentences of refusals. ``test_double.py`` replays
what a server of 1.19 answered against it. With ``version="1.20.0"`` it also scores a text index, by
Qdrant Edge; no server of 1.20 was recorded. With a service as its ``inference``, texts may stand
for vectors. Not here: groups, facets, shards that hold points.
"""

from __future__ import annotations

from .answers import Refused
from .grpc_front import grpc_front
from .held import Progress
from .inference import Service, ServiceAnswer
from .reaching import MIDDLING, STRICT, reached, serve
from .server import Asked, Fault, QdrantDouble

__all__ = [
    "MIDDLING",
    "STRICT",
    "Asked",
    "Fault",
    "Progress",
    "QdrantDouble",
    "Refused",
    "Service",
    "ServiceAnswer",
    "grpc_front",
    "reached",
    "serve",
]
