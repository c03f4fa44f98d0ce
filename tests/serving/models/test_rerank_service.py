"""Pairs of many clients: own scores for each, shared passes where the reranker allows them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from threading import Event
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from decant.embedders import HashReranker, ParityError
from decant.serving import (
    Overloaded,
    QueueSettings,
    RequestTooLarge,
    ServedReranker,
    ServerStopping,
    TextLimits,
)
from decant.serving.models import (
    ModelDirectory,
    PairGroup,
    RerankRequest,
    RerankService,
    Scores,
)
from loop_turns import until

FAULTY = "this one breaks the model"


class Gated(HashReranker):
    """A reranker that says what a pass has, and finishes it when it is told to.

    Args:
        once: Whether it says that it computes a query once for all of its passages.
    """

    def __init__(self, *, once: bool = False) -> None:
        super().__init__()
        self.reads_queries_once = once
        self.began, self.opened = Event(), Event()
        self.passes: list[list[tuple[str, str]]] = []

    def score(self, query: str, texts: Iterable[str], **options: Any) -> NDArray[np.float32]:
        """Score a pass of one query."""
        held = list(texts)
        if not self.began.is_set() or self.reads_queries_once:
            self._wait([(query, text) for text in held])
        return super().score(query, held, **options)

    def score_pairs(self, pairs: Iterable[tuple[str, str]], **options: Any) -> NDArray[np.float32]:
        """Score a pass of any queries."""
        held = list(pairs)
        self._wait(held)
        return super().score_pairs(held, **options)

    def _wait(self, pairs: list[tuple[str, str]]) -> None:
        self.passes.append(pairs)
        self.began.set()
        if not self.opened.wait(timeout=20):
            raise TimeoutError("nobody opened the gate")
        if any(FAULTY in pair for pair in pairs):
            raise ParityError("the vector of text 0 holds NaN or infinity")


def service_of(model: ServedReranker, **queue: int) -> RerankService:
    """Return a service of one reranker."""
    return RerankService(ModelDirectory([model]), queue=QueueSettings(**queue), limits=TextLimits())


def asked(model: ServedReranker, query: str, *texts: str) -> RerankRequest:
    """Return a request of one query."""
    return RerankRequest(model=model, groups=(PairGroup(query=query, texts=texts),))


async def joined(reranker: Gated, *queries: str) -> tuple[list[Scores], list[RerankRequest]]:
    """Let requests come while a pass is under way, and return their scores."""
    model = ServedReranker(name="ranker", reranker=reranker)
    wanted = [asked(model, query, f"text of {query}", "a text") for query in queries]
    async with service_of(model) as service:
        first = asyncio.create_task(service.score(asked(model, "first", "text")))
        assert await asyncio.to_thread(reranker.began.wait, 20)
        tasks = [asyncio.create_task(service.score(one)) for one in wanted]
        await until(lambda: len(service.workers["ranker"]._waiting) == 1 + len(wanted))
        reranker.opened.set()
        await first
        return list(await asyncio.gather(*tasks)), wanted


async def test_pairs_of_several_requests_share_a_pass_and_have_the_scores_they_have_alone() -> None:
    reranker = Gated()
    found, wanted = await joined(reranker, "a river", "a hill", "a river")
    assert [len(one) for one in reranker.passes] == [1, 6]
    for scores, request in zip(found, wanted, strict=True):
        (group,) = request.groups
        alone = HashReranker().score(group.query, group.texts, raw=True)
        np.testing.assert_array_equal(scores.raw, alone)


async def test_a_pass_has_one_query_where_that_is_computed_once() -> None:
    reranker = Gated(once=True)
    found, wanted = await joined(reranker, "a river", "a hill", "a river")
    assert [{query for query, _ in one} for one in reranker.passes] == [
        {"first"},
        {"a river"},
        {"a hill"},
    ]
    for scores, request in zip(found, wanted, strict=True):
        (group,) = request.groups
        alone = HashReranker().score(group.query, group.texts, raw=True)
        np.testing.assert_array_equal(scores.raw, alone)


async def test_queries_take_turns_behind_a_large_request() -> None:
    reranker = Gated(once=True)
    model = ServedReranker(name="ranker", reranker=reranker)
    async with service_of(model, pass_tokens=8, short_tokens=1) as service:
        large = asyncio.create_task(service.score(asked(model, "large", *["two words"] * 30)))
        assert await asyncio.to_thread(reranker.began.wait, 20)
        small = asyncio.create_task(service.score(asked(model, "small", "text")))
        await until(lambda: len(service.workers["ranker"]._waiting) == 2)
        reranker.opened.set()
        await small
        assert not large.done()
        assert len((await large).raw) == 30
    assert [one[0][0] for one in reranker.passes[:3]] == ["large", "large", "small"]


async def test_several_queries_of_a_request_keep_their_order() -> None:
    for once in (False, True):
        reranker = Gated(once=once)
        reranker.opened.set()
        model = ServedReranker(name="ranker", reranker=reranker)
        groups = tuple(PairGroup(query=f"text {n % 3}", texts=("text", f"{n}")) for n in range(7))
        async with service_of(model, pass_tokens=7) as service:
            found = await service.score(RerankRequest(model=model, groups=groups))
        pairs = [(group.query, text) for group in groups for text in group.texts]
        np.testing.assert_array_equal(found.raw, HashReranker().score_pairs(pairs))
        assert found.tokens == 3 * len(pairs)


async def test_a_client_that_goes_away_frees_its_place_and_is_not_scored() -> None:
    reranker = Gated()
    model = ServedReranker(name="ranker", reranker=reranker)
    async with service_of(model, capacity=6) as service:
        queue = service.workers["ranker"].queue
        running = asyncio.create_task(service.score(asked(model, "under", "way")))
        assert await asyncio.to_thread(reranker.began.wait, 20)
        gone = asyncio.create_task(service.score(asked(model, "a b", "c d e f")))
        await until(lambda: queue.tokens == 6)
        with pytest.raises(Overloaded, match="6 tokens wait already"):
            await service.score(asked(model, "a", "b"))
        with pytest.raises(RequestTooLarge, match="have 7 tokens"):
            await service.score(asked(model, "a", "b c d e f g"))
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert queue.tokens == 0
        reranker.opened.set()
        await running
    assert reranker.passes == [[("under", "way")]]


async def test_a_pair_that_fails_does_not_fail_the_others_of_its_pass() -> None:
    found, _ = await joined_with_fault()
    assert [type(one) for one in found] == [Scores, ParityError, Scores]


async def joined_with_fault() -> tuple[list[object], Gated]:
    """Let three requests share a pass, one of which no model survives."""
    reranker = Gated()
    model = ServedReranker(name="ranker", reranker=reranker)
    async with service_of(model) as service:
        first = asyncio.create_task(service.score(asked(model, "first", "text")))
        assert await asyncio.to_thread(reranker.began.wait, 20)
        texts = ("before", FAULTY, "after")
        tasks = [asyncio.create_task(service.score(asked(model, "text", one))) for one in texts]
        await until(lambda: len(service.workers["ranker"]._waiting) == 4)
        reranker.opened.set()
        await first
        return list(await asyncio.gather(*tasks, return_exceptions=True)), reranker


async def test_stopping_answers_what_was_accepted_and_takes_nothing_new() -> None:
    reranker = Gated()
    model = ServedReranker(name="ranker", reranker=reranker)
    service = service_of(model)
    async with service:
        assert service.workers.is_ready
        running = asyncio.create_task(service.score(asked(model, "under", "way")))
        assert await asyncio.to_thread(reranker.began.wait, 20)
        waiting = asyncio.create_task(service.score(asked(model, "river", "a river")))
        await until(lambda: service.workers["ranker"].queue.tokens == 3)
        stopping = asyncio.create_task(service.workers["ranker"].stop())
        await until(lambda: not service.workers.is_ready)
        with pytest.raises(ServerStopping):
            await service.score(asked(model, "new", "text"))
        reranker.opened.set()
        await stopping
    assert len((await running).raw) == len((await waiting).raw) == 1
