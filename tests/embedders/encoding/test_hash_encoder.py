"""The shipped fake obeys the contract of every encoder, and searches like one."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.encoder import EncoderContract
from decant.embedders import Encoder, HashEncoder, Prompt, RecipeError, Role


class TestHashEncoder(EncoderContract):
    """Without prompts."""

    @pytest.fixture
    def encoder(self) -> Encoder:
        return HashEncoder(max_tokens=32)


class TestHashEncoderWithPrompts(EncoderContract):
    """With a prompt on both sides, different for queries and passages."""

    @pytest.fixture
    def encoder(self) -> Encoder:
        return HashEncoder(
            dim=48,
            query_prompt=Prompt.parse("query: {text} ?"),
            passage_prompt=Prompt.parse("title: none | text: {text}"),
            max_tokens=24,
        )


def test_the_hash_encoder_finds_texts_that_share_words() -> None:
    encoder = HashEncoder()
    passages = ["the ship left the harbour", "a compiler parses source code", "bread needs yeast"]
    stored = encoder.encode(passages, role=Role.PASSAGE).dense
    asked = encoder.encode(["which source does a compiler read"], role=Role.QUERY).dense
    assert np.argmax(stored @ asked[0]) == 1


def test_the_hash_encoder_gives_the_same_vectors_on_every_machine() -> None:
    """Golden values, made by numpy 2.4.6's default_rng on x86-64; its streams are stable."""
    row = HashEncoder(dim=4).encode(["Bread needs yeast."], role=Role.PASSAGE).dense[0]
    golden = [-0.63558406, -0.17147879, -0.63828766, -0.39901978]
    np.testing.assert_allclose(row, golden, atol=1e-6)


@pytest.mark.parametrize("max_tokens", [0, 3])
def test_a_prompt_that_leaves_no_room_is_refused(max_tokens: int) -> None:
    with pytest.raises(RecipeError, match="max_tokens"):
        HashEncoder(query_prompt=Prompt.parse("search for: {text}"), max_tokens=max_tokens)


def test_a_width_below_one_is_refused() -> None:
    with pytest.raises(RecipeError, match="dim"):
        HashEncoder(dim=0)
