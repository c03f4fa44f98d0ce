"""Protocols of what can be evaluated: embedders, some with a limited vocabulary.

Every encoder of decant is an :class:`Embedder`. One that cannot embed every text is a
:class:`PartialEmbedder`: it reports which texts it knows; tasks embed only those and state the
coverage. Invariant: no vector stands for a text that its embedder does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from decant.embedders import Role, Vectors

from ..errors import EvaluationError


class Embedder(Protocol):
    """An object that turns texts into vectors: all that evaluation needs of an encoder."""

    def encode(self, texts: Iterable[str], *, role: Role) -> Vectors:
        """Return one vector per text, in the order given.

        Args:
            texts: Any number of non-empty strings.
            role: Whether these are queries or passages.
        """
        ...


@runtime_checkable
class PartialEmbedder(Embedder, Protocol):
    """An embedder that knows some texts only; classical word vectors, for example."""

    def known(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return which texts :meth:`encode` takes, shape ``(len(texts),)``."""
        ...


def known(embedder: Embedder, texts: Sequence[str]) -> NDArray[np.bool_]:
    """Return which of ``texts`` can be embedded, shape ``(len(texts),)``.

    A text of white space only never can.
    """
    written = np.fromiter((bool(text.strip()) for text in texts), np.bool_, len(texts))
    if isinstance(embedder, PartialEmbedder):
        return written & embedder.known(texts)
    return written


def unit_vectors(embedder: Embedder, texts: Sequence[str], *, role: Role) -> NDArray[np.float32]:
    """Return the vectors of known texts at unit length, float32, shape ``(len(texts), D)``.

    Raises:
        EvaluationError: A vector is zero or not finite, and the message holds its text; or there
            is not one vector for each text.

    >>> from decant.embedders import HashEncoder
    >>> unit_vectors(HashEncoder(dim=4), ["a", "b"], role=Role.QUERY).shape
    (2, 4)
    """
    return unit_rows(embedded(embedder, texts, role=role), texts)


def embedded(embedder: Embedder, texts: Sequence[str], *, role: Role) -> NDArray[np.float32]:
    """Return the vectors of known texts as they are, float32, shape ``(len(texts), D)``.

    Raises:
        EvaluationError: There is not one vector for each text.
    """
    dense = embedder.encode(texts, role=role).dense
    if dense.ndim != 2 or len(dense) != len(texts):
        raise EvaluationError(
            f"the embedder gave an array of shape {dense.shape} for {len(texts)} texts; it must "
            "give one row for each"
        )
    return dense


def unit_rows(rows: NDArray[np.float32], texts: Sequence[str] | None = None) -> NDArray[np.float32]:
    """Return ``rows`` at unit length; shape ``(N, D)``, float32; ``texts`` are for the message.

    Raises:
        EvaluationError: A row is zero or not finite, so that it has no cosine.
    """
    return np.asarray(rows / row_lengths(rows, texts), np.float32)


def row_lengths(
    rows: NDArray[np.float32], texts: Sequence[str] | None = None
) -> NDArray[np.float32]:
    """Return the lengths of ``rows``, shapes ``(N, D)`` to ``(N, 1)``; ``texts`` as above.

    Raises:
        EvaluationError: A row is zero or not finite, so that it has no cosine.
    """
    if rows.ndim != 2:
        raise EvaluationError(f"vectors must be rows of a matrix, got the shape {rows.shape}")
    # einsum sums in float64 without a second array of that size.
    squares = np.einsum("nd,nd->n", rows, rows, dtype=np.float64)[:, None]
    with np.errstate(over="ignore"):  # raised below
        lengths = np.sqrt(squares).astype(np.float32)
    bad = np.flatnonzero(~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)))
    if len(bad):
        which = "" if texts is None else f", of {texts[bad[0]][:80]!r},"
        raise EvaluationError(
            f"{len(bad)} of {len(rows)} vectors have no direction, the first is number {bad[0]}"
            f"{which} with length {lengths[bad[0], 0]}; check the encoder on that text"
        )
    return np.asarray(lengths)


def known_vectors(
    embedder: Embedder, texts: Sequence[str], *, role: Role
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the unit vectors of texts, (N, D), and which are known; zeros stand where one is not.

    Errors as :func:`pair_cosines`.
    """
    covered = known(embedder, texts)
    kept: list[int] = np.flatnonzero(covered).tolist()
    if not kept:
        return np.zeros((len(texts), 1), np.float32), covered
    found = unit_vectors(embedder, [texts[at] for at in kept], role=role)
    rows = np.zeros((len(texts), found.shape[1]), np.float32)
    rows[kept] = found
    return rows, covered


def known_cosines(
    embedder: Embedder, first: Sequence[str], second: Sequence[str], *, role: Role
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the cosines of pairs and which pairs are known; zero stands where one is not.

    Both have the shape ``(N,)``. Errors as :func:`pair_cosines`.
    """
    covered = known(embedder, first) & known(embedder, second)
    kept: list[int] = np.flatnonzero(covered).tolist()
    found = np.zeros(len(covered))
    if kept:
        found[kept] = pair_cosines(
            embedder, [first[i] for i in kept], [second[i] for i in kept], role=role
        )
    return found, covered


def pair_cosines(
    embedder: Embedder, first: Sequence[str], second: Sequence[str], *, role: Role
) -> NDArray[np.float64]:
    """Return ``cos(first[i], second[i])``, float64, shape ``(N,)``; each text is embedded once.

    Raises:
        EvaluationError: The lists differ in length, or a vector has no direction.
    """
    if len(first) != len(second):
        raise EvaluationError(f"{len(first)} texts cannot be paired with {len(second)}")
    texts = list(dict.fromkeys([*first, *second]))
    row_of = {text: row for row, text in enumerate(texts)}
    rows = unit_vectors(embedder, texts, role=role)
    left = rows[[row_of[text] for text in first]].astype(np.float64)
    right = rows[[row_of[text] for text in second]].astype(np.float64)
    return np.asarray(np.einsum("nd,nd->n", left, right))
