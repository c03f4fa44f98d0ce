"""Which tokens a token sees, tried on the torch models: direction, windows, and refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from decant.embedders import Attention, Choices, Pooling, RecipeError, TorchEncoder
from decant.embedders.pytorch.model import PooledModel
from models import DECODERS, ENCODERS, WINDOW, save_embedding_gemma, save_sentence_transformer

LENGTH = 20


def model(folder: Path, family: str, attention: Attention | None = None) -> PooledModel:
    """Load a new seeded model of one family."""
    if family == "embeddinggemma":
        save_embedding_gemma(folder)
    else:
        save_sentence_transformer(folder, family)
    encoder = TorchEncoder.from_pretrained(folder, choices=Choices(attention=attention))
    encoder.close()
    return encoder.model


def seen(pooled: PooledModel, *, layer: int = -1) -> torch.Tensor:
    """Return for every token i (row) whether its state changes with token j (column)."""
    pooled.recipe = replace(pooled.recipe, layer=layer)
    ids = torch.arange(10, 10 + LENGTH)[None]
    mask = torch.ones_like(ids)
    plain = pooled.states(ids, mask)[0][0][0]
    columns = []
    for changed in range(LENGTH):
        other = ids.clone()
        other[0, changed] = 99
        columns.append((pooled.states(other, mask)[0][0][0] != plain).any(dim=1))
    return torch.stack(columns, dim=1)


def distances() -> torch.Tensor:
    """Return i - j."""
    places = torch.arange(LENGTH)
    return places[:, None] - places[None]


@pytest.mark.parametrize("attention", Attention)
@pytest.mark.parametrize("family", DECODERS)
def test_a_state_changes_with_a_later_token_if_and_only_if_the_decoder_is_bidirectional(
    tmp_path: Path, family: str, attention: Attention
) -> None:
    later = seen(model(tmp_path, family, attention)) & (distances() < 0)
    assert later.any() == (attention is Attention.BIDIRECTIONAL)
    if family != "mistral":  # its two windows of six tokens do not span twenty
        expected = attention is Attention.BIDIRECTIONAL
        assert (later == (expected & (distances() < 0))).all()


@pytest.mark.parametrize("family", [*ENCODERS, "embeddinggemma"])
def test_encoders_see_every_token_in_their_last_state(tmp_path: Path, family: str) -> None:
    assert seen(model(tmp_path, family)).all()


@pytest.mark.parametrize(
    ("family", "attention", "before", "after"),
    [
        ("mistral", Attention.CAUSAL, WINDOW - 1, 0),
        ("gemma2", Attention.CAUSAL, WINDOW - 1, 0),
        ("gemma3_text", Attention.CAUSAL, WINDOW - 1, 0),
        # Transformers: a causal window counts the token itself, one to both sides does not.
        ("mistral", Attention.BIDIRECTIONAL, WINDOW, WINDOW),
        ("gemma2", Attention.BIDIRECTIONAL, WINDOW, WINDOW),
        ("gemma3_text", Attention.BIDIRECTIONAL, WINDOW, WINDOW),
        # use_bidirectional_attention halves the window: |i - j| <= 256 for 512.
        ("embeddinggemma", None, WINDOW // 2, WINDOW // 2),
        # local_attention = 2 * WINDOW is the whole width, to both sides.
        ("modernbert", None, WINDOW, WINDOW),
    ],
)
def test_a_sliding_layer_sees_exactly_its_window(
    tmp_path: Path, family: str, attention: Attention | None, before: int, after: int
) -> None:
    pooled = model(tmp_path, family, attention)
    away = distances()
    expected = (away <= before) & (away >= -after)
    assert torch.equal(seen(pooled, layer=1), expected)


def test_a_model_that_says_bidirectional_can_be_made_causal(tmp_path: Path) -> None:
    save_sentence_transformer(tmp_path, "qwen2")
    config = (tmp_path / "config.json").read_text(encoding="utf-8")
    (tmp_path / "config.json").write_text(
        config.replace("{", '{"is_causal": false,', 1), encoding="utf-8"
    )
    for attention in Attention:
        said = Choices(attention=attention, pooling=Pooling.LAST)
        encoder = TorchEncoder.from_pretrained(tmp_path, choices=said)
        later = seen(encoder.model) & (distances() < 0)
        assert later.any() == (attention is Attention.BIDIRECTIONAL)
        encoder.close()


@pytest.mark.parametrize("family", ["bert", "modernbert", "embeddinggemma"])
def test_an_attention_that_the_model_cannot_have_is_refused(tmp_path: Path, family: str) -> None:
    with pytest.raises(RecipeError, match="attends to later tokens; pass attention='bidirect"):
        model(tmp_path, family, Attention.CAUSAL)
