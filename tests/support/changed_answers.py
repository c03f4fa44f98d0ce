"""A proxy in front of a server, which passes requests on and may change what is answered."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

Change = Callable[[bytes], bytes]


def unchanged(body: bytes) -> bytes:
    """Return a body as it is."""
    return body


def forward(url: str, *, path: str = "", change: Change = unchanged) -> ASGIApp:
    """Return a proxy.

    Args:
        url: The server behind it.
        path: The end of the paths whose answers are changed.
        change: Returns the body that is sent in place of another.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("a proxy has nothing to start")
        body = (await receive()).get("body", b"")
        async with httpx.AsyncClient() as client:
            answer = await client.request(
                scope["method"],
                url + scope["path"],
                content=body,
                headers={"content-type": "application/json"},
            )
        headers = [(b"content-type", answer.headers["content-type"].encode())]
        start = {"type": "http.response.start", "status": answer.status_code, "headers": headers}
        await send(start)
        shown = change(answer.content) if scope["path"].endswith(path) else answer.content
        await send({"type": "http.response.body", "body": shown})

    return app
