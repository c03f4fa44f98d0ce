"""Encode a batch, and hold the results under the keys that sentence-transformers reads."""

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
    """A dict with ``sentence_embedding``; token embeddings and their mask are computed on access.

    sentence-transformers does not pass on to a module which of them the caller wants.

    Args:
        vectors: Float32, shape (B, D).
        states: Returns B tensors of shape (T, d).
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
    """Encode the texts of a batch from ``preprocess``; the results are on ``device``."""
    role, instruction = features["role"], features["instruction"]
    encode = partial(encoder.encode, features["texts"], role=role, instruction=instruction)

    def placed(values: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(values).to(device)

    def states() -> list[Tensor]:
        found = encode(outputs=[Output.TOKEN_EMBEDDINGS]).token_embeddings
        assert found is not None  # the encoder refuses outputs that its recipe does not have
        return [placed(rows) for rows in found]

    return Results(placed(encode().dense), states)


# SentenceTransformer.compile() would break this function, and it has nothing to compile.
run = cast(
    "Callable[[OnnxEncoder, dict[str, Any], torch.device], Results]",
    torch.compiler.disable(_run),  # type: ignore[no-untyped-call]
)


@contextmanager
def numbered_by_batch() -> Iterator[None]:
    """Add to an error that its index counts within a batch, because texts are sorted first."""
    try:
        yield
    except TextError as error:
        raise TextError(
            f"{error} (as numbered in a batch that sentence-transformers made, longest first)"
        ) from error
