"""Refuse vectors that hold NaN or infinity: an index would find them for every query, or for none.

A certified graph gives no such vectors; damaged weights do, and so do texts that overflow float16.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import ParityError
from .protocol import Vectors


def check_finite(vectors: Vectors, *, first: int, by: str) -> Vectors:
    """Return vectors as they are if all of their values are finite numbers.

    Args:
        vectors: Of some texts, in order.
        first: The caller's number of the first text.
        by: The model that computed them, for messages.

    Raises:
        ParityError: One holds NaN or infinity; the message holds the text's index.
    """
    _check("vector", vectors.dense, first, by)
    if vectors.soft_tokens is not None:
        _check("states", vectors.soft_tokens, first, by)
    if vectors.sparse is not None and not np.isfinite(vectors.sparse.values).all():
        values, starts = vectors.sparse.values, vectors.sparse.starts
        place = int(np.flatnonzero(~np.isfinite(values))[0])
        row = int(np.searchsorted(starts, place, side="right")) - 1
        raise _refused("sparse vector", first + row, by)
    for row, states in enumerate(vectors.token_embeddings or ()):
        if not np.isfinite(states).all():
            raise _refused("token states", first + row, by)
    return vectors


def _check(what: str, values: NDArray[np.float32], first: int, by: str) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        rows = finite.reshape(len(values), -1).all(axis=1)
        raise _refused(what, first + int(np.flatnonzero(~rows)[0]), by)


def _refused(what: str, index: int, by: str) -> ParityError:
    return ParityError(
        f"the {what} of text {index} holds NaN or infinity: the weights of {by} are damaged, or it "
        "overflows in its precision; certify it with `decant verify`, take its fp32 graph, or "
        "export it again"
    )
