"""BM25 written out word by word, with texts to score, for stores of every engine."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np

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


def bm25(texts: Mapping[str, str], query: str, *, average: float | None = None) -> dict[str, float]:
    """Return the score of each text that shares a word with the query, word by word.

    The formula is that of decant's ``Words``, whose constants are not imported. Texts without
    words are not counted.

    Args:
        texts: The texts, by name.
        query: The query.
        average: How many words a text has on average; None: computed from the texts.
    """
    counts = {key: Counter(text.split()) for key, text in texts.items() if text[0].isalpha()}
    average = average or sum(counted.total() for counted in counts.values()) / len(counts)
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
