"""API keys: where they come from, and whether a request has one of them.

Only hashes of keys are kept, and each is compared in constant time with what came, so that neither
a message, a log, a memory dump nor the time of an answer tells a key.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from .errors import KeyRefused, SettingsError

_SHORTEST = 16
_LARGEST_FILE = 65_536
_SCHEME = "bearer "


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeys:
    """The keys that a server takes; without any, it asks for none.

    Args:
        digests: The SHA-256 of each key.
    """

    digests: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, keys: Iterable[str]) -> Self:
        """Return the hashes of some keys.

        Raises:
            SettingsError: A key is shorter than 16 characters, or holds something else than visible
                ASCII; the message holds its number and nothing of it.
        """
        digests = []
        for number, key in enumerate(keys, 1):
            if len(key) < _SHORTEST or not all("!" <= one <= "~" for one in key):
                raise SettingsError(
                    f"API key {number} must have at least {_SHORTEST} letters, digits and signs, "
                    "without blanks; `openssl rand -hex 32` makes one"
                )
            digests.append(_digest(key))
        return cls(digests=tuple(dict.fromkeys(digests)))

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a file with one key a line; empty lines and those that begin with # are passed over.

        Raises:
            SettingsError: There is no key in it, a key is too short, or it is no small text file.
        """
        with file.open("rb") as stream:
            raw = stream.read(_LARGEST_FILE + 1)
        try:
            text = raw.decode("utf-8") if len(raw) <= _LARGEST_FILE else ""
        except UnicodeDecodeError:
            text = ""
        lines = [line.strip() for line in text.splitlines()]
        keys = [line for line in lines if line and not line.startswith("#")]
        if not keys:
            raise SettingsError(f"{file} holds no API keys; write one a line")
        return cls.of(keys)

    def __len__(self) -> int:
        return len(self.digests)

    def joined(self, other: Self) -> Self:
        """Return the keys of both."""
        return type(self)(digests=tuple(dict.fromkeys((*self.digests, *other.digests))))

    def check(self, *candidates: str | None) -> None:
        """Refuse a request that has none of the keys.

        Args:
            candidates: What the request has where a key may be, for example the header
                ``Authorization``, with or without ``Bearer``.

        Raises:
            KeyRefused: Keys are asked for, and none of the candidates is one.
        """
        if not self.has(*candidates):
            what = "the API key is wrong" if any(candidates) else "an API key is needed"
            raise KeyRefused(f"{what}; send it as Authorization: Bearer KEY, or as X-Api-Key: KEY")

    def has(self, *candidates: str | None) -> bool:
        """Return whether a candidate is one of the keys, or none is asked for."""
        given = [_bare(one) for one in candidates if one]
        # Every key is compared with every candidate, whatever was found before.
        found = [
            hmac.compare_digest(_digest(one), known) for one in given for known in self.digests
        ]
        return not self.digests or any(found)


def _bare(candidate: str) -> str:
    is_scheme = candidate[: len(_SCHEME)].lower() == _SCHEME
    return candidate[len(_SCHEME) :].strip() if is_scheme else candidate


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()
