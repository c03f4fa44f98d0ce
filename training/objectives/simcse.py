"""Unsupervised SimCSE (Gao et al., arXiv 2104.08821): dropout makes a text its own positive.

A batch goes through the model twice with different dropout, and each vector must find the other
vector of its text among those of all texts. LLM2Vec's second step (arXiv 2404.05961, section 2.3)
is this with attention dropout of 0.3, a temperature of 0.05 and mean pooling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

from decant.embedders import Role

from ..data.row import Column, TrainingExample
from ..errors import TrainingError
from ..models.trainable import Base
from .contrastive import Contrastive, ContrastiveSettings, hashes_of
from .objective import Inputs


class SimCSE(Contrastive):
    """Move the vectors of two passes of a text together, and away from those of other texts.

    Args:
        base: A model opened with ``dropout``; texts are encoded as passages.
        settings: Settings of the contrastive loss.

    Raises:
        TrainingError: The model was opened without dropout, so both passes would be equal.
    """

    needs: ClassVar[tuple[Column, ...]] = (Column.QUERY,)

    def __init__(self, base: Base, settings: ContrastiveSettings) -> None:
        super().__init__(base, settings)
        if not base.dropout:
            raise TrainingError(
                "SimCSE needs dropout, or both passes would be equal; open the model with some "
                "(dropout = 0.1 for encoders, 0.3 for LLM2Vec)"
            )

    def takes_instructions(self) -> bool:
        """Return False: texts are encoded as passages, which have no instructions."""
        return False

    def collate(self, rows: Sequence[TrainingExample]) -> Inputs:
        """Tokenise a batch; both passes read the same tokens."""
        texts = [row.query for row in rows]
        tokens = cast("Inputs", self.base.tokens(texts, role=Role.PASSAGE))
        hashes = hashes_of(texts)
        return {
            "queries": tokens,
            "passages": tokens,
            "query_names": hashes,
            "passage_names": hashes,
        }
