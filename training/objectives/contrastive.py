"""Contrastive training on pairs, with in-batch and hard negatives.

The losses are in ``losses.py``. Invariant: equal texts are never negatives of each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from pathlib import Path
from typing import ClassVar, assert_never, cast

import torch
from torch import Tensor

from decant.embedders import Role
from decant.embedders.json_records import stored_as

from ..data.row import Column, TrainingExample
from ..errors import TrainingError
from ..models.trainable import Base, Batch
from .gather_negatives import gathered
from .losses import improved_info_nce, info_nce, matryoshka, spread_out
from .objective import Inputs, Objective


class Loss(StrEnum):
    """The loss of queries and passages."""

    INFO_NCE = "info_nce"
    IMPROVED = "improved"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastiveSettings:
    """Settings of contrastive training.

    Args:
        loss: Which loss; ``improved`` is that of Qwen3-Embedding (arXiv 2506.05176).
        temperature: Cosines are divided by it; 0.02 to 0.05 is common, Qwen3 uses 0.01.
        margin: The margin of the false-negative mask of ``improved``, as a cosine.
        both_ways: Also find each passage's query among all queries; the loss is the mean of both
            directions.
        symmetric: Whether both texts are of one kind, such as paraphrases. Then both get the
            query's prompt.
        matryoshka_dims: Also train vectors cut to these widths (Matryoshka); empty: only the whole
            vector.
        spread: Weight of the spread-out regulariser of the passages.
        mini_batch_size: Texts per forward pass with gradient caching; None: the whole batch.
    """

    loss: Loss = Loss.INFO_NCE
    temperature: float = 0.05
    margin: float = 0.1
    both_ways: bool = False
    symmetric: bool = False
    matryoshka_dims: tuple[int, ...] = field(default=(), metadata=stored_as("widths"))
    spread: float = 0.0
    mini_batch_size: int | None = field(default=None, metadata=stored_as("chunk"))

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise TrainingError(f"temperature must be positive, got {self.temperature}")
        if self.margin < 0 or self.spread < 0:
            raise TrainingError("margin and spread must not be negative")
        if self.mini_batch_size is not None and self.mini_batch_size < 1:
            raise TrainingError(f"mini_batch_size must be at least 1, got {self.mini_batch_size}")
        if any(width < 1 for width in self.matryoshka_dims):
            raise TrainingError(
                f"matryoshka_dims must be positive, got {list(self.matryoshka_dims)}"
            )
        if self.both_ways and self.loss is Loss.IMPROVED:
            raise TrainingError("the improved loss has both directions in it; leave both_ways out")


class Contrastive(Objective):
    """Move queries near their positives, and away from all other passages of the batch.

    Args:
        base: The model.
        settings: Settings of the loss.

    Raises:
        TrainingError: ``matryoshka_dims`` exceed the model's width.
    """

    needs: ClassVar[tuple[Column, ...]] = (Column.QUERY, Column.POSITIVE)
    settings: ContrastiveSettings

    def __init__(self, base: Base, settings: ContrastiveSettings) -> None:
        super().__init__(base, settings)
        if any(width > base.model.dim for width in settings.matryoshka_dims):
            raise TrainingError(
                f"matryoshka_dims {list(settings.matryoshka_dims)} exceed the model's "
                f"{base.model.dim} dimensions"
            )

    def takes_instructions(self) -> bool:
        """Return whether the model has an instruction template."""
        return self.model.recipe.instruction_template is not None

    def collate(self, rows: Sequence[TrainingExample]) -> Inputs:
        """Tokenise a batch; passages are the positives in order, then all negatives."""
        return collated_pairs(self.base, rows, symmetric=self.settings.symmetric)

    def forward(self, batch: Inputs) -> dict[str, Tensor]:
        """Return the loss and its parts."""
        size = self.settings.mini_batch_size
        queries = self.base.vectors(cast("Batch", batch["queries"]), mini_batch_size=size)
        passages = self.base.vectors(cast("Batch", batch["passages"]), mini_batch_size=size)
        query_hashes = cast("Tensor", batch["query_names"])
        hashes = cast("Tensor", batch["passage_names"])
        # Own positives, those of other processes, own negatives.
        count = len(queries)
        passages = torch.cat([gathered(passages[:count]), passages[count:]])
        hashes = torch.cat([gathered(hashes[:count]), hashes[count:]])
        equal = false_negatives(query_hashes, hashes, gathered(query_hashes))
        parts = {"contrast": self.contrast(queries, passages, equal)}
        if self.settings.spread:
            parts["spread"] = self.settings.spread * spread_out(passages[:count])
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

    def contrast(self, queries: Tensor, passages: Tensor, equal: Tensor) -> Tensor:
        """Return the loss at all widths, from (B, D), (P, D) and excluded pairs, bool (B, P)."""

        def loss(first: Tensor, second: Tensor) -> Tensor:
            return self._loss(first, second, equal)

        if not self.settings.matryoshka_dims:
            return loss(queries, passages)
        dims = sorted({*self.settings.matryoshka_dims, self.model.dim})
        return matryoshka(loss, queries, passages, dims=dims)

    def _loss(self, queries: Tensor, passages: Tensor, equal: Tensor) -> Tensor:
        settings, count = self.settings, len(queries)
        temperature = settings.temperature
        match settings.loss:
            case Loss.IMPROVED:
                return improved_info_nce(
                    queries,
                    passages,
                    temperature=temperature,
                    margin=settings.margin,
                    excluded=equal,
                )
            case Loss.INFO_NCE:
                forth = info_nce(queries, passages, temperature=temperature, excluded=equal)
                if not settings.both_ways:
                    return forth
                back = info_nce(
                    passages[:count], queries, temperature=temperature, excluded=equal[:, :count].T
                )
                return (forth + back) / 2
            case _:
                assert_never(settings.loss)

    def write(self, folder: Path) -> None:
        """Write the model as a folder, with the smallest trained width in its recipe."""
        if self.settings.matryoshka_dims:
            self.base.note_matryoshka_dims(self.settings.matryoshka_dims)
        self.base.write(folder)


def collated_pairs(base: Base, rows: Sequence[TrainingExample], *, symmetric: bool) -> Inputs:
    """Tokenise pairs with their negatives.

    Args:
        base: The model, whose tokenizer is used.
        rows: Rows, each with a positive.
        symmetric: Whether passages get the query's prompt, too.

    Returns:
        ``queries`` and ``passages`` (the positives in order, then all negatives), and the hashes of
        the texts of both as ``query_names`` and ``passage_names``, see :func:`hashes_of`.
    """
    queries = [row.query for row in rows]
    positives = [row.positive or row.query for row in rows]
    passages = [*positives, *(text for row in rows for text in row.negatives)]
    role = Role.QUERY if symmetric else Role.PASSAGE
    query_tokens = base.tokens(
        queries, role=Role.QUERY, instructions=[row.instruction for row in rows]
    )
    return {
        "queries": cast("Inputs", query_tokens),
        "passages": cast("Inputs", base.tokens(passages, role=role)),
        "query_names": hashes_of(queries),
        "passage_names": hashes_of(passages),
    }


def false_negatives(queries: Tensor, passages: Tensor, owners: Tensor) -> Tensor:
    """Return which passages must not be negatives of which query, because texts are equal.

    Args:
        queries: int64 (B,), hashes of the queries' texts.
        passages: int64 (P,), hashes of the passages' texts, the queries' positives first.
        owners: int64 (Q,), Q >= B, the hash of the query to which each of the first Q passages
            belongs.

    Returns:
        bool (B, P): True if the passage equals the query's positive, equals the query itself, or is
        the positive of a query of the same text.
    """
    positives = passages[: len(queries)]
    equal = (passages[None, :] == positives[:, None]) | (passages[None, :] == queries[:, None])
    same_query = torch.zeros_like(equal)
    same_query[:, : len(owners)] = owners[None, :] == queries[:, None]
    return equal | same_query


def hashes_of(texts: Sequence[str]) -> Tensor:
    """Return a 63-bit hash of each text, int64: equal texts have equal hashes."""
    digests = (blake2b(text.encode(errors="surrogatepass"), digest_size=8) for text in texts)
    return torch.tensor([int.from_bytes(one.digest(), "little") >> 1 for one in digests])
