"""AutoRegEmbed's first stage and LLM2Vec-Gen: losses against loops, what learns, what is left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor

from appended_objectives import (
    ROWS,
    compression,
    frozen_and_learning,
    gen,
    length,
    naive_log_probability,
    states_of,
    stepped,
)
from decant.embedders import (
    Output,
    Role,
    TorchEncoder,
    find_model,
    resolve,
)
from decant.training import (
    Lora,
    TrainingError,
    TrainingSettings,
    frozen_decoder,
    read_table,
    train,
)
from decant.training.objectives.losses import margin_loss
from decant.training.objectives.soft_prompts import end_token


@pytest.mark.parametrize(("said", "end"), [(0, 0), ([0, 2], 0), (2, 2)])
def test_the_end_token_may_be_the_first_of_the_vocabulary(
    llama: Path, said: int | list[int], end: int
) -> None:
    decoder = frozen_decoder(llama)
    decoder.generation_config.eos_token_id = None
    decoder.config.eos_token_id = said
    assert end_token(decoder) == end
    decoder.config.eos_token_id = None
    with pytest.raises(TrainingError, match="names no eos_token_id"):
        end_token(decoder)


def test_compression_is_the_loss_of_saying_the_output_token_by_token(llama: Path) -> None:
    objective = compression(llama).eval()
    rows = [ROWS[0], replace(ROWS[1], instruction="and this")]
    found = objective(objective.collate(rows))["loss"].item()
    total, count = 0.0, 0
    for row in rows:
        states = states_of(objective, f"{row.query}\n{row.instruction or 'say it'}\n")
        assert row.positive is not None
        total -= naive_log_probability(objective, states, row.positive)
        count += length(objective, row.positive)
    assert found == pytest.approx(total / count, abs=1e-4)


@pytest.mark.parametrize("lora", [None, Lora(rank=2)])
def test_the_decoder_of_compression_never_changes(llama: Path, lora: Lora | None) -> None:
    objective = compression(llama, lora).train()
    assert not objective.decoder.training
    frozen, learning = frozen_and_learning(objective)
    stepped(objective, ROWS)
    after = dict(objective.named_parameters())
    assert any(name.startswith("decoder") for name in frozen)
    for name, value in frozen.items():
        assert torch.equal(after[name], value)
        assert after[name].grad is None
    assert all(value.grad is not None for value in learning)
    trained = sum(value.numel() for value in learning)
    whole = sum(value.numel() for value in objective.model.parameters())
    assert trained == whole if lora is None else trained < whole / 2


def test_only_new_rows_and_heads_of_llm2vec_gen_learn(llama: Path) -> None:
    objective = gen(llama).train()
    frozen, learning = frozen_and_learning(objective)
    assert sum(value.numel() for value in learning) == 4 * 32 + 32 * 33 + 8 * 33
    stepped(objective, ROWS)
    after = dict(objective.named_parameters())
    assert all(torch.equal(after[name], value) for name, value in frozen.items())
    assert all(float(cast("Tensor", value.grad).abs().max()) > 0 for value in learning)


def test_llm2vec_gen_is_the_sum_of_its_two_losses(llama: Path) -> None:
    objective = gen(llama).eval()
    found = objective(objective.collate(ROWS))
    align, total, count = 0.0, 0.0, 0
    for row in ROWS:
        answer = cast("str", row.positive)
        states = states_of(objective, f"{row.query}\nsay: ")
        with torch.no_grad():
            prompts = objective.reconstruction(states)
            vector = torch.stack([objective.alignment(prompt) for prompt in prompts]).mean(0)
        taught = objective.teacher.encode([answer], role=Role.PASSAGE).dense[0]
        align += float(((vector - torch.from_numpy(taught)) ** 2).mean()) / len(ROWS)
        total -= naive_log_probability(objective, prompts, answer)
        count += length(objective, answer)
    assert found["align"].item() == pytest.approx(align, abs=1e-5)
    assert found["reconstruct"].item() == pytest.approx(total / count, abs=1e-4)
    assert found["loss"].item() == pytest.approx(align + total / count, abs=1e-4)


def test_vectors_that_are_far_apart_already_are_left_alone() -> None:
    near, far = torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])
    none = torch.zeros(1, 1, dtype=torch.bool)
    assert margin_loss(near, far, distance=5.0, excluded=none).item() == 0
    assert margin_loss(near, far, distance=6.0, excluded=none).item() == 11
    assert margin_loss(near, far, distance=6.0, excluded=~none).item() == 0


def test_the_order_of_rows_and_their_padding_do_not_matter(llama: Path) -> None:
    for objective in (compression(llama).eval(), gen(llama).eval()):
        forth = objective(objective.collate(ROWS))["loss"].item()
        back = objective(objective.collate(ROWS[::-1]))["loss"].item()
        assert forth == pytest.approx(back, abs=1e-5)


def test_llm2vec_gen_leaves_one_layer_and_prompts_for_its_decoder(
    llama: Path, pairs: Path, tmp_path: Path
) -> None:
    objective = gen(llama)
    target = tmp_path / "gen"
    train(
        objective,
        read_table([pairs]),
        target,
        TrainingSettings(batch_size=4, max_steps=3, learning_rate=0.01),
    )
    recipe = resolve(find_model(target))
    assert [layer.path for layer in recipe.head] == ["2_Reconstruction", "3_Alignment"]
    encoder = TorchEncoder.from_pretrained(target)
    assert sum(isinstance(one, torch.nn.Linear) for one in encoder.model.head) == 1
    found = encoder.encode(["the cat"], role=Role.QUERY, outputs=[Output.SOFT_TOKENS])
    assert found.soft_tokens is not None
    states = states_of(objective, "the cat\nsay: ")
    with torch.no_grad():
        prompts = objective.reconstruction(states)
        vector = objective.alignment(prompts).mean(0)
    assert abs(found.soft_tokens[0] - prompts.numpy()).max() < 1e-5
    assert abs(found.dense[0] - (vector / vector.norm()).numpy()).max() < 1e-5
