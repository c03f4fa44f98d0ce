"""Cohere's ``/v1/rerank`` and ``/v2/rerank`` and Jina's ``/v1/rerank``: one answer for all clients.

A document is a string, or an object whose ``text`` is read. ``relevance_score`` is the score that
``Reranker.score`` gives: by the recipe's activation, for many models between 0 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

from decant.embedders import best_first

from ..errors import RequestError
from ..models import ModelDirectory, PairGroup, RerankRequest, Scores
from .json_fields import JsonFields

_FIELDS = (
    "model",
    "query",
    "documents",
    "top_n",
    "return_documents",
    "instruction",
    "truncation",
    "max_tokens_per_doc",
    "max_chunks_per_doc",
    "rank_fields",
    "priority",
    "return_embeddings",
    "user",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentsRequest:
    """A request to order documents.

    Args:
        wanted: The query and the documents, in order.
        model: The model's name as the client wrote it.
        top_n: How many of the best are answered; None: all.
        return_documents: Whether the answer repeats their texts.
    """

    wanted: RerankRequest
    model: str
    top_n: int | None
    return_documents: bool


def read_documents_request(data: object, models: ModelDirectory) -> DocumentsRequest:
    """Read the body of ``/v1/rerank`` or ``/v2/rerank``; an only reranker needs no name.

    Raises:
        UnknownModel: There is no model of this name.
        RequestError: It has another form, its model is no reranker or takes no instruction, or it
            asks for what no reranker here does.
    """
    body = JsonFields(data, known=_FIELDS)
    name = body.optional_text("model")
    model = models.only_reranker() if name is None else models.find_reranker(name)
    if body.flag("return_embeddings"):
        raise RequestError("a reranker here gives no embeddings; leave return_embeddings out")
    if body.has("rank_fields") and body.items("rank_fields") != ["text"]:
        raise RequestError('documents are read by their text; rank_fields can only be ["text"]')
    if body.has("priority"):
        body.natural("priority")  # requests take turns, whatever it is
    if body.has("user"):
        body.text("user")
    body.positive("max_chunks_per_doc")  # a document is one chunk, which is never more
    group = PairGroup(query=_query(body), texts=_documents(body))
    return DocumentsRequest(
        wanted=RerankRequest(
            model=model,
            groups=(group,),
            instruction=body.optional_text("instruction"),
            truncate=body.flag("truncation") is not False,
            text_tokens=body.positive("max_tokens_per_doc"),
        ),
        model=name or model.name,
        top_n=body.positive("top_n"),
        return_documents=bool(body.flag("return_documents")),
    )


def documents_answer(
    request: DocumentsRequest, found: Scores, *, api_version: str
) -> dict[str, object]:
    """Return the answer, the best document first.

    Args:
        request: The request.
        found: The scores.
        api_version: The version of Cohere's protocol, as the path has it.
    """
    scores, texts = found.scores, request.wanted.texts
    return {
        "id": str(uuid4()),
        "object": "list",
        "model": request.model,
        "results": [
            {
                "index": place,
                "relevance_score": scores[place],
                **({"document": {"text": texts[place]}} if request.return_documents else {}),
            }
            for place in best_first(scores)[: request.top_n]
        ],
        "usage": {"prompt_tokens": found.tokens, "total_tokens": found.tokens},
        "meta": {
            "api_version": {"version": api_version},
            "billed_units": {"search_units": 1},
            "tokens": {"input_tokens": found.tokens},
        },
    }


def _query(body: JsonFields) -> str:
    if isinstance(given := body.value("query"), dict):
        return _text_of(given, "query")
    return body.text("query")


def _documents(body: JsonFields) -> tuple[str, ...]:
    return tuple(
        item if isinstance(item, str) else _text_of(item, f"documents[{place}]")
        for place, item in enumerate(body.items("documents"))
    )


def _text_of(item: object, where: str) -> str:
    """Return the text of an object; what else it holds is the client's."""
    if not isinstance(item, dict) or not isinstance(text := item.get("text"), str):
        raise RequestError(f"{where} must be a string, or an object with a string as its text")
    return text
