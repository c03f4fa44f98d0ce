"""JSON in pieces is the JSON in one, and large work leaves the event loop to others."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import MutableMapping
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from decant.serving import ServerSettings
from decant.serving.http import read_json, vectors_response
from decant.serving.json_bodies import (
    LARGE_ANSWER,
    LARGE_BODY,
    PiecewiseResponse,
    json_pieces,
)

Message = MutableMapping[str, Any]

leaves = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5)
contents = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.builds(lambda item, count: [item] * count, inner, st.integers(60, 200))
    ),
    max_leaves=6,
)


@given(contents)
def test_pieces_are_the_json_of_the_whole(content: object) -> None:
    assert b"".join(json_pieces(content)) == orjson.dumps(content)


def test_pieces_of_vectors_are_small_and_hold_every_bit() -> None:
    rows = [*np.random.default_rng(0).standard_normal((1_000, 384)).astype(np.float32)]
    pieces = json_pieces({"object": "list", "data": [{"embedding": row} for row in rows]})
    assert max(map(len, pieces)) < 400_000 < sum(map(len, pieces))
    found = [one["embedding"] for one in json.loads(b"".join(pieces))["data"]]
    assert np.array(found, np.float32).tobytes() == np.stack(rows).tobytes()


async def test_an_answer_is_sent_in_pieces_and_others_run_between_them() -> None:
    sent: list[Message] = []
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def send(message: Message) -> None:
        sent.append({**message, "turn": turns})

    task = asyncio.create_task(others())
    await PiecewiseResponse([b"[1", b",2", b"]"])({"type": "http"}, unread, send)
    task.cancel()
    head, *bodies = sent
    assert (b"content-length", b"5") in head["headers"]
    assert b"".join(one["body"] for one in bodies) == b"[1,2]"
    assert [one["more_body"] for one in bodies] == [True, True, False]
    turn = [one["turn"] for one in bodies]
    assert turn == sorted(set(turn))


async def unread() -> Message:
    """Fail: nothing is read while an answer is sent."""
    raise AssertionError("nothing is to be read")


@pytest.mark.parametrize(("size", "is_large"), [(LARGE_BODY, False), (LARGE_BODY + 1, True)])
async def test_a_large_body_is_parsed_and_read_outside_the_loops_thread(
    size: int, is_large: bool
) -> None:
    body = b'"' + b"a" * (size - 2) + b'"'

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {"type": "http", "headers": [(b"content-type", b"application/json")]}
    found, thread = await read_json(
        Request(scope, receive), ServerSettings(), lambda data: (data, threading.get_ident())
    )
    assert found == "a" * (size - 2)
    assert (thread != threading.get_ident()) == is_large


@pytest.mark.parametrize(("numbers", "is_large"), [(LARGE_ANSWER, False), (LARGE_ANSWER + 1, True)])
async def test_a_large_answer_is_written_outside_the_loops_thread(
    numbers: int, is_large: bool
) -> None:
    threads: list[int] = []

    def write() -> object:
        threads.append(threading.get_ident())
        return [[1.0]]

    await vectors_response(write, numbers=numbers)
    assert (threads != [threading.get_ident()]) == is_large
