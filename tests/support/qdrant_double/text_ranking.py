"""BM25 over a text index, as servers from 1.20 compute it: Qdrant Edge holds the texts once more.

Edge ranks all points by their texts; filters and pages are of the double, since statistics count
points that a filter leaves out.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Mapping
from typing import Any

import qdrant_edge as edge

from memory_folder import memory

from .answers import wrong

_LANGUAGE = {name.lower(): getattr(edge.Language, name) for name in dir(edge.Language)}
_STEMMER = {
    name.lower(): getattr(edge.SnowballLanguage, name) for name in dir(edge.SnowballLanguage)
}
_TOKENIZER = {"word": edge.TokenizerType.Word, "multilingual": edge.TokenizerType.Multilingual}


def text_of(query: Any) -> Any:
    """Return the text of a query by words, with its scoring; None for all other queries."""
    return query["text"] if isinstance(query, dict) and {*query} == {"text"} else None


def without_scoring(schema: Any) -> Any:
    """Return the schema of an index as servers before 1.20 take it."""
    if not isinstance(schema, dict):
        return schema
    return {name: value for name, value in schema.items() if name != "scoring"}


def rank(
    texts: Mapping[str, str], using: str | None, schemas: Mapping[str, Any], query: Any
) -> list[tuple[str, float]]:
    """Return ids and scores of the texts that share a word with a query, best first.

    Args:
        texts: The texts of all points, by id.
        using: What the request names: ``payload.`` and the field.
        schemas: The parameters of the text indexes, by field.
        query: The text, or an object with it and its scoring.
    """
    path = (using or "").removeprefix("payload.")
    schema = schemas.get(path) or {}
    if not (using or "").startswith("payload.") or not schema.get("scoring"):
        raise wrong(f"A text query needs a text index with `scoring` on `{path}`")
    given: dict[str, Any] = {"query": query} if isinstance(query, str) else query
    bm25 = (given.get("scoring") or {}).get("bm25") or {}
    asked = edge.TextQuery(
        path, given["query"], edge.Bm25Params(k=bm25.get("k", 1.2), b=bm25.get("b", 0.75))
    )
    ids = {str(uuid.UUID(int=number + 1)): key for number, key in enumerate(texts)}
    points = [edge.Point(number, {}, {path: texts[key]}) for number, key in ids.items()]
    if not points:
        return []
    with tempfile.TemporaryDirectory(dir=memory()) as folder:
        config = edge.EdgeConfig(
            vectors={"none": edge.EdgeVectorParams(size=1, distance=edge.Distance.Dot)}
        )
        shard = edge.EdgeShard.create(folder, config)
        try:
            shard.update(edge.UpdateOperation.create_field_index(path, _params(schema)))
            shard.update(edge.UpdateOperation.upsert_points(points))
            found = shard.query(edge.QueryRequest(limit=len(points), query=asked))
        finally:
            shard.close()
    ranked = [(ids[str(item.id)], item.score) for item in found]
    # Servers return equal scores in any order; decant's own order is the other way round.
    return sorted(ranked, key=lambda item: (item[1], item[0]), reverse=True)


def _params(schema: Mapping[str, Any]) -> edge.TextIndexParams:
    stemmer, stop = schema.get("stemmer"), schema.get("stopwords")
    return edge.TextIndexParams(
        tokenizer=_TOKENIZER[schema.get("tokenizer", "word")],
        lowercase=schema.get("lowercase", True),
        stemmer=None if stemmer is None else edge.SnowballParams(_STEMMER[stemmer["language"]]),
        stopwords=None if stop is None else _LANGUAGE[stop],
        scoring=True,
    )
