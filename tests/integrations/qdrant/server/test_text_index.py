"""Words on a server from 1.20: a text index with BM25 scores, where older ones have a vector."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from qdrant_client import models

from bm25_formula import PLAIN, QUERIES, bm25, fill, made_texts, searched
from decant.embedders import HashEncoder, StoreError
from decant.embedders.doctor import Health
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Record,
    SearchMode,
    Store,
    Words,
    connect,
    diagnose_store,
)
from decant.integrations.qdrant.server.words.text_index import text_params
from decant.integrations.qdrant.words.bm25 import BM25
from qdrant_double import QdrantDouble, reached

pytestmark = pytest.mark.skipif(
    not hasattr(models, "TextQuery"), reason="this qdrant-client cannot ask for a text index"
)
OLD, NEW = "1.19.0", "1.20.0"
TEXTS = {"cats": "the cats sleep", "cat": "a cat runs", "sea": "ships at sea"}


@pytest.fixture
def double() -> Iterator[QdrantDouble]:
    with QdrantDouble(version=NEW) as double:
        yield double


@pytest.fixture
def store(double: QdrantDouble) -> Iterator[Store]:
    with reached(double) as store:
        yield store


def make(store: Store, words: Words | None = None) -> Collection:
    """Return a collection of three texts."""
    settings = CollectionSettings(words=words or Words())
    docs = Collection.create(store, "docs", HashEncoder(8), settings=settings)
    docs.add([Record(id=name, text=text) for name, text in TEXTS.items()])
    return docs


def found(docs: Collection, query: str) -> set[str]:
    return {hit.id for hit in docs.search(query, mode=SearchMode.WORDS)}


def test_a_collection_is_made_with_an_index_and_without_a_vector(
    store: Store, double: QdrantDouble
) -> None:
    docs = make(store)
    assert found(docs, "Cat") == {"cats", "cat"}
    assert found(docs, "the") == set()
    (made,) = double.requests("PUT", "/collections/docs")
    assert not made.body.get("sparse_vectors")
    assert double.engine.held["docs"].schemas == {
        "text": {
            "type": "text",
            "tokenizer": "word",
            "lowercase": True,
            "stemmer": {"type": "snowball", "language": "english"},
            "stopwords": "english",
            "scoring": True,
        }
    }
    written = [point for sent in double.requests("PUT", "/points") for point in sent.body["points"]]
    assert {name for point in written for name in point["vector"]} == {"dense"}


def test_words_and_vectors_are_asked_for_in_one_request(store: Store, double: QdrantDouble) -> None:
    docs = make(store)
    docs.search("cat")
    (asked,) = double.requests("POST", "/query/batch")
    dense, words = asked.body["searches"]
    assert dense["using"] == "dense"
    assert words["using"] == "payload.text"
    assert words["query"] == {"text": {"query": "cat", "scoring": {"bm25": {"k": 1.2, "b": 0.75}}}}


@pytest.mark.parametrize("query", QUERIES)
def test_scores_are_those_of_the_formula(store: Store, query: str) -> None:
    texts = made_texts(100)
    assert searched(fill(store, "docs", texts), query) == pytest.approx(
        bm25(texts, query), abs=1e-4
    )


def test_deleted_texts_leave_no_trace_in_the_scores(store: Store) -> None:
    texts = made_texts(60)
    docs = fill(store, "docs", texts)
    gone = list(texts)[::2]
    docs.delete(gone)
    left = {key: text for key, text in texts.items() if key not in gone}
    for query in QUERIES:
        assert searched(docs, query) == pytest.approx(bm25(left, query), abs=1e-4)


def test_a_collection_that_has_vectors_goes_on_with_them_after_an_upgrade(
    double: QdrantDouble,
) -> None:
    double.version = OLD
    with reached(double) as store:
        make(store)
    assert BM25 in double.engine.held["docs"].sparse
    double.version = NEW
    with reached(double) as store:
        docs = Collection.open(store, "docs", HashEncoder(8))
        docs.add([Record(id="new", text="a cat waits")])
        assert found(docs, "cats") == {"cats", "cat", "new"}
        assert docs.check().missing_indexes == ()
    assert "text" not in double.engine.held["docs"].indexes
    asked = double.requests("POST", "/query")[-1]
    assert asked.body["using"] == BM25


def test_another_handle_needs_no_more_than_the_collection(
    store: Store, double: QdrantDouble
) -> None:
    make(store)
    with reached(double) as other:
        docs = Collection.open(other, "docs", HashEncoder(8))
        assert found(docs, "ship") == {"sea"}
        docs.add([Record(id="new", text="a ship")])
        assert found(docs, "ship") == {"sea", "new"}
    assert len(double.requests("PUT", "/index")) == 5


@pytest.mark.parametrize("scored", [True, False])
def test_an_index_that_an_interrupted_creator_left_out_is_made(
    store: Store, double: QdrantDouble, scored: bool
) -> None:
    make(store)
    held = double.engine.held["docs"]
    held.drop_index("text")
    if not scored:
        held.add_index("text", {"type": "text", "tokenizer": "word"})
    with connect(double.url, read_only=True) as reading:
        report = Collection.open(reading, "docs", HashEncoder(8)).check()
        assert report.missing_indexes == ("text",)
        assert report.is_sound
        named = {item.name: item for item in diagnose_store(reading).findings}
        assert "text (text, with BM25 scores)" in named["docs: payload indexes"].detail
    docs = Collection.open(store, "docs", HashEncoder(8))
    assert found(docs, "cat") == {"cats", "cat"}
    assert docs.check().missing_indexes == ()


def test_a_server_that_became_too_old_says_so(double: QdrantDouble) -> None:
    with reached(double) as store:
        make(store)
    double.version = OLD
    with reached(double) as store:
        docs = Collection.open(store, "docs", HashEncoder(8))
        with pytest.raises(StoreError, match=r"needs Qdrant 1\.20 and qdrant-client 1\.20"):
            docs.search("cat", mode=SearchMode.WORDS)
        assert docs.search("cat", mode=SearchMode.DENSE)
        named = {item.name: item for item in diagnose_store(store).findings}
        assert named["docs: words"].health is Health.PROBLEM


def test_an_older_client_makes_vectors_and_cannot_ask_an_index(
    store: Store, double: QdrantDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(store)
    # It has neither the query nor the setting, and does not see the setting on a server.
    monkeypatch.delattr(models, "TextQuery")
    monkeypatch.delattr(models, "TextIndexParams")
    del double.engine.held["docs"].schemas["text"]["scoring"]
    settings = CollectionSettings(words=Words())
    Collection.create(store, "others", HashEncoder(8), settings=settings)
    assert BM25 in double.engine.held["others"].sparse
    docs = Collection.open(store, "docs", HashEncoder(8))
    with pytest.raises(StoreError, match=r"qdrant-client 1\.20"):
        docs.search("cat", mode=SearchMode.HYBRID)


def test_the_text_index_counts_among_the_indexes_that_strict_mode_allows() -> None:
    strict = {"max_payload_index_count": 4}
    with QdrantDouble(strict, version=NEW) as double, reached(double) as store:
        with pytest.raises(StoreError, match="the words of texts; raise max_payload_index_count"):
            Collection.create(store, "docs", HashEncoder(8), settings=PLAIN)
        assert store.names() == []


@pytest.mark.parametrize(
    ("words", "tokenizer", "stemmer", "stop"),
    [
        (Words(), "word", "english", "english"),
        (Words(language=None), "word", None, None),
        (Words(language="chinese"), "multilingual", None, "chinese"),
        (Words(language="armenian"), "word", "armenian", None),
        (Words(language="german", stemming=False), "word", None, "german"),
    ],
)
def test_the_parameters_are_what_the_settings_say(
    words: Words, tokenizer: str, stemmer: str | None, stop: str | None
) -> None:
    params = text_params(words)
    assert params.tokenizer == tokenizer
    assert getattr(params.stemmer, "language", None) == stemmer
    assert params.stopwords == stop
