"""How a collection on a server ranks words: by a text index, or by sparse vectors on old servers.

Servers from 1.20 score a text index by BM25, whose statistics follow every change, so nothing is
stored for it. Older ones take the setting and drop it without a word, so the version decides, and
only when a collection is made: a collection that has the sparse vector goes on with it after its
server was upgraded. Which of the two it has is read off its vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from qdrant_client import models

from ...stores.collection_metadata import CollectionMetadata
from ...stores.protocol import TEXT
from ...stores.words import B, K, Words
from ...words.bm25 import BM25

TEXT_PATH = f"payload.{TEXT}"
"""The name under which a query addresses the text index, as others address a vector."""

_SCORING = (1, 20)  # the first version of the server that scores a text index


class WordsIndex(StrEnum):
    """What ranks the words of a collection."""

    TEXT = "text index"
    SPARSE = "sparse vector"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWords:
    """How the words of a collection on a server are indexed.

    Args:
        words: The settings.
        index: What ranks them.
    """

    words: Words
    index: WordsIndex

    @classmethod
    def of(cls, card: CollectionMetadata, info: models.CollectionInfo) -> Self | None:
        """Read it from a collection's metadata and its vectors; None if it indexes no words."""
        if card.words is None:
            return None
        has_vector = BM25 in (info.config.params.sparse_vectors or {})
        return cls(words=card.words, index=WordsIndex.SPARSE if has_vector else WordsIndex.TEXT)


def can_score_texts(version: Sequence[int] | None) -> bool:
    """Return whether a server and the installed client can rank by a text index.

    Args:
        version: The server's version; None for the client's local mode, whose text index knows
            neither stems nor stop words.
    """
    return version is not None and tuple(version) >= _SCORING and _can_client_score()


def lacks_text_index(card: CollectionMetadata, info: models.CollectionInfo) -> bool:
    """Return whether a collection should have a text index with scores, and has none.

    A client before 1.20 does not see whether an index has scores; then none is missing.
    """
    stored = StoredWords.of(card, info)
    if stored is None or stored.index is not WordsIndex.TEXT or not _can_client_score():
        return False
    index = info.payload_schema.get(TEXT)
    return index is None or not getattr(index.params, "scoring", None)


def text_params(words: Words) -> models.TextIndexParams:
    """Return the parameters of a text index with BM25 scores."""
    multilingual, word = models.TokenizerType.MULTILINGUAL, models.TokenizerType.WORD
    stemmer = None
    if words.stemmer is not None:
        language = models.SnowballLanguage(words.stemmer)
        stemmer = models.SnowballParams(type=models.Snowball.SNOWBALL, language=language)
    return models.TextIndexParams(
        type=models.TextIndexType.TEXT,
        tokenizer=multilingual if words.is_segmented else word,
        lowercase=True,
        stemmer=stemmer,
        stopwords=None if words.stop_list is None else models.Language(words.stop_list),
        scoring=True,
    )


def text_query(text: str) -> models.TextQuery:
    """Return a query by the words of a text; it goes to :data:`TEXT_PATH`."""
    scoring = models.Bm25Scoring(bm25=models.Bm25Params(k=K, b=B))
    return models.TextQuery(text=models.TextQueryInput(query=text, scoring=scoring))


def _can_client_score() -> bool:
    return hasattr(models, "TextQuery")
