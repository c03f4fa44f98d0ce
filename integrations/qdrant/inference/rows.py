"""The rows of texts, whoever makes their vectors: an encoder here, or the server.

Everything that fills or searches a collection by text asks here, and nothing else asks an
encoder for the vectors of a collection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from decant.embedders import Role
from decant.embedders.tokens import checked

from ..points.handle import Target
from ..points.vectors import Row, made_rows
from .server_encoder import ServerEncoder

_BLOCK = 64  # texts whose rows are given out together


def make_rows(
    target: Target, texts: Sequence[str], *, role: Role, owners: Sequence[str]
) -> list[Row]:
    """Return the row of each text, from one call of the encoder.

    Args:
        target: The collection.
        texts: The texts; an encoder gets them all at once.
        role: What they are.
        owners: A name for each, for messages.

    Raises:
        TextError: A text is empty.
        StoreError: A vector cannot be stored or searched with.
    """
    encoder = target.encoder
    if isinstance(encoder, ServerEncoder):
        return encoder.make_rows([*checked(texts)], role=role, sparse=target.sparse)
    vectors = encoder.encode(texts, role=role, outputs=target.outputs)
    return made_rows(target, vectors, owners)


def stream_passage_rows(
    target: Target,
    texts: Iterable[str],
    *,
    owners: Callable[[int], Sequence[str]],
    progress: Callable[[int], object],
) -> Iterator[list[Row]]:
    """Yield the rows of passages in order, in blocks.

    Args:
        target: The collection.
        texts: As of :meth:`Encoder.stream`.
        owners: Returns the names of the next texts, as many as it is asked for.
        progress: Called with the number of texts that were finished, or sent out to be.
    """
    encoder = target.encoder
    if not isinstance(encoder, ServerEncoder):
        blocks = encoder.stream(texts, role=Role.PASSAGE, outputs=target.outputs, progress=progress)
        for block in blocks:
            yield made_rows(target, block, owners(len(block)))
        return
    held: list[str] = []
    for text in checked(texts):
        held.append(text)
        if len(held) == _BLOCK:
            yield _sent(encoder, target, held, progress)
            held = []
    if held:
        yield _sent(encoder, target, held, progress)


def _sent(
    encoder: ServerEncoder,
    target: Target,
    texts: Sequence[str],
    progress: Callable[[int], object],
) -> list[Row]:
    rows = encoder.make_rows(texts, role=Role.PASSAGE, sparse=target.sparse)
    progress(len(texts))
    return rows
