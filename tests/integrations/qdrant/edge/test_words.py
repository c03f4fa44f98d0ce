"""Edge's BM25, against the formula written out, and after points are deleted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest

from decant.embedders import HashEncoder
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Record,
    SearchMode,
    Store,
    Words,
)

PLAIN = CollectionSettings(words=Words(stemming=False, stop_words=False))
K, B = 1.2, 0.75
VOCABULARY = [f"{first}{second}" for first in "bcdfghklmn" for second in ("ano", "edi", "oru")]
QUERIES = [
    "bano",
    "bano cedi doru",
    "bano bano bano cedi",  # a word counts once
    "noru medi unheard",
    " ".join(VOCABULARY),
]


def made_texts(count: int) -> dict[str, str]:
    """Return texts of 1 to 60 words, a few of them frequent, some without any word."""
    random = np.random.default_rng(7)
    share = 1 / np.arange(1, len(VOCABULARY) + 1)
    texts = {
        f"t{number}": " ".join(
            random.choice(VOCABULARY, random.integers(1, 61), p=share / share.sum())
        )
        for number in range(count)
    }
    return texts | {"dots": "...", "signs": "?! -- !?", "dash": "-"}


def bm25(texts: Mapping[str, str], query: str) -> dict[str, float]:
    """Return the score of each text that shares a word with the query, word by word.

    The formula is that of decant's ``Words``, whose constants are not imported. Texts without
    words are not counted.
    """
    counts = {key: Counter(text.split()) for key, text in texts.items() if text[0].isalpha()}
    average = sum(counted.total() for counted in counts.values()) / len(counts)
    scores: dict[str, float] = {}
    for word in set(query.split()):
        holding = sum(word in counted for counted in counts.values())
        rarity = math.log(1 + (len(counts) - holding + 0.5) / (holding + 0.5))
        for key, counted in counts.items():
            if often := counted[word]:
                length = 1 - B + B * counted.total() / average
                part = rarity * often * (K + 1) / (often + K * length)
                scores[key] = scores.get(key, 0.0) + part
    return scores


def fill(store: Store, name: str, texts: Mapping[str, str]) -> Collection:
    """Return a collection of these texts."""
    collection = Collection.create(store, name, HashEncoder(8), settings=PLAIN)
    collection.add([Record(id=key, text=text) for key, text in texts.items()])
    return collection


def searched(collection: Collection, query: str) -> dict[str, float]:
    """Return the scores of all hits, which come best first."""
    hits = collection.search(query, mode=SearchMode.WORDS, limit=1000)
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    return {hit.id: hit.score for hit in hits}


@pytest.mark.parametrize("query", QUERIES)
def test_scores_are_those_of_the_formula(edge: Store, query: str) -> None:
    texts = made_texts(300)
    found = searched(fill(edge, "docs", texts), query)
    assert found == pytest.approx(bm25(texts, query), abs=1e-4)


@pytest.mark.parametrize("optimized", [False, True])
def test_deleted_texts_leave_no_trace_in_the_scores(edge: Store, optimized: bool) -> None:
    texts = made_texts(300)
    docs = fill(edge, "docs", texts)
    gone = list(texts)[::2]
    docs.delete(gone)
    if optimized:
        docs.optimize()
    left = {key: text for key, text in texts.items() if key not in gone}
    fresh = fill(edge, "fresh", left)
    for query in QUERIES:
        found = searched(docs, query)
        assert found == pytest.approx(searched(fresh, query), abs=1e-5)
        assert found == pytest.approx(bm25(left, query), abs=1e-4)


def test_a_replaced_text_is_found_by_its_new_words_alone(edge: Store) -> None:
    texts = made_texts(40)
    docs = fill(edge, "docs", texts)
    docs.add([Record(id="t0", text="zuma zuma bano")])
    texts["t0"] = "zuma zuma bano"
    for query in ("zuma", *QUERIES):
        assert searched(docs, query) == pytest.approx(bm25(texts, query), abs=1e-4)


def test_words_are_compared_in_lower_case(edge: Store) -> None:
    docs = fill(edge, "docs", {"a": "Bano CEDI", "b": "bano, cedi!", "c": "doru"})
    found = searched(docs, "bano Cedi")
    assert found.keys() == {"a", "b"}
    assert found["a"] == pytest.approx(found["b"])


def test_a_query_without_any_word_finds_nothing(edge: Store) -> None:
    docs = fill(edge, "docs", {"a": "bano", "b": "cedi"})
    assert searched(docs, "?!") == {}
    assert searched(docs, "unheard") == {}
