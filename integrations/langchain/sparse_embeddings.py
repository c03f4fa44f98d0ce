"""Sparse vectors for ``langchain-qdrant``'s own store, which then searches hybrid with them.

A collection that another program keeps stays as it is: its ``QdrantVectorStore`` takes dense
vectors from :class:`DecantEmbeddings` and sparse ones from here. There are two kinds: those that a
model learned, and the words of the texts, for models without a sparse head. Collections of decant's
own need neither.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Self

from langchain_qdrant import SparseEmbeddings
from langchain_qdrant import SparseVector as LangChainVector

from decant.embedders import Encoder, Output, RecipeError, Role, StoreError

from ..qdrant import SparseVector, Words
from ..qdrant.words.bm25 import WordVectors, average_length


class DecantSparseEmbeddings(SparseEmbeddings):
    """The sparse vectors of a recipe with a sparse head, for ``QdrantVectorStore``.

    Their weights are learned and compared by inner products, without the IDF modifier. Dense and
    sparse vectors are asked for apart, so a hybrid search by that store embeds a query twice; a
    :class:`Collection` embeds it once.

    Args:
        encoder: Computes the vectors.

    Raises:
        RecipeError: The encoder's recipe has no sparse head.

    >>> from decant.embedders import HashEncoder
    >>> sparse = DecantSparseEmbeddings(encoder=HashEncoder(sparse=True))
    >>> sparse.embed_query("a cat") == sparse.embed_query("a cat")
    True
    """

    def __init__(self, *, encoder: Encoder) -> None:
        if encoder.recipe.sparse_head is None:
            raise RecipeError(
                f"the recipe of {encoder.recipe.base!r} has no sparse head, so it makes no sparse "
                "vectors; export with the strategy 'splade' or 'promptreps', or take the words of "
                "the texts, BM25SparseEmbeddings"
            )
        self._encoder = encoder

    def __repr__(self) -> str:
        """Return the class and the model."""
        recipe = self._encoder.recipe
        return f"DecantSparseEmbeddings({recipe.base!r}, recipe {recipe.digest()!r})"

    @property
    def encoder(self) -> Encoder:
        """The encoder that computes the vectors."""
        return self._encoder

    def embed_documents(self, texts: list[str]) -> list[LangChainVector]:
        """Return one vector per text, in the order given.

        Raises:
            TextError: A text is empty; the message holds its index.
        """
        return self._embed(texts, Role.PASSAGE)

    def embed_query(self, text: str) -> LangChainVector:
        """Return the vector of one query.

        Raises:
            TextError: The text is empty.
        """
        return self._embed([text], Role.QUERY)[0]

    def _embed(self, texts: Sequence[str], role: Role) -> list[LangChainVector]:
        vectors = self._encoder.encode(texts, role=role, outputs=[Output.SPARSE]).sparse
        assert vectors is not None  # the recipe has a sparse head
        return [
            LangChainVector(indices=indices.tolist(), values=values.tolist())
            for indices, values in vectors
        ]


class BM25SparseEmbeddings(SparseEmbeddings):
    """The words of texts as sparse vectors, for ``QdrantVectorStore``: no model is needed.

    Inner products of these are BM25 scores where the collection's sparse vectors have the IDF
    modifier (``SparseVectorParams(modifier=Modifier.IDF)``); without it, rare words count no more
    than others. Tokens and their numbers are those of Qdrant's own ``Qdrant/bm25`` model.

    Args:
        words: The language, which decides stemming and stop words.
        average_length: How many tokens the texts of the collection have on average, above 0; see
            :meth:`measured`. It has to stay as it was when the texts were stored.

    >>> bm25 = BM25SparseEmbeddings.measured(["a cat sat", "cats and dogs"])
    >>> [(one.indices == bm25.embed_query("cats").indices) for one in bm25.embed_documents(["cat"])]
    [True]
    """

    def __init__(self, *, average_length: float, words: Words | None = None) -> None:
        if not (math.isfinite(average_length) and average_length > 0):
            raise StoreError(f"average_length is above 0 and finite, got {average_length!r}")
        self._words = words or Words()
        self._average_length = float(average_length)
        self._model = WordVectors(self._words, self._average_length)

    @classmethod
    def measured(cls, texts: Iterable[str], *, words: Words | None = None) -> Self:
        """Return these with the average length of some texts, such as the first thousand.

        Raises:
            TypeError: ``texts`` is one string.
            StoreError: None of the texts has a word.
        """
        if isinstance(texts, str):
            raise TypeError("texts takes several, got one string; write [text]")
        words = words or Words()
        measured = average_length(words, texts)
        if measured is None:
            raise StoreError("none of the texts has a word whose length could be measured")
        return cls(average_length=measured, words=words)

    def __repr__(self) -> str:
        """Return the class, the language and the average length."""
        return (
            f"BM25SparseEmbeddings(average_length={self._average_length:.4g}, "
            f"words={self._words!r})"
        )

    @property
    def average_length(self) -> float:
        """How many tokens a text counts as having on average: keep it for the next start."""
        return self._average_length

    def embed_documents(self, texts: list[str]) -> list[LangChainVector]:
        """Return one vector per text, in the order given; that of a text without words is empty."""
        return [_entries(self._model.of_text(text)) for text in texts]

    def embed_query(self, text: str) -> LangChainVector:
        """Return the vector of one query, empty if it has no words."""
        return _entries(self._model.of_query(text))


def _entries(vector: SparseVector | None) -> LangChainVector:
    if vector is None:
        return LangChainVector(indices=[], values=[])
    return LangChainVector(indices=vector.indices.tolist(), values=vector.values.tolist())
