"""What a Qdrant server asks its inference service, and the answer that it takes.

A Qdrant server with ``inference.address`` in its configuration sends the texts of its clients here
(Qdrant 1.19, ``src/common/inference/service.rs``). ``inference`` says what they are for: texts of
an update are passages, those of a search are queries. A client's ``options`` overrule it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

import numpy as np

from decant.embedders import Role

from ..errors import RequestError
from ..models import Embeddings, ModelDirectory, SparseEmbedding, TextRequest
from .json_fields import JsonFields

_OPTIONS = ("role", "instruction", "dim", "truncate")


class Inference(StrEnum):
    """What Qdrant wants vectors for."""

    UPDATE = "update"
    SEARCH = "search"

    @property
    def role(self) -> Role:
        """The role of texts for which the client says none."""
        match self:
            case Inference.UPDATE:
                return Role.PASSAGE
            case Inference.SEARCH:
                return Role.QUERY
            case _:
                assert_never(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRequest:
    """A request of Qdrant's inference client.

    Args:
        wanted: The texts, in order.
        token: The token that Qdrant was configured with, or that it took from its client's.
    """

    wanted: tuple[TextRequest, ...]
    token: str | None


def read_token(data: object) -> str | None:
    """Return the token of a request before anything else is read; None if it has none."""
    token = data.get("token") if isinstance(data, dict) else None
    return token if isinstance(token, str) else None


def read_inference(data: object, models: ModelDirectory) -> InferenceRequest:
    """Read the body of a request.

    Raises:
        RequestError: It has another form, asks for something else than texts, for a model that is
            not here, or for vectors that the model does not give.
    """
    body = JsonFields(data, known=("inputs", "inference", "token"))
    inference = body.choice("inference", Inference)
    if inference is None:
        raise RequestError("inference is missing; say update for passages, or search for queries")
    wanted = tuple(
        _read_input(item, f"inputs[{index}]", inference, models)
        for index, item in enumerate(body.items("inputs"))
    )
    return InferenceRequest(wanted=wanted, token=body.optional_text("token"))


def inference_answer(found: Embeddings) -> dict[str, object]:
    """Return the answer: one embedding for each input, and the tokens of each model."""
    return {
        "embeddings": [
            {"indices": row.indices, "values": row.values}
            if isinstance(row, SparseEmbedding)
            else np.ascontiguousarray(row)
            for row in found.rows
        ],
        "usage": {"models": {name: {"tokens": count} for name, count in found.tokens.items()}},
    }


def _read_input(
    data: object, where: str, inference: Inference, models: ModelDirectory
) -> TextRequest:
    item = JsonFields(data, where=where, known=("data", "data_type", "model", "options"))
    if (kind := item.text("data_type")) != "text":
        what = f"an {kind}" if kind in ("image", "object") else "something else"
        raise RequestError(f"{where} is {what}, and the models here embed texts alone")
    address = models.find(item.text("model"))
    given = item.value("options") if item.has("options") else {}
    options = JsonFields(given, where=f"{where}.options", known=_OPTIONS)
    truncate = options.flag("truncate")
    return TextRequest(
        text=item.text("data"),
        address=address,
        role=options.choice("role", Role) or address.role or inference.role,
        instruction=options.optional_text("instruction"),
        dim=options.positive("dim"),
        truncate=truncate is not False,
    )
