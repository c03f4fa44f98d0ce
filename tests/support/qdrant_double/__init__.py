"""A double of a Qdrant 1.19 server over REST, for tests: answers as a recorded server did.

It takes the calls that decant makes, in one process, on a loopback port. Points lie in
qdrant-client's local mode; what that lacks is added here: payload indexes, API keys, strict mode,
aliases, limits of a request, the statuses and sentences of refusals. ``test_double.py`` replays
recorded exchanges against it. Not here: gRPC, groups, facets, snapshots, shards.
"""

from __future__ import annotations

from .answers import Refused
from .held import Progress
from .reaching import reached
from .server import Asked, Fault, QdrantDouble

__all__ = ["Asked", "Fault", "Progress", "QdrantDouble", "Refused", "reached"]
