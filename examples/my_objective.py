"""Train by a loss of your own, in one file: a margin between the answer and the next one.

An objective says what it makes of rows and what the loss is; batches, steps, checkpoints, the log
and the written folder are the loop's. The model is a tiny BERT with random weights, made here so
that nothing is downloaded; a real folder or hub id takes its place.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, cast

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from torch.nn.functional import cosine_similarity
from transformers import AutoConfig, AutoModel

from decant.embedders import Choices, Pooling, Role, TorchEncoder
from decant.training import (
    Base,
    Batch,
    Column,
    Inputs,
    Objective,
    TrainingExample,
    TrainingSettings,
    open_base,
    read_table,
    train,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginSettings:
    """The margin by which the answer must be nearer than the next text, as a cosine."""

    margin: float = 0.2


class Margin(Objective):
    """Each query is nearer to its own answer than to the next one of its batch."""

    needs: ClassVar[tuple[Column, ...]] = (Column.QUERY, Column.POSITIVE)

    def __init__(self, base: Base, settings: MarginSettings) -> None:
        super().__init__(base, settings)
        self.settings = settings

    def collate(self, rows: Sequence[TrainingExample]) -> Inputs:
        """Tokenise both sides, each under its own prompt."""
        queries = self.base.tokens([row.query for row in rows], role=Role.QUERY)
        passages = self.base.tokens([row.positive or "" for row in rows], role=Role.PASSAGE)
        return {"queries": cast("Inputs", queries), "passages": cast("Inputs", passages)}

    def forward(self, batch: Inputs) -> dict[str, Tensor]:
        """Return the loss, and for the log how often the answer is ahead."""
        queries = self.base.vectors(cast("Batch", batch["queries"]))  # (B, D)
        passages = self.base.vectors(cast("Batch", batch["passages"]))
        near = cosine_similarity(queries, passages)
        far = cosine_similarity(queries, passages.roll(1, dims=0))
        loss = (self.settings.margin - near + far).clamp(min=0).mean()
        return {"loss": loss, "ahead": (near > far).float().mean()}


def make_model(folder: Path) -> None:
    """Write a tiny model with random weights as a Transformers folder."""
    letters = ["[PAD]", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    config = AutoConfig.for_model(
        "bert",
        vocab_size=len(letters),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
    )
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))


def main() -> None:
    """Make pairs and a model, train, and embed with what came out."""
    with tempfile.TemporaryDirectory() as place:
        model, pairs, tuned = (Path(place) / name for name in ("model", "pairs.jsonl", "tuned"))
        make_model(model)
        rows = [{"query": f"{n} + {n}?", "positive": f"it is {2 * n}"} for n in range(64)]
        pairs.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")

        base = open_base(model, choices=Choices(pooling=Pooling.MEAN))
        table = read_table([pairs], needs=Margin.needs)
        loop = TrainingSettings(batch_size=16, epochs=5, learning_rate=1e-3, log_every=5)
        report = train(Margin(base, MarginSettings()), table, tuned, loop)
        print(f"{report.steps} steps, last loss {report.loss:.3f}")
        for line in (tuned / "training" / "log.jsonl").read_text(encoding="utf-8").splitlines():
            held = json.loads(line)
            print(f"step {held['step']:3}: loss {held['loss']:.3f}, ahead {held['ahead']:.2f}")
        vectors = TorchEncoder.from_pretrained(tuned).encode(["3 + 3?"], role=Role.QUERY)
        print(vectors.dense.shape)


if __name__ == "__main__":
    main()
