"""Words on a live server, over REST and gRPC: sparse vectors, and from 1.20 a text index."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import cast

import pytest
from qdrant_client import models

from bm25_formula import QUERIES, bm25, fill, made_texts, searched
from decant.embedders import HashEncoder
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Document,
    Record,
    RemoteStore,
    SearchMode,
    Store,
    Words,
)
from decant.integrations.qdrant.words.bm25 import BM25
from live_server import LIVE, connect_live

TEXTS = {
    "code": "the parser stopped with error E1234",
    "cats": "cats and dogs sleep",
    "cat": "a cat marker",
    "sea": "the ships wait in the harbour",
}


@pytest.fixture(params=LIVE)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Return the server, and drop what a test made there."""
    with connect_live(request.param) as store:
        yield store
        for name in store.names():
            if name.startswith(PREFIX):
                store.drop(name)


PREFIX = f"test-words-{uuid.uuid4().hex}"


@pytest.fixture
def docs(store: Store) -> Collection:
    """Return a collection of four records whose words are indexed."""
    settings = CollectionSettings(words=Words())
    docs = Collection.create(store, PREFIX, HashEncoder(16), settings=settings)
    docs.add([Record(id=name, text=text) for name, text in TEXTS.items()])
    return docs


def looked_at(docs: Collection) -> models.CollectionInfo:
    """Return what the server says of a collection."""
    return cast("RemoteStore", docs.store).requests.client.get_collection(docs.name)


def has_text_index(docs: Collection) -> bool:
    """Return whether the server is new enough for a text index with scores."""
    version = cast("RemoteStore", docs.store).requests.version
    return version is not None and version >= (1, 20)


def found(docs: Collection, query: str) -> set[str]:
    return {hit.id for hit in docs.search(query, mode=SearchMode.WORDS)}


def test_the_version_decides_what_ranks_words(docs: Collection) -> None:
    info = looked_at(docs)
    assert (BM25 in (info.config.params.sparse_vectors or {})) is not has_text_index(docs)
    assert ("text" in info.payload_schema) is has_text_index(docs)
    assert docs.check().missing_indexes == ()


def test_passages_are_found_by_their_words(docs: Collection) -> None:
    assert found(docs, "E1234?") == {"code"}
    assert found(docs, "CAT") == {"cats", "cat"}
    assert found(docs, "shipping") == {"sea"}
    assert found(docs, "the") == set()
    assert found(docs, "zebra") == set()


def test_both_rankings_are_fused(docs: Collection) -> None:
    hits = docs.search("E1234")
    assert hits[0].id == "code"
    assert {branch.name for branch in hits[0].branches} == {"dense", "words"}
    assert {hit.id for hit in hits} == {*TEXTS}
    pages = [docs.search("E1234", limit=2, offset=start) for start in (0, 2)]
    assert [hit for page in pages for hit in page] == hits


@pytest.mark.parametrize("language", [None, "german", "chinese"])
def test_each_kind_of_settings_is_taken(store: Store, language: str | None) -> None:
    settings = CollectionSettings(words=Words(language=language))
    docs = Collection.create(store, f"{PREFIX}-set", HashEncoder(16), settings=settings)
    docs.add([Record(id="a", text="Katzen schlafen"), Record(id="b", text="今天天气很好")])
    assert found(docs, "katzen") == {"a"}
    assert found(docs, "天气") == ({"b"} if language == "chinese" else set())


def test_scores_are_those_of_the_formula(store: Store) -> None:
    texts = made_texts(300)
    docs = fill(store, PREFIX, texts)
    # Sparse vectors keep the average that was measured on the first texts.
    average = None if has_text_index(docs) else noted_average(docs)
    for query in QUERIES:
        expected = bm25(texts, query, average=average)
        assert searched(docs, query) == pytest.approx(expected, abs=1e-4)


def test_statistics_of_a_text_index_follow_deletes(store: Store) -> None:
    texts = made_texts(120)
    docs = fill(store, PREFIX, texts)
    gone = list(texts)[::2]
    docs.delete(gone)
    left = {key: text for key, text in texts.items() if key not in gone}
    for query in QUERIES:
        scores = searched(docs, query)
        if has_text_index(docs):
            assert scores == pytest.approx(bm25(left, query), abs=1e-4)
        else:
            assert scores.keys() == bm25(left, query).keys()


def test_documents_come_and_go_with_their_words(docs: Collection) -> None:
    docs.index([Document(source="tiger.txt", text="a tiger is a large cat")])
    assert {hit.source for hit in docs.search("tiger", mode=SearchMode.WORDS)} == {"tiger.txt"}
    docs.delete_source("tiger.txt")
    assert found(docs, "tiger") == set()


def test_strict_mode_stops_no_search_by_words(docs: Collection) -> None:
    strict = models.StrictModeConfig(
        enabled=True,
        max_query_limit=2,
        search_max_batchsize=1,
        search_allow_exact=False,
        unindexed_filtering_retrieve=False,
        unindexed_filtering_update=False,
    )
    client = cast("RemoteStore", docs.store).requests.client
    client.update_collection(docs.name, strict_mode_config=strict)
    again = Collection.open(docs.store, docs.name, HashEncoder(16))
    assert found(again, "cat") == {"cats", "cat"}
    assert {hit.id for hit in again.search("E1234")} == {*TEXTS}
    again.delete(["cat"])
    assert found(again, "cat") == {"cats"}


def noted_average(docs: Collection) -> float:
    """Return the average length of texts that decant noted."""
    return float((looked_at(docs).config.metadata or {})["decant_average_length"])
