"""Reads from the event loop: they answer as blocking ones, fail as these do, and hold no thread."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import Awaitable, Callable, Iterator
from time import monotonic
from typing import TypeVar

import httpx
import numpy as np
import pytest
from qdrant_client import QdrantClient

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import (
    Collection,
    CollectionMetadata,
    Equals,
    Record,
    RemoteStore,
    Store,
    connect,
)
from decant.integrations.qdrant.coroutines.reads import loop_reads
from decant.integrations.qdrant.server.capabilities import Server
from decant.integrations.qdrant.server.retry import Backoff
from fault_server import Answer, FaultServer, Hang, refused, running
from gated_encoder import GatedEncoder, through
from qdrant_double import QdrantDouble, reached
from threads import wait_until

T = TypeVar("T")
Ask = Callable[[Collection], int]
WHERE = Equals("year", 1)
BUSY = refused(503, "Service is being restarted")


@pytest.fixture(params=["blocking", "loop"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Return what counts in a collection, and asks once for that: one way, then the other."""
    if request.param == "blocking":
        return lambda docs: docs.count(WHERE)
    return lambda docs: asyncio.run(docs.acount(WHERE))


@pytest.fixture
def faulty(encoder: HashEncoder) -> Iterator[FaultServer]:
    with running(FaultServer()) as server:
        server.card = CollectionMetadata.of(encoder).to_json()
        yield server


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def docs(faulty: FaultServer, pauses: list[float], encoder: HashEncoder) -> Iterator[Collection]:
    """Return an open collection of the faulty server, whose pauses are noted and not waited."""

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    client = QdrantClient(url=faulty.url, check_compatibility=False)
    backoff = Backoff(attempts=4, sleep=pauses.append, async_sleep=pause)
    docs = Collection.open(RemoteStore(Server(client, backoff=backoff)), "docs", encoder)
    faulty.only = "POST /collections/docs/points/count"
    yield docs
    client.close()


class TestFaults:
    def test_what_passes_is_asked_again_after_pauses(
        self, faulty: FaultServer, docs: Collection, pauses: list[float], ask: Ask
    ) -> None:
        faulty.faults.extend([BUSY, Answer(body='{"result": {"cou', cut=3), BUSY])
        assert ask(docs) == 7
        assert len(pauses) == 3

    def test_a_wait_that_the_server_asks_for_is_kept(
        self, faulty: FaultServer, docs: Collection, pauses: list[float], ask: Ask
    ) -> None:
        faulty.faults.append(refused(429, "Rate limiting exceeded", retry_after="9"))
        assert ask(docs) == 7
        assert pauses == [9.0]

    def test_after_the_last_attempt_it_is_given_up(
        self, faulty: FaultServer, docs: Collection, pauses: list[float], ask: Ask
    ) -> None:
        faulty.always = BUSY
        with pytest.raises(StoreError, match=r"counting in 'docs' at http.* failed after 4 attemp"):
            ask(docs)
        assert len(pauses) == 3

    @pytest.mark.parametrize(
        ("fault", "said"),
        [
            (refused(400, "no such thing"), "was refused: 400 no such thing"),
            (refused(403, "Forbidden"), "use a key that is allowed to do this"),
            (refused(507, "No space left on device"), "the server's disk is full"),
            (Answer(body="<html><title>nginx</title>", kind="text/html"), "a web page 'nginx'"),
        ],
    )
    def test_what_lasts_is_asked_once(
        self, faulty: FaultServer, docs: Collection, ask: Ask, fault: Answer, said: str
    ) -> None:
        faulty.always = fault
        asked = len(faulty.asked)
        with pytest.raises(StoreError, match=said):
            ask(docs)
        assert len([one for one in faulty.asked[asked:] if one.startswith(faulty.only)]) == 1

    @pytest.mark.parametrize("fault", [Hang(), Hang(drips=True)])
    def test_a_server_that_never_answers_is_given_up_in_time(
        self, faulty: FaultServer, encoder: HashEncoder, ask: Ask, fault: Hang
    ) -> None:
        with connect(faulty.url, timeout=1.5, attempts=2) as store:
            opened = Collection.open(store, "docs", encoder)
            faulty.always = fault
            began = monotonic()
            with pytest.raises(StoreError, match="failed after 2 attempts"):
                ask(opened)
            assert monotonic() - began < 10

    def test_a_closed_store_is_said_to_be(
        self, faulty: FaultServer, encoder: HashEncoder, ask: Ask
    ) -> None:
        with connect(faulty.url) as store:
            opened = Collection.open(store, "docs", encoder)
        with pytest.raises(StoreError, match="is closed; connect again"):
            ask(opened)

    def test_secrets_are_not_shown(
        self, faulty: FaultServer, encoder: HashEncoder, ask: Ask
    ) -> None:
        with connect(faulty.url, api_key="hush-hush") as store:
            opened = Collection.open(store, "docs", encoder)
            faulty.faults.append(refused(400, "no such key: hush-hush"))
            with pytest.raises(StoreError, match=r"no such key: \(hidden\)"):
                ask(opened)
            assert set(faulty.keys) == {"hush-hush"}

    def test_one_may_read_through_a_connection_that_only_reads(
        self, faulty: FaultServer, encoder: HashEncoder, ask: Ask
    ) -> None:
        with connect(faulty.url, read_only=True) as store:
            assert ask(Collection.open(store, "docs", encoder)) == 7

    def test_a_search_that_is_cancelled_is_not_sent_again(
        self, faulty: FaultServer, docs: Collection
    ) -> None:
        faulty.always = Hang()

        async def main() -> None:
            task = asyncio.create_task(docs.acount())
            await asyncio.to_thread(faulty.hanging.wait)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            asked = len(faulty.asked)
            faulty.released.set()
            await asyncio.sleep(0.05)
            assert len(faulty.asked) == asked

        asyncio.run(main())


