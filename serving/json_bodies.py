"""Large JSON without holding the event loop: read and written in a thread, written in pieces.

A thread alone would not do: orjson keeps Python's lock for as long as one call takes, and 10,000
vectors take it a tenth of a second. Between pieces the lock is handed over, so other requests wait
for one piece. What is read cannot be cut: its parsing, 5 to 10 ms for each MB, is one piece.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TypeVar

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

T = TypeVar("T")

# To hand work to a thread costs the loop 0.04 ms. So large a body, about 100 short texts, is read
# in 0.5 ms, and so many numbers, 40 vectors of 384, are written in as much.
LARGE_BODY = 16_384
LARGE_ANSWER = 16_384

_ITEMS = 64  # of a list at a time: of vectors of 384 that is 0.25 MB, in less than a millisecond
_SMALLEST_PIECE = 65_536  # smaller ones would be more packets than a connection needs
_JSON = "application/json"


async def in_thread_if(is_large: bool, work: Callable[[], T]) -> T:  # noqa: FBT001 - reads as said
    """Return what the work gives, done in a thread if it is large, else at once."""
    return await asyncio.to_thread(work) if is_large else work()


def json_pieces(content: object) -> list[bytes]:
    """Return JSON in pieces that give it when they are joined; what is not large is one piece.

    Args:
        content: What orjson takes, float32 arrays included. These are written with the digits that
            give the same float32 again.

    >>> json_pieces({"data": [1, 2], "model": "minilm"})
    [b'{"data":[1,2],"model":"minilm"}']
    """
    found, piece = list[bytes](), bytearray()
    for part in _parts(content):
        piece += part
        if len(piece) >= _SMALLEST_PIECE:
            found.append(bytes(piece))
            piece.clear()
    return [*found, bytes(piece)] if piece or not found else found


class PiecewiseResponse(Response):
    """A JSON answer whose pieces are sent one by one; other tasks run between them.

    Args:
        pieces: The body, at least one piece.
        status: The status.
        headers: Headers in addition to type and length of the body.
    """

    def __init__(
        self, pieces: list[bytes], *, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        length = {"content-length": str(sum(map(len, pieces)))}
        super().__init__(None, status, {**(headers or {}), **length}, _JSON)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send the head and the pieces."""
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        *first, last = self._pieces
        for piece in first:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)  # a client that reads quickly never makes the server wait
        await send({"type": "http.response.body", "body": last, "more_body": False})


def _parts(content: object) -> Iterator[bytes]:
    if isinstance(content, dict):
        before = b"{"
        for key, value in content.items():
            yield before + orjson.dumps(key) + b":"
            yield from _parts(value)
            before = b","
        yield b"}" if content else b"{}"
    elif isinstance(content, list) and len(content) > _ITEMS:
        for start in range(0, len(content), _ITEMS):
            items = _dumped(content[start : start + _ITEMS])[1:-1]
            yield (b"," if start else b"[") + items
        yield b"]"
    else:
        yield _dumped(content)


def _dumped(content: object) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
