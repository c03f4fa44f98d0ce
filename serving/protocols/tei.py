"""The routes of Hugging Face's text-embeddings-inference (TEI): ``/embed``, ``/info`` and others.

That server has one model and no name for it. So here the routes stand at the root if one model is
served, and below ``/models/NAME`` for each of several; the role is that of ``prompt_name`` or of
the name (``/models/minilm:query/embed``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import RequestError
from ..models import (
    Embeddings,
    ModelAddress,
    SparseEmbedding,
    TextLimits,
    TextRequest,
    VectorKind,
)
from .json_fields import JsonFields
from .openai import InputType, role_of

_FIELDS = ("inputs", "truncate", "truncation_direction", "prompt_name", "normalize", "dimensions")


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
    if body.has("truncation_direction") and body.text("truncation_direction").lower() != "right":
        raise RequestError("texts are cut at their end; truncation_direction can only be right")
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


def info_answer(address: ModelAddress, info: ServerInfo) -> dict[str, object]:
    """Return the answer of ``/info``."""
    recipe = address.model.encoder.recipe
    return {
        "model_id": recipe.base,
        "model_sha": address.model.digest,
        "model_dtype": str(getattr(address.model.encoder, "precision", "fp32")),
        "model_type": {"embedding": {"pooling": str(recipe.pooling)}},
        "served_model_name": address.model.name,
        "max_input_length": recipe.max_tokens,
        "max_batch_tokens": info.pass_tokens,
        "max_client_batch_size": info.limits.texts,
        "auto_truncate": True,
        "version": info.version,
    }


def _texts(body: JsonFields) -> list[str]:
    given = body.value("inputs")
    items = [given] if isinstance(given, str) else body.items("inputs")
    texts = [item for item in items if isinstance(item, str)]
    if len(texts) < len(items):
        raise RequestError("inputs must be a string or a list of strings")
    return texts
