"""Contrastive training of sparse vectors, with a regulariser that keeps them short.

The loss of SPLADE (Formal et al., arXiv 2109.10086): dot products of all weights, in-batch and hard
negatives, and the FLOPS regulariser on queries and passages. With ``dense``, the loss of the dense
vectors is added, as in PromptReps (arXiv 2404.18424).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, cast

import torch
from torch import Tensor
from torch.nn import functional

from decant.embedders.pytorch import LexicalHead

from ..data.row import Column, TrainingExample
from ..errors import TrainingError
from ..models.language_model import LanguageBase
from ..models.trainable import Batch
from .contrastive import collated_pairs, false_negatives
from .losses import flops, info_nce
from .objective import Inputs, Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseSettings:
    """Settings of sparse training.

    Args:
        query_flops: Weight of the FLOPS regulariser on queries; SPLADE uses 3e-4.
        passage_flops: Weight of the FLOPS regulariser on passages; SPLADE uses 1e-4.
        dense: Weight of the loss of the dense vectors.
        temperature: The cosines of the dense vectors are divided by it.
    """

    query_flops: float = 3e-4
    passage_flops: float = 1e-4
    dense: float = 0.0
    temperature: float = 0.05

    def __post_init__(self) -> None:
        if min(self.query_flops, self.passage_flops, self.dense) < 0:
            raise TrainingError("weights must not be negative")
        if self.temperature <= 0:
            raise TrainingError(f"temperature must be positive, got {self.temperature}")


class SparseContrastive(Objective):
    """Move sparse vectors of queries near their positives, and keep their weights few.

    Args:
        language: A model opened with a sparse head, for example by ``strategy="splade"``.
        settings: Settings of the loss.

    Raises:
        TrainingError: The model has no sparse head.
    """

    needs: ClassVar[tuple[Column, ...]] = (Column.QUERY, Column.POSITIVE)
    settings: SparseSettings

    def __init__(self, language: LanguageBase, settings: SparseSettings) -> None:
        super().__init__(language.base, settings)
        self.language = language
        if self.model.lexical is None:
            raise TrainingError(
                f"{language.base.source.base} is opened without a sparse head, so it has no sparse "
                "vectors; open it with one (strategy 'splade')"
            )

    def takes_instructions(self) -> bool:
        """Return whether the model has an instruction template."""
        return self.model.recipe.instruction_template is not None

    def collate(self, rows: Sequence[TrainingExample]) -> Inputs:
        """Tokenise a batch; passages are the positives in order, then all negatives."""
        return collated_pairs(self.base, rows, symmetric=False)

    def forward(self, batch: Inputs) -> dict[str, Tensor]:
        """Return the loss, its parts, and how many weights queries and passages have."""
        settings = self.settings
        query_hashes, hashes = (
            cast("Tensor", batch["query_names"]),
            cast("Tensor", batch["passage_names"]),
        )
        queries, dense_queries = self._both(cast("Batch", batch["queries"]))
        passages, dense_passages = self._both(cast("Batch", batch["passages"]))
        equal = false_negatives(query_hashes, hashes, query_hashes)
        own = torch.zeros_like(equal).fill_diagonal_(fill_value=True)
        scores = (queries @ passages.T).masked_fill(equal & ~own, float("-inf"))
        targets = torch.arange(len(queries), device=queries.device)
        parts = {
            "contrast": functional.cross_entropy(scores, targets),
            "query_flops": settings.query_flops * flops(queries),
            "passage_flops": settings.passage_flops * flops(passages),
        }
        if settings.dense:
            parts["dense"] = settings.dense * info_nce(
                dense_queries, dense_passages, temperature=settings.temperature, excluded=equal
            )
        counts = {
            "query_weights": (queries > 0).float().sum(1).mean(),
            "passage_weights": (passages > 0).float().sum(1).mean(),
        }
        return {"loss": torch.stack(list(parts.values())).sum(), **parts, **counts}

    def _both(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return all sparse weights, (B, V), and dense vectors, (B, D)."""
        ids, mask = batch["input_ids"], batch["attention_mask"]
        counted = batch.get("pooling_mask", mask)
        states, last = self.model.states(ids, mask)
        assert isinstance(self.model.lexical, LexicalHead)
        dense: Tensor = self.model.pooled(states, counted)
        return self.model.lexical.weights(last, counted), dense

    def write(self, folder: Path) -> None:
        """Write the language model with its head, and a recipe with the sparse head."""
        self.language.write(folder)
