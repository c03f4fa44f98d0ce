"""Parts of a text: words in context and late chunks, against states taken by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from decant.embedders import (
    Choices,
    Pooling,
    RecipeError,
    Role,
    TextError,
    TorchEncoder,
    span_vectors,
)
from models import save_language_model
from naive_strategies import Naive

TEXT = "what the wind wants, the ferry leaves at seven and the wind is gone"
WIND = TEXT.index("wind")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_language_model(tmp_path_factory.mktemp("spans") / "model", "llama", layers=2)


@pytest.fixture
def encoder(folder: Path) -> Iterator[TorchEncoder]:
    with TorchEncoder.from_pretrained(folder, strategy="late-interaction") as made:
        yield made


def naive_mean(folder: Path, begin: int, end: int) -> np.ndarray:
    naive = Naive(folder)
    encoding = naive.tokenizer.encode(TEXT)
    states = naive.states(encoding.ids)[-1]
    held = [
        state
        for state, (first, last), special in zip(
            states, encoding.offsets, encoding.special_tokens_mask, strict=True
        )
        if not special and first < end and last > begin
    ]
    mean = torch.stack(held).mean(0).numpy()
    return np.asarray(mean / np.linalg.norm(mean))


def test_a_word_has_the_mean_of_its_tokens_in_the_sentence(
    encoder: TorchEncoder, folder: Path
) -> None:
    later = TEXT.rindex("wind")
    found = span_vectors(encoder, TEXT, [(WIND, WIND + 4), (later, later + 4), (0, len(TEXT))])
    assert found.shape == (3, encoder.dim)
    np.testing.assert_allclose(found[0], naive_mean(folder, WIND, WIND + 4), atol=1e-5)
    np.testing.assert_allclose(found[1], naive_mean(folder, later, later + 4), atol=1e-5)
    np.testing.assert_allclose(found[2], naive_mean(folder, 0, len(TEXT)), atol=1e-5)
    assert found[0] @ found[1] < 0.9999, "the same word in another place is another vector"


@pytest.mark.parametrize("pooling", [p for p in Pooling if p is not Pooling.FIRST])
def test_parts_pool_as_the_recipe_does(folder: Path, pooling: Pooling) -> None:
    from decant.embedders.pytorch.pooling import pool

    choices = Choices(pooling=pooling, normalize=False)
    with TorchEncoder.from_pretrained(
        folder, strategy="late-interaction", choices=choices
    ) as encoder:
        (found,) = span_vectors(encoder, TEXT, [(0, 20)])
        naive = Naive(folder)
        ((first, last),) = encoder.text_tokenizer.places(TEXT, [(0, 20)], role=Role.PASSAGE)
        states = naive.states(naive.plain(TEXT))[-1][first:last].unsqueeze(0)
        expected = pool(states, torch.ones((1, last - first), dtype=torch.int64), pooling)
        np.testing.assert_allclose(found, expected[0].numpy(), rtol=1e-4, atol=1e-4)


def test_a_long_text_is_read_in_windows(folder: Path) -> None:
    long = " ".join(f"{TEXT} {number}." for number in range(12))
    spans = [(start, start + 40) for start in range(0, len(long) - 40, 40)]
    choices = Choices(max_tokens=120)
    with (
        TorchEncoder.from_pretrained(folder, strategy="late-interaction") as whole,
        TorchEncoder.from_pretrained(folder, strategy="late-interaction", choices=choices) as small,
    ):
        windowed = span_vectors(small, long, spans)
        assert windowed.shape == (len(spans), small.dim)
        np.testing.assert_allclose(np.linalg.norm(windowed, axis=1), 1, atol=1e-5)
        # Where the first window reads all that precedes a part, a causal model sees the same.
        begin = span_vectors(whole, long[:200], spans[:1])
        np.testing.assert_allclose(windowed[0], begin[0], atol=1e-4)
        with pytest.raises(TextError, match="is longer than what the model reads at once"):
            span_vectors(small, long, [(0, len(long))])


def test_a_part_that_no_window_holds_has_one_of_its_own(folder: Path) -> None:
    long = " ".join(f"{TEXT} {number}." for number in range(12))
    choices = Choices(max_tokens=120)
    with TorchEncoder.from_pretrained(
        folder, strategy="late-interaction", choices=choices
    ) as encoder:
        room = encoder.max_text_tokens(Role.PASSAGE)
        offsets = encoder.text_tokenizer.bare.encode(long, add_special_tokens=False).offsets
        # As long as the model reads, anywhere: nothing but the part is in its window.
        for first in (0, 7, 60, len(offsets) - room):
            begin, end = offsets[first][0], offsets[first + room - 1][1]
            (found,) = span_vectors(encoder, long, [(begin, end)])
            alone = span_vectors(encoder, long[begin:end], [(0, end - begin)])
            np.testing.assert_allclose(found, alone[0], atol=1e-5)
        # Shorter ones are seen with as much before them as after them.
        begin, end = offsets[60][0], offsets[60 + room - 21][1]
        (found,) = span_vectors(encoder, long, [(begin, end)])
        start, stop = offsets[50][0], offsets[50 + room][0]
        shown = span_vectors(encoder, long[start:stop], [(begin - start, end - start)])
        np.testing.assert_allclose(found, shown[0], atol=1e-5)
        with pytest.raises(TextError, match="is longer than what the model reads at once"):
            span_vectors(encoder, long, [(offsets[60][0], offsets[60 + room][1])])


def test_parts_that_are_none_are_refused(encoder: TorchEncoder, folder: Path) -> None:
    assert span_vectors(encoder, TEXT, []).shape == (0, encoder.dim)
    for span in [(0, len(TEXT) + 1), (3, 3), (-1, 4)]:
        with pytest.raises(TextError, match="part 0 is characters"):
            span_vectors(encoder, TEXT, [span])
    with (
        TorchEncoder.from_pretrained(folder, strategy="mean") as plain,
        pytest.raises(RecipeError, match="token_embeddings=False"),
    ):
        span_vectors(plain, TEXT, [(0, 4)])
    with (
        TorchEncoder.from_pretrained(
            folder, strategy="prompt-eol", choices=Choices(token_embeddings=True)
        ) as reworded,
        pytest.raises(RecipeError, match="rewords texts"),
    ):
        span_vectors(reworded, TEXT, [(0, 4)])
