"""Coroutines search while another writes: no error and no wrong answer.

The experiment is ``experiments/searchers_and_writer.py``; here the same runs for seconds.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from decant.embedders import HashEncoder
from decant.integrations.qdrant import Collection, Record, Store

STAYING = 60
SEARCHERS = 64


def text_of(number: int) -> str:
    return f"staying {number} is about subject{number} and word{number * 7919 % 1009}"


@pytest.mark.slow
@pytest.mark.parametrize("place", ["edge", "server"])
def test_sixty_four_searchers_beside_a_writer_find_what_stays(
    place: str, request: pytest.FixtureRequest
) -> None:
    store: Store = request.getfixturevalue(place)
    docs = Collection.create(store, "docs", HashEncoder(256))
    docs.add([Record(id=f"stay-{number}", text=text_of(number)) for number in range(STAYING)])

    async def search(task: int) -> None:
        draw = random.Random(task)
        for _ in range(10):
            number = draw.randrange(STAYING)
            hits = await docs.asearch(text_of(number), limit=5)
            assert hits[0].id == f"stay-{number}"
            assert hits[0].text == text_of(number)
            assert len({hit.id for hit in hits}) == len(hits) == 5

    async def write() -> None:
        for turn in range(20):
            records = [
                Record(id=f"go-{turn % 5}-{number}", text=f"going {turn} {number}")
                for number in range(16)
            ]
            await docs.aadd(records)
            if turn % 3 == 2:
                await docs.adelete([record.id for record in records if record.id is not None])

    async def main() -> None:
        await asyncio.gather(write(), *(search(task) for task in range(SEARCHERS)))
        assert len(await docs.aget([f"stay-{number}" for number in range(STAYING)])) == STAYING

    asyncio.run(main())
