"""Sparse vectors: the loss against a loop, what learns, and what is left."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from decant.embedders import Choices, Output, Pooling, Role, TorchEncoder
from decant.embedders.pytorch.sparse_head import LexicalHead
from decant.training import (
    SparseContrastive,
    SparseSettings,
    TrainingError,
    TrainingExample,
    TrainingSettings,
    open_language_model,
    read_table,
    train,
)

ROWS = [
    TrainingExample(query="the cat", positive="a hat", negatives=("what then",)),
    TrainingExample(query="white heat", positive="winter, the end"),
]


def opened(llama: Path, settings: SparseSettings) -> SparseContrastive:
    language = open_language_model(llama, choices=Choices(max_tokens=32), strategy="splade")
    return SparseContrastive(language, settings)


def test_the_loss_is_the_loop_of_its_formula(llama: Path) -> None:
    settings = SparseSettings(query_flops=0.01, passage_flops=0.02)
    objective = opened(llama, settings).eval()
    with torch.no_grad():
        found = objective(objective.collate(ROWS))
    vectors = []
    for text in ("the cat", "white heat", "a hat", "winter, the end", "what then"):
        ids = torch.tensor([objective.base.tokenizer([text], role=Role.QUERY)[0].ids])
        with torch.no_grad():
            logits = objective.language.whole(ids).logits[0]
        vectors.append(torch.log1p(torch.relu(logits)).amax(0))
    queries, passages = vectors[:2], vectors[2:]
    total = 0.0
    for number, query in enumerate(queries):
        scores = [float(query @ passage) for passage in passages]
        highest = max(scores)
        below = sum(math.exp(score - highest) for score in scores)
        total += math.log(below) + highest - scores[number]
    assert found["contrast"].item() == pytest.approx(total / 2, rel=1e-4)
    price = sum(
        weight * float(torch.stack(rows).mean(0).square().sum())
        for weight, rows in ((0.01, queries), (0.02, passages))
    )
    assert found["loss"].item() == pytest.approx(total / 2 + price, rel=1e-4)
    assert found["query_weights"].item() == sum(int((one > 0).sum()) for one in queries) / 2


def test_a_price_on_weights_makes_vectors_shorter(llama: Path, pairs: Path, tmp_path: Path) -> None:
    counts = []
    for price in (0.0, 30.0):
        objective = opened(llama, SparseSettings(query_flops=price, passage_flops=price))
        head = objective.model.lexical
        assert isinstance(head, LexicalHead)
        before = head.rows.clone()
        target = tmp_path / f"priced-{price}"
        loop = TrainingSettings(batch_size=4, max_steps=7, learning_rate=1e-2)
        train(objective, read_table([pairs]), target, loop)
        assert torch.equal(head.rows.cpu(), before)
        encoder = TorchEncoder.from_pretrained(target)
        found = encoder.encode(["the cat", "a hat"], role=Role.QUERY, outputs=[Output.SPARSE])
        assert found.sparse is not None
        batch = objective.base.tokens(["the cat", "a hat"], role=Role.QUERY)
        with torch.no_grad():
            weights, _ = objective.eval()._both(batch)
        for (indices, values), row in zip(found.sparse, weights, strict=True):
            torch.testing.assert_close(torch.from_numpy(values), row[torch.from_numpy(indices)])
        counts.append(int((weights > 0).sum()))
    assert counts[1] < 0.9 * counts[0]


def test_a_model_without_a_sparse_head_is_refused(llama: Path) -> None:
    language = open_language_model(llama, choices=Choices(pooling=Pooling.MEAN))
    with pytest.raises(TrainingError, match="strategy 'splade'"):
        SparseContrastive(language, SparseSettings())
