"""Wrap models of sentence-transformers as embedders, to compare them in the same table.

The caller passes a built model; nothing here imports its library.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, assert_never

import numpy as np

from decant.embedders import Role, Vectors


class SentenceModel(Protocol):
    """The part of ``sentence_transformers.SentenceTransformer`` (5 or newer) that is called."""

    def encode_query(
        self, inputs: list[str], *, batch_size: int, show_progress_bar: bool
    ) -> object:
        """Return the queries' vectors, with the model's query prompt."""
        ...

    def encode_document(
        self, inputs: list[str], *, batch_size: int, show_progress_bar: bool
    ) -> object:
        """Return the documents' vectors, with the model's document prompt."""
        ...


class WrappedModel:
    """A sentence-transformers model; passages are what that library calls documents.

    Args:
        model: The built model, on its device.
        batch_size: Texts per forward pass.
    """

    def __init__(self, model: SentenceModel, *, batch_size: int = 32) -> None:
        self._model = model
        self._batch_size = batch_size

    def encode(self, texts: Iterable[str], *, role: Role) -> Vectors:
        """Return one vector per text, in the order given, float32, shape ``(N, D)``."""
        match role:
            case Role.QUERY:
                encode = self._model.encode_query
            case Role.PASSAGE:
                encode = self._model.encode_document
            case _:
                assert_never(role)
        found = encode(list(texts), batch_size=self._batch_size, show_progress_bar=False)
        return Vectors(dense=np.asarray(found, np.float32))
