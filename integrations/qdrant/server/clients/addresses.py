"""Read the address of a Qdrant server, and distinguish an address from the name of a folder.

Invariant: no value and no message from this module contains a secret of an address.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ...stores.input_errors import StoreInputError

DEFAULT_PORT = 6333
"""The port that qdrant-client uses if an address names none, for https too."""

GRPC_PORT = 6334
"""The port at which a server speaks gRPC if its own port is 6333."""

_DRIVE = re.compile(r"[A-Za-z]:")  # of Windows
_HOST_AND_PORT = re.compile(r"[^\s:]*:\d{1,5}|\[[^\]]*\](:\d{1,5})?")
# A semicolon that ends an address in a sentence does not belong to it.
_URL = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s'\"]*@)?([^\s?#;'\"]*)(?:[?#][^\s'\"]*|;[^\s'\"]+)?"
)
_QUERY = re.compile(r"[?#;]")
# Folders, too, have names with two labels (my.store, notes.old) or a number at the end.
_HOST_OF_DOMAIN = re.compile(r"([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.){2,}[A-Za-z]{2,}")
_BLANK = re.compile(r"[\s\x00-\x1f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The address of a server.

    Args:
        scheme: ``http`` or ``https``.
        host: A name or an IP address; an IPv6 address is in brackets.
        port: The port; 6333 if the address names none.
        path: The prefix of a proxy before the server's own paths, with a slash first; or "".
        names_port: Whether the address names a port.
    """

    scheme: str
    host: str
    port: int
    path: str
    names_port: bool = True

    @property
    def url(self) -> str:
        """The address with its port, without a slash at the end."""
        return f"{self.scheme}://{self.host}:{self.port}{self.path}"

    @property
    def is_encrypted(self) -> bool:
        """Whether requests are encrypted."""
        return self.scheme == "https"

    @property
    def is_loopback(self) -> bool:
        """Whether requests stay on this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False


def read_address(text: str) -> Address:
    """Return the parts of an address.

    Raises:
        StoreInputError: It is no address of a Qdrant server, or holds a user, a password or a
            query, which would not be sent.
    """
    # A password may hold any character, so all before the last @ may be one.
    shown = without_secrets(re.sub(r"(?<=://).*@", "", text, flags=re.DOTALL))
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        # Python's message would show the unreadable text.
        why = str(error)
        if "@" in text:
            why = "the part before the host cannot be read"
        elif _QUERY.search(text):
            why = "the part after the host or the port cannot be read"
        raise _no_address(shown, why) from None
    if parts.scheme not in {"http", "https"}:
        why = "it starts with http:// or https:// (for gRPC too; give its port as grpc_port=)"
        raise _no_address(shown, why)
    if not host or _BLANK.search(text):
        raise _no_address(shown, "a host follows http(s)://, and nothing in it is blank")
    if port == 0:
        raise _no_address(shown, "ports are 1 to 65535")
    if parts.username is not None or parts.password is not None:
        raise StoreInputError(
            f"the address {shown} names a user or a password, which a Qdrant server does not read "
            "and messages would show; give the server's key as api_key=, or, if a proxy asks for "
            "the password, headers={'authorization': 'Basic …'}"
        )
    if _QUERY.search(text):
        raise StoreInputError(
            f"the address {shown} goes on after its path, with what is never sent; leave that out, "
            "and give a key as api_key="
        )
    return Address(
        scheme=parts.scheme,
        host=f"[{host}]" if ":" in host else host,
        port=port or DEFAULT_PORT,
        path=parts.path.rstrip("/"),
        names_port=port is not None,
    )


def grpc_port_of(address: Address) -> int:
    """Return the port at which a server speaks gRPC if it has Qdrant's own ports.

    Raises:
        StoreInputError: The address has another port than 6333, so that what listens at 6334 may
            be another server.
    """
    if address.port != DEFAULT_PORT:
        raise StoreInputError(
            f"grpc=True means port {GRPC_PORT} for a server at port {DEFAULT_PORT}, and "
            f"{address.url} has another one; give the port at which it speaks gRPC as grpc_port="
        )
    return GRPC_PORT


def is_address(text: str) -> bool:
    """Return whether a text is an address, valid or not, and not the name of a folder."""
    return "://" in text


def check_folder(folder: str | Path) -> None:
    r"""Refuse the name of a folder that looks like an address.

    ``./localhost:6333``, ``/srv/localhost:6333`` and ``C:\index`` are folders, and so is every
    :class:`Path` that does not begin with ``http:``. A host without a port looks like one with two
    dots and more, ``db.example.com``, or behind two slashes; not if there is such a folder.

    Raises:
        StoreInputError: It looks like an address, is empty or holds a null character; the message
            says what to write.
    """
    text = str(folder)
    if not text.strip():
        raise StoreInputError(f"{text!r} names no folder and no server; write . for this folder")
    if "\0" in text:
        raise StoreInputError(f"{text!r} holds a null character, which no folder's name does")
    if text == ":memory:":
        raise StoreInputError(
            "there is no store at ':memory:'; use a temporary folder, or hand over "
            "QdrantClient(':memory:') for a test"
        )
    if text.lower().startswith(("http:", "https:")):
        raise StoreInputError(
            f"{text.partition(':')[0]}: starts an address only with two slashes behind it, as in "
            "http://localhost:6333; write ./ before it for a folder"
        )
    if not isinstance(folder, Path):
        _check_host(text)


def _check_host(text: str) -> None:
    """Refuse a text that begins with a host."""
    given, slashes = text.strip(), ""
    if given.startswith("//") and not given.startswith("///"):
        given, slashes = given[2:], "//"
    first = re.split(r"[/\\]", given, maxsplit=1)[0].rpartition("@")[2]
    first = _QUERY.split(first, maxsplit=1)[0]
    if _DRIVE.match(first[:2]) or not (_is_host(first) or _is_domain(given, first)):
        return
    if (slashes or not _is_host(first)) and Path(text).is_dir():
        return
    host, _, port = first.rpartition(":") if _HOST_AND_PORT.fullmatch(first) else (first, "", "")
    if first.startswith("[") and first.endswith("]"):
        host, port = first, ""
    elif ":" in host and not host.startswith("["):
        host = f"[{host}]"
    scheme = "https" if port == "443" else "http"
    meant = f"{scheme}://{host or 'localhost'}:{port or DEFAULT_PORT}"
    raise StoreInputError(
        f"{slashes + first!r} looks like an address; write {meant}, or ./{first} for a folder"
    )


def _is_host(text: str) -> bool:
    if text.lower() == "localhost" or _HOST_AND_PORT.fullmatch(text):
        return True
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_domain(given: str, first: str) -> bool:
    return given.strip("/") == first and _HOST_OF_DOMAIN.fullmatch(first) is not None


def without_secrets(text: str) -> str:
    """Return an address, or a message with addresses in it, without users and queries."""
    return _URL.sub(r"\1\2", text)


def _no_address(shown: str, why: str) -> StoreInputError:
    return StoreInputError(f"{shown!r} is no address of a Qdrant server: {why}")


def endpoint(options: Mapping[str, object]) -> str:
    """Return the host, port and path that a client speaks to, without scheme and credentials.

    Two clients of one server have the same.

    Args:
        options: What a ``QdrantClient`` was built with, its ``init_options``.

    >>> endpoint({"url": "https://user:secret@Host/qdrant/?api_key=secret"})
    'host:6333/qdrant'
    >>> endpoint({"host": "host", "port": 6333, "prefix": "qdrant"})
    'host:6333/qdrant'
    """
    named = next((options[n] for n in ("url", "location", "host") if options.get(n)), "localhost")
    address = str(named)
    parts = urlsplit(address if "://" in address else f"//{address}")
    port = parts.port or options.get("port") or DEFAULT_PORT
    path = (parts.path.strip("/") or str(options.get("prefix") or "")).strip("/")
    return f"{parts.hostname or ''}:{port}/{path}".rstrip("/")
