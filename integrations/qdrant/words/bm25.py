"""BM25 on servers before 1.20, which cannot score a text index: a sparse vector for each text.

Its weights are those of :mod:`decant.integrations.qdrant` (``stores/words.py``) but for the factor
of rare words, which the server multiplies in (the IDF modifier). Tokens and their numbers are those
of Qdrant's own ``Qdrant/bm25``, made here by Qdrant Edge. A weight depends on the average length of
all texts, which a vector cannot learn later: it is measured on the first texts that are stored.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import qdrant_edge as edge

from ..stores.sparse_vector import SparseVector
from ..stores.words import B, K, Words
from .text_index import from_edge_sparse, stemmer, stop_words, tokenizer

BM25 = "bm25"
"""The name of the sparse vector."""

_COUNTING = 1e9  # with so large a k a word's weight is how often it stands in the text


class WordVectors:
    """Makes the sparse vectors of texts and queries.

    Args:
        words: How words are indexed.
        average_length: How many tokens a text has on average, above 0.
    """

    def __init__(self, words: Words, average_length: float) -> None:
        self._model = _model(words, k=K, b=B, average_length=average_length)

    def of_text(self, text: str) -> SparseVector | None:
        """Return the vector of a stored text; None if it holds no word."""
        return from_edge_sparse(self._model.embed_document(text))

    def of_query(self, text: str) -> SparseVector | None:
        """Return the vector of a query, in which each word weighs 1; None if it holds no word."""
        return from_edge_sparse(self._model.embed_query(text))


def average_length(words: Words, texts: Iterable[str]) -> float | None:
    """Return how many tokens the texts have on average; None if none of them has any.

    Texts without a token do not count, as in a text index.
    """
    counter = _model(words, k=_COUNTING, b=0.0, average_length=1.0)
    counts = [sum(counter.embed_document(text).values) for text in texts]
    found = [count for count in counts if count > 0]
    return float(np.mean(found)) if found else None


def _model(words: Words, *, k: float, b: float, average_length: float) -> edge.Bm25:
    config = edge.Bm25Config(
        k=k,
        b=b,
        avg_len=average_length,
        tokenizer=tokenizer(words),
        lowercase=True,
        stemmer=stemmer(words) or edge.DisabledStemmer(),
        stopwords=stop_words(words) or edge.StopwordsSet(languages=set(), custom=set()),
    )
    return edge.Bm25(config)
