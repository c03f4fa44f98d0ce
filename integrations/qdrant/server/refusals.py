"""The message and status of a server's refusal, the same over REST and gRPC.

A refusal arrives as a ``StoreError`` whose cause is the client's own exception; this module reads
that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import grpc  # type: ignore[import-untyped]
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import UnexpectedResponse

from decant.embedders import StoreError

from ..stores.protocol import DENSE, PREFIX

NOT_FOUND, FORBIDDEN, BAD_REQUEST, TOO_MANY = 404, 403, 400, 429
_STATUS = {
    grpc.StatusCode.NOT_FOUND: NOT_FOUND,
    grpc.StatusCode.PERMISSION_DENIED: FORBIDDEN,
    grpc.StatusCode.INVALID_ARGUMENT: BAD_REQUEST,
    grpc.StatusCode.RESOURCE_EXHAUSTED: TOO_MANY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A server's refusal.

    Args:
        status: The status code of REST; None if there is none.
        detail: The server's message.
    """

    status: int | None = None
    detail: str = ""

    @classmethod
    def of(cls, error: Exception) -> Refusal:
        """Return the refusal behind an error; it is empty for other errors."""
        match error.__cause__:
            case UnexpectedResponse() as cause:
                return cls(status=cause.status_code, detail=_sentence(cause))
            case ResourceExhaustedResponse() as cause:
                return cls(status=TOO_MANY, detail=str(cause.message))
            case grpc.Call() | grpc.aio.AioRpcError() as cause:
                return cls(status=_STATUS.get(cause.code()), detail=str(cause.details()))
            case _:
                return cls()

    @property
    def missing_index(self) -> tuple[str, list[str]] | None:
        """The path for which strict mode requires an index, and the types that it accepts."""
        found = re.search(
            r'Index required but not found for "(.+)"(?: of one of the following types: '
            r"\[(.*?)\])?\. Help",
            self.detail,
        )
        return None if found is None else (found[1], re.findall(r"\w+", found[2] or ""))

    @property
    def lacks_dense_vectors(self) -> bool:
        """Whether the collection has no dense vectors, so it is none that decant searches."""
        return f"Not existing vector name error: {DENSE}" in self.detail

    @property
    def has_too_many_indexes(self) -> bool:
        """Whether strict mode allows no further index."""
        return "maximum number of payload indices" in self.detail


def without_vectors(name: str, place: str, error: StoreError) -> StoreError:
    """Return the message for a collection whose vectors were dropped after a migration."""
    # The second is what the client's local mode says.
    is_local = re.search(rf"Dense vector ({DENSE}|{PREFIX}) is not found", str(error))
    if not is_local and not Refusal.of(error).lacks_dense_vectors:
        return error
    return StoreError(
        f"the vectors of the collection {name!r} at {place} are gone, probably because they were "
        "dropped after a migration; open the collection again by its name, with the encoder of "
        "the new vectors"
    )


def _sentence(response: UnexpectedResponse) -> str:
    try:
        return str(response.structured()["status"]["error"])
    except (ValueError, KeyError, TypeError):  # plain text, or from a proxy before the server
        return response.content.decode(errors="replace")
