"""Training a reranker: what it learns, that runs repeat and resume, and what it leaves."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from decant.embedders import HashReranker, Progress, RerankChoices, TorchReranker
from decant.training import (
    DataError,
    Lora,
    RerankLoss,
    RerankSettings,
    RerankTraining,
    TrainingCallbacks,
    TrainingDataset,
    TrainingError,
    TrainingSettings,
    open_rerank_base,
    read_table,
    train,
)
from rerank_models import save_cross_encoder, save_pair_encoder

LOOP = TrainingSettings(batch_size=4, max_steps=3, learning_rate=1e-2, log_every=1, save_every=2)
THINGS = ("cat", "hat", "whale", "winter", "heat", "end", "white", "then")
SETTINGS = RerankSettings()
TAUGHT = RerankSettings(loss=RerankLoss.DISTIL)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a BERT without a classifier."""
    return save_pair_encoder(tmp_path_factory.mktemp("models") / "encoder")


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return eight rows with one to three negatives each."""
    path = tmp_path_factory.mktemp("data") / "mined.jsonl"
    rows = [
        {
            "query": f"the {one}",
            "positive": f"{one} again",
            "negatives": [f"{other} then" for other in THINGS[: 1 + at % 3] if other != one],
        }
        for at, one in enumerate(THINGS)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def table(mined: Path) -> TrainingDataset:
    return read_table([mined], needs=RerankTraining.needs)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("loss", list(RerankLoss))
def test_every_loss_learns_the_order(
    encoder: Path, table: TrainingDataset, loss: RerankLoss
) -> None:
    teacher = HashReranker() if loss is RerankLoss.DISTIL else None
    opened = open_rerank_base(encoder, dropout=0.0)
    objective = RerankTraining(opened, RerankSettings(loss=loss), teacher)
    rows = list(table)
    objective._taught = {
        row.place: np.array([2.0, *(0.0 for _ in row.negatives)], np.float32) for row in rows
    }
    optimizer = torch.optim.AdamW(
        [one for one in objective.parameters() if one.requires_grad], lr=1e-3
    )
    batch = objective.collate(rows)
    found = [objective(batch)]
    for _ in range(12):
        optimizer.zero_grad()
        found[-1]["loss"].backward()
        optimizer.step()
        found.append(objective(batch))
    assert found[-1]["loss"] < 0.95 * found[0]["loss"]
    assert found[-1]["first"] >= found[0]["first"]


def test_training_and_serving_see_the_same_ids(encoder: Path, table: TrainingDataset) -> None:
    opened = open_rerank_base(encoder)
    rows = list(table)[1:3]
    batch = RerankTraining(opened, SETTINGS).collate(rows)
    inputs, places = batch["pairs"], batch["places"]
    assert isinstance(inputs, dict)
    assert isinstance(places, torch.Tensor)
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    assert isinstance(ids, torch.Tensor)
    assert isinstance(mask, torch.Tensor)
    found = [tuple(row[kept.bool()].tolist()) for row, kept in zip(ids, mask, strict=True)]
    pairs = [(row.query, text) for row in rows for text in (row.positive or "", *row.negatives)]
    assert found == [row.ids for row in opened.tokenizer.pairs(pairs)]
    assert [len(row.negatives) for row in rows] == [1, 2]
    assert places.tolist() == [[0, 1, -1], [2, 3, 4]]


@pytest.fixture(scope="module")
def trained(
    encoder: Path, table: TrainingDataset, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the folder of an undisturbed run."""
    target = tmp_path_factory.mktemp("trained") / "reranker"
    train(RerankTraining(open_rerank_base(encoder), SETTINGS), table, target, LOOP)
    return target


def test_an_interrupted_run_ends_with_the_weights_of_an_undisturbed_one(
    encoder: Path, table: TrainingDataset, trained: Path, tmp_path: Path
) -> None:
    def stop(step: int, _total: int, _values: object) -> None:
        if step == 3:
            raise KeyboardInterrupt

    target = tmp_path / "reranker"
    with pytest.raises(KeyboardInterrupt):
        train(
            RerankTraining(open_rerank_base(encoder), SETTINGS),
            table,
            target,
            LOOP,
            callbacks=TrainingCallbacks(progress=stop),
        )
    assert not target.exists()
    train(RerankTraining(open_rerank_base(encoder), SETTINGS), table, target, LOOP)
    whole, cut = weights_of(trained), weights_of(target)
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


