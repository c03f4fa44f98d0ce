"""``decant search --rerank``: the same hits as the library gives, explained."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.embedders import HashReranker, load
from decant.integrations.qdrant import Collection, Record, connect

QUERY = "hello world cat"
TEXTS = ["hello", "a cat", "hello world cat", "world of cats", "rain"]


@pytest.fixture
def filled(tiny_bundle: Path, tmp_path: Path) -> list[str]:
    """Return the ids that a search with a reranker finds in a collection of the folder."""
    with load(tiny_bundle) as encoder, connect(tmp_path / "index") as store:
        docs = Collection.create(store, "docs", encoder)
        docs.add([Record(id=str(at), text=text, source="a") for at, text in enumerate(TEXTS)])
        hits = docs.search(QUERY, limit=3, rerank=HashReranker(), candidates=4)
        return [hit.id for hit in hits]


def test_a_search_is_reranked_and_explained(
    decant: Decant, tiny_bundle: Path, filled: list[str]
) -> None:
    asked = ("search", tiny_bundle, QUERY, "--limit", 3, "--rerank", "hash", "--candidates", 4)
    ran = decant(*asked, "--json")
    assert ran.code == Exit.OK
    hits = ran.json["hits"]
    assert isinstance(hits, list)
    assert [hit["id"] for hit in hits] == filled
    assert hits[0]["branches"][-1] == {"name": "rerank", "rank": 1, "score": hits[0]["score"]}
    assert ran.json["reranker"] == {
        "model": "hash",
        "digest": HashReranker().recipe.digest(),
        "candidates": 4,
    }
    explained = decant(*asked, "--explain")
    head = explained.out.splitlines()[-4]
    assert head.split() == ["rank", "score", "dense", "rerank"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--candidates", "4"], "give --rerank, too"),
        (["--rerank", "nowhere"], "nowhere"),
        (["--rerank", "http://user:secret@reranker"], "also holds a user"),
        (["--rerank-instruction", "find"], "give --rerank, too"),
        (["--rerank", "hash", "--rerank-instruction", "find"], "takes no instruction"),
        (["--rerank", "hash", "--mmr", "0.5"], "mmr and rerank"),
        (["--rerank", "hash", "--threshold", "0.5"], "needs the name of one"),
        (["--threshold", "rerank=0.5"], "has no reranker"),
    ],
)
def test_what_makes_no_sense_is_refused(
    decant: Decant, tiny_bundle: Path, filled: list[str], options: list[str], message: str
) -> None:
    ran = decant("search", tiny_bundle, QUERY, *options)
    assert ran.code not in (Exit.OK, Exit.FINDING)
    assert message in " ".join(ran.err.split())
