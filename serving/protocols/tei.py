"""The routes of Hugging Face's text-embeddings-inference (TEI): ``/embed``, ``/rerank``, ``/info``.

That server has one model and no name for it. So here the routes stand at the root if one model is
served, and below ``/models/NAME`` for each of several; the role is that of ``prompt_name`` or of
the name (``/models/minilm:query/embed``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from decant.embedders import Recipe, best_first

from ..errors import RequestError
from ..models import (
    Embeddings,
    ModelAddress,
    PairGroup,
    RerankRequest,
    Scores,
    ServedModel,
    ServedReranker,
    SparseEmbedding,
    TextLimits,
    TextRequest,
    VectorKind,
)
from .json_fields import JsonFields
from .openai import InputType, role_of

_FIELDS = ("inputs", "truncate", "truncation_direction", "prompt_name", "normalize", "dimensions")
_RERANK_FIELDS = (
    "query",
    "texts",
    "raw_scores",
    "return_text",
    "truncate",
    "truncation_direction",
    "instruction",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextsRequest:
    """A request to order texts.

    Args:
        wanted: The query and the texts, in order.
        raw_scores: Whether the recipe's activation is left out.
        return_text: Whether the answer repeats the texts.
    """

    wanted: RerankRequest
    raw_scores: bool
    return_text: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """What ``/info`` tells of the server, in addition to the model.

    Args:
        version: The version of decant.
        limits: How much one request may ask for.
        pass_tokens: The most tokens in a pass of the model.
    """

    version: str
    limits: TextLimits
    pass_tokens: int


def read_embed_request(
    data: object, address: ModelAddress, kind: VectorKind
) -> tuple[TextRequest, ...]:
    """Read the body of ``/embed`` or ``/embed_sparse``.

    Args:
        data: The parsed JSON.
        address: The model, and perhaps the role, of the path.
        kind: Which vectors the route gives.

    Raises:
        RequestError: It has another form, or the model gives no such vectors.
    """
    body = JsonFields(data, known=_FIELDS)
    model = address.model
    if address.kind not in (VectorKind.DENSE, kind):
        raise RequestError(f"this route gives {kind} vectors, and the path asks for {address.kind}")
    if not kind.is_given_by(model.encoder.recipe):
        raise RequestError(f"{model.name} gives no {kind} vectors")
    _check_direction(body)
    said = body.choice("prompt_name", InputType)
    role = role_of(address, None if said is None else said.role)
    truncate, normalize, dim = (
        body.flag("truncate"),
        body.flag("normalize"),
        body.positive("dimensions"),
    )
    return tuple(
        TextRequest(
            text=text,
            address=ModelAddress(model=model, kind=kind, role=role),
            role=role,
            dim=dim,
            truncate=truncate is not False,
            normalize=normalize,
        )
        for text in _texts(body)
    )


def embed_answer(found: Embeddings) -> list[object]:
    """Return the answer of ``/embed``: the bare vectors."""
    return [np.ascontiguousarray(row) for row in found.rows if isinstance(row, np.ndarray)]


def embed_sparse_answer(found: Embeddings) -> list[object]:
    """Return the answer of ``/embed_sparse``: indices with their values."""
    return [
        [
            {"index": index, "value": value}
            for index, value in zip(row.indices.tolist(), row.values, strict=True)
        ]
        for row in found.rows
        if isinstance(row, SparseEmbedding)
    ]


def read_rerank_request(data: object, model: ServedReranker) -> TextsRequest:
    """Read the body of ``/rerank``.

    Args:
        data: The parsed JSON.
        model: The reranker of the path.

    Raises:
        RequestError: It has another form, or the model takes no instruction.
    """
    body = JsonFields(data, known=_RERANK_FIELDS)
    _check_direction(body)
    return TextsRequest(
        wanted=RerankRequest(
            model=model,
            groups=(
                PairGroup(query=body.text("query"), texts=tuple(_list_of_texts(body, "texts"))),
            ),
            instruction=body.optional_text("instruction"),
            truncate=body.flag("truncate") is not False,
        ),
        raw_scores=bool(body.flag("raw_scores")),
        return_text=bool(body.flag("return_text")),
    )


def rerank_answer(request: TextsRequest, found: Scores) -> list[object]:
    """Return the answer of ``/rerank``, the best text first."""
    scores = found.raw if request.raw_scores else found.scores
    texts = request.wanted.texts
    return [
        {
            "index": place,
            "score": scores[place],
            **({"text": texts[place]} if request.return_text else {}),
        }
        for place in best_first(scores)
    ]


def info_answer(of: ModelAddress | ServedReranker, info: ServerInfo) -> dict[str, object]:
    """Return the answer of ``/info``."""
    if isinstance(of, ServedReranker):
        labels = {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}}
        return _info(of, of.reranker, of.reranker.recipe.model, labels, info)
    encoder = of.model.encoder
    pooling = {"embedding": {"pooling": str(encoder.recipe.pooling)}}
    return _info(of.model, encoder, encoder.recipe, pooling, info)


def _info(
    model: ServedModel | ServedReranker,
    runs: object,
    recipe: Recipe,
    kind: Mapping[str, object],
    info: ServerInfo,
) -> dict[str, object]:
    return {
        "model_id": recipe.base,
        "model_sha": model.digest,
        "model_dtype": str(getattr(runs, "precision", "fp32")),
        "model_type": kind,
        "served_model_name": model.name,
        "max_input_length": recipe.max_tokens,
        "max_batch_tokens": info.pass_tokens,
        "max_client_batch_size": info.limits.texts,
        "auto_truncate": True,
        "version": info.version,
    }


def _check_direction(body: JsonFields) -> None:
    if body.has("truncation_direction") and body.text("truncation_direction").lower() != "right":
        raise RequestError("texts are cut at their end; truncation_direction can only be right")


def _texts(body: JsonFields) -> list[str]:
    given = body.value("inputs")
    return [given] if isinstance(given, str) else _list_of_texts(body, "inputs")


def _list_of_texts(body: JsonFields, key: str) -> list[str]:
    items = body.items(key)
    texts = [item for item in items if isinstance(item, str)]
    if len(texts) < len(items):
        wanted = "a string or a list of strings" if key == "inputs" else "a list of strings"
        raise RequestError(f"{key} must be {wanted}")
    return texts
