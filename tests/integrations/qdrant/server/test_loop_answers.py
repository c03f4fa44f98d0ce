"""Searches from the event loop find what blocking ones find, on every kind of server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import (
    MMR,
    Boost,
    Collection,
    CollectionSettings,
    Equals,
    Group,
    Record,
    SearchMode,
    SearchOptions,
    Tenants,
    Words,
    WordsQuery,
    run_in_thread,
)
from decant.integrations.qdrant.coroutines.reads import loop_reads
from qdrant_double import MIDDLING, STRICT, QdrantDouble, reached, serve

WHERE = Equals("year", 1)


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


@pytest.fixture(params=["rest", "grpc", "strict", "strict grpc", "middling", "tenant"])
def filled(request: pytest.FixtureRequest, encoder: HashEncoder) -> Iterator[Collection]:
    """Return a filled collection on doubles that differ in what they allow, and in transport."""
    limits = {"strict": STRICT, "strict grpc": STRICT, "middling": MIDDLING}.get(request.param)
    tenants = Tenants() if request.param == "tenant" else None
    settings = CollectionSettings(words=Words(), tenants=tenants)
    with serve(limits, grpc="grpc" in request.param) as store:
        docs = Collection.create(store, "docs", encoder, settings=settings)
        if tenants is not None:
            fill(docs.tenant("other"))
            docs = docs.tenant("acme")
        fill(docs)
        yield docs


SEARCHES: list[dict[str, Any]] = [
    {},
    {"mode": SearchMode.DENSE, "limit": 7, "offset": 2},
    {"mode": SearchMode.WORDS, "limit": 3},
    {"mode": SearchMode.DENSE, "where": Equals("year", 2), "with_vectors": True},
    {"options": SearchOptions(group=Group(), distinct=True), "limit": 3},
    {"options": SearchOptions(boosts=(Boost("year", weight=0.1),), mmr=MMR(candidates=8))},
]


class TestAnswers:
    @pytest.mark.parametrize("wanted", SEARCHES)
    def test_a_search_finds_what_the_blocking_one_finds(
        self, filled: Collection, wanted: dict[str, Any]
    ) -> None:
        try:
            expected = filled.search("text 7 about oaks", **wanted)
        except StoreError as error:  # strict mode takes no filter on a field without an index
            with pytest.raises(StoreError) as refusal:
                asyncio.run(filled.asearch("text 7 about oaks", **wanted))
            assert str(refusal.value) == str(error)  # noqa: PT017 - of both ways
            return
        found = asyncio.run(filled.asearch("text 7 about oaks", **wanted))
        assert [hit.id for hit in found] == [hit.id for hit in expected]
        scores = [hit.score for hit in expected]
        assert [hit.score for hit in found] == pytest.approx(scores, rel=1e-5)
        assert len(found) == len({hit.id for hit in found}) > 0

    def test_the_other_reads_answer_alike(self, filled: Collection) -> None:
        async def main() -> None:
            texts = ["text 1", "about ferns", "text 3"]
            many = await filled.asearch_many(texts, limit=4)
            assert [[hit.id for hit in hits] for hits in many] == [
                [hit.id for hit in hits] for hits in filled.search_many(texts, limit=4)
            ]
            vector = np.ones(16, np.float32)
            near = await filled.asearch_vector(vector, limit=4)
            assert [hit.id for hit in near] == [
                hit.id for hit in filled.search_vector(vector, limit=4)
            ]
            assert await filled.acount() == 30
            assert await filled.aget(["3", "gone", "1"]) == filled.get(["3", "gone", "1"])

        asyncio.run(main())

    def test_a_store_that_did_not_open_it_looks_at_it_first(self, encoder: HashEncoder) -> None:
        with QdrantDouble() as double, reached(double) as store, reached(double) as other:
            settings = CollectionSettings(words=Words())
            fill(Collection.create(store, "docs", encoder, settings=settings))

            async def main() -> int:
                reads = await loop_reads(other, "docs")
                assert reads is not None
                (found,) = await reads.rank("docs", [WordsQuery("oaks")], limit=3)
                return len(found)

            assert asyncio.run(main()) == 3


def test_faults_over_grpc_are_explained_as_those_of_a_blocking_client(
    encoder: HashEncoder,
) -> None:
    with serve(grpc=True) as store:
        Collection.create(store, "docs", encoder)

        async def main() -> str:
            reads = await loop_reads(store, "docs")
            assert reads is not None
            assert await reads.count("docs", WHERE) == 0
            await run_in_thread(store.drop, "docs")
            with pytest.raises(StoreError) as refusal:
                await reads.count("docs", WHERE)
            return str(refusal.value)

        said = asyncio.run(main())
        with pytest.raises(StoreError) as refusal:
            store.count("docs", WHERE)
        assert said == str(refusal.value)
        assert "NOT_FOUND" in said
