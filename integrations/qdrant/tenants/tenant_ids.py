"""The ids of a tenant's points: computed from the ids that they would have without tenants.

Two tenants may have the same record ids and the same documents, so their points need different ids.
Each tenant has a secret permutation of all UUIDs: a Feistel network of four rounds, which is a
pseudorandom permutation that cannot be told from a random one in both directions (Luby and Rackoff
1988, "How to construct pseudorandom permutations from pseudorandom functions"). The key is random
and lies in the collection's metadata, so nobody who may choose ids, but cannot read the metadata,
finds one that is stored as the id of another tenant's point. Invariant: ``of_stored`` undoes
``stored``.
"""

from __future__ import annotations

import json
import uuid
from hashlib import blake2b

from ..stores.point_ids import is_uuid

_ROUNDS = 4
_HALF = 64  # bits
_MASK = 2**_HALF - 1


class TenantIds:
    """Computes the stored ids of one tenant's points, and the other way round.

    Args:
        key: Of the collection's metadata.
        tenant: The tenant.

    >>> ids = TenantIds("key", "acme")
    >>> ids.of_stored(ids.stored("0f0e4f7a-6f3e-4a52-9d4a-9f3f8c1f6f0e"))
    '0f0e4f7a-6f3e-4a52-9d4a-9f3f8c1f6f0e'
    """

    def __init__(self, key: str, tenant: str) -> None:
        self._keys = [
            # JSON, so that no two lists of parts give the same text.
            blake2b(json.dumps([key, tenant, number]).encode(), digest_size=32).digest()
            for number in range(_ROUNDS)
        ]

    def stored(self, identity: str) -> str:
        """Return the id under which a point is stored; what is no UUID stays."""
        if not is_uuid(identity):
            return identity
        left, right = _halves(identity)
        for key in self._keys:
            left, right = right, left ^ _mix(key, right)
        return _joined(left, right)

    def of_stored(self, identity: str) -> str:
        """Return the id of a point that is stored under ``identity``; what is no UUID stays."""
        if not is_uuid(identity):
            return identity  # another program's
        left, right = _halves(identity)
        for key in reversed(self._keys):
            left, right = right ^ _mix(key, left), left
        return _joined(left, right)


def _mix(key: bytes, half: int) -> int:
    mixed = blake2b(half.to_bytes(_HALF // 8), key=key, digest_size=_HALF // 8)
    return int.from_bytes(mixed.digest())


def _halves(identity: str) -> tuple[int, int]:
    number = uuid.UUID(identity).int
    return number >> _HALF, number & _MASK


def _joined(left: int, right: int) -> str:
    return str(uuid.UUID(int=left << _HALF | right))
