"""Layers that are computed anew take less memory, and change no weight."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from appended_objectives import compression
from decant.training import (
    AlignmentSettings,
    Compression,
    DistributionAlignment,
    Inputs,
    Objective,
    TrainingDataset,
    TrainingError,
    TrainingSettings,
    frozen_decoder,
    open_base,
    read_table,
    train,
)
from decant.training.models.gradient_checkpointing import enable_gradient_checkpointing, freeze_mode
from models import save_language_model

LOOP = TrainingSettings(batch_size=4, max_steps=2, learning_rate=1e-2)


@pytest.fixture(scope="module")
def triplets(tmp_path_factory: pytest.TempPathFactory) -> TrainingDataset:
    path = tmp_path_factory.mktemp("data") / "triplets.tsv"
    rows = [f"the cat {n}\ta hat {n}\twhat {n}" for n in range(8)]
    path.write_text("\n".join(["query\tpositive\tnegative", *rows]), encoding="utf-8")
    return read_table([path])


@pytest.fixture(scope="module")
def stage_one(
    llama: Path, triplets: TrainingDataset, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    target = tmp_path_factory.mktemp("stages") / "compressed"
    train(compression(llama), triplets, target, LOOP)
    return target


@pytest.fixture(params=["compress", "align"])
def objective(
    request: pytest.FixtureRequest, llama: Path, stage_one: Path
) -> Compression | DistributionAlignment:
    if request.param == "compress":
        return compression(llama)
    return DistributionAlignment(open_base(stage_one), AlignmentSettings(), frozen_decoder(llama))


def layers(model: nn.Module) -> list[nn.Module]:
    return [part for name, part in model.named_modules() if name.split(".")[-2:-1] == ["layers"]]


def gradients(objective: Objective, batch: Inputs) -> dict[str, torch.Tensor]:
    """Return those of one batch."""
    objective.zero_grad()
    objective(batch)["loss"].backward()
    learnt = {name: value.grad for name, value in objective.named_parameters()}
    return {name: value.clone() for name, value in learnt.items() if value is not None}


def test_the_frozen_decoder_recomputes_too_and_never_drops(
    objective: Compression | DistributionAlignment, triplets: TrainingDataset, tmp_path: Path
) -> None:
    objective.prepare(triplets, tmp_path, batch_size=4)
    batch = objective.collate(list(triplets[:4]))
    passes: list[str] = []
    first = layers(objective.decoder)[0]
    first.get_submodule("mlp").register_forward_pre_hook(lambda *_: passes.append("decoder"))
    plainly = gradients(objective.train(), batch)
    once = len(passes)
    enable_gradient_checkpointing(objective)
    again = gradients(objective.train(), batch)
    assert len(passes) == once + 2 * once
    assert first.training
    assert not any(part.training for part in first.children())
    assert again.keys() == plainly.keys()
    for name, gradient in plainly.items():
        torch.testing.assert_close(again[name], gradient, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("family", ["gpt_neox", "llama", "opt"])
def test_a_frozen_decoder_that_recomputes_says_the_same_every_time(
    family: str, tmp_path: Path
) -> None:
    decoder = frozen_decoder(save_language_model(tmp_path / family, family, layers=2, longest=64))
    ids = torch.arange(7, 40)[None]
    expected = decoder(ids).logits
    enable_gradient_checkpointing(nn.ModuleList([decoder]))
    freeze_mode(decoder)
    assert any(part.training for part in decoder.modules())
    for _ in range(3):
        torch.testing.assert_close(decoder(ids).logits, expected)


def test_a_frozen_decoder_that_keeps_its_states_is_in_evaluation(llama: Path) -> None:
    decoder = frozen_decoder(llama)
    freeze_mode(decoder)
    assert not any(part.training for part in decoder.modules())


def test_a_run_that_recomputes_ends_with_the_same_weights(
    llama: Path, triplets: TrainingDataset, tmp_path: Path
) -> None:
    for name in ("plain", "recomputed"):
        loop = TrainingSettings(
            batch_size=4,
            max_steps=2,
            learning_rate=1e-2,
            gradient_checkpointing=name == "recomputed",
        )
        train(compression(llama), triplets, tmp_path / name, loop)
    plain, again = (
        load_file(tmp_path / name / "model.safetensors") for name in ("plain", "recomputed")
    )
    assert plain.keys() == again.keys()
    for name, weights in plain.items():
        torch.testing.assert_close(again[name], weights, atol=1e-6, rtol=1e-4)


def test_what_has_no_layers_is_refused() -> None:
    with pytest.raises(TrainingError, match="without gradient_checkpointing"):
        enable_gradient_checkpointing(nn.Linear(2, 2))
