"""AutoRegEmbed's second stage: its loss against a loop, its reference, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from appended_objectives import (
    COMPRESSION,
    GEN,
    ROWS,
    compression,
    gen,
    naive_log_probability,
    states_of,
)
from decant.embedders import (
    Choices,
    Explainer,
    HashEncoder,
    Output,
    Pooling,
    Role,
    TorchEncoder,
)
from decant.training import (
    AlignmentSettings,
    DataError,
    DistributionAlignment,
    LLM2VecGen,
    LLM2VecGenSettings,
    ReferenceMargin,
    TrainingCallbacks,
    TrainingError,
    TrainingSettings,
    frozen_decoder,
    open_base,
    open_compression,
    open_gen,
    read_table,
    train,
)
from decant.training.objectives.autoregembed_align import alignment_loss

numbers = st.floats(-30, 0)


@given(
    st.lists(st.tuples(numbers, numbers, numbers, numbers, numbers), min_size=1, max_size=4),
    st.sampled_from(ReferenceMargin),
)
def test_the_alignment_loss_is_the_loop_of_its_formula(
    rows: list[tuple[float, float, float, float, float]], margin: ReferenceMargin
) -> None:
    settings = AlignmentSettings(margin=margin)
    total = 0.0
    for a, b, c, a_ref, b_ref in rows:
        sign = -1 if margin is ReferenceMargin.FIGURE else 1
        inner = (a - b) + sign * (a_ref - b_ref)
        first = -1 / (1 + math.exp(-0.1 * abs(a - c)))
        second = -1 / (1 + math.exp(-0.1 * inner))
        below = math.exp(first / 0.1) + math.exp(second / 0.1)
        total -= math.log(math.exp(first / 0.1) / below)
    columns = torch.tensor(rows, dtype=torch.float64)
    found = alignment_loss(columns[:, 0], columns[:, 1:2], columns[:, 2], columns[:, 3:5], settings)
    assert found.item() == pytest.approx(total / len(rows), abs=1e-6)
    # Between softplus of -5 and of 10, because near is at least a half.
    assert 0.0067 < found.item() < 10.00006


@pytest.mark.parametrize("margin", ReferenceMargin)
def test_the_loss_falls_when_the_positive_becomes_more_probable(margin: ReferenceMargin) -> None:
    settings = AlignmentSettings(margin=margin)
    reference, itself = torch.zeros(1, 2), torch.tensor([10.0])
    losses = [
        alignment_loss(torch.tensor([a]), torch.tensor([[0.0]]), itself, reference, settings)
        for a in (0.0, 2.0, 5.0, 10.0)
    ]
    assert losses == sorted(losses, reverse=True)


@pytest.fixture(scope="module")
def stage_one(llama: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("stages") / "compressed"
    loop = TrainingSettings(batch_size=4, max_steps=4, learning_rate=1e-2)
    train(compression(llama), read_table([pairs]), target, loop)
    return target


def aligned(stage_one: Path, llama: Path) -> DistributionAlignment:
    return DistributionAlignment(open_base(stage_one), AlignmentSettings(), frozen_decoder(llama))


def triplets(tmp_path: Path) -> Path:
    path = tmp_path / "triplets.jsonl"
    rows = [
        {"query": f"{row.query} {n}", "positive": row.positive, "negatives": list(row.negatives)}
        for n in range(4)
        for row in ROWS
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_alignment_scores_texts_after_states_as_a_loop_does(
    stage_one: Path, llama: Path, tmp_path: Path
) -> None:
    objective = aligned(stage_one, llama).eval()
    table = read_table([triplets(tmp_path)])
    objective.prepare(table, tmp_path, batch_size=3)
    rows = list(table[:2])
    found = objective(objective.collate(rows))["loss"].item()
    means = "This sentence means in one word: \u201c"
    a, b, c = [], [], []
    for row in rows:
        query = states_of(objective, f"{row.query}\n{means}\n")
        own = states_of(objective, f"{row.positive}\n{means}\n")
        a.append(naive_log_probability(objective, query, cast("str", row.positive)))
        b.append(naive_log_probability(objective, query, row.negatives[0]))
        c.append(naive_log_probability(objective, own, cast("str", row.positive)))
    columns = [torch.tensor(one) for one in (a, b, c)]
    reference = torch.stack(columns[:2], dim=1)  # the model is still its own reference
    wanted = alignment_loss(
        columns[0], columns[1][:, None], columns[2], reference, objective.settings
    )
    assert found == pytest.approx(wanted.item(), abs=1e-4)
    stored = np.load(tmp_path / "reference.npz")["scores"]
    assert abs(stored[:2] - reference.numpy()).max() < 1e-3


def test_reference_scores_are_computed_once(stage_one: Path, llama: Path, tmp_path: Path) -> None:
    objective = aligned(stage_one, llama)
    table = read_table([triplets(tmp_path)])
    np.savez(tmp_path / "reference.npz", scores=np.full((len(table), 2), 7, np.float32))
    objective.prepare(table, tmp_path, batch_size=3)
    batch = objective.collate(list(table[:2]))
    assert cast("Tensor", batch["reference"]).tolist() == [[7, 7], [7, 7]]


def test_a_begun_run_is_refused_with_another_decoder_or_teacher(
    stage_one: Path, llama: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    changed = frozen_decoder(llama)
    with torch.no_grad():
        next(changed.parameters()).add_(0.1)
    changed.save_pretrained(other)
    stop = TrainingCallbacks(progress=_stop)
    loop = TrainingSettings(batch_size=2)
    table = read_table([triplets(tmp_path)])
    with pytest.raises(KeyboardInterrupt):
        train(aligned(stage_one, llama), table, tmp_path / "aligned", loop, callbacks=stop)
    elsewhere = aligned(stage_one, other)
    with pytest.raises(TrainingError, match="begun with other decoder"):
        train(elsewhere, table, tmp_path / "aligned", loop)
    with pytest.raises(KeyboardInterrupt):
        train(gen(llama), table, tmp_path / "gen", loop, callbacks=stop)
    wider = gen(llama, dim=16)
    with pytest.raises(TrainingError, match=r"begun with other.* teacher"):
        train(wider, table, tmp_path / "gen", loop)


def _stop(step: int, steps: int, values: object) -> None:
    raise KeyboardInterrupt


def test_both_stages_leave_models_that_can_be_read_back(
    stage_one: Path, llama: Path, tmp_path: Path
) -> None:
    target = tmp_path / "aligned"
    loop = TrainingSettings(batch_size=4, max_steps=2, learning_rate=1e-3)
    train(aligned(stage_one, llama), read_table([triplets(tmp_path)]), target, loop)
    encoder = TorchEncoder.from_pretrained(target)
    assert encoder.recipe.appended is not None
    found = encoder.encode(["the cat"], role=Role.QUERY, outputs=[Output.SOFT_TOKENS])
    assert found.soft_tokens is not None
    assert found.soft_tokens.shape == (1, 3, 32)
    mean = found.soft_tokens[0].mean(0)
    assert abs(found.dense[0] - mean / np.linalg.norm(mean)).max() < 1e-5
    said = Explainer.from_pretrained(llama).explain(found.soft_tokens[0], max_new_tokens=4)
    assert len(said.tokens) == 3


def test_what_cannot_be_trained_is_refused(
    llama: Path, bert: Path, stage_one: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="not a causal model"):
        open_gen(bert, GEN, HashEncoder(dim=8))
    with pytest.raises(TrainingError, match="has the token '<EMBED0>' already"):
        open_compression(stage_one, COMPRESSION)
    with pytest.raises(TrainingError, match="the teacher's vectors have 16 dimensions"):
        LLM2VecGen(gen(llama).opened, GEN, HashEncoder(dim=16))
    base = open_base(llama, choices=Choices(pooling=Pooling.MEAN))
    with pytest.raises(TrainingError, match="appends no tokens"):
        DistributionAlignment(base, AlignmentSettings(), frozen_decoder(llama))
    with pytest.raises(TrainingError, match="no language-model head"):
        frozen_decoder(stage_one)
    path = tmp_path / "few.jsonl"
    path.write_text('{"query": "q", "positive": "p", "negatives": ["n"]}\n', encoding="utf-8")
    objective = aligned(stage_one, llama)
    objective.settings = AlignmentSettings(negatives=2)
    with pytest.raises(DataError, match=r"few.jsonl:1: 1 negatives, where negatives = 2"):
        objective.check(read_table([path]))
    with pytest.raises(TrainingError, match="must have a weight"):
        LLM2VecGenSettings(align=0, reconstruct=0)
