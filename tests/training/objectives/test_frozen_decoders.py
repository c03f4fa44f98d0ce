"""A frozen decoder has no part in what learns: held against a second model, loaded on its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from appended_objectives import GEN, ROWS, compression, gen, stepped
from decant.embedders import Role
from decant.training import (
    Compression,
    LLM2VecGen,
    Lora,
    TrainingError,
    TrainingExample,
    TrainingSettings,
    frozen_decoder,
    read_table,
    train,
)
from decant.training.models.gradient_checkpointing import enable_gradient_checkpointing
from models import save_language_model

LORA = Lora(rank=2, dropout=0.0)
HELD_OUT = [TrainingExample(query="a whale", positive="that winter", place="9")]


def adapted(llama: Path, lora: Lora | None = LORA) -> LLM2VecGen:
    """Return an objective whose adapters are drawn at random, so that they change every state."""
    objective = gen(llama, lora=lora)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in objective.named_parameters():
            if "lora_B" in name:
                value.normal_(std=0.3, generator=generator)
    return objective


def cross_entropy(
    decoder: PreTrainedModel, objective: LLM2VecGen, prompts: Tensor, text: str
) -> Tensor:
    """Return the sum over an answer's tokens, of one unpadded row, with gradients."""
    words = [*objective.base.tokenizer.bare.encode(text, add_special_tokens=False).ids, 2]
    rows = decoder.get_input_embeddings()(torch.tensor(words))
    logits = decoder(inputs_embeds=torch.cat([prompts, rows])[None]).logits[0]
    said = logits[len(prompts) - 1 : -1].log_softmax(-1)
    total: Tensor = -said[torch.arange(len(words)), words].sum()
    return total


def reconstruction(
    decoder: PreTrainedModel, objective: LLM2VecGen, rows: list[TrainingExample]
) -> Tensor:
    """Return what ``reconstruct`` shall be: an adapted encoder, and another model that decodes."""
    total, count = torch.zeros(()), 0
    for row in rows:
        batch = objective.base.tokens([row.query], role=Role.QUERY)
        prompts = objective.reconstruction(objective.opened.states(batch))[0]
        answer = cast("str", row.positive)
        total = total + cross_entropy(decoder, objective, prompts, answer)
        words = objective.base.tokenizer.bare.encode(answer, add_special_tokens=False)
        count += len(words.ids) + 1
    return total / count


def gradients(objective: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    objective.zero_grad()
    torch.autograd.backward(loss)
    learnt = {name: value.grad for name, value in objective.named_parameters()}
    return {name: value.clone() for name, value in learnt.items() if value is not None}


@pytest.mark.parametrize("recomputed", [False, True])
@pytest.mark.parametrize("lora", [None, LORA])
def test_gradients_of_llm2vec_gen_are_those_of_two_models(
    llama: Path, lora: Lora | None, recomputed: bool
) -> None:
    objective = adapted(llama, lora)
    if recomputed:
        enable_gradient_checkpointing(objective)
    objective.train()
    base = frozen_decoder(llama)
    wanted_loss = reconstruction(base, objective, ROWS)
    wanted = gradients(objective, wanted_loss)
    loss = objective(objective.collate(ROWS))["reconstruct"]
    found = gradients(objective, loss)
    assert loss.item() == pytest.approx(wanted_loss.item(), abs=1e-5)
    assert any("lora_A" in name for name in found) == (lora is not None)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-4)


def test_adapters_learn_and_the_decoder_says_what_the_base_says(
    llama: Path, pairs: Path, tmp_path: Path
) -> None:
    objective = gen(llama, lora=LORA)
    loop = TrainingSettings(batch_size=4, max_steps=4, learning_rate=0.03)
    train(objective, read_table([pairs]), tmp_path / "gen", loop)
    # The adapters are merged by now; the decoder has no part in that either.
    base = frozen_decoder(llama)
    held_out = objective(objective.collate(HELD_OUT))["reconstruct"].item()
    assert held_out == pytest.approx(reconstruction(base, objective, HELD_OUT).item(), abs=1e-5)
    rows = torch.arange(7, 40)[None]
    torch.testing.assert_close(objective.language(rows).logits[..., :271], base(rows).logits)
    encoder = frozen_decoder(llama).base_model(rows).last_hidden_state
    learnt = objective.model.backbone(rows).last_hidden_state
    assert (encoder - learnt).abs().max() > 1e-3


@pytest.mark.parametrize("family", ["gpt_neox", "llama", "opt"])
def test_the_decoder_of_llm2vec_gen_drops_nothing(family: str, tmp_path: Path) -> None:
    folder = save_language_model(tmp_path / family, family, layers=2, longest=64)
    objective = gen(folder).train()
    rows = torch.arange(7, 40)[None]
    base = frozen_decoder(folder).eval()
    for _ in range(2):
        found = objective.language(rows).logits[..., : objective.opened.words]
        torch.testing.assert_close(found, base(rows).logits)


def test_a_frozen_decoder_costs_no_weights_until_adapters_are_merged(llama: Path) -> None:
    objective = adapted(llama)
    alone = sum(value.numel() for value in objective.model.parameters())
    embeddings = objective.language.get_output_embeddings()
    assert embeddings is not None
    head = embeddings.weight
    shared = sum(value.numel() for value in objective.parameters())
    assert shared == alone + head.numel()
    before = {name: value.clone() for name, value in objective.language.named_parameters()}
    stepped(objective, ROWS)
    after = dict(objective.language.named_parameters())
    assert all(torch.equal(value, before[name]) for name, value in after.items())


@pytest.mark.parametrize("lora", [None, LORA])
def test_no_decoder_of_compression_holds_adapters(llama: Path, lora: Lora | None) -> None:
    objective: Compression = compression(llama, lora)
    learning = {id(value) for value in objective.parameters() if value.requires_grad}
    assert learning
    assert not learning & {id(value) for value in objective.decoder.parameters()}
    assert not any("lora" in name for name, _ in objective.decoder.named_modules())


def test_a_model_that_learns_as_a_whole_is_no_decoder(llama: Path) -> None:
    objective = gen(llama)
    with pytest.raises(TrainingError, match="no frozen decoder"):
        LLM2VecGen(replace(objective.opened, decoder=None), GEN, objective.teacher)
