"""Encode a batch, and keep what it gave as sentence-transformers looks it up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from decant.embedders import OnnxEncoder, Output, TextError

_TOKENS, _MASK = "token_embeddings", "attention_mask"


class Results(dict[str, Any]):
    """``sentence_embedding``; token states and their mask are computed when they are looked up.

    Which of them is wanted, sentence-transformers does not tell a module.

    Args:
        vectors: Float32, shape (B, D).
        states: Gives B tensors of shape (T, d).
    """

    def __init__(self, vectors: Tensor, states: Callable[[], list[Tensor]]) -> None:
        super().__init__(sentence_embedding=vectors)
        self._states = states

    def __missing__(self, name: str) -> object:
        if name not in (_TOKENS, _MASK):
            raise KeyError(name)
        self[_TOKENS] = self._states()
        self[_MASK] = [torch.ones(len(rows), dtype=torch.int64) for rows in self[_TOKENS]]
        return self[name]


def _run(encoder: OnnxEncoder, features: dict[str, Any], device: torch.device) -> Results:
    """Encode the texts of a batch, as ``preprocess`` made it; the results are on ``device``."""
    role, instruction = features["role"], features["instruction"]
    encode = partial(encoder.encode, features["texts"], role=role, instruction=instruction)

    def placed(values: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(values).to(device)

    def states() -> list[Tensor]:
        found = encode(outputs=[Output.TOKEN_EMBEDDINGS]).token_embeddings
        assert found is not None  # the encoder refuses what its recipe does not have
        return [placed(rows) for rows in found]

    return Results(placed(encode().dense), states)


# SentenceTransformer.compile() finds nothing here to compile, and breaks what it tries to.
run = cast(
    "Callable[[OnnxEncoder, dict[str, Any], torch.device], Results]",
    torch.compiler.disable(_run),  # type: ignore[no-untyped-call]
)


@contextmanager
def numbered_by_batch() -> Iterator[None]:
    """Say of what the index in an error is: not the caller's list, for texts are sorted first."""
    try:
        yield
    except TextError as error:
        raise TextError(
            f"{error} (as numbered in a batch that sentence-transformers made, longest first)"
        ) from error
