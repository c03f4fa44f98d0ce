"""The address of a served encoder, and what a client needs to be let in.

Invariant: no message and no ``repr`` of this module holds a key, or a password of an address.
"""

from __future__ import annotations

import os
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import RemoteError

API_KEY = "DECANT_API_KEY"
"""The environment variable with the key of a server."""

_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_SECRET = re.compile(r"(?<=://)[^/?#\s]*@|[?#]\S*")
_BLANK = re.compile(r"[\s\x00-\x1f\x7f]")


def is_address(place: str | Path) -> bool:
    """Return whether a place is an address, valid or not, and no folder.

    >>> is_address("http://encoder:6900"), is_address("./minilm")
    (True, False)
    """
    return isinstance(place, str) and _SCHEME.match(place) is not None


def read_address(text: str) -> str:
    """Return an address without the slash at its end.

    Raises:
        RemoteError: It is none, or holds a user, a password or a query, which are not sent.
    """
    shown = _SECRET.sub("", text)
    try:
        parts = urlsplit(text)
        is_valid = bool(parts.hostname) and parts.port != 0 and not _BLANK.search(text)
    except ValueError:
        is_valid = False
    if not is_valid:
        raise RemoteError(
            f"{shown!r} is no address of an encoder; it has the form http://HOST:PORT, or "
            "http://HOST:PORT/models/NAME for one of several models"
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise RemoteError(
            f"the address {shown} also holds a user, a password or a query, which are not sent; "
            f"leave that out, and give a key as api_key= of RemoteAccess, or as {API_KEY}"
        )
    return text.rstrip("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteAccess:
    """How a client is let in to the server of an encoder, and how long it waits.

    Args:
        api_key: The server's key; None: the environment variable ``DECANT_API_KEY``, if it is set;
            "": no key. It is never shown.
        timeout: The longest time, in seconds, in which a request has to succeed, with all its
            repetitions and the time that a busy server asks to wait.
        ca: A PEM file with the certificates of the only authorities to trust; None: those that
            every program trusts.

    Raises:
        RemoteError: The key cannot be sent, the timeout is not above 0, or the file holds no
            certificate.
    """

    api_key: str | None = field(default=None, repr=False)
    timeout: float = 300.0
    ca: str | Path | None = None

    def __post_init__(self) -> None:
        if not 0 < self.timeout < float("inf"):
            raise RemoteError(f"timeout={self.timeout}: give a number of seconds above 0")
        if not all("!" <= one <= "~" for one in self.key or ""):
            raise RemoteError(
                "the API key holds a blank, a line break or another character that cannot be sent; "
                f"strip it (it comes from api_key=, or from {API_KEY})"
            )
        self.trusted()

    @property
    def key(self) -> str | None:
        """The key that is sent; None if there is none."""
        return (os.environ.get(API_KEY) if self.api_key is None else self.api_key) or None

    def trusted(self) -> ssl.SSLContext | None:
        """Return what decides which certificates are trusted; None for the usual authorities.

        Raises:
            RemoteError: The file ``ca`` cannot be read, or holds no certificate.
        """
        if self.ca is None:
            return None
        try:
            return ssl.create_default_context(cafile=self.ca)
        except ssl.SSLError:
            raise RemoteError(
                f"{str(self.ca)!r} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----); "
                "give the file of the authority that signed the server's certificate as ca="
            ) from None
        except OSError as error:
            raise RemoteError(f"ca={str(self.ca)!r} cannot be read: {error.strerror}") from None
