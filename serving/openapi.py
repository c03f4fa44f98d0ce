"""The OpenAPI document of the server, as data: what each route takes and gives.

It is written by hand, because the readers of requests (``protocols/``) are stricter than a schema
that is derived from types, and say more. A test compares its paths with the routes.
"""

from __future__ import annotations

from decant.embedders import Output, Role
from decant.embedders.json_records import Json

from .protocols import EncodingFormat, Inference, InputType

_VERSION = "3.1.0"
_REFUSED = {
    "400": "the request is wrong; the message says what to change",
    "401": "a key is needed, or it is wrong",
    "404": "there is no such model",
    "408": "the body did not come in time",
    "409": "the client was opened with another model",
    "413": "too many bytes, texts or tokens",
    "415": "the body is not announced as JSON",
    "429": "the queue is full; Retry-After says when to try again",
    "503": "the server is stopping",
}


def openapi_document(version: str) -> dict[str, Json]:
    """Return the document.

    Args:
        version: The version of decant.
    """
    routes: dict[str, Json] = {
        "/infer": {"post": _post("Embed texts for a Qdrant server", "Inference", "Inferred")},
        "/v1/embeddings": {"post": _post("Embed texts, as OpenAI does", "Embeddings", "Embedded")},
        "/v1/models": {"get": _get("List the models", _object())},
        "/metrics": {"get": _get("Metrics for Prometheus", None)},
        "/health": {"get": _get("The process answers", None, open_to_all=True)},
        "/ready": {"get": _get("Every model takes texts", None, "503", open_to_all=True)},
        "/openapi.json": {"get": _get("This document", _object(), open_to_all=True)},
    }
    for path, summary, answer in (
        ("/embed", "Embed texts, as TEI does", _list(_vector())),
        ("/embed_sparse", "Give sparse vectors, as TEI does", _list(_list(_sparse_entry()))),
    ):
        routes[path] = {"post": _post(summary, "Embed", answer)}
        routes[f"/models/{{model}}{path}"] = {
            "post": _post(f"{summary}, by one of several models", "Embed", answer),
            "parameters": [_model_in_path()],
        }
    for path, method, route in (
        (
            "/encoder",
            "get",
            _get("What a remote encoder has to know of the model", _object(), "400"),
        ),
        (
            "/reranker",
            "get",
            _get("What a remote reranker has to know of the model", _object(), "400", "404"),
        ),
        ("/score", "post", _post("Raw scores for a remote reranker, as .npz", "Score", None)),
        ("/rerank", "post", _post("Order texts, as TEI does", "Rerank", _list(_ranked("score")))),
        ("/tokenizer.json", "get", _get("The tokenizer of the model", _object(), "400")),
        ("/encode", "post", _post("Vectors for a remote encoder, as .npz", "Encode", None)),
    ):
        routes[path] = {method: route}
        routes[f"/models/{{model}}{path}"] = {
            method: route,
            "parameters": [_model_in_path()],
        }
    for path in ("/v1/rerank", "/v2/rerank"):
        summary = "Order documents, as Cohere and Jina do"
        route = _post(summary, "RerankDocuments", "RankedDocuments", error="Message")
        routes[path] = {"post": route}
    routes["/info"] = {"get": _get("The only model, as TEI tells it", _object(), "400")}
    routes["/models/{model}/info"] = {
        "get": _get("One of several models, as TEI tells it", _object(), "400"),
        "parameters": [_model_in_path()],
    }
    return {
        "openapi": _VERSION,
        "info": {"title": "decant serve", "version": version},
        "paths": routes,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
        "security": [{}, {"bearer": []}, {"header": []}],
    }


def _schemas() -> dict[str, Json]:
    text: Json = {"type": "string", "minLength": 1}
    texts: Json = {"oneOf": [text, _list(text, least=1)]}
    roles: Json = {"enum": [str(role) for role in Role]}
    types: Json = {"enum": [str(one) for one in InputType]}
    options = _object(role=roles, instruction=_text(), dim=_count(), truncate={"type": "boolean"})
    item = _object(
        ("data", "data_type", "model"),
        data=text,
        data_type={"const": "text"},
        model=_model(),
        options=_or_null(options),
    )
    return {
        "Inference": _object(
            ("inputs", "inference"),
            inputs=_list(item, least=1),
            inference={"enum": [str(one) for one in Inference]},
            token=_or_null(_text()),
        ),
        "Inferred": _object(
            ("embeddings", "usage"),
            embeddings=_list({"oneOf": [_vector(), _list(_vector()), _sparse()]}),
            usage={"type": "object"},
        ),
        "Embeddings": _object(
            ("model", "input"),
            model=_model(),
            input=texts,
            encoding_format={"enum": [str(one) for one in EncodingFormat]},
            dimensions=_count(),
            input_type=types,
            instruction=_text(),
            user=_text(),
        ),
        "Embedded": {"type": "object", "required": ["object", "data", "model", "usage"]},
        "Embed": _object(
            ("inputs",),
            inputs=texts,
            truncate={"type": "boolean"},
            truncation_direction={"enum": ["Right", "right"]},
            prompt_name=types,
            normalize={"type": "boolean"},
            dimensions=_count(),
        ),
        "Encode": _object(
            ("texts", "role", "outputs", "digest"),
            texts=_list(_text(), least=1),
            role=roles,
            instruction=_or_null(_text()),
            outputs=_list({"enum": [str(one) for one in Output]}),
            digest=_text(),
            graph=_or_null(_text()),
            first={"type": "integer", "minimum": 0},
        ),
        **_rerank_schemas(text),
        "Error": {"type": "object", "required": ["error"]},
        "Message": {"type": "object", "required": ["message", "detail"]},
    }


