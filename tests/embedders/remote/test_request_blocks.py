"""Texts are cut into requests that a server takes, in order, and nothing is lost."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decant.embedders import HashEncoder, RemoteEncoder, Role, TextError
from decant.embedders.remote.request_blocks import BlockLimits, request_blocks
from decant.serving import QueueSettings, ServedModel, ServerSettings, TextLimits, create_app
from served_encoder import Reply, faulty
from threads import in_thread, wait_until

LOCAL = HashEncoder(dim=8, max_tokens=64, sparse=True)


@given(
    st.lists(st.text(min_size=1, max_size=40), max_size=300),
    st.integers(1, 100),
    st.integers(200, 5_000),
    st.integers(1, 500),
)
def test_every_text_is_in_one_request_in_order_and_within_the_limits(
    texts: list[str], count: int, body: int, tokens: int
) -> None:
    limits = BlockLimits(
        texts=count, text_bytes=160, body_bytes=body, tokens=tokens, text_tokens=20
    )
    blocks = list(request_blocks(iter(texts), limits))
    assert [text for block in blocks for text in block.texts] == texts
    assert [block.is_last for block in blocks] == [False] * (len(blocks) - 1) + [True] * bool(texts)
    for block in blocks:
        sizes = [len(text.encode()) for text in block.texts]
        assert 1 <= len(sizes) <= count
        assert len(sizes) == 1 or sum(sizes) <= body
        assert len(sizes) == 1 or sum(min(size, 20) for size in sizes) <= tokens


def test_requests_stay_within_the_limits_that_the_server_announces() -> None:
    settings = ServerSettings(
        limits=TextLimits(texts=7, text_bytes=400),
        queue=QueueSettings(capacity=400),
        body_bytes=2_000,
    )
    app = create_app([ServedModel(name="m", encoder=LOCAL)], settings=settings)
    texts = [f'{"word " * (number % 60)}"{number}"' for number in range(300)]
    with faulty(app) as server, RemoteEncoder.connect(server.url) as encoder:
        found = encoder.encode(texts, role=Role.PASSAGE)
        wanted = LOCAL.encode(texts, role=Role.PASSAGE)
        np.testing.assert_array_equal(found.dense, wanted.dense)
        for asked in server.asked:
            assert len(asked.body) <= 2_000
            assert len(json.loads(asked.body)["texts"]) <= 7
        with pytest.raises(TextError, match=r"text 1 has 401 bytes.* takes 400"):
            encoder.encode(["a", "b" * 401], role=Role.PASSAGE)


def test_a_request_that_is_too_large_after_all_is_halved() -> None:
    too_large = json.dumps({"error": "too many tokens", "kind": "too_large"}).encode()
    texts = [f"text {number}" for number in range(9)]
    app = create_app([ServedModel(name="m", encoder=LOCAL)])
    with faulty(app) as server, RemoteEncoder.connect(server.url) as encoder:
        server.asked.clear()
        server.faults.extend([Reply(status=413, body=too_large)] * 2)
        found = encoder.encode(texts, role=Role.PASSAGE).dense
    np.testing.assert_array_equal(found, LOCAL.encode(texts, role=Role.PASSAGE).dense)
    assert [len(json.loads(one.body)["texts"]) for one in server.asked] == [9, 4, 2, 2, 5]
    assert [json.loads(one.body)["first"] for one in server.asked] == [0, 0, 0, 2, 4]


def test_several_requests_are_under_way_and_a_bounded_number() -> None:
    app = create_app([ServedModel(name="m", encoder=LOCAL)])
    with faulty(app) as server, RemoteEncoder.connect(server.url) as encoder:
        server.flows.clear()
        thread = in_thread(lambda: encoder.encode(["a river"] * 9_000, role=Role.PASSAGE))
        wait_until(lambda: server.most_underway == 4)
        server.flows.set()
        thread.join()
        assert server.most_underway == 4
