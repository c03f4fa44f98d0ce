"""decant's own protocol of rerankers on the wire: facts, raw scores, and what is refused."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from starlette.testclient import TestClient

from decant.embedders import HashReranker, RerankRecipe

GROUPS = [
    {"query": "river", "texts": ["a river", "a hill"]},
    {"query": "a hill", "texts": ["a hill"]},
]


def body(ranker: HashReranker, **changed: object) -> dict[str, object]:
    """Return a request for raw scores."""
    return {"groups": GROUPS, "digest": ranker.recipe.digest(), **changed}


def test_facts_say_what_a_reranker_is(ranking: TestClient, ranker: HashReranker) -> None:
    facts = ranking.get("/reranker").json()
    assert facts == ranking.get("/models/ranker/reranker").json()
    assert (facts["protocol"], facts["name"], facts["precision"]) == (1, "ranker", "fp32")
    assert RerankRecipe.from_json(json.dumps(facts["recipe"])) == ranker.recipe
    assert facts["digest"] == ranker.recipe.digest()
    assert facts["graph"] is None
    assert facts["limits"]["texts"] == 10_000


@pytest.mark.parametrize("path", ["/score", "/models/ranker/score"])
def test_raw_scores_are_little_endian_numbers_of_numpy(
    path: str, ranking: TestClient, ranker: HashReranker
) -> None:
    answer = ranking.post(path, json=body(ranker))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    with np.load(io.BytesIO(answer.content), allow_pickle=False) as stored:
        found = stored["dense"]
    assert (found.dtype, found.shape) == (np.dtype("<f4"), (3, 1))
    pairs = [("river", "a river"), ("river", "a hill"), ("a hill", "a hill")]
    np.testing.assert_array_equal(found[:, 0], ranker.score_pairs(pairs, raw=True))


@pytest.mark.parametrize(
    ("changed", "status", "kind", "message"),
    [
        ({"digest": "0123456789abcdef"}, 409, "other_model", "has the recipe"),
        ({"graph": "ab" * 32}, 409, "other_model", "another graph"),
        ({"digest": None}, 400, "request", "digest is missing"),
        ({"groups": []}, 400, "request", "groups is empty"),
        ({"groups": [{"query": "a", "texts": []}]}, 400, "request", "groups[0].texts is empty"),
        ({"groups": [{"query": "a", "texts": [5]}]}, 400, "request", "a list of strings"),
        ({"groups": [{"texts": ["a"]}]}, 400, "request", "groups[0].query is missing"),
        ({"groups": [{"query": "", "texts": ["a"]}]}, 400, "text", "query of text 0 is empty"),
        (
            {"groups": [GROUPS[0], {"query": "a", "texts": [""]}], "first": 40},
            400,
            "text",
            "text 42 is empty",
        ),
        ({"instruction": "find"}, 400, "instruction", "takes no instruction"),
        ({"first": -1}, 400, "request", "first must be at least 0"),
        ({"strange": 1}, 400, "request", "no strange"),
    ],
)
def test_what_is_refused_says_what_kind_of_refusal_it_is(
    changed: dict[str, object],
    status: int,
    kind: str,
    message: str,
    ranking: TestClient,
    ranker: HashReranker,
) -> None:
    answer = ranking.post("/score", json=body(ranker, **changed))
    assert (answer.status_code, answer.json()["kind"]) == (status, kind)
    assert message in answer.json()["error"]