def _rerank_schemas(text: Json) -> dict[str, Json]:
    texts, flag = _list(text, least=1), _or_null({"type": "boolean"})
    document: Json = {
        "oneOf": [text, {"type": "object", "required": ["text"], "properties": {"text": text}}]
    }
    return {
        "Rerank": _object(
            ("query", "texts"),
            query=text,
            texts=texts,
            raw_scores=flag,
            return_text=flag,
            truncate=flag,
            truncation_direction=_or_null({"enum": ["Right", "right"]}),
            instruction=_or_null(_text()),
        ),
        "RerankDocuments": _object(
            ("query", "documents"),
            model=_or_null(_model()),
            query=document,
            documents=_list(document, least=1),
            top_n=_or_null(_count()),
            return_documents=flag,
            instruction=_or_null(_text()),
            truncation=flag,
            max_tokens_per_doc=_or_null(_count()),
            max_chunks_per_doc=_or_null(_count()),
            rank_fields=_or_null({"const": ["text"]}),
            priority=_or_null({"type": "integer", "minimum": 0}),
            return_embeddings=_or_null({"const": False}),
            user=_or_null(_text()),
        ),
        "RankedDocuments": {
            "type": "object",
            "required": ["id", "model", "results", "usage", "meta"],
            "properties": {"results": _list(_ranked("relevance_score"))},
        },
        "Score": _object(
            ("groups", "digest"),
            groups=_list(_object(("query", "texts"), query=text, texts=texts), least=1),
            instruction=_or_null(_text()),
            digest=_text(),
            graph=_or_null(_text()),
            first=_or_null({"type": "integer", "minimum": 0}),
        ),
    }


def _ranked(score: str) -> Json:
    """Return the schema of a text among others in the order of their scores."""
    return {
        "type": "object",
        "required": ["index", score],
        "properties": {"index": {"type": "integer"}, score: {"type": "number"}},
    }


def _post(summary: str, body: str, answer: Json | str, *, error: str = "Error") -> Json:
    given: Json = _reference(answer) if isinstance(answer, str) else answer
    refusals = {status: _refusal(status, error) for status in _REFUSED}
    archive: Json = {
        "description": "arrays of numpy without pickles, named as the vectors that were asked for",
        "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
    }
    return {
        "summary": summary,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _reference(body)}},
        },
        "responses": {
            "200": archive if given is None else _answer("the answer", given),
            **refusals,
        },
    }


def _get(summary: str, answer: Json, *refused: str, open_to_all: bool = False) -> Json:
    responses: dict[str, Json] = {"200": _answer("the answer", answer)}
    responses |= {status: _refusal(status) for status in refused}
    found: dict[str, Json] = {"summary": summary, "responses": responses}
    if open_to_all:
        found["security"] = []
    else:
        responses["401"] = _refusal("401")
    return found


def _refusal(status: str, form: str = "Error") -> Json:
    return _answer(_REFUSED[status], _reference(form))


def _answer(what: str, schema: Json) -> Json:
    if schema is None:
        return {"description": what, "content": {"text/plain": {"schema": _text()}}}
    return {"description": what, "content": {"application/json": {"schema": schema}}}


def _object(required: tuple[str, ...] = (), **properties: Json) -> dict[str, Json]:
    found: dict[str, Json] = {"type": "object"}
    if properties:
        found |= {"properties": properties, "additionalProperties": False}
    if required:
        found["required"] = [*required]
    return found


def _list(items: Json, *, least: int = 0) -> Json:
    return {"type": "array", "items": items, "minItems": least}


def _reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _or_null(schema: Json) -> Json:
    return {"oneOf": [schema, {"type": "null"}]}


def _text() -> Json:
    return {"type": "string"}


def _count() -> Json:
    return {"type": "integer", "minimum": 1}


def _vector() -> Json:
    return _list({"type": "number"})


def _sparse() -> Json:
    indices = _list({"type": "integer"})
    return _object(("indices", "values"), indices=indices, values=_vector())


def _sparse_entry() -> Json:
    return _object(("index", "value"), index={"type": "integer"}, value={"type": "number"})


def _model() -> Json:
    return {
        "type": "string",
        "description": "name[@digest][:sparse|:tokens][:query|:passage]",
    }


def _model_in_path() -> Json:
    return {"name": "model", "in": "path", "required": True, "schema": _model()}
