"""Embedders whose vectors are written down by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from decant.embedders import Role, Vectors


class Written:
    """Gives the vectors it was handed; texts it was not handed are a KeyError."""

    def __init__(self, vectors: Mapping[str, ArrayLike]) -> None:
        self.vectors = {text: np.array(vector, np.float32) for text, vector in vectors.items()}
        self.asked: list[tuple[str, Role]] = []

    def encode(self, texts: Iterable[str], *, role: Role) -> Vectors:
        listed = list(texts)
        self.asked += [(text, role) for text in listed]
        return Vectors(dense=np.stack([self.vectors[text] for text in listed]))


class Partial(Written):
    """Says which texts it was handed."""

    def known(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        return np.array([text in self.vectors for text in texts], np.bool_)
