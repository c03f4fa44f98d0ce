"""Open decant's store over a double, quickly and without pauses."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from qdrant_client import QdrantClient

from decant.integrations.qdrant import RemoteStore
from decant.integrations.qdrant.server.capabilities import Server
from decant.integrations.qdrant.server.optimize import Patience
from decant.integrations.qdrant.server.retry import Backoff

from .server import QdrantDouble


@contextmanager
def reached(
    double: QdrantDouble, *, api_key: str | None = None, patience: Patience | None = None
) -> Iterator[RemoteStore]:
    """Yield the remote store over a double, which asks three times without a pause."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Api key is used with an insecure connection")
        # Certificates, which no request here needs, take most of the time to load.
        client = QdrantClient(
            url=double.url,
            api_key=api_key,
            timeout=60,
            check_compatibility=False,
            verify=False,
        )
    backoff = Backoff(attempts=3, sleep=lambda _: None)
    server = Server(client, place=double.url, backoff=backoff, owned=True)
    with RemoteStore(server, patience=patience) as store:
        yield store
