"""OpenAI's ``/v1/embeddings`` and ``/v1/models``, as its clients and those of others call them.

The protocol has no role. A client says it with the model's name (``minilm:query``) or with
``input_type``; without either, only a model is served that has one prompt for both.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from decant.embedders import Role

from ..errors import RequestError
from ..models import (
    Embeddings,
    ModelAddress,
    ModelDirectory,
    ServedModel,
    ServedReranker,
    TextRequest,
    VectorKind,
)
from .json_fields import JsonFields

_FIELDS = ("model", "input", "encoding_format", "dimensions", "input_type", "instruction", "user")


class EncodingFormat(StrEnum):
    """How numbers are written."""

    FLOAT = "float"
    BASE64 = "base64"


class InputType(StrEnum):
    """What other servers and their clients call a role."""

    QUERY = "query"
    PASSAGE = "passage"
    DOCUMENT = "document"
    SEARCH_QUERY = "search_query"
    SEARCH_DOCUMENT = "search_document"

    @property
    def role(self) -> Role:
        """The role."""
        is_query = self in (InputType.QUERY, InputType.SEARCH_QUERY)
        return Role.QUERY if is_query else Role.PASSAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingsRequest:
    """A request for embeddings.

    Args:
        wanted: The texts, in order.
        model: The model's name as the client wrote it.
        encoding: How the numbers are to be written.
    """

    wanted: tuple[TextRequest, ...]
    model: str
    encoding: EncodingFormat


def read_embeddings_request(data: object, models: ModelDirectory) -> EmbeddingsRequest:
    """Read the body of ``/v1/embeddings``.

    Raises:
        RequestError: It has another form, its model is not here or gives no such vectors, it holds
            tokens instead of texts, or its role is not known.
    """
    body = JsonFields(data, known=_FIELDS)
    name = body.text("model")
    address = models.find(name)
    if address.kind is not VectorKind.DENSE:
        raise RequestError(f"/v1/embeddings gives dense vectors; ask /infer for {name[:200]}")
    kind = body.choice("input_type", InputType)
    role = role_of(address, None if kind is None else kind.role)
    instruction, dim = body.optional_text("instruction"), body.positive("dimensions")
    wanted = tuple(
        TextRequest(text=text, address=address, role=role, instruction=instruction, dim=dim)
        for text in _texts(body)
    )
    encoding = body.choice("encoding_format", EncodingFormat) or EncodingFormat.FLOAT
    return EmbeddingsRequest(wanted=wanted, model=name, encoding=encoding)


def role_of(address: ModelAddress, said: Role | None) -> Role:
    """Return the role that a request or its model's name says.

    Raises:
        RequestError: None is said, and the model has different prompts; or two that differ are.
    """
    if said is not None and address.role not in (None, said):
        raise RequestError(
            f"the model's name says {address.role} and the request {said}; leave one out"
        )
    if (role := said or address.role) is not None:
        return role
    model = address.model
    if model.needs_role:
        raise RequestError(
            f"{model.name} has different prompts for queries and passages, and the request does "
            f"not say which these are; ask for {model.name}:query or {model.name}:passage"
        )
    return Role.QUERY  # no difference for the vectors, and few texts do not wait for many


def embeddings_answer(request: EmbeddingsRequest, found: Embeddings) -> dict[str, object]:
    """Return the answer of ``/v1/embeddings``."""
    tokens = sum(found.tokens.values())
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _written(row, request.encoding)}
            for index, row in enumerate(found.rows)
            if isinstance(row, np.ndarray)
        ],
        "model": request.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def models_answer(models: ModelDirectory) -> dict[str, object]:
    """Return the answer of ``/v1/models``, with what else a client has to know of each."""
    return {
        "object": "list",
        "data": [
            *(_encoder_entry(model) for model in models.encoders),
            *(_reranker_entry(model) for model in models.rerankers),
        ],
    }


def _entry(model: ServedModel | ServedReranker) -> dict[str, object]:
    return {
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": "decant",
        "digest": model.digest,
    }


def _encoder_entry(model: ServedModel) -> dict[str, object]:
    recipe = model.encoder.recipe
    return {
        **_entry(model),
        "kind": "encoder",
        "base": recipe.base,
        "dim": model.encoder.dim,
        "min_dim": recipe.min_dim,
        "max_tokens": recipe.max_tokens,
        "vectors": [kind for kind in VectorKind if kind.is_given_by(recipe)],
        "takes_instruction": recipe.instruction_template is not None,
        "needs_role": model.needs_role,
    }


def _reranker_entry(model: ServedReranker) -> dict[str, object]:
    recipe = model.reranker.recipe
    return {
        **_entry(model),
        "kind": "reranker",
        "base": recipe.base,
        "max_tokens": recipe.max_tokens,
        "activation": recipe.activation,
        "takes_instruction": model.takes_instruction,
    }


def _texts(body: JsonFields) -> list[str]:
    given = body.value("input")
    items = [given] if isinstance(given, str) else body.items("input")
    texts = [item for item in items if isinstance(item, str)]
    if len(texts) == len(items):
        return texts
    if all(isinstance(item, int | list) for item in items):
        raise RequestError(
            "input holds tokens of another tokenizer, and only texts can be embedded; with "
            "LangChain say OpenAIEmbeddings(check_embedding_ctx_length=False)"
        )
    raise RequestError("input must be a string or a list of strings")


def _written(row: NDArray[np.float32], encoding: EncodingFormat) -> object:
    if encoding is EncodingFormat.FLOAT:
        return np.ascontiguousarray(row)
    return base64.b64encode(np.ascontiguousarray(row, "<f4").tobytes()).decode("ascii")
