"""Masked next-token prediction: what is masked, what is predicted from where, what is left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor

from decant.embedders import (
    Attention,
    Choices,
    Pooling,
    Role,
    TorchEncoder,
    find_model,
    resolve,
)
from decant.training import (
    Lora,
    Mntp,
    MntpSettings,
    TrainingError,
    TrainingExample,
    TrainingSettings,
    open_language_model,
    read_table,
    train,
)

BOTH_WAYS = Choices(attention=Attention.BIDIRECTIONAL, pooling=Pooling.MEAN, max_tokens=32)
SETTINGS = MntpSettings(mask_token="<unk>")
ROWS = [TrainingExample(query="the white whale in winter"), TrainingExample(query="a hat")]


def opened(llama: Path, settings: MntpSettings = SETTINGS) -> Mntp:
    return Mntp(open_language_model(llama, choices=BOTH_WAYS), settings)


def test_the_loss_is_that_of_each_masked_token_from_the_state_before_it(llama: Path) -> None:
    objective = opened(llama, replace(SETTINGS, share=0.5, masked=1.0, random=0.0)).eval()
    batch = objective.collate(ROWS)
    torch.manual_seed(3)
    found = objective(batch)
    torch.manual_seed(3)
    tokens = cast("dict[str, Tensor]", batch)
    ids, mask = tokens["input_ids"], tokens["attention_mask"]
    chosen = objective._chosen(ids, mask)
    unknown = objective._mask
    total, count, right = 0.0, 0, 0
    with torch.no_grad():
        for row in range(len(ids)):
            length = int(mask[row].sum())
            real = ids[row, :length]
            corrupted = torch.where(chosen[row, :length], unknown, real)
            logits = objective.whole(corrupted[None]).logits[0]
            for at in range(length):
                if chosen[row, at]:
                    scores = logits[at - 1].log_softmax(-1)
                    total -= float(scores[real[at]])
                    right += int(scores.argmax() == real[at])
                    count += 1
    assert count > 2
    assert found["loss"].item() == pytest.approx(total / count, abs=1e-4)
    assert found["guessed"].item() == pytest.approx(right / count)


def test_special_tokens_and_the_first_are_never_masked(llama: Path) -> None:
    objective = opened(llama, replace(SETTINGS, share=1.0))
    tokens = cast("dict[str, Tensor]", objective.collate(ROWS))
    ids, mask = tokens["input_ids"], tokens["attention_mask"]
    chosen = objective._chosen(ids, mask)
    special = {"<s>", "</s>", "<pad>"}
    for row in range(len(ids)):
        for at in range(ids.shape[1]):
            word = objective.base.tokenizer.bare.id_to_token(int(ids[row, at]))
            allowed = mask[row, at] == 1 and at > 0 and word not in special
            assert bool(chosen[row, at]) == bool(allowed)


def test_masked_tokens_become_masks_words_or_stay_in_their_shares(llama: Path) -> None:
    objective = opened(llama)
    ids = torch.full((200, 100), 9)
    chosen = torch.ones_like(ids, dtype=torch.bool)
    torch.manual_seed(0)
    found = objective._corrupted(ids, chosen)
    assert found.eq(objective._mask).float().mean().item() == pytest.approx(0.8, abs=0.02)
    assert found.eq(9).float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert torch.equal(objective._corrupted(ids, ~chosen), ids)


def test_a_batch_in_which_nothing_is_masked_has_no_loss(llama: Path) -> None:
    objective = opened(llama, replace(SETTINGS, share=1e-9))
    assert objective(objective.collate(ROWS))["loss"].item() == 0


def test_what_is_left_looks_both_ways_and_keeps_its_head(
    llama: Path, pairs: Path, tmp_path: Path
) -> None:
    language = open_language_model(llama, choices=BOTH_WAYS, lora=Lora(rank=2))
    head = language.head.weight.clone()  # type: ignore[operator]
    objective = Mntp(language, SETTINGS)
    loop = TrainingSettings(batch_size=4, max_steps=6, learning_rate=1e-2)
    target = tmp_path / "mntp"
    train(objective, read_table([pairs]), target, loop)
    recipe = resolve(find_model(target))
    assert recipe.attention is Attention.BIDIRECTIONAL
    again = open_language_model(target, lora=None)
    assert torch.equal(cast("Tensor", again.head.weight), head)
    before = TorchEncoder.from_pretrained(llama, choices=BOTH_WAYS)
    after = TorchEncoder.from_pretrained(target)
    old, new = (one.encode(["the whale"], role=Role.QUERY).dense for one in (before, after))
    assert abs(old - new).max() > 1e-3


def test_a_causal_model_and_a_mask_that_is_no_token_are_refused(llama: Path) -> None:
    with pytest.raises(TrainingError, match="attention='bidirectional'"):
        Mntp(open_language_model(llama, choices=Choices(pooling=Pooling.MEAN)), SETTINGS)
    with pytest.raises(TrainingError, match="no token '<mask>'"):
        opened(llama, MntpSettings(mask_token="<mask>"))


def test_an_encoder_without_a_head_is_refused(bert: Path) -> None:
    with pytest.raises(TrainingError, match="no language-model head"):
        open_language_model(bert)
