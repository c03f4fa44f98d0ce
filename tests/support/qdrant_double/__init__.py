"""A double of a Qdrant server over REST, for tests: answers as a recorded server of 1.19 did.

It takes the calls that decant makes, in one process, on a loopback port. Points lie in
qdrant-client's local mode; what that lacks is added here: payload indexes, API keys, strict mode,
aliases, limits of a request, the statuses and sentences of refusals. ``test_double.py`` replays
recorded exchanges against it. With ``version="1.20.0"`` it also scores a text index, by Qdrant
Edge; no server of 1.20 was recorded. Not here: groups, facets, snapshots, shards.
"""

from __future__ import annotations

from .answers import Refused
from .held import Progress
from .reaching import STRICT, reached, serve
from .server import Asked, Fault, QdrantDouble

__all__ = ["STRICT", "Asked", "Fault", "Progress", "QdrantDouble", "Refused", "reached", "serve"]
