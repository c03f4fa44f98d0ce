"""Compare late chunking with embedding each paragraph alone, on the same queries.

A late chunk is pooled from token states computed with the article around it (arXiv 2409.04701,
section 3); the other way embeds each paragraph by itself. Rankings and measures
are those of :class:`Retrieval`; relevance stays with paragraphs.
Invariant: both ways search the same paragraphs for the same queries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from decant.embedders import Role, Vectors, span_vectors
from decant.embedders.encoding import TokenEncoder, gives_parts

from ..errors import EvaluationError
from ..models.protocol import Embedder
from ..scores.measurement import Comparison, Measurement, compare
from ..scores.statistics import BOOTSTRAP, Bootstrap
from .beir_files import RetrievalSet
from .retrieval import Retrieval

METRICS = ("nDCG@10", "recall@100")
BETWEEN = "\n\n"
"""Stands between the paragraphs of an article: a blank line."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chunkings:
    """nDCG@10 and recall@100 of both ways, over the same queries.

    Args:
        alone: Each paragraph embedded by itself.
        late: Late chunks.
    """

    alone: tuple[Measurement, ...]
    late: tuple[Measurement, ...]

    def comparisons(self) -> tuple[Comparison, ...]:
        """Return late chunks against paragraphs alone, metric by metric, with the paired test."""
        return tuple(compare(one, two) for one, two in zip(self.alone, self.late, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class LateChunking:
    """Search over the paragraphs of articles, embedded in two ways.

    A paragraph longer than the model reads at once would be cut when it stands alone, and has no
    late chunk; one that is blank has neither. Both ways go without such paragraphs, which the
    score's note counts, and without the queries that one of them is relevant to, which lowers the
    coverage. In their articles they stay, as context.

    An article longer than the model reads is read in windows (:func:`span_vectors`). States of
    special tokens belong to no chunk, while a paragraph alone is pooled as the recipe says.

    Args:
        data: Its documents are the paragraphs.
        articles: Ids of each article's paragraphs, in their order; every document is in one.
        depth: As in :class:`Retrieval`.
        bootstrap: Settings of the intervals over queries.

    Raises:
        EvaluationError: A document is in no article or in two, an article names one that is not in
            the set, or ``depth`` is below 100.
    """

    data: RetrievalSet
    articles: tuple[tuple[str, ...], ...]
    depth: int = 1000
    bootstrap: Bootstrap = BOOTSTRAP

    def __post_init__(self) -> None:
        Retrieval(data=self.data, depth=self.depth)
        seen: set[str] = set()
        for article in self.articles:
            for document in article:
                if document not in self.data.documents:
                    raise EvaluationError(
                        f"{self.data.name}: an article has the paragraph {document!r}, which is no "
                        "document of the set"
                    )
                if document in seen:
                    raise EvaluationError(
                        f"{self.data.name}: {document!r} stands in articles twice; each paragraph "
                        "belongs to one place"
                    )
                seen.add(document)
        lost = [document for document in self.data.documents if document not in seen]
        if lost:
            raise EvaluationError(
                f"{self.data.name}: {len(lost)} documents are in no article, the first is "
                f"{lost[0]!r}; one that stands alone is an article of its own"
            )

    @property
    def name(self) -> str:
        """The name of the set, and what is done with it."""
        return f"{self.data.name}: late chunking"

    def score(self, embedder: Embedder) -> tuple[Measurement, ...]:
        """Return nDCG@10 and recall@100 of paragraphs alone, then those of late chunks.

        Raises:
            EvaluationError: The embedder gives no vectors of parts of a text, or as
                :class:`Retrieval`.
        """
        found = self.both(embedder)
        return (*_labelled(found.alone, "paragraphs alone"), *_labelled(found.late, "late chunks"))

    def both(self, embedder: Embedder) -> Chunkings:
        """Return the measurements of both ways, for a comparison; errors as :meth:`score`."""
        if not gives_parts(embedder):
            raise EvaluationError(
                f"{self.name}: this embedder gives no vectors of parts of a text; take a bundle "
                "exported with token_embeddings=True (--token-embeddings), without a head after "
                "pooling and without reworded texts"
            )
        kept = [key for key, text in self.data.documents.items() if _readable(embedder, text)]
        if not kept:
            raise EvaluationError(
                f"{self.name}: none of the {len(self.data.documents)} paragraphs fits the "
                f"{embedder.text_tokenizer.max_text_tokens(Role.PASSAGE)} tokens that the model "
                "reads"
            )
        shared = _without(self.data, frozenset(self.data.documents) - frozenset(kept))
        # Two articles may hold the same words, and their chunks then differ: keys are for texts.
        keyed = replace(shared, documents={key: _key(key) for key in kept})
        late = _LateChunks(embedder, self._chunks(embedder, frozenset(kept)))
        lost = len(self.data.documents) - len(kept)
        total = len(self.data.documents)
        note = f"{lost:,} of {total:,} paragraphs too long or blank" if lost else ""
        return Chunkings(
            alone=self._measured(shared, embedder, note), late=self._measured(keyed, late, note)
        )

    def _measured(
        self, data: RetrievalSet, embedder: Embedder, note: str
    ) -> tuple[Measurement, ...]:
        found = Retrieval(data=data, depth=self.depth, bootstrap=self.bootstrap).score(embedder)
        return tuple(
            replace(one, score=replace(one.score, name=self.name, note=note))
            for one in found
            if one.score.metric in METRICS
        )

    def _chunks(
        self, encoder: TokenEncoder, kept: frozenset[str]
    ) -> dict[str, NDArray[np.float32]]:
        """Return the vector of each readable paragraph, computed in its article."""
        found: dict[str, NDArray[np.float32]] = {}
        for article in self.articles:
            paragraphs = [self.data.documents[key] for key in article]
            # Where each paragraph begins: after all before it, and what stands between.
            starts = np.cumsum([0, *(len(text) + len(BETWEEN) for text in paragraphs)]).tolist()
            spans = {
                key: (start, start + len(text))
                for key, start, text in zip(article, starts, paragraphs, strict=False)
                if key in kept
            }
            if spans:
                whole = BETWEEN.join(paragraphs)
                rows = span_vectors(encoder, whole, list(spans.values()), role=Role.PASSAGE)
                found |= dict(zip(spans, rows, strict=True))
        return found


def consecutive(data: RetrievalSet, count: int) -> tuple[tuple[str, ...], ...]:
    """Return articles of ``count`` documents that follow each other; the last may hold fewer.

    Right for a corpus that is known to hold so many paragraphs of each article, in their order.

    Raises:
        EvaluationError: ``count`` is below 1.
    """
    if count < 1:
        raise EvaluationError(f"an article has one paragraph at least, got {count}")
    ids = list(data.documents)
    return tuple(tuple(ids[start : start + count]) for start in range(0, len(ids), count))


class _LateChunks:
    """Embeds queries as its encoder does; the passages that it is asked for are keys of chunks."""

    def __init__(self, encoder: TokenEncoder, chunks: Mapping[str, NDArray[np.float32]]) -> None:
        self._encoder = encoder
        self._chunks = {_key(document): vector for document, vector in chunks.items()}

    def encode(self, texts: Iterable[str], *, role: Role) -> Vectors:
        """Return one vector per query, or per key, float32, shape ``(N, D)``."""
        if role is Role.QUERY:
            return self._encoder.encode(texts, role=role)
        return Vectors(dense=np.stack([self._chunks[text] for text in texts]))


def _key(document: str) -> str:
    return f"chunk {document}"


def _readable(encoder: TokenEncoder, text: str) -> bool:
    """Return whether a paragraph is not blank, and the model reads it whole."""
    tokenizer = encoder.text_tokenizer
    tokens = tokenizer.bare.encode(text, add_special_tokens=False).ids
    return bool(text.strip()) and len(tokens) <= tokenizer.max_text_tokens(Role.PASSAGE)


def _without(data: RetrievalSet, lost: frozenset[str]) -> RetrievalSet:
    """Return the set without some documents; queries that need one keep no judgement."""
    judgements = {
        query: {}
        if lost & data.relevant(query).keys()
        else {document: grade for document, grade in grades.items() if document not in lost}
        for query, grades in data.judgements.items()
    }
    documents = {key: text for key, text in data.documents.items() if key not in lost}
    return replace(data, documents=documents, judgements=judgements)


def _labelled(found: Iterable[Measurement], way: str) -> list[Measurement]:
    return [
        replace(one, score=replace(one.score, metric=f"{one.score.metric}, {way}")) for one in found
    ]
