"""How words are tokenised, stemmed and left out, and sparse vectors, in the types of Edge."""

from __future__ import annotations

import numpy as np
import qdrant_edge as edge

from ..stores.sparse_vector import SparseVector
from ..stores.words import Words


def tokenizer(words: Words) -> edge.TokenizerType:
    """Return what cuts texts into words."""
    return edge.TokenizerType.Multilingual if words.is_segmented else edge.TokenizerType.Word


def stemmer(words: Words) -> edge.SnowballParams | None:
    """Return what reduces words to their stems, if anything does."""
    if words.stemmer is None:
        return None
    return edge.SnowballParams(getattr(edge.SnowballLanguage, words.stemmer.capitalize()))


def stop_words(words: Words) -> edge.Language | None:
    """Return the language whose stop words are left out, if any."""
    return None if words.stop_list is None else getattr(edge.Language, words.stop_list.capitalize())


def text_params(words: Words) -> edge.TextIndexParams:
    """Return the parameters of a text index with BM25 scores."""
    return edge.TextIndexParams(
        tokenizer=tokenizer(words),
        lowercase=True,
        stemmer=stemmer(words),
        stopwords=stop_words(words),
        scoring=True,
    )


def from_edge_sparse(vector: edge.SparseVector) -> SparseVector | None:
    """Return a sparse vector of Edge's in decant's form; None if it has no entries."""
    if not vector.indices:
        return None
    return SparseVector(
        indices=np.asarray(vector.indices, np.int64), values=np.asarray(vector.values, np.float32)
    )
