"""Bodies that come slowly or not at all, and clients that go, on the level of ASGI messages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, MutableMapping
from threading import Event
from typing import Any

import pytest

from decant.embedders import HashEncoder, Vectors
from decant.serving import ServedModel, ServerSettings, create_app

Message = MutableMapping[str, Any]
SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "POST",
    "path": "/embed",
    "raw_path": b"/embed",
    "query_string": b"",
    "headers": [(b"content-type", b"application/json")],
}
BODY = b'{"inputs": "a text"}'


class Held(HashEncoder):
    """An encoder that begins, and goes on when it is let go."""

    def __init__(self) -> None:
        super().__init__(4)
        self.began, self.let_go = Event(), Event()

    def encode(self, texts: Iterable[str], **options: Any) -> Vectors:
        self.began.set()
        assert self.let_go.wait(timeout=20)
        return super().encode(texts, **options)


async def answered(
    encoder: HashEncoder, messages: Iterable[Message], *, until: Event | None = None
) -> list[Message]:
    """Return what the application sends to a client.

    Args:
        encoder: The encoder of its only model.
        messages: What comes from the client; nothing more comes then.
        until: The last message comes once this is set.
    """
    app = create_app(
        [ServedModel(name="m", encoder=encoder)], settings=ServerSettings(body_seconds=0.05)
    )
    *first, last = messages
    coming, sent = iter(first), list[Message]()
    is_last_sent = False

    async def receive() -> Message:
        nonlocal is_last_sent
        if (message := next(coming, None)) is not None:
            return message
        if is_last_sent:
            await asyncio.Event().wait()
        is_last_sent = True
        if until is not None:
            assert await asyncio.to_thread(until.wait, 20)
        return last

    async def send(message: Message) -> None:
        sent.append(message)

    async with app.router.lifespan_context(app):
        await asyncio.wait_for(app(dict(SCOPE), receive, send), timeout=20)
        if isinstance(encoder, Held):
            encoder.let_go.set()
    return sent


async def test_a_body_that_does_not_come_in_time_is_a_408() -> None:
    sent = await answered(
        HashEncoder(4), [{"type": "http.request", "body": BODY[:5], "more_body": True}]
    )
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    assert b"did not come within 0.05 seconds" in sent[1]["body"]


async def test_a_client_that_goes_while_it_sends_is_not_answered_with_a_fault() -> None:
    start = {"type": "http.request", "body": BODY[:5], "more_body": True}
    sent = await answered(HashEncoder(4), [start, {"type": "http.disconnect"}])
    assert sent[0]["status"] == 499


@pytest.mark.parametrize("pieces", [1, 3])
async def test_a_client_that_goes_while_it_waits_is_let_go(pieces: int) -> None:
    """The answer comes while its pass is still held: nobody waits for the encoder."""
    encoder = Held()
    size = -(-len(BODY) // pieces)
    parts = [BODY[start : start + size] for start in range(0, len(BODY), size)]
    messages: list[Message] = [
        {"type": "http.request", "body": part, "more_body": number < len(parts)}
        for number, part in enumerate(parts, 1)
    ]
    sent = await answered(encoder, [*messages, {"type": "http.disconnect"}], until=encoder.began)
    assert sent[0]["status"] == 499
