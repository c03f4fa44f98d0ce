"""Snapshots of a collection on a Qdrant server: the server's own backups, made and kept by it.

A snapshot holds the collection with its vector index, at one moment, and can be restored by a
server of the same version or the next. :func:`dump` is portable, and works for folders, too.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import httpx

from decant.embedders import StoreError

from ..stores.input_errors import StoreInputError, check_name
from ..stores.protocol import Engine, Store
from .dump import appearing
from .stored_settings import is_server

if TYPE_CHECKING:
    from qdrant_client import models

    from ..server.store import RemoteStore

_PIECE = 2**20
_STILL = 300.0  # seconds without a byte after which a download has failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot that a server keeps.

    Args:
        name: Its name, which is also that of its file on the server.
        bytes: Its size.
        created: When it was made, as the server says; None if it does not.
        sha256: The checksum of its file; None if the server did not compute it.
    """

    name: str
    bytes: int
    created: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPatience:
    """How long to wait for a snapshot.

    Args:
        seconds: The longest wait.
        interval: Seconds between two looks.
        sleep: The function that waits.
        clock: The function that returns the time in seconds.
    """

    seconds: float = 3_600.0
    interval: float = 1.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


class Snapshots:
    """The snapshots of one collection.

    Args:
        store: A server, as :func:`connect` returned it.
        name: The collection, or an alias.
        patience: How long :meth:`create` waits.

    Raises:
        StoreInputError: The store is a folder or the client's local mode, which have none, or there
            is no such collection.
    """

    def __init__(
        self, store: Store, name: str, *, patience: SnapshotPatience | None = None
    ) -> None:
        check_name(name)
        if not is_server(store):
            kind = "a folder" if store.engine is Engine.EDGE else "the client's local mode"
            raise StoreInputError(
                f"{store.place} is {kind}, and only a Qdrant server makes snapshots; back the "
                f"collection up with dump(store, {name!r}, file) (`decant dump`)"
            )
        self._requests = cast("RemoteStore", store).requests
        self._name = store.find(name).name
        self._patience = patience or SnapshotPatience()

    def list(self) -> tuple[Snapshot, ...]:
        """Return the snapshots of the collection, sorted by name."""
        look = partial(self._requests.client.list_snapshots, self._name)
        found = self._requests.ask(f"listing the snapshots of {self._name!r}", look)
        return tuple(sorted(map(_shown, found), key=lambda one: one.name))

    def create(self) -> Snapshot:
        """Make a snapshot, and return it when the server has written it.

        The server is not kept waiting for: a request that takes longer than one may take would be
        sent again, and make another snapshot.

        Raises:
            StoreError: The server refuses, or has not written it within an hour.
        """
        before = {one.name for one in self.list()}
        begin = partial(self._requests.client.create_snapshot, self._name, wait=False)
        self._requests.ask(f"making a snapshot of {self._name!r}", begin)
        patience = self._patience
        began = patience.clock()
        while not (new := [one for one in self.list() if one.name not in before]):
            if patience.clock() - began >= patience.seconds:
                raise StoreError(
                    f"the server at {self._requests.place} has not written a snapshot of "
                    f"{self._name!r} within {patience.seconds:.0f} s; see its log, and list the "
                    "snapshots later"
                )
            patience.sleep(patience.interval)
        return new[-1]

    def delete(self, snapshot: str) -> None:
        """Delete a snapshot.

        Raises:
            StoreInputError: There is none of this name.
        """
        self._held(snapshot)
        gone = partial(self._requests.client.delete_snapshot, self._name, snapshot)
        self._requests.ask(f"deleting the snapshot {snapshot!r} of {self._name!r}", gone)

    def download(self, snapshot: str, file: str | Path) -> Path:
        """Copy a snapshot to a file, which appears when it is whole; return its path.

        Raises:
            StoreInputError: There is none of this name, or there is such a file already.
            StoreError: The server or the disk failed, or the checksum is not the server's.
        """
        path, held = Path(file), self._held(snapshot)
        if path.exists():
            raise StoreInputError(f"there is a file {path} already; give another name")
        digest = hashlib.sha256()
        what = f"downloading the snapshot {snapshot!r} of {self._name!r} at {self._requests.place}"
        with appearing(path) as stream:
            try:
                with self._http() as http, http.stream("GET", self._address(snapshot)) as answer:
                    answer.raise_for_status()
                    for piece in answer.iter_bytes(_PIECE):
                        digest.update(piece)
                        stream.write(piece)
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                raise StoreError(f"{what} was refused with the status {status}") from None
            except httpx.HTTPError as error:
                raise StoreError(f"{what} failed ({type(error).__name__}); try again") from None
            if held.sha256 not in (None, digest.hexdigest()):
                raise StoreError(f"{what} gave other bytes than the server wrote; try again")
        return path

    def recover(self, location: str) -> None:
        """Let the server replace what the collection holds by a snapshot.

        Args:
            location: The name of one of :meth:`list`, or a ``file://`` or ``http(s)://`` address
                that the server can read.

        Raises:
            StoreInputError: There is no snapshot of this name.
            StoreError: The server refuses; its message says why.
        """
        key = None
        if "://" not in location:
            self._held(location)
            key, location = self._options.get("api_key"), self._address(location)
        change = partial(self._requests.client.recover_snapshot, self._name, location, api_key=key)
        self._requests.ask(f"recovering {self._name!r} from a snapshot", change)

    @property
    def _options(self) -> dict[str, Any]:
        found: dict[str, Any] = self._requests.client.init_options
        return found

    def _held(self, snapshot: str) -> Snapshot:
        listed = self.list()
        if (found := next((one for one in listed if one.name == snapshot), None)) is not None:
            return found
        names = ", ".join(repr(one.name) for one in listed) or "none"
        raise StoreInputError(
            f"there is no snapshot {snapshot!r} of {self._name!r} at {self._requests.place}; there "
            f"are: {names}"
        )

    def _address(self, snapshot: str) -> str:
        from ..server.addresses import endpoint

        scheme = "https" if self._requests.place.startswith("https:") else "http"
        path = f"collections/{quote(self._name, safe='')}/snapshots/{quote(snapshot, safe='')}"
        return f"{scheme}://{endpoint(self._options)}/{path}"

    def _http(self) -> httpx.Client:
        # Not the client's own, whose requests end after a minute however much is to come.
        options = self._options
        headers = dict(options.get("headers") or {})
        if options.get("api_key"):
            headers["api-key"] = str(options["api_key"])
        verify = options.get("verify", True)
        return httpx.Client(headers=headers, verify=verify, timeout=_STILL)


def _shown(found: models.SnapshotDescription) -> Snapshot:
    return Snapshot(
        name=found.name,
        bytes=found.size,
        created=found.creation_time,
        sha256=found.checksum,
    )
