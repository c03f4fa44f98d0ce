"""Objectives on a tiny language model whose encoder appends tokens, and naive ways to read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from decant.embedders import (
    Choices,
    HashEncoder,
)
from decant.training import (
    Compression,
    CompressionSettings,
    DistributionAlignment,
    LLM2VecGen,
    LLM2VecGenSettings,
    Lora,
    Objective,
    TrainingExample,
    frozen_decoder,
    open_compression,
    open_gen,
)

SHORT = Choices(query_prompt="{text}\nsay: ", passage_prompt="{text}", max_tokens=64)
COMPRESSION = CompressionSettings(tokens=3, instruction="say it")
GEN = LLM2VecGenSettings(total=4, read=3)
ROWS = [
    TrainingExample(query="the cat", positive="a hat", negatives=("what then",), place="1"),
    TrainingExample(query="white heat", positive="winter, the end", negatives=("in",), place="2"),
]
# With questions as negatives, which have answers of their own.
ANSWERED = [
    replace(ROWS[0], negative_answers=("the end",)),
    replace(ROWS[1], negatives=("in", "a whale"), negative_answers=("heat", "that winter")),
]


def compression(llama: Path, lora: Lora | None = None) -> Compression:
    opened = open_compression(llama, COMPRESSION, choices=SHORT, lora=lora)
    return Compression(opened, COMPRESSION, frozen_decoder(llama))


def gen(
    llama: Path, settings: LLM2VecGenSettings = GEN, dim: int = 8, lora: Lora | None = None
) -> LLM2VecGen:
    teacher = HashEncoder(dim=dim)
    opened = open_gen(llama, settings, teacher, choices=SHORT, lora=lora)
    return LLM2VecGen(opened, settings, teacher)


def length(objective: Objective, text: str) -> int:
    """Return how many tokens a text has, its end included."""
    return len(objective.base.tokenizer.bare.encode(text, add_special_tokens=False).ids) + 1


def naive_log_probability(
    objective: Compression | DistributionAlignment | LLM2VecGen, states: Tensor, text: str
) -> float:
    """Say a text token by token after states, without padding or batches."""
    language = objective.language if isinstance(objective, LLM2VecGen) else objective.decoder
    words = objective.base.tokenizer.bare.encode(text, add_special_tokens=False).ids
    total = 0.0
    with torch.no_grad():
        inputs = states
        for word in [*words, 2]:
            logits = language(inputs_embeds=inputs[None]).logits[0, -1, :271]
            total += float(logits.log_softmax(-1)[word])
            row = language.get_input_embeddings()(torch.tensor([word]))
            inputs = torch.cat([inputs, row])
    return total


def states_of(objective: Objective, string: str) -> Tensor:
    """Return the read states of one string, tokenised with the appended tokens written out."""
    tokenizer = objective.base.vocabulary or objective.base.tokenizer.bare
    appended = objective.model.recipe.appended
    assert appended is not None
    ids = [*tokenizer.encode(string).ids]
    ids += [cast("int", tokenizer.token_to_id(token)) for token in appended.tokens]
    with torch.no_grad():
        found = objective.model.backbone(torch.tensor([ids])).last_hidden_state[0]
    return cast("Tensor", found)[-appended.read :]


def frozen_and_learning(objective: Objective) -> tuple[dict[str, Tensor], list[Tensor]]:
    frozen = {n: p.clone() for n, p in objective.named_parameters() if not p.requires_grad}
    return frozen, [p for p in objective.parameters() if p.requires_grad]


def stepped(objective: Objective, rows: Sequence[TrainingExample]) -> None:
    _, learning = frozen_and_learning(objective)
    optimizer = torch.optim.SGD(learning, lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        objective(objective.collate(rows))["loss"].backward()
        optimizer.step()
