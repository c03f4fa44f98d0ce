"""The double asks an inference service for the vectors of texts, as the recorded server did.

All texts of a request go in one request, equal ones once, in an order of their own. What the
service answers is read as the server reads it (``src/common/inference/service.rs`` of 1.19), and so
are its refusals, to the letter.
"""

from __future__ import annotations

import http
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from decant.integrations.qdrant import Words
from decant.integrations.qdrant.words.bm25 import WordVectors

from .answers import Refused

_DATA = ("text", "image", "object")
_BM25 = "qdrant/bm25"
_WORDS = 256.0  # the average length that the server takes unless options say another
_UNSET = (
    "Service internal error: InferenceService URL not configured - please provide valid address in "
    "config"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAnswer:
    """What an inference service answered."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Service = Callable[[Any], ServiceAnswer]
"""An inference service: it gets the body of a request as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inferred:
    """A request with vectors in place of its texts, and what the service counted."""

    body: Any
    usage: Any = None


def infer(
    body: Any, purpose: str, *, service: Service | None, token: str | None = None
) -> Inferred:
    """Replace the texts of a request by vectors.

    Args:
        body: The request.
        purpose: ``update`` or ``search``.
        service: What is asked; None: no address is configured.
        token: The configured token.

    Raises:
        Refused: The service refused, or what it answered cannot be read.
    """
    documents = {_key(one): one for one in _documents(body)}
    if not documents:
        return Inferred(body=body)
    # Words are weighed inside the server; no service is asked.
    vectors = {
        key: _weighed(one["text"], purpose)
        for key, one in documents.items()
        if one["model"].lower() == _BM25
    }
    documents = {key: one for key, one in documents.items() if key not in vectors}
    if not documents:
        return Inferred(body=_replaced(body, vectors))
    if service is None:
        raise Refused(500, _UNSET)
    keys = sorted(documents)  # an order that is not that of the points
    inputs = [_input(documents[key]) for key in keys]
    answer = service({"inputs": inputs, "inference": purpose, "token": token})
    embeddings, usage = _read(answer)
    if len(embeddings) < len(keys):
        raise Refused(
            500,
            "Service internal error: Inference service returned no vectors. Check if models are "
            "properly loaded.",
        )
    vectors |= dict(zip(keys, embeddings, strict=False))
    return Inferred(body=_replaced(body, vectors), usage=usage)


def _is_document(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("model"), str)
        and len(value.keys() & {*_DATA}) == 1
    )


def _key(document: Any) -> str:
    options = {**(document.get("options") or {})}
    (kind,) = document.keys() & {*_DATA}
    return json.dumps([document["model"], kind, document[kind], options], sort_keys=True)


def _input(document: Any) -> dict[str, Any]:
    (kind,) = document.keys() & {*_DATA}
    return {
        "data": document[kind],
        "data_type": kind,
        "model": document["model"],
        "options": document.get("options"),
    }


def _weighed(text: str, purpose: str) -> dict[str, Any]:
    weights = WordVectors(Words(), _WORDS)
    found = weights.of_query(text) if purpose == "search" else weights.of_text(text)
    if found is None:
        return {"indices": [], "values": []}
    return {"indices": found.indices.tolist(), "values": found.values.tolist()}


def _documents(value: Any) -> Iterator[Any]:
    """Yield the documents in a request; payloads hold none, whatever they look like."""
    if _is_document(value):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in ("payload", "filter"):
                yield from _documents(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _documents(inner)


def _replaced(value: Any, vectors: Mapping[str, Any]) -> Any:
    if _is_document(value):
        return vectors[_key(value)]
    if isinstance(value, dict):
        return {
            name: inner if name in ("payload", "filter") else _replaced(inner, vectors)
            for name, inner in value.items()
        }
    return [_replaced(inner, vectors) for inner in value] if isinstance(value, list) else value


def _read(answer: ServiceAnswer) -> tuple[list[Any], Any]:
    text = answer.body.decode()
    if answer.status != 200:
        raise _refusal(answer, text)
    try:
        held = json.loads(text, parse_constant=_no_number)
        return held["embeddings"], held.get("usage")
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(
            500,
            f"Service internal error: Failed to parse successful inference response: {error}. "
            f"Response body: {text}",
        ) from error


def _no_number(name: str) -> float:
    if math.isfinite(found := float(name)):
        return found
    raise ValueError(f"expected value, got {name}")


def _refusal(answer: ServiceAnswer, text: str) -> Refused:
    shown = f"({answer.status} {http.HTTPStatus(answer.status).phrase}): {text}"
    match answer.status:
        case 400:
            try:
                said = f"Inference request validation failed: {json.loads(text)['error']}"
            except (ValueError, KeyError, TypeError):
                said = f"Invalid inference request: {text}"
            return Refused(400, f"Bad request: {said}")
        case 401 | 403:
            said = f"Authentication failed for inference service {shown}"
            return Refused(500, f"Service internal error: {said}")
        case 429:
            after = answer.headers.get("retry-after")
            return Refused(
                429,
                f"Rate limiting exceeded: Too many requests for inference service {shown}",
                retry_after=None if after is None else int(after),
            )
        case status if status >= 500:
            return Refused(500, f"Service internal error: Inference service error {shown}")
        case _:
            return Refused(400, f"Bad request: Inference can't process request {shown}")
