"""Restore a dump slowly, to be killed meanwhile; run by ``test_kill.py`` on its own.

Arguments: the dump, the folder of the index, and how: as the collection ``copy`` of an index
("edge"), for the tenant ``copy`` of its collection ``docs`` ("tenant"), or into the folder of
qdrant-client's local mode ("local"). A line is written after each block.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from qdrant_client import QdrantClient

from decant.integrations.qdrant import Store, connect, restore


@contextmanager
def opened(folder: str, how: str) -> Iterator[Store]:
    """Yield the store in a folder, and close it."""
    if how == "local":
        client = QdrantClient(path=folder)
        with connect(client) as store:
            yield store
        client.close()
        return
    with connect(folder) as store:
        yield store


def main() -> None:
    """Restore the collection."""
    _, file, folder, how = sys.argv
    place: dict[str, str] = {"tenant": "copy"} if how == "tenant" else {}

    def tell(done: int, _total: int) -> None:
        sys.stdout.write(f"{done}\n")
        sys.stdout.flush()
        time.sleep(0.2)

    with opened(folder, how) as store:
        name = "docs" if place else "copy"
        restore(file, store, name, tenant=place.get("tenant"), progress=tell)


if __name__ == "__main__":
    main()
