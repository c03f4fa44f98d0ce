"""Contrastive objectives on small real models: what is compared, what learns, what is the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor

from decant.embedders import HashEncoder, Role, TorchEncoder
from decant.training import (
    Contrastive,
    ContrastiveSettings,
    CoSENT,
    CoSENTSettings,
    DataError,
    Distillation,
    DistillationSettings,
    DistillationTarget,
    Lora,
    Loss,
    Objective,
    SimCSE,
    TrainingError,
    TrainingExample,
    open_base,
    read_table,
)
from decant.training.objectives.contrastive import false_negatives, hashes_of
from decant.training.objectives.losses import info_nce

PLAIN = ContrastiveSettings()
ROWS = [
    TrainingExample(query="the cat", positive="a hat", negatives=("what heat",)),
    TrainingExample(query="white whale in winter", positive="the end"),
    TrainingExample(query="then", positive="that winter", negatives=("a hat", "in")),
]


def loss_of(objective: Objective, rows: list[TrainingExample]) -> Tensor:
    """Return the loss of a batch without dropout."""
    objective.eval()
    found: dict[str, Tensor] = objective(objective.collate(rows))
    return found["loss"]


def gradients(objective: Objective, rows: list[TrainingExample]) -> dict[str, Tensor]:
    objective.zero_grad()
    loss_of(objective, rows).backward()  # type: ignore[no-untyped-call]
    return {
        name: value.grad.clone()
        for name, value in objective.named_parameters()
        if value.grad is not None
    }


def test_the_loss_is_that_of_the_vectors_that_an_encoder_gives(bert: Path) -> None:
    found = loss_of(Contrastive(open_base(bert), PLAIN), ROWS)
    encoder = TorchEncoder.from_pretrained(bert)
    queries = encoder.encode([row.query for row in ROWS], role=Role.QUERY).dense
    passages = ["a hat", "the end", "that winter", "what heat", "a hat", "in"]
    vectors = encoder.encode(passages, role=Role.PASSAGE).dense
    excluded = torch.zeros(3, 6, dtype=torch.bool)
    excluded[0, 4] = True  # the hard negative of another query that is this one's positive
    wanted = info_nce(
        torch.from_numpy(queries), torch.from_numpy(vectors), temperature=0.05, excluded=excluded
    )
    assert found.item() == pytest.approx(wanted.item(), abs=1e-5)


def test_equal_texts_are_no_negatives_of_each_other() -> None:
    queries, passages = hashes_of(["q", "r", "q"]), hashes_of(["a", "b", "c", "a", "r"])
    found = false_negatives(queries, passages, queries).int().tolist()
    # 0 and 2 ask the same: their positives a and c are both right.
    assert found == [[1, 0, 1, 1, 0], [0, 1, 0, 0, 1], [1, 0, 1, 0, 0]]


@pytest.mark.parametrize("chunk", [1, 2, 3])
@pytest.mark.parametrize("loss", Loss)
def test_gradient_caching_changes_no_gradient(bert: Path, chunk: int, loss: Loss) -> None:
    settings = replace(PLAIN, loss=loss, matryoshka_dims=(8, 16), spread=0.5)
    whole = gradients(Contrastive(open_base(bert), settings), ROWS)
    cached = gradients(Contrastive(open_base(bert), replace(settings, mini_batch_size=chunk)), ROWS)
    assert whole.keys() == cached.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(cached[name], gradient, atol=1e-5, rtol=1e-4)


def test_gradient_caching_sees_one_dropout_in_both_passes(bert: Path) -> None:
    """With dropout, a chunk's second pass must drop what its first did."""
    base = open_base(bert, dropout=0.3)
    objective = Contrastive(base, replace(PLAIN, mini_batch_size=1)).train()
    torch.manual_seed(0)
    batch = base.tokens(["the cat"], role=Role.QUERY)
    base.vectors(batch, mini_batch_size=None)[0, 0].backward()  # type: ignore[no-untyped-call]
    parameter = next(objective.parameters())
    assert parameter.grad is not None
    plain = parameter.grad.clone()
    objective.zero_grad()
    torch.manual_seed(0)
    two = {name: torch.cat([value, value]) for name, value in batch.items()}
    base.vectors(two, mini_batch_size=1)[0, 0].backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(parameter.grad, plain)


def test_the_order_of_a_batch_does_not_matter(bert: Path) -> None:
    objective = Contrastive(open_base(bert), PLAIN)
    assert loss_of(objective, ROWS).item() == pytest.approx(
        loss_of(objective, ROWS[::-1]).item(), abs=1e-5
    )


