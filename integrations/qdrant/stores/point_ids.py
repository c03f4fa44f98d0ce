"""Ids of points, computed where a text has an owner, so that writing twice has no effect."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from dataclasses import dataclass
from enum import StrEnum

from .protocol import Payload

_CANONICAL = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ANY_FORM = re.compile(r"[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)
# Drawn once; a change would make all stored points unknown.
_NAMESPACE = uuid.UUID("5f0c2d1e-9b0a-5c7e-8a53-6f4e1d2c3b4a")


class Kind(StrEnum):
    """The kind of a point."""

    CHUNK = "chunk"
    RECORD = "record"
    DOCUMENT = "document"
    NOTE = "note"
    TOMBSTONE = "tombstone"


@dataclass(frozen=True, slots=True, order=True)
class DocumentKey:
    """What identifies a document: its root, "" for none, and its source."""

    root: str
    source: str

    @property
    def marker_id(self) -> str:
        """The id of the document's marker."""
        return _uuid5(Kind.DOCUMENT, self.root, self.source)

    def chunk_id(self, text_sha256: str, occurrence: int) -> str:
        """Return the id of the document's n-th chunk with this text, counted from 0."""
        return _uuid5(Kind.CHUNK, self.root, self.source, text_sha256, str(occurrence))

    @classmethod
    def of(cls, payload: Payload) -> DocumentKey:
        """Return the document of a stored chunk or marker."""
        return cls(root=str(payload["root"]), source=str(payload["source"]))


def record_id(identity: str) -> str:
    """Return the point id of a record: a UUID stays itself, other strings are hashed.

    >>> record_id("0f0e4f7a-6f3e-4a52-9d4a-9f3f8c1f6f0e")
    '0f0e4f7a-6f3e-4a52-9d4a-9f3f8c1f6f0e'
    """
    if is_uuid(identity):
        return identity
    return _uuid5(Kind.RECORD, identity)


def adopted_id(identity: str) -> str:
    """Return the point id of a record in an adopted collection: a UUID in any form is canonical.

    >>> adopted_id("0F0E4F7A6F3E4A529D4A9F3F8C1F6F0E")
    '0f0e4f7a-6f3e-4a52-9d4a-9f3f8c1f6f0e'
    """
    return str(uuid.UUID(identity)) if is_any_uuid(identity) else record_id(identity)


def note_id(*parts: str) -> str:
    """Return the point id of a note with this content."""
    return _uuid5(Kind.NOTE, *parts)


def is_uuid(identity: str) -> bool:
    """Return whether a string is a UUID in canonical form."""
    return _CANONICAL.fullmatch(identity) is not None


def is_any_uuid(identity: str) -> bool:
    """Return whether a string is a UUID, in upper case or without hyphens, too."""
    return _ANY_FORM.fullmatch(identity) is not None


def _uuid5(*parts: str) -> str:
    # The text of uuid.uuid5 without its object, in half the time: a run needs five ids for each
    # small document. JSON, so that no two lists of parts give the same text.
    name = _NAMESPACE.bytes + json.dumps(parts).encode()
    made = bytearray(hashlib.sha1(name, usedforsecurity=False).digest()[:16])
    made[6] = made[6] & 0x0F | 0x50  # the version and the variant, by RFC 9562
    made[8] = made[8] & 0x3F | 0x80
    digits = made.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
