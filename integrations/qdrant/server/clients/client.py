"""Build the client of a Qdrant server: its address, key, certificates and the time of one attempt.

Only this module calls ``qdrant_client.QdrantClient(…)``.
"""

from __future__ import annotations

import re
import ssl
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx
from qdrant_client import QdrantClient

from decant.embedders import StoreError

from .addresses import Address, without_secrets

_CONNECT = 10.0  # seconds within which a reachable machine accepts a connection
ENDS = "decant_ends"
"""The name of an extension of requests: when the answer has to be there."""
_INSECURE = "Api key is used with an insecure connection"
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110 5.6.2
_OWN_HEADERS = frozenset({"content-length", "content-type", "user-agent"})
_READING = frozenset(
    {
        "close",
        "collection_cluster_info",
        "collection_exists",
        "count",
        "facet",
        "get_aliases",
        "get_collection",
        "get_collection_aliases",
        "get_collections",
        "info",
        "init_options",
        "list_snapshots",
        "query_batch_points",
        "query_points",
        "query_points_groups",
        "retrieve",
        "scroll",
    }
)


class AttemptLimit:
    """Bounds the time of every REST request that a client sends.

    The client rounds its timeout up to whole seconds, and it applies to each read from the network,
    so a server that sends a byte now and then would never exceed it.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_request(self, request: httpx.Request) -> None:
        """Bound the steps of a request."""
        steps = dict.fromkeys(("connect", "read", "write", "pool"), self.seconds)
        steps["connect"] = min(self.seconds, _CONNECT)
        ends = time.monotonic() + self.seconds
        request.extensions = {**request.extensions, "timeout": steps, ENDS: ends}

    def on_response(self, response: httpx.Response) -> None:
        """Bound the reading of the answer's body as a whole."""
        ends = response.request.extensions[ENDS]
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _BoundedStream(response.stream, ends)


class _BoundedStream(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream, ends: float) -> None:
        self._stream = stream
        self._ends = ends

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            if time.monotonic() > self._ends:
                raise httpx.ReadTimeout("the answer did not end in time")
            yield chunk

    def close(self) -> None:
        self._stream.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach a server.

    Args:
        address: The server's address.
        api_key: The server's key, if it requires one. It is never shown.
        grpc_port: The server's port for gRPC, which is then used; None for REST.
        ca: A PEM file with the certificates of the only authorities to trust; None for those that
            every program on this machine trusts.
        headers: Headers that go with every request, over gRPC as metadata. They are never shown.

    Raises:
        StoreError: The key or a header is not valid, the port is invalid, or the file does not
            exist or holds no certificate.
    """

    address: Address
    api_key: str | None = field(default=None, repr=False)
    grpc_port: int | None = None
    ca: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        key, port = self.api_key, self.grpc_port
        if key is not None and not _fits_header(key):
            raise StoreError(
                "the API key begins or ends with a blank, or holds a line break or another "
                "character that no header may hold; strip it"
            )
        if port is not None and not 1 <= port <= 65_535:
            raise StoreError(f"grpc_port={port}: ports are 1 to 65535, and 6334 is Qdrant's own")
        if self.ca is not None and not self.address.is_encrypted:
            raise StoreError(
                f"ca= goes with https:// only, and {self.address.url} is not encrypted; leave ca "
                "out, or write https://"
            )
        for name, value in self.headers.items():
            _check_header(name, value)
        self._trusted()

    def build(self, limit: AttemptLimit) -> QdrantClient:
        """Return a client, which has sent nothing yet.

        Args:
            limit: Bounds each REST request, and may be changed later. The timeout of gRPC requests
                is its present value, rounded down to seconds.

        Raises:
            StoreError: The client refuses the address.
        """
        options: dict[str, Any] = {}
        hooks = {"request": [limit.on_request], "response": [limit.on_response]}
        if self.headers:
            # gRPC takes names in small letters only.
            options["headers"] = {name.lower(): value for name, value in self.headers.items()}
        if (trusted := self._trusted()) is not None:
            options["verify"] = trusted
        if self.grpc_port is not None:
            options |= {"prefer_grpc": True, "grpc_port": self.grpc_port}
            if self.ca is not None:
                options["grpc_options"] = {"root_certificates": self.ca.read_bytes()}
        try:
            with self._without_warning():
                return QdrantClient(
                    url=self.address.url,
                    api_key=self.api_key,
                    timeout=max(1, int(limit.seconds)),
                    check_compatibility=False,  # the client would only warn
                    event_hooks=hooks,
                    cloud_inference=True,  # any server's: texts go out as they are
                    **options,
                )
        except ValueError as error:
            raise StoreError(
                f"{self.address.url!r} is no address of a Qdrant server: "
                f"{without_secrets(str(error))}"
            ) from None

    def _trusted(self) -> ssl.SSLContext | None:
        if self.ca is None:
            return None
        try:
            return ssl.create_default_context(cafile=self.ca)
        except ssl.SSLError:
            raise StoreError(
                f"{str(self.ca)!r} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----); "
                "give the file of the authority that signed the server's certificate as ca="
            ) from None
        except OSError as error:
            raise StoreError(
                f"the file ca={str(self.ca)!r} cannot be read: {error.strerror}"
            ) from None

    def _without_warning(self) -> AbstractContextManager[object]:
        # The client warns of a key over plain http, which is no risk within this machine.
        if self.api_key is None or not self.address.is_loopback:
            return nullcontext()
        return _ignoring_insecure()


@contextmanager
def _ignoring_insecure() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_INSECURE)
        yield


class Write(Exception):
    """A method that does not only read was called on a client that may only read."""


class _ReadingClient:
    """Passes the methods that only read on to a client; every other method raises :class:`Write`.

    Methods are known by name as reading, so one that a later client brings is refused.
    """

    def __init__(self, client: QdrantClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> object:
        return getattr(self._client, name) if name in _READING else _refuse


def reading_only(client: QdrantClient) -> QdrantClient:
    """Return a client of the same server that raises :class:`Write` instead of sending a write."""
    return cast("QdrantClient", _ReadingClient(client))


def _refuse(*_arguments: object, **_options: object) -> object:
    raise Write


def _check_header(name: object, value: object) -> None:
    if not (isinstance(name, str) and isinstance(value, str)):
        raise TypeError(
            f"headers map names to values, both strings; got a {type(name).__name__} with a "
            f"{type(value).__name__}"
        )
    if name.lower() == "api-key":
        raise StoreError("the header 'api-key' holds the server's key; give it as api_key=")
    if name.lower() in _OWN_HEADERS:
        raise StoreError(f"the header {name!r} is set by the client; leave it out of headers")
    if not _HEADER_NAME.fullmatch(name):
        raise StoreError(f"{name!r} cannot name a header; use letters, digits and '-'")
    if not _fits_header(value):
        raise StoreError(
            f"the value of the header {name!r} begins or ends with a blank, or holds a line break "
            "or another character that no header may hold"
        )


def _fits_header(value: str) -> bool:
    return value.isascii() and value.isprintable() and value == value.strip()
