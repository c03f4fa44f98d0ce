"""Texts, a tiny model with two prompts, and vectors of its passages made in some other way."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decant.embedders import Attention, Choices, Pooling, Role, TorchEncoder
from models import save_model

Vectors = NDArray[np.float32]
Fill = Callable[..., None]

QUERY, PASSAGE = "search for: ", "this passage says: "


def _texts(count: int) -> list[str]:
    """Return texts of some words each; a few are longer than the tiny models take."""
    draw = random.Random(3)
    letters = "abcdefghijklmnopqrstuvwxyz"

    def word() -> str:
        return "".join(draw.choices(letters, k=draw.randint(1, 6)))

    lengths = [draw.randint(1, 6) for _ in range(count)]
    return [" ".join(word() for _ in range(length)) for length in lengths]


TEXTS = _texts(40)


def tiny(folder: Path, *, pooling: Pooling = Pooling.MEAN, seed: int = 0) -> TorchEncoder:
    """Return an encoder of both ways whose prompts differ."""
    choices = Choices(
        attention=Attention.BIDIRECTIONAL,
        pooling=pooling,
        query_prompt=QUERY + "{text}",
        passage_prompt=PASSAGE + "{text}",
    )
    return TorchEncoder.from_pretrained(save_model(folder, "bert", seed=seed), choices=choices)


def passages(encoder: TorchEncoder, texts: list[str], **changed: Any) -> Vectors:
    """Return the vectors of passages by the encoder's recipe, but for some of its fields."""
    if not changed:
        return encoder.encode(texts, role=Role.PASSAGE).dense
    with encoder.with_recipe(replace(encoder.recipe, **changed)) as other:
        return other.encode(texts, role=Role.PASSAGE).dense
