"""Rerankers over a real port: keys, metrics, hostile bodies, gone clients, and integrations."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from threading import Event
from typing import Any

import httpx
import numpy as np
import pytest
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode

from decant.embedders import HashEncoder, HashReranker, load_reranker
from decant.integrations.langchain import DecantReranker
from decant.integrations.llama_index import DecantRerank
from decant.integrations.qdrant import Collection, Record, connect
from decant.serving import ApiKeys, ServedModel, ServedReranker, create_app
from served_app import Served, served
from threads import wait_until

KEY, SECRET = "a-key-of-some-length", "text-of-a-client"
QUERY = "where does the river run"
TEXTS = ["a hill", "where rivers run the river runs", "the river"]
LOCAL = HashReranker()


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    """Serve a reranker and an encoder to those that have a key."""
    models: list[ServedModel | ServedReranker] = [
        ServedReranker(name="ranker", reranker=LOCAL),
        ServedModel(name="minilm", encoder=HashEncoder(dim=8)),
    ]
    with served(create_app(models, keys=ApiKeys.of([KEY]))) as found:
        yield found


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients of decant have the key."""
    monkeypatch.setenv("DECANT_API_KEY", KEY)


def post(server: Served, path: str, body: bytes, **headers: str) -> httpx.Response:
    """Return the answer to a body, sent with a right key."""
    sent = {"content-type": "application/json", "authorization": f"Bearer {KEY}", **headers}
    return httpx.post(server.url + path, content=body, headers=sent, timeout=20)


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/score", "/models/ranker/rerank"])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"query": "text-of-a-client", "texts": [NaN]}', 400),
        (b'{"query": "text-of-a-client \\ud800", "texts": ["a"]}', 400),
        (b'{"query": ["text-of-a-client"], "texts": {}, "documents": 5, "groups": 7}', 400),
        (b'{"groups": [{"query": "text-of-a-client", "texts": [[]]}], "digest": "a"}', 400),
        (b'{"text-of-a-client": 1}', 400),
        (b'{"query": ' + b"[" * 100_000, 400),
    ],
    ids=["empty", "list", "nan", "surrogate", "types", "nested", "key", "deep"],
)
def test_a_bad_body_is_refused_and_no_text_of_it_is_logged(
    path: str, body: bytes, status: int, server: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = post(server, path, body)
    assert answer.status_code == status
    assert len(answer.content) < 600
    assert SECRET not in caplog.text


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/score", "/models/ranker/score"])
def test_a_key_is_asked_for(path: str, server: Served) -> None:
    answer = post(server, path, b"{}", authorization="Bearer another-key-of-some-length")
    assert answer.status_code == 401
    assert httpx.get(f"{server.url}/reranker").status_code == 401


def test_what_a_reranker_reads_is_in_the_metrics(server: Served) -> None:
    body = json.dumps({"query": QUERY, "texts": TEXTS}).encode()
    assert post(server, "/rerank", body).status_code == 200
    shown = httpx.get(f"{server.url}/metrics", headers={"x-api-key": KEY}).text
    for line in (
        'decant_texts_total{lane="short",model="ranker"}',
        'decant_tokens_total{lane="short",model="ranker"}',
        'decant_waiting_tokens{lane="long",model="ranker"} 0.0',
        'decant_requests_total{route="/rerank",status="200"}',
    ):
        assert line in shown
    assert httpx.get(f"{server.url}/ready").text == "ready"


class Slow(HashReranker):
    """A reranker that counts its passes and is held in the first."""

    def __init__(self, gate: Event) -> None:
        super().__init__()
        self.gate = gate
        self.passes = 0

    def score_pairs(self, pairs: Any, **options: Any) -> Any:
        """Wait for the gate, then score."""
        self.passes += 1
        assert self.gate.wait(timeout=20)
        return super().score_pairs(pairs, **options)


def test_a_client_that_goes_away_leaves_the_queue() -> None:
    slow = Slow(Event())
    body = json.dumps({"query": QUERY, "texts": TEXTS}).encode()
    head = b"POST /rerank HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    sent = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with served(create_app([ServedReranker(name="slow", reranker=slow)])) as server:

        def waiting() -> float:
            shown = httpx.get(f"{server.url}/metrics").text
            name = 'decant_waiting_tokens{lane="short",model="slow"} '
            return float(shown.partition(name)[2].partition("\n")[0])

        with server.connect() as first:
            first.sendall(sent)
            wait_until(lambda: slow.passes == 1)
            with server.connect() as gone:
                gone.sendall(sent)
                wait_until(lambda: waiting() > 0)
            wait_until(lambda: waiting() == 0)
            slow.gate.set()
            assert b" 200 " in first.recv(20, socket.MSG_WAITALL)
    assert slow.passes == 1


def test_langchain_and_llama_index_take_the_address(server: Served) -> None:
    wanted = LOCAL.score(QUERY, TEXTS)
    compressor = DecantReranker.from_bundle(f"{server.url}/models/ranker", top_n=2)
    found = compressor.compress_documents([Document(text) for text in TEXTS], QUERY)
    assert [one.page_content for one in found] == [TEXTS[1], TEXTS[2]]
    scores = [one.metadata["relevance_score"] for one in found]
    np.testing.assert_array_equal(np.array(scores, np.float32), wanted[[1, 2]])
    compressor.reranker.close()

    best = DecantRerank.from_bundle(server.url, top_n=1)
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in TEXTS]
    (node,) = best.postprocess_nodes(nodes, query_str=QUERY)
    assert node.text == TEXTS[1]
    assert node.score == pytest.approx(float(wanted[1]))
    again = DecantRerank.from_dict(best.to_dict())
    assert [one.text for one in again.postprocess_nodes(nodes, query_str=QUERY)] == [TEXTS[1]]
    for one in (best, again):
        one.reranker.close()


async def test_searches_in_coroutines_are_reranked_by_a_server(
    server: Served, tmp_path: Any
) -> None:
    encoder = HashEncoder(dim=8)
    with connect(tmp_path / "index") as store, load_reranker(server.url) as reranker:
        docs = Collection.create(store, "docs", encoder)
        docs.add([Record(text=text) for text in TEXTS])
        wanted = docs.search(QUERY, rerank=LOCAL)
        assert docs.search(QUERY, rerank=reranker) == wanted
        assert await docs.asearch(QUERY, rerank=reranker) == wanted
