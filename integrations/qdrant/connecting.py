"""Find the store that a place names: a folder for Edge, an address or a client for a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from decant.embedders import StoreError

from .edge import EdgeStore
from .store import Store

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


def connect(where: str | Path | QdrantClient, *, api_key: str | None = None) -> Store:
    """Return the store at ``where``; close it when done, or use it in a ``with`` block.

    Args:
        where: A folder, which Qdrant Edge keeps in this process; or the address of a Qdrant
            server, ``http://…`` or ``https://…``; or a client of one, built as you like it, which
            stays yours to close.
        api_key: For an address that asks for one.

    Raises:
        StoreError: The folder is a file; or there is no server, or too old a one; or an API key
            is given for something that takes none.
    """
    address = where if isinstance(where, str) and "://" in where else None
    if address is not None and not address.startswith(("http://", "https://")):
        raise StoreError(f"{where!r} is no address of a Qdrant server; it starts with http(s)://")
    if address is None and api_key is not None:
        raise StoreError(f"an API key goes with an http(s) address only, not with {where!r}")
    if address is None and isinstance(where, str | Path):
        return EdgeStore(where)
    # These load qdrant-client, which a folder does not need.
    from .remote import RemoteStore
    from .server import Server, reach

    if isinstance(where, str | Path):
        return RemoteStore(reach(str(where), api_key))
    return RemoteStore(Server(where))
