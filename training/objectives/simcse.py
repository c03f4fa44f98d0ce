"""Unsupervised SimCSE (Gao et al., arXiv 2104.08821): a text is its own positive, through dropout.

A batch goes through the model twice; what dropout takes away differs, and the two vectors of a text
shall find each other among all others. LLM2Vec's second step (arXiv 2404.05961, section 2.3) is
this with attention's dropout at 0.3, a temperature of 0.05 and mean pooling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

from decant.embedders import Role

from ..data.row import Column, TrainingExample
from ..errors import TrainingError
from ..models.trainable import Base
from .contrastive import Contrastive, ContrastiveSettings, names_of
from .objective import Inputs


class SimCSE(Contrastive):
    """Two passes of a text near each other, and far from those of other texts.

    Args:
        base: A model opened with ``dropout``; texts are passages to it.
        settings: As for pairs.

    Raises:
        TrainingError: The model has no dropout, so that both passes would be equal.
    """

    needs: ClassVar[tuple[Column, ...]] = (Column.QUERY,)

    def __init__(self, base: Base, settings: ContrastiveSettings) -> None:
        super().__init__(base, settings)
        if not base.dropout:
            raise TrainingError(
                "SimCSE needs dropout, without which both passes are equal; open the model with "
                "some (dropout = 0.1 for encoders, 0.3 for LLM2Vec)"
            )

    def takes_instructions(self) -> bool:
        """Tell that texts are passages here, which have none."""
        return False

    def collate(self, rows: Sequence[TrainingExample]) -> Inputs:
        """Tokenise a batch; both passes read the same tokens."""
        texts = [row.query for row in rows]
        tokens = cast("Inputs", self.base.tokens(texts, role=Role.PASSAGE))
        names = names_of(texts)
        return {
            "queries": tokens,
            "passages": tokens,
            "query_names": names,
            "passage_names": names,
        }
