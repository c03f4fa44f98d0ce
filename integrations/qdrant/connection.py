"""Find the store that a place names: a folder for Edge, an address or a client for a server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from decant.embedders import StoreError

from .edge.store import EdgeStore
from .read_only import ReadOnlyEdgeStore
from .server.clients.addresses import check_folder, grpc_port_of, is_address, read_address
from .stores.protocol import Store

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


API_KEY = "QDRANT_API_KEY"
"""The environment variable with the key of a server, which Qdrant's own tools read, too."""


def connect(  # noqa: PLR0913 - each is a setting of a connection, named as in qdrant-client
    where: str | Path | QdrantClient,
    *,
    api_key: str | None = None,
    grpc: bool = False,
    grpc_port: int | None = None,
    headers: Mapping[str, str] | None = None,
    ca: str | Path | None = None,
    read_only: bool = False,
    timeout: float | None = None,
    attempts: int | None = None,
) -> Store:
    """Return the store at ``where``; close it when done, or use it in a ``with`` block.

    A server is contacted at once, so a wrong address or key fails here.

    Args:
        where: A folder, which Qdrant Edge keeps in this process; or the address of a Qdrant server,
            ``http://…`` or ``https://…``, where no port means 6333; or a client of one with your
            own settings, which you close yourself. A text that looks like an address without its
            ``http://`` is refused; ``./localhost:6333`` is a folder.
        api_key: For an address: the key of a server that requires one; None: the environment
            variable ``QDRANT_API_KEY``, if it is set; "": no key.
        grpc: For an address: whether all requests go over gRPC, to port 6334. An address with
            another port than 6333 needs ``grpc_port``.
        grpc_port: For an address: the server's port for gRPC, which is then used.
        headers: For an address: headers that go with each request, for example to a proxy; over
            gRPC as metadata.
        ca: For an address: a PEM file with the only authorities whose certificates are trusted.
        read_only: Whether every write is refused before it is sent or stored, payload indexes that
            opening a collection would make included. One process at a time may open a collection
            in a folder, all the same.
        timeout: For a server: the seconds after which a request fails for good, with all its
            repetitions and the pauses between them; 120 by default, at least 1. One attempt gets
            0.45 of it (a client that you pass has its own timeout for that), so a server that takes
            a request and never answers is asked twice. Calls that need several requests, such as
            indexing, may take longer in all.
        attempts: For a server: how often a request is sent at most, if its fault may be temporary;
            7 by default, with pauses that grow to some 30 seconds in all.

    Raises:
        StoreError: The folder is a file, or looks like an address; or there is no server, or too
            old a one, or it refuses the key; or an option does not apply to this place.
            TypeError: ``where`` is of another type.
    """
    names_server = isinstance(where, str) and is_address(where)
    if not names_server:
        options = {
            "an API key": api_key or None,  # None, for example, of an empty environment variable
            "grpc": grpc or None,
            "grpc_port": grpc_port,
            "headers": headers,
            "ca": ca,
        }
        _refuse(options, where, only="an http(s) address")
    if isinstance(where, str | Path) and not names_server:
        _refuse({"timeout": timeout, "attempts": attempts}, where, only="a server")
        check_folder(where)
        return ReadOnlyEdgeStore(where) if read_only else EdgeStore(where)
    # These modules import qdrant-client, which a folder does not need.
    from .server.capabilities import reach, through
    from .server.clients.client import Access
    from .server.retry import Backoff
    from .server.store import RemoteStore

    if not isinstance(where, str):
        server = through(where, timeout=timeout, attempts=attempts, read_only=read_only)
        return RemoteStore(server)
    address = read_address(where)
    access = Access(
        address=address,
        api_key=(os.environ.get(API_KEY) if api_key is None else api_key) or None,
        grpc_port=grpc_port_of(address) if grpc and grpc_port is None else grpc_port,
        ca=None if ca is None else Path(ca),
        headers=dict(headers or {}),
    )
    backoff = Backoff.within(timeout, attempts=attempts)
    return RemoteStore(reach(access, backoff, read_only=read_only))


def _refuse(options: Mapping[str, object], where: object, *, only: str) -> None:
    for name, value in options.items():
        if value is not None:
            given = repr(where) if isinstance(where, str | Path) else f"a {type(where).__name__}"
            raise StoreError(f"{name} goes with {only} only, not with {given}")
