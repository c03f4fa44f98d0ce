"""Collect what ``decant explain-vector`` explains: texts or stored passages, with their states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from decant.embedders.files import MANIFEST

from ..output.quiet import no_more_download_bars
from .open import open_encoder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from decant.embedders import Encoder, Role
    from decant.integrations.qdrant import Collection, Passage


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explained:
    """One text, its soft tokens and its source.

    Args:
        text: The text, unchanged.
        states: The soft tokens, float32, shape (n, d').
        passage: The stored passage; None for a text of the command line.
        score: The score of a search; None without one.
    """

    text: str
    states: NDArray[np.float32]
    passage: Passage | None = None
    score: float | None = None


@contextmanager
def open_model(model: Path) -> Iterator[Encoder]:
    """Open a bundle, or else a model folder with PyTorch."""
    if (model / MANIFEST).is_file():
        with open_encoder(model) as bundle:
            yield bundle
        return
    no_more_download_bars()  # before Transformers is imported, which it speaks to
    from decant.embedders import TorchEncoder

    with TorchEncoder.from_pretrained(model) as encoder:
        yield encoder


def of_texts(encoder: Encoder, texts: Sequence[str], role: Role) -> list[Explained]:
    """Return texts with their soft tokens.

    Raises:
        RecipeError: The model appends no tokens, so there is nothing to decode.
    """
    from decant.embedders import Output

    states = encoder.encode(texts, role=role, outputs=[Output.SOFT_TOKENS]).soft_tokens
    assert states is not None
    return [Explained(text=text, states=row) for text, row in zip(texts, states, strict=True)]


def of_ids(collection: Collection, ids: Sequence[str]) -> list[Explained]:
    """Return the stored passages with these ids."""
    return _of_passages(collection, collection.get(ids))


def of_source(collection: Collection, source: str, limit: int) -> list[Explained]:
    """Return the first passages of a document, in their order."""
    from decant.integrations.qdrant import Field, FieldIn

    held = sorted(collection.each(FieldIn(Field.SOURCE, [source])), key=lambda one: one.start)
    return _of_passages(collection, list(islice(held, limit)))


def of_query(collection: Collection, query: str, limit: int) -> list[Explained]:
    """Return the passages that fit a query best."""
    return _of_passages(collection, collection.search(query, limit=limit))


def _of_passages(collection: Collection, passages: Sequence[Passage]) -> list[Explained]:
    from decant.integrations.qdrant import Hit

    states = collection.soft_tokens(passages)
    return [
        Explained(
            text=passage.text,
            states=row,
            passage=passage,
            score=passage.score if isinstance(passage, Hit) else None,
        )
        for passage, row in zip(passages, states, strict=True)
    ]
