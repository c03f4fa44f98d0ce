"""Index while a read hangs, say so, and end as Ctrl-C wants; ``test_interrupt.py`` starts it.

A process of its own: a signal to a worker of pytest may end the worker.
"""

from __future__ import annotations

import signal
import sys
import threading

from decant.embedders import HashEncoder
from decant.integrations.qdrant import Collection, CollectionMetadata, Document, connect
from fault_server import FaultServer, Hang, running


def main() -> int:
    """Return 0 if the signal ended the run while the read was hanging."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored in a parent
    encoder = HashEncoder()
    with running(FaultServer()) as server:
        server.card = CollectionMetadata.of(encoder).to_json()
        with connect(server.url) as store:
            # The server stores nothing, a lease neither.
            store.lease = lambda _name, _mark: None  # type: ignore[attr-defined]
            collection = Collection.open(store, "docs", encoder)
            server.only, server.always = "POST /collections/docs/points", Hang()
            threading.Thread(target=_tell, args=(server,), daemon=True).start()
            try:
                collection.index([Document(source=f"{n}.txt", text=f"{n}") for n in range(100)])
            except KeyboardInterrupt:
                hangs = not server.released.is_set()
                writers = [one for one in threading.enumerate() if one.name == "decant-write"]
                return 0 if hangs and not writers else 3
    return 4


def _tell(server: FaultServer) -> None:
    server.hanging.wait()
    sys.stdout.write("hanging\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