def test_the_padding_side_does_not_matter(bert: Path) -> None:
    base = open_base(bert)
    base.model.eval()
    batch = base.tokens(["the", "the white whale"], role=Role.QUERY)
    short = int(batch["attention_mask"][0].sum())
    rolled = {
        name: torch.stack([value[0].roll(value.shape[1] - short), value[1]])
        for name, value in batch.items()
    }
    torch.testing.assert_close(base.vectors(rolled), base.vectors(batch), atol=1e-6, rtol=1e-5)


def test_adapters_learn_and_nothing_else_does(bert: Path) -> None:
    objective = Contrastive(open_base(bert, lora=Lora(rank=2)), PLAIN)
    frozen = {n: p.clone() for n, p in objective.named_parameters() if not p.requires_grad}
    learning = [(n, p) for n, p in objective.named_parameters() if p.requires_grad]
    assert all("lora" in name for name, _ in learning)
    optimizer = torch.optim.AdamW([p for _, p in learning], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        loss_of(objective, ROWS).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    after = dict(objective.named_parameters())
    assert all(torch.equal(after[name], value) for name, value in frozen.items())
    assert all(value.grad is not None for _, value in learning)


def test_merged_adapters_give_the_vectors_that_were_trained(bert: Path, tmp_path: Path) -> None:
    base = open_base(bert, lora=Lora(rank=2))
    for name, parameter in base.model.named_parameters():
        if "lora" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    with base.eval_encoder() as encoder:
        trained = encoder.encode(["the whale"], role=Role.QUERY).dense
    base.write(tmp_path)
    written = TorchEncoder.from_pretrained(tmp_path).encode(["the whale"], role=Role.QUERY).dense
    before = TorchEncoder.from_pretrained(bert).encode(["the whale"], role=Role.QUERY).dense
    assert abs(written - trained).max() < 1e-5
    assert abs(written - before).max() > 1e-2


def test_simcse_compares_two_passes_of_a_text(bert: Path) -> None:
    base = open_base(bert, dropout=0.2)
    objective = SimCSE(base, PLAIN).train()
    batch = objective.collate([TrainingExample(query="the cat"), TrainingExample(query="a hat")])
    torch.manual_seed(1)
    tokens = cast("dict[str, Tensor]", batch["queries"])
    first, second = base.vectors(tokens), base.vectors(tokens)
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    wanted = info_nce(first, second, temperature=0.05)
    assert objective(batch)["loss"].item() == pytest.approx(wanted.item(), abs=1e-6)


def test_simcse_without_dropout_is_refused(bert: Path) -> None:
    with pytest.raises(TrainingError, match="needs dropout"):
        SimCSE(open_base(bert), PLAIN)


def test_dropout_reaches_the_attention_of_decoders(llama: Path) -> None:
    from decant.embedders import Choices, Pooling

    base = open_base(llama, choices=Choices(pooling=Pooling.MEAN), dropout=0.5)
    base.model.train()
    batch = base.tokens(["the white whale in winter"], role=Role.QUERY)
    assert not torch.equal(base.vectors(batch), base.vectors(batch))


def test_grades_that_are_all_equal_are_refused(bert: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("1\tthe cat\ta hat\n1\tin\tthen\n", encoding="utf-8")
    from decant.training import Columns

    table = read_table([path], columns=Columns.parse("score,query,positive"), needs=CoSENT.needs)
    with pytest.raises(DataError, match="all scores are 1"):
        CoSENT(open_base(bert), CoSENTSettings()).check(table)


def test_a_model_is_its_own_best_student(bert: Path) -> None:
    teacher = TorchEncoder.from_pretrained(bert)
    for lesson in DistillationTarget:
        objective = Distillation(open_base(bert), DistillationSettings(lesson=lesson), teacher)
        assert loss_of(objective, ROWS).item() == pytest.approx(0, abs=1e-5)


def test_a_teacher_of_another_width_teaches_scores_alone(bert: Path) -> None:
    with pytest.raises(TrainingError, match="the teacher's vectors have 8 dimensions"):
        Distillation(open_base(bert), DistillationSettings(), HashEncoder(dim=8))
    settings = DistillationSettings(lesson=DistillationTarget.SCORES)
    objective = Distillation(open_base(bert), settings, HashEncoder(dim=8))
    assert loss_of(objective, ROWS).item() > 0


def test_settings_that_make_no_sense_are_refused(bert: Path) -> None:
    with pytest.raises(TrainingError, match="temperature must be positive"):
        ContrastiveSettings(temperature=0)
    with pytest.raises(TrainingError, match="exceed the model's 32 dimensions"):
        Contrastive(open_base(bert), ContrastiveSettings(matryoshka_dims=(64,)))
    with pytest.raises(TrainingError, match="leave both_ways out"):
        ContrastiveSettings(loss=Loss.IMPROVED, both_ways=True)
