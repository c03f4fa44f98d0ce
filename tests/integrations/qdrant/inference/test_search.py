"""A collection that was opened without its model finds what one opened with it finds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from decant.embedders import HashEncoder, Role, StoreError
from decant.integrations.qdrant import (
    MMR,
    Collection,
    Field,
    FieldIn,
    Group,
    Hit,
    SearchMode,
    SearchOptions,
)
from qdrant_double import QdrantDouble

QUERIES = ["when does the ferry leave", "rain at the pier", "E1234"]
OPTIONS = [
    SearchOptions(),
    SearchOptions(exact=True),
    SearchOptions(group=Group(size=1)),
    SearchOptions(mmr=MMR(balance=0.3, candidates=4)),
    SearchOptions(distinct=True),
]


def shown(hits: list[Hit]) -> list[tuple[str, object]]:
    return [(hit.id, pytest.approx(hit.score, abs=1e-5)) for hit in hits]


@pytest.mark.parametrize("mode", [None, *SearchMode])
@pytest.mark.parametrize("query", QUERIES)
def test_each_mode_finds_the_same_hits_with_the_same_scores(
    filled: Collection, remote: Collection, mode: SearchMode | None, query: str
) -> None:
    found = remote.search(query, mode=mode)
    expected = filled.search(query, mode=mode)
    assert expected
    assert [(hit.id, hit.score) for hit in found] == shown(expected)
    assert [hit.branches and [one.name for one in hit.branches] for hit in found] == [
        hit.branches and [one.name for one in hit.branches] for hit in expected
    ]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("mode", [SearchMode.DENSE, SearchMode.HYBRID])
def test_options_choose_the_same_hits(
    filled: Collection, remote: Collection, options: SearchOptions, mode: SearchMode
) -> None:
    arguments: dict[str, Any] = {"mode": mode, "options": options, "limit": 3}
    found = remote.search(QUERIES[1], **arguments)
    expected = filled.search(QUERIES[1], **arguments)
    assert [(hit.id, hit.score) for hit in found] == shown(expected)


def test_many_queries_find_what_each_finds_alone(filled: Collection, remote: Collection) -> None:
    together = remote.search_many(QUERIES, limit=2)
    for hits, query in zip(together, QUERIES, strict=True):
        assert [(hit.id, hit.score) for hit in hits] == shown(filled.search(query, limit=2))


def test_conditions_and_pages_hold_and_vectors_come_back(
    filled: Collection, remote: Collection
) -> None:
    where = FieldIn(Field.SOURCE, ["f", "r"])
    hits = remote.search(QUERIES[0], where=where, mode=SearchMode.DENSE, with_vectors=True)
    expected = filled.search(QUERIES[0], where=where, mode=SearchMode.DENSE, with_vectors=True)
    assert {hit.id for hit in hits} == {"ferry", "rain"}
    for hit, other in zip(hits, expected, strict=True):
        assert hit.vector is not None
        np.testing.assert_array_equal(hit.vector, other.vector)
    pages = [remote.search(QUERIES[0], limit=2, offset=start)[0].id for start in (0, 2, 4)]
    whole = [hit.id for hit in remote.search(QUERIES[0], limit=5)]
    assert pages == whole[::2]


def test_a_vector_that_a_caller_has_is_searched_with_as_ever(
    remote: Collection, model: HashEncoder
) -> None:
    vector = model.encode([QUERIES[0]], role=Role.QUERY).dense[0]
    hits = remote.search_vector(vector, mode=SearchMode.DENSE)
    assert [(hit.id, hit.score) for hit in hits] == shown(
        remote.search(QUERIES[0], mode=SearchMode.DENSE)
    )


def test_the_role_and_the_pinned_recipe_go_with_each_text(
    inferring: QdrantDouble, remote: Collection, model: HashEncoder
) -> None:
    remote.search(QUERIES[0], mode=SearchMode.HYBRID)
    texts = [
        search["query"]["nearest"] if "nearest" in search["query"] else search["query"]
        for asked in inferring.requests("POST", "/points/query/batch")
        for search in asked.body["searches"]
        if isinstance(search["query"], dict)
    ]
    digest = model.recipe.digest()
    sent = [one for one in texts if one.get("text") == QUERIES[0]]
    assert sorted(one["model"] for one in sent) == [f"minilm@{digest}", f"minilm@{digest}:sparse"]
    assert all(one["options"] == {"role": "query"} for one in sent)


def test_what_must_return_numbers_says_that_it_cannot(remote: Collection) -> None:
    with pytest.raises(StoreError, match="minilm is not on this machine"):
        remote.encoder.encode(["a"], role=Role.QUERY)
    with pytest.raises(StoreError, match="minilm is not on this machine"):
        next(iter(remote.encoder.stream(["a"], role=Role.QUERY)))
    with pytest.raises(StoreError, match="tokenizer of minilm is not on this machine"):
        _ = remote.encoder.tokenizer


def test_facts_are_those_of_the_collection(
    filled: Collection, remote: Collection, model: HashEncoder
) -> None:
    remote.search("rain")
    assert remote.embeds_on_server
    assert not filled.embeds_on_server
    info = replace(remote.info(), asked_by=filled.info().asked_by)
    assert info == filled.info()
    assert remote.info().asked_by.precision == "fp32"
    assert remote.encoder.recipe.digest() == model.recipe.digest()
    assert remote.encoder.dim == model.dim
