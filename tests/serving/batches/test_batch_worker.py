"""The worker of a model: own vectors for each client, none lost, none waiting for the departed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from threading import Event

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decant.embedders import HashEncoder, Output, ParityError, Role, Vectors
from decant.serving import Overloaded, QueueSettings, RequestTooLarge, ServerStopping
from decant.serving.batches import BatchWorker, Lane, PassKey, PassReport, Work
from loop_turns import until

QUERY, PASSAGE = (PassKey(role=role) for role in (Role.QUERY, Role.PASSAGE))
FAULTY = "this one breaks the model"
SMALL = QueueSettings(pass_tokens=6, short_tokens=3)
encoder = HashEncoder(dim=8, sparse=True, tokens=True)


def encode(texts: Sequence[str], key: PassKey) -> Vectors:
    """Encode as a served model does; one text is one that no model survives."""
    if FAULTY in texts:
        raise ParityError("the vector of text 0 holds NaN or infinity")
    return encoder.encode(texts, role=key.role, outputs=key.outputs)


def work(*texts: str, key: PassKey = PASSAGE) -> Work[PassKey, str]:
    """Return work in which a word is a token."""
    return Work(key=key, texts=texts, tokens=tuple(max(1, len(text.split())) for text in texts))


class Gate:
    """An ``encode`` that says when a pass began, and finishes it when it is told to."""

    def __init__(self) -> None:
        self.began, self.opened = Event(), Event()
        self.passes: list[list[str]] = []

    def __call__(self, texts: Sequence[str], key: PassKey) -> Vectors:
        self.passes.append([*texts])
        self.began.set()
        if not self.opened.wait(timeout=20):
            raise TimeoutError("nobody opened the gate")
        return encode(texts, key)

    async def first_pass(self) -> None:
        """Return when the first pass is under way."""
        assert await asyncio.to_thread(self.began.wait, 20)


texts_of_clients = st.lists(
    st.lists(st.text("ab ", min_size=1, max_size=12), min_size=1, max_size=6), max_size=10
)
keys = st.builds(
    PassKey,
    role=st.sampled_from(Role),
    outputs=st.frozensets(st.sampled_from([Output.SPARSE, Output.TOKEN_EMBEDDINGS])),
)


@settings(max_examples=40)
@given(texts_of_clients, st.data())
def test_every_text_gets_the_vectors_that_it_has_alone(
    clients: list[list[str]], data: st.DataObject
) -> None:
    wanted = [(texts, data.draw(keys)) for texts in clients]

    async def run() -> list[Vectors]:
        async with BatchWorker(encode, SMALL) as worker:
            return await asyncio.gather(
                *(worker.encode(work(*texts, key=key)) for texts, key in wanted)
            )

    for (texts, key), found in zip(wanted, asyncio.run(run()), strict=True):
        for row, text in enumerate(texts):
            alone = encoder.encode([text], role=key.role, outputs=key.outputs)
            assert found.dense[row].tobytes() == alone.dense[0].tobytes()
            assert (found.sparse is None) == (Output.SPARSE not in key.outputs)
            if found.sparse is not None and alone.sparse is not None:
                assert [part.tolist() for part in found.sparse[row]] == [
                    part.tolist() for part in alone.sparse[0]
                ]
            if found.token_embeddings is not None and alone.token_embeddings is not None:
                assert np.array_equal(found.token_embeddings[row], alone.token_embeddings[0])


async def test_clients_that_come_during_a_pass_share_the_next_one() -> None:
    gate = Gate()
    async with BatchWorker(gate, QueueSettings()) as worker:
        tasks = [asyncio.create_task(worker.encode(work("first")))]
        await gate.first_pass()
        tasks += [asyncio.create_task(worker.encode(work(f"text {n}"))) for n in range(20)]
        await until(lambda: worker.queue.tokens == 40)
        gate.opened.set()
        await asyncio.gather(*tasks)
    assert gate.passes == [["first"], [f"text {n}" for n in range(20)]]


async def test_a_query_does_not_wait_for_a_pass_of_passages() -> None:
    gate = Gate()

    def encode_passages_late(texts: Sequence[str], key: PassKey) -> Vectors:
        return gate(texts, key) if key == PASSAGE else encode(texts, key)

    async with BatchWorker(encode_passages_late, SMALL) as worker:
        load = asyncio.create_task(worker.encode(work(*["two words"] * 30)))
        await gate.first_pass()
        assert len(await worker.encode(work("where", key=QUERY))) == 1
        assert not load.done()
        gate.opened.set()
        assert len(await load) == 30


async def test_a_full_queue_says_when_to_come_back() -> None:
    gate = Gate()
    seconds = itertools.chain([0.0], itertools.repeat(2.0))
    settings = QueueSettings(capacity=10, pass_tokens=10)
    async with BatchWorker(gate, settings, clock=lambda: next(seconds)) as worker:
        gate.opened.set()
        await worker.encode(work("a b c d"))  # four tokens in two seconds
        gate.began.clear()
        gate.opened.clear()
        running = asyncio.create_task(worker.encode(work("under way")))
        await gate.first_pass()
        waiting = asyncio.create_task(worker.encode(work("a b c d e f g h i")))
        await until(lambda: worker.queue.tokens == 9)
        with pytest.raises(Overloaded, match="9 tokens wait already, of at most 10") as refusal:
            await worker.encode(work("1 2 3 4 5 6 7"))
        assert refusal.value.retry_after == 3  # six tokens too many, two a second
        gate.opened.set()
        await asyncio.gather(running, waiting)
        await worker.encode(work("1 2 3 4 5 6 7"))


async def test_what_can_never_fit_is_not_told_to_come_back() -> None:
    async with BatchWorker(encode, QueueSettings(capacity=3)) as worker:
        with pytest.raises(RequestTooLarge, match="have 4 tokens, and at most 3"):
            await worker.encode(work("a b c d"))


async def test_a_client_that_goes_away_frees_its_place() -> None:
    gate = Gate()
    async with BatchWorker(gate, QueueSettings(capacity=4)) as worker:
        running = asyncio.create_task(worker.encode(work("under way")))
        await gate.first_pass()
        gone = asyncio.create_task(worker.encode(work("a b c d")))
        await until(lambda: worker.queue.tokens == 4)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert worker.queue.tokens == 0
        next_one = asyncio.create_task(worker.encode(work("e f g h")))
        gate.opened.set()
        await asyncio.gather(running, next_one)
    assert gate.passes == [["under way"], ["e f g h"]]


async def test_a_client_that_goes_away_during_its_pass_harms_nobody_in_it() -> None:
    gate = Gate()
    async with BatchWorker(gate, QueueSettings()) as worker:
        first = asyncio.create_task(worker.encode(work("first")))
        await gate.first_pass()
        first.cancel()
        other = asyncio.create_task(worker.encode(work("other")))
        await until(lambda: worker.queue.tokens == 1)
        gate.opened.set()
        assert len(await other) == 1
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_a_text_that_fails_does_not_fail_the_others_of_its_pass() -> None:
    gate = Gate()
    async with BatchWorker(gate, QueueSettings()) as worker:
        tasks = [asyncio.create_task(worker.encode(work("first")))]
        await gate.first_pass()
        tasks += [
            asyncio.create_task(worker.encode(work(text))) for text in ("before", FAULTY, "after")
        ]
        await until(lambda: worker.queue.tokens == 7)
        gate.opened.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in found] == [Vectors, Vectors, ParityError, Vectors]


async def test_work_that_fails_takes_the_rest_of_it_out_of_the_queue() -> None:
    async with BatchWorker(encode, SMALL) as worker:
        with pytest.raises(ParityError):
            await worker.encode(work(FAULTY, *["two words"] * 30))
        assert worker.queue.tokens == 0
        assert len(await worker.encode(work("next"))) == 1


async def test_an_encoder_that_loses_a_text_is_an_error_and_not_a_shift() -> None:
    def losing(texts: Sequence[str], key: PassKey) -> Vectors:
        return encode(texts[1:], key)

    async with BatchWorker(losing, QueueSettings()) as worker:
        with pytest.raises(RuntimeError, match="1 vectors of 2 texts"):
            await worker.encode(work("a", "b"))


async def test_stopping_answers_what_was_accepted_and_refuses_the_rest() -> None:
    gate = Gate()
    worker = BatchWorker(gate, SMALL)
    async with worker:
        tasks = [asyncio.create_task(worker.encode(work(*[f"text {n}"] * 7))) for n in range(10)]
        await gate.first_pass()
        await until(lambda: worker.queue.tokens > 100)
        stopping = asyncio.create_task(worker.stop())
        await until(lambda: not worker.is_running)
        with pytest.raises(ServerStopping):
            await worker.encode(work("late"))
        assert not stopping.done()
        gate.opened.set()
        await stopping
        found = await asyncio.gather(*tasks)
    for n, vectors in enumerate(found):
        assert np.array_equal(
            vectors.dense, encoder.encode([f"text {n}"] * 7, role=Role.PASSAGE).dense
        )


async def test_work_is_refused_before_the_worker_begins() -> None:
    worker = BatchWorker(encode, QueueSettings())
    with pytest.raises(ServerStopping):
        await worker.encode(work("early"))
    await worker.stop()


async def test_passes_are_reported() -> None:
    seconds, seen = iter([1.0, 1.5]), list[PassReport]()
    async with BatchWorker(
        encode, QueueSettings(), clock=lambda: next(seconds), on_pass=seen.append
    ) as worker:
        await worker.encode(work("a b", "c", key=QUERY))
    assert seen == [PassReport(lane=Lane.SHORT, texts=2, tokens=3, seconds=0.5)]
