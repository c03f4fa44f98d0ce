"""Training of rerankers: pairs of a query and a passage become scores that order passages.

The passages of a query, its positive and its negatives, go through the model in one padded batch.
Negatives are those of the table: ``decant train mine`` finds them with the search that the reranker
will follow. The losses are in ``rank_losses.py``. Invariant: training reads the ids that serving
reads, except for the length to which it cuts pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, assert_never, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from decant.embedders import Reranker, TextError

from ..data.row import Column, TrainingExample
from ..errors import DataError, TrainingError
from ..models.rerank_base import RerankBase
from ..models.trainable import Batch
from .objective import Inputs, Objective
from .rank_losses import binary_cross_entropy, listwise_softmax, margin_mse, pairwise_logistic

if TYPE_CHECKING:
    from decant.embedders.tokens import Tokens

    from ..data.table import TrainingDataset

_TAUGHT = "teacher.npz"
_HOW = "decant train mine --bundle BUNDLE --pairs FILE --out MINED"


class RerankLoss(StrEnum):
    """The loss of a query's passages.

    BCE: each passage is an answer or not. PAIRWISE: the answer is above each negative (RankNet).
    LISTWISE: the answer is the first of its group (ListNet, localized contrastive estimate).
    DISTIL: passages are as far apart as another reranker puts them (MarginMSE).
    """

    BCE = "bce"
    PAIRWISE = "pairwise"
    LISTWISE = "listwise"
    DISTIL = "distil"


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankSettings:
    """Settings of the training of a reranker.

    Args:
        loss: Which loss.
        negatives: The most negatives of a row that are used, from the first on.
    """

    loss: RerankLoss = RerankLoss.LISTWISE
    negatives: int = 7

    def __post_init__(self) -> None:
        if self.negatives < 1:
            raise TrainingError(f"negatives must be at least 1, got {self.negatives}")


class RerankTraining(Objective):
    """Score passages that answer a query above those that only look as if they did.

    Args:
        opened: The reranker, from :func:`open_rerank_base`.
        settings: Settings of the loss.
        teacher: Another reranker, whose scores ``distil`` learns; None: the table has its scores.

    Raises:
        TrainingError: There is a teacher, and the loss learns from none.
    """

    needs: ClassVar[tuple[Column, ...]] = (Column.QUERY, Column.POSITIVE)
    settings: RerankSettings

    def __init__(
        self, opened: RerankBase, settings: RerankSettings, teacher: Reranker | None = None
    ) -> None:
        super().__init__(opened.base, settings)
        if teacher is not None and settings.loss is not RerankLoss.DISTIL:
            raise TrainingError(
                f"the loss {settings.loss} learns from no teacher; leave the teacher out, or take "
                f"the loss {RerankLoss.DISTIL}"
            )
        self.opened = opened
        self.teacher = teacher
        self._taught: dict[str, NDArray[np.float32]] = {}

    def takes_instructions(self) -> bool:
        """Return whether the template has a place for an instruction."""
        return self.opened.recipe.pair.instruction is not None

    def run_identity(self) -> dict[str, str]:
        """Return the digests of the recipes of the scores and of the teacher."""
        found = {"reranker": self.opened.recipe.digest()}
        return found if self.teacher is None else {**found, "teacher": self.teacher.recipe.digest()}

    def check(self, table: TrainingDataset) -> None:
        """Refuse a table without negatives, or without a teacher's scores where they are learnt.

        Raises:
            DataError: As said, or a query leaves no room for a passage.
        """
        held = False
        around = self.opened.length("a", "a")[0]
        distils = self.settings.loss is RerankLoss.DISTIL and self.teacher is None
        for row in table:
            held |= bool(row.negatives)
            # A token has a byte at least, so a short query is known to fit.
            if row.instruction or len(row.query.encode()) + around > self.opened.max_tokens:
                self._tokens(row, ["a"])
            if distils and row.negatives and not row.teacher_scores:
                raise DataError(
                    f"{row.place}: there are no teacher_scores, and no teacher; the loss "
                    f"{RerankLoss.DISTIL} learns from a larger reranker, so name one (--teacher)"
                )
        if not held:
            raise DataError(
                f"{', '.join(map(str, table.paths))}: no row has negatives, and a reranker learns "
                f"by telling a passage from others; find some first: {_HOW}"
            )

    def prepare(self, table: TrainingDataset, folder: Path, *, batch_size: int) -> None:
        """Let the teacher score every pair once, and store the scores with the run."""
        if self.teacher is None:
            return
        path = folder / _TAUGHT
        if not path.exists():
            scores = [self._teach(rows) for rows in _blocks(table, batch_size)]
            unfinished = folder / f".{_TAUGHT}"
            with unfinished.open("wb") as file:
                np.savez(file, scores=np.concatenate(scores))
            unfinished.rename(path)
        with np.load(path) as held:
            scores_of_all: NDArray[np.float32] = held["scores"]
        sizes = [1 + len(self._negatives(row)) for row in table]
        ends = np.cumsum(sizes)
        if ends[-1] != len(scores_of_all):
            raise TrainingError(
                f"{path} holds the scores of other rows; delete {folder} to start again"
            )
        parts = np.split(scores_of_all, ends[:-1])
        self._taught = {row.place: part for row, part in zip(table, parts, strict=True)}

    def collate(self, rows: Sequence[TrainingExample]) -> Inputs:
        """Tokenise the passages of each query, the positive first.

        Returns:
            ``pairs``, the tokens of all P pairs; ``places``, int64 (B, G), the pair in each place
            of a group, -1 where there is none; and where a teacher is learnt from, its scores as
            ``taught``, float32 (B, G).
        """
        tokens, sizes = [], []
        for row in rows:
            texts = [row.positive or "", *self._negatives(row)]
            tokens += self._tokens(row, texts)
            sizes.append(len(texts))
        places = torch.full((len(rows), max(sizes)), -1)
        begin = 0
        for number, size in enumerate(sizes):
            places[number, :size] = torch.arange(begin, begin + size)
            begin += size
        found: Inputs = {
            "pairs": cast("Inputs", self.base.stacked(tokens)),
            "places": places,
        }
        if self.settings.loss is RerankLoss.DISTIL:
            taught = torch.zeros(places.shape)
            for number, row in enumerate(rows):
                known = self._taught.get(row.place)
                scores = row.teacher_scores if known is None else known
                taught[number, : sizes[number]] = torch.tensor(
                    scores[: sizes[number]], dtype=torch.float32
                )
            found["taught"] = taught
        return found

    def forward(self, batch: Inputs) -> dict[str, Tensor]:
        """Return the loss, and how often the positive is the first of its group."""
        places = cast("Tensor", batch["places"])
        there = places >= 0
        scores = self.opened.scores(cast("Batch", batch["pairs"]))[places.clamp_min(0)]  # (B, G)
        match self.settings.loss:
            case RerankLoss.BCE:
                loss = binary_cross_entropy(scores, there)
            case RerankLoss.PAIRWISE:
                loss = pairwise_logistic(scores, there)
            case RerankLoss.LISTWISE:
                loss = listwise_softmax(scores, there)
            case RerankLoss.DISTIL:
                loss = margin_mse(scores, cast("Tensor", batch["taught"]), there)
            case _:
                assert_never(self.settings.loss)
        others = scores[:, 1:].masked_fill(~there[:, 1:], float("-inf"))
        first = (scores[:, :1] > others).all(1).float().mean()
        return {"loss": loss, "first": first}

    def lengths(self, row: TrainingExample) -> dict[str, tuple[int, int]]:
        """Return how many tokens a row's pairs have, and how many of them are read."""
        texts = {"with positive": row.positive}
        if row.negatives:
            texts["with negative"] = row.negatives[0]
        return {
            kind: self.opened.length(row.query, text or "", instruction=row.instruction)
            for kind, text in texts.items()
        }

    def write(self, folder: Path) -> None:
        """Write the reranker as a folder that decant and sentence-transformers open."""
        self.opened.write(folder)

    def _tokens(self, row: TrainingExample, texts: Sequence[str]) -> list[Tokens]:
        """Return the tokens of a row's query with some passages.

        Raises:
            DataError: The query leaves no room for a passage.
        """
        try:
            return self.opened.tokens(row.query, texts, instruction=row.instruction)
        except TextError as error:
            raise DataError(f"{row.place}: {error}, or raise max_tokens") from error

    def _negatives(self, row: TrainingExample) -> tuple[str, ...]:
        return row.negatives[: self.settings.negatives]

    def _teach(self, rows: Sequence[TrainingExample]) -> NDArray[np.float32]:
        """Return the teacher's raw scores of all pairs of some rows, one after the other."""
        assert self.teacher is not None
        pairs = [
            (row.query, text)
            for row in rows
            for text in (row.positive or "", *self._negatives(row))
        ]
        return np.asarray(self.teacher.score_pairs(pairs, raw=True), np.float32)


def _blocks(table: TrainingDataset, size: int) -> Iterator[list[TrainingExample]]:
    for begin in range(0, len(table), size):
        yield list(table[begin : begin + size])
