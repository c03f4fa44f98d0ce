"""Soft tokens travel too: through passes of the model that cut a request, and without any text."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from decant.embedders import (
    AppendedTokens,
    HashEncoder,
    Output,
    PooledTokens,
    RemoteEncoder,
    Role,
    Vectors,
)
from decant.serving import QueueSettings, ServedModel, ServerSettings, create_app
from served_encoder import listening

WIDTH = 3


class Appending(HashEncoder):
    """A HashEncoder that gives two soft tokens of each text, made of its dense vector."""

    def __init__(self) -> None:
        super().__init__(dim=8)
        appended = AppendedTokens(tokens=("<a>", "<b>"), read=2)
        self._recipe = replace(self._recipe, span=PooledTokens.TAIL, appended=appended)

    def encode(
        self, texts: Iterable[str], *, outputs: Collection[Output] = (), **options: Any
    ) -> Vectors:
        """Return the dense vectors, and the first of their values as soft tokens."""
        others = {*outputs} - {Output.SOFT_TOKENS}
        found = super().encode(texts, outputs=others, **options)
        soft = found.dense[:, : 2 * WIDTH].reshape(-1, 2, WIDTH)
        return replace(found, soft_tokens=soft) if Output.SOFT_TOKENS in outputs else found


def test_soft_tokens_are_those_of_the_served_encoder() -> None:
    local = Appending()
    settings = ServerSettings(queue=QueueSettings(pass_tokens=16))
    app = create_app([ServedModel(name="m", encoder=local)], settings=settings)
    texts = [f"text number {number}" for number in range(300)]
    with listening(app) as url, RemoteEncoder.connect(url) as encoder:
        for given in (texts, texts[:1], []):
            found = encoder.encode(given, role=Role.PASSAGE, outputs=[Output.SOFT_TOKENS])
            wanted = local.encode(given, role=Role.PASSAGE, outputs=[Output.SOFT_TOKENS])
            assert found.soft_tokens is not None
            assert wanted.soft_tokens is not None
            assert found.soft_tokens.shape == (len(given), 2, WIDTH)
            np.testing.assert_array_equal(found.soft_tokens, wanted.soft_tokens)
            np.testing.assert_array_equal(found.dense, wanted.dense)