def fill(docs: Collection) -> None:
    docs.add(
        [
            Record(
                id=f"{number}",
                text=f"text {number} about {('oaks', 'birches', 'ferns')[number % 3]}",
                source=f"{number % 4}.md",
                metadata={"year": number % 5},
            )
            for number in range(30)
        ]
    )


class TestLoops:
    def test_each_loop_has_a_client_that_ends_with_it(
        self, server: Store, encoder: HashEncoder
    ) -> None:
        docs = Collection.create(server, "docs", encoder)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(2):
                assert asyncio.run(docs.acount()) == 0
            gc.collect()
        assert _held(server) == 0

    def test_loops_of_several_threads_at_once(self, server: Store, encoder: HashEncoder) -> None:
        docs = Collection.create(server, "docs", encoder)
        fill(docs)
        found: list[int] = []

        async def search() -> None:
            hits = await asyncio.gather(*(docs.asearch("text") for _ in range(5)))
            found.extend(map(len, hits))

        workers = [threading.Thread(target=lambda: asyncio.run(search())) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert found == [10] * 20

    def test_closing_a_store_closes_the_client_of_the_loop(
        self, double: QdrantDouble, encoder: HashEncoder
    ) -> None:
        async def main() -> None:
            with reached(double) as store:
                async with store as same:
                    docs = Collection.create(same, "docs", encoder)
                    assert await docs.acount() == 0
                    assert _held(store) == 1
                assert _held(store) == 0
                with pytest.raises(StoreError, match="is closed"):
                    await docs.acount()
                await store.aclose()

        asyncio.run(main())

    @pytest.mark.parametrize("place", ["edge", "local"])
    def test_where_the_engine_is_in_this_process_threads_search(
        self, place: str, request: pytest.FixtureRequest, encoder: HashEncoder
    ) -> None:
        store: Store = request.getfixturevalue(place)
        docs = Collection.create(store, "docs", encoder)
        fill(docs)

        async def main() -> None:
            assert await loop_reads(store, "docs") is None
            assert len(await docs.asearch("text")) == 10
            assert await docs.acount() == 30
            assert len(await docs.aget(["1", "2"])) == 2
            await store.aclose()

        asyncio.run(main())

    def test_a_client_with_hooks_of_its_own_is_used_from_threads(
        self, double: QdrantDouble, encoder: HashEncoder
    ) -> None:
        seen: list[str] = []

        def note(request: httpx.Request) -> None:
            seen.append(request.url.path)

        client = QdrantClient(
            url=double.url, check_compatibility=False, event_hooks={"request": [note]}
        )
        docs = Collection.create(connect(client), "docs", encoder)
        assert asyncio.run(docs.acount()) == 0
        assert seen[-1] == "/collections/docs/points/count"
        client.close()

    def test_searches_that_wait_hold_no_thread(self, faulty: FaultServer, docs: Collection) -> None:
        faulty.only = "POST /collections/docs/points/query"
        faulty.always = Hang()
        vector = np.ones(16, np.float32)

        async def main() -> None:
            asked = len(faulty.asked)
            tasks = [asyncio.create_task(docs.asearch_vector(vector)) for _ in range(60)]
            await asyncio.to_thread(wait_until, lambda: len(faulty.asked) >= asked + 60)
            ours = [one for one in threading.enumerate() if one.name.startswith("decant-async")]
            faulty.always = None
            faulty.released.set()
            await asyncio.gather(*tasks)
            counts.append(len(ours))

        counts: list[int] = []
        before = len([one for one in threading.enumerate() if one.name.startswith("decant-async")])
        asyncio.run(main())
        assert counts[0] <= before + 2  # those that made the client, and looked at the collection

    def test_embedding_leaves_the_loop_free(self, server: Store) -> None:
        encoder = GatedEncoder()
        docs = Collection.create(server, "docs", encoder)
        encoder.gate.set()
        docs.add([Record(id="oak", text="an oak")])
        (hit,) = asyncio.run(_run(through(encoder, docs.asearch("an oak"))))
        assert hit.id == "oak"


def _held(store: Store) -> int:
    assert isinstance(store, RemoteStore)
    loops = store._server._loops
    assert loops is not None
    return len(loops._held)


async def _run(work: Awaitable[T]) -> T:
    return await work