class Counting(HashReranker):
    """Counts the pairs that it scores."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs = 0

    def score_pairs(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        instruction: str | None = None,
        raw: bool = False,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        listed = list(pairs)
        self.pairs += len(listed)
        return super().score_pairs(listed, instruction=instruction, raw=raw, progress=progress)


def test_a_teacher_scores_each_pair_once_also_when_the_run_is_resumed(
    encoder: Path, table: TrainingDataset, tmp_path: Path
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    target, first, second = tmp_path / "student", Counting(), Counting()
    with pytest.raises(KeyboardInterrupt):
        train(
            RerankTraining(open_rerank_base(encoder), TAUGHT, first),
            table,
            target,
            LOOP,
            callbacks=TrainingCallbacks(progress=stop),
        )
    report = train(RerankTraining(open_rerank_base(encoder), TAUGHT, second), table, target, LOOP)
    assert first.pairs == sum(1 + len(row.negatives) for row in table)
    assert second.pairs == 0
    assert report.steps == 3


def test_scores_of_a_teacher_in_the_table_are_those_of_the_teacher(
    encoder: Path, table: TrainingDataset, tmp_path: Path
) -> None:
    teacher = HashReranker()
    path = tmp_path / "taught.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for row in table:
            texts = [row.positive or "", *row.negatives]
            taught = teacher.score(row.query, texts, raw=True).tolist()
            line = {"query": row.query, "positive": row.positive, "negatives": row.negatives}
            file.write(json.dumps({**line, "teacher_scores": taught}) + "\n")
    given = read_table([path])
    asked = RerankTraining(open_rerank_base(encoder), TAUGHT, teacher)
    asked.prepare(table, tmp_path, batch_size=3)
    told = RerankTraining(open_rerank_base(encoder), TAUGHT)
    told.check(given)
    one, two = (
        each.collate(list(rows)[:3])["taught"] for each, rows in ((asked, table), (told, given))
    )
    assert isinstance(one, torch.Tensor)
    assert isinstance(two, torch.Tensor)
    assert torch.allclose(one, two)
    assert given.digest() != table.digest()


def test_adapters_train_with_the_whole_classifier_and_are_merged(
    encoder: Path, table: TrainingDataset, tmp_path: Path
) -> None:
    opened = open_rerank_base(encoder, lora=Lora(rank=2))
    train(RerankTraining(opened, SETTINGS), table, tmp_path / "r", LOOP)
    names = set(weights_of(tmp_path / "r"))
    assert not [name for name in names if "lora" in name]
    before = load_file(encoder / "model.safetensors")["encoder.layer.0.output.dense.weight"]
    after = weights_of(tmp_path / "r")
    assert not torch.equal(after["bert.encoder.layer.0.output.dense.weight"], before)
    assert "classifier.weight" in names
    with TorchReranker.from_pretrained(tmp_path / "r") as reranker:
        again = reranker.score("the cat", ["a hat"], raw=True)
    with opened.base.eval_encoder() as pairs:
        assert np.abs(opened.reranker(pairs).score("the cat", ["a hat"], raw=True) - again) < 1e-6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SETTINGS, r"no row has negatives.*decant train mine"),
        (TAUGHT, r"no row has negatives"),
    ],
)
def test_a_table_without_negatives_is_refused_with_how_to_find_some(
    encoder: Path, tmp_path: Path, settings: RerankSettings, message: str
) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("query\tpositive\na\tb\nc\td\ne\tf\ng\th\n", encoding="utf-8")
    objective = RerankTraining(open_rerank_base(encoder), settings)
    with pytest.raises(DataError, match=message):
        train(objective, read_table([path]), tmp_path / "tuned", LOOP)
    assert not (tmp_path / "tuned").exists()


def test_a_query_that_leaves_no_room_is_refused_by_its_line_before_the_first_step(
    encoder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "long.jsonl"
    rows = [{"query": one, "positive": "b", "negatives": ["c"]} for one in ("a", "cat " * 30)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    opened = open_rerank_base(encoder, choices=RerankChoices(max_tokens=24))
    with pytest.raises(DataError, match=r"long\.jsonl:2: the query .* max_tokens=24 tokens"):
        RerankTraining(opened, SETTINGS).check(read_table([path]))


def test_distillation_without_scores_and_scores_without_distillation_are_refused(
    encoder: Path, table: TrainingDataset
) -> None:
    opened = open_rerank_base(encoder)
    with pytest.raises(DataError, match=r"no teacher_scores, and no teacher"):
        RerankTraining(opened, TAUGHT).check(table)
    with pytest.raises(TrainingError, match="learns from no teacher"):
        RerankTraining(opened, SETTINGS, HashReranker())
    with pytest.raises(TrainingError, match="negatives must be at least 1"):
        RerankSettings(negatives=0)


def test_a_run_that_was_begun_with_another_teacher_is_not_resumed(
    encoder: Path, table: TrainingDataset, tmp_path: Path
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(
            RerankTraining(open_rerank_base(encoder), TAUGHT, HashReranker()),
            table,
            tmp_path / "r",
            LOOP,
            callbacks=TrainingCallbacks(progress=stop),
        )
    other = RerankTraining(open_rerank_base(encoder), TAUGHT, HashReranker(max_tokens=3))
    with pytest.raises(TrainingError, match="begun with other teacher"):
        train(other, table, tmp_path / "r", LOOP)


def test_a_cross_encoder_goes_on_with_its_own_head(table: TrainingDataset, tmp_path: Path) -> None:
    folder = save_cross_encoder(tmp_path / "ce", "bert")
    opened = open_rerank_base(folder)
    own = load_file(folder / "model.safetensors")["classifier.weight"]
    assert torch.equal(opened.whole.state_dict()["classifier.weight"], own)
