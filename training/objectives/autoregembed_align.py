"""AutoRegEmbed, stage 2: align the distributions that a query and its positive condition.

AutoRegEmbed, arXiv 2502.11401, section 3: conditional distribution alignment. With
``l(d | e) = sum_j log p(d_j | states of e, d_<j)`` and a query q, its positive d+ and negatives d-:

``S1 = -sigmoid(beta |l(d+ | q) - l(d+ | d+)|)``, ``S2 = -sigmoid(beta margin)``, and the loss is
``-log(e^(S1/tau) / (e^(S1/tau) + e^(S2/tau)))``, averaged over negatives and batch.

The margin of the paper's figure and that of its code differ; :class:`ReferenceMargin` offers both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self, assert_never, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from decant.embedders.pytorch import read_states

from ..data.row import Column, TrainingExample
from ..errors import DataError, TrainingError
from ..models.gradient_checkpointing import freeze_mode
from ..models.trainable import Base, Batch
from .autoregembed_compress import MEANS, Instructed, revision_of
from .objective import Inputs, Objective
from .soft_prompts import end_token, log_probabilities, target_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from ..data.table import TrainingDataset

_REFERENCE = "reference.npz"


class ReferenceMargin(StrEnum):
    """How the reference model's scores enter the margin of a positive over a negative.

    FIGURE: ``(a - a_ref) - (b - b_ref)``, as in the paper's figure and in DPO. CODE:
    ``(a - b) + (a_ref - b_ref)``, as in the released code. a and b are the log-probabilities of
    the positive and the negative after the query.
    """

    FIGURE = "figure"
    CODE = "code"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignmentSettings:
    """Settings of stage 2; the defaults of beta, temperature and negatives are the paper's.

    Args:
        beta: Factor of the log-probabilities, which are sums over tokens.
        temperature: Temperature of the scores, tau.
        margin: How the reference model enters the margin; the authors' code has the other one.
        negatives: How many negatives of each row are used, from the first on.
        target_tokens: The most tokens of a positive or negative, its end token included; 4,096 in
            the authors' script.
    """

    beta: float = 0.1
    temperature: float = 0.1
    margin: ReferenceMargin = ReferenceMargin.FIGURE
    negatives: int = 1
    target_tokens: int = 512

    def __post_init__(self) -> None:
        if self.beta <= 0 or self.temperature <= 0:
            raise TrainingError("beta and temperature must be positive")
        if self.negatives < 1 or self.target_tokens < 1:
            raise TrainingError("negatives and target_tokens must be at least 1")


def alignment_loss(
    positive: Tensor,
    negatives: Tensor,
    itself: Tensor,
    reference: Tensor,
    settings: AlignmentSettings,
) -> Tensor:
    """Return the loss of a batch, a scalar.

    Args:
        positive: a, (B,): log-probabilities of d+ after the query.
        negatives: b, (B, H): log-probabilities of each d- after the query.
        itself: c, (B,): log-probabilities of d+ after itself.
        reference: (B, 1 + H): a and b of the model before this stage.
        settings: They give beta, temperature and margin.
    """
    ahead = positive[:, None] - negatives
    before = reference[:, :1] - reference[:, 1:]
    match settings.margin:
        case ReferenceMargin.FIGURE:
            margin = ahead - before
        case ReferenceMargin.CODE:
            margin = ahead + before
        case _:
            assert_never(settings.margin)
    near = torch.sigmoid(settings.beta * (positive - itself).abs())[:, None]
    far = torch.sigmoid(settings.beta * margin)
    return functional.softplus((near - far) / settings.temperature).mean()


class DistributionAlignment(Objective):
    """Conditional distribution alignment, stage 2 of AutoRegEmbed.

    Args:
        base: An encoder that stage 1 trained.
        settings: Settings of the loss.
        decoder: The frozen language model of stage 1.

    Raises:
        TrainingError: The base appends no tokens, or its states do not have the decoder's width.
    """

    needs: ClassVar[tuple[Column, ...]] = (Column.QUERY, Column.POSITIVE, Column.NEGATIVES)
    settings: AlignmentSettings

    def __init__(self, base: Base, settings: AlignmentSettings, decoder: PreTrainedModel) -> None:
        super().__init__(base, settings)
        self.decoder = decoder
        appended = base.model.recipe.appended
        if appended is None:
            raise TrainingError(
                f"{base.source.base} appends no tokens; train it with stage 1 first (compress)"
            )
        self._count = appended.read
        width = decoder.config.hidden_size
        if base.model.read_shape != (self._count, width):
            raise TrainingError(
                f"the encoder's states are {base.model.read_shape}, the decoder is {width} wide; "
                "give the language model that stage 1 was made from"
            )
        self._end = end_token(decoder)
        self._instructed = Instructed(base)
        self._reference: dict[str, NDArray[np.float32]] = {}

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's signature
        """Set the mode of the encoder; the decoder stays in evaluation mode."""
        super().train(mode)
        freeze_mode(self.decoder)
        return self

    def run_identity(self) -> dict[str, str]:
        """Return the decoder's revision."""
        return {"decoder": revision_of(self.decoder)}

    def check(self, table: TrainingDataset) -> None:
        """Refuse rows with fewer negatives than the settings require."""
        wanted = self.settings.negatives
        for row in table:
            if len(row.negatives) < wanted:
                raise DataError(
                    f"{row.place}: {len(row.negatives)} negatives, where negatives = {wanted}; "
                    "give more or ask for fewer"
                )

    def prepare(self, table: TrainingDataset, folder: Path, *, batch_size: int) -> None:
        """Score every row once, with the model before its first step, and store the scores."""
        path = folder / _REFERENCE
        if not path.exists():
            scores = np.concatenate(list(self._scores(table, batch_size)))
            unfinished = folder / f".{_REFERENCE}"
            with unfinished.open("wb") as file:
                np.savez(file, scores=scores)
            unfinished.rename(path)
        with np.load(path) as held:
            scores = held["scores"]
        self._reference = {row.place: found for row, found in zip(table, scores, strict=True)}

    def _scores(self, table: TrainingDataset, batch_size: int) -> Iterator[NDArray[np.float32]]:
        device = next(self.parameters()).device
        self.eval()
        with torch.inference_mode():
            for begin in range(0, len(table), batch_size):
                rows = list(table[begin : begin + batch_size])
                batch = _moved(self._collated(rows), device)
                positive, negatives, _ = self._log_probabilities(batch, itself=False)
                yield torch.cat([positive[:, None], negatives], dim=1).cpu().numpy()

    def collate(self, rows: Sequence[TrainingExample]) -> Inputs:
        """Tokenise queries, positives and negatives; add the reference scores of the rows."""
        reference = np.stack([self._reference[row.place] for row in rows])
        return {**self._collated(rows), "reference": torch.from_numpy(reference)}

    def _collated(self, rows: Sequence[TrainingExample]) -> Inputs:
        count = self.settings.negatives
        positives = [row.positive or "" for row in rows]
        negatives = [text for row in rows for text in row.negatives[:count]]
        means = [MEANS] * len(rows)
        ids, mask = target_tokens(
            [*positives, *negatives],
            self.base.tokenizer.bare,
            end=self._end,
            most=self.settings.target_tokens,
        )
        queries = self._instructed.tokens([row.query for row in rows], means)
        return {
            "queries": cast("Inputs", queries),
            "positives": cast("Inputs", self._instructed.tokens(positives, means)),
            "targets": ids,
            "target_mask": mask,
        }

    def forward(self, batch: Inputs) -> dict[str, Tensor]:
        """Return the loss, and how often the positive is more probable than a negative."""
        positive, negatives, itself = self._log_probabilities(batch)
        reference = cast("Tensor", batch["reference"])
        loss = alignment_loss(positive, negatives, itself, reference, self.settings)
        return {"loss": loss, "ahead": (positive[:, None] > negatives).float().mean()}

    def _log_probabilities(
        self, batch: Inputs, *, itself: bool = True
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return a (B,), b (B, H) and c (B,); without ``itself``, c is a."""
        states = self._states(cast("Batch", batch["queries"]))
        ids, mask = cast("Tensor", batch["targets"]), cast("Tensor", batch["target_mask"])
        count = len(states)
        wanted = self.settings.negatives
        repeated = torch.cat([states, states.repeat_interleave(wanted, dim=0)])
        found = self._sums(repeated, ids, mask)
        positive, negatives = found[:count], found[count:].reshape(count, wanted)
        if not itself:
            return positive, negatives, positive
        own = self._states(cast("Batch", batch["positives"]))
        return positive, negatives, self._sums(own, ids[:count], mask[:count])

    def _states(self, batch: Batch) -> Tensor:
        ((states,), _) = self.model.states(batch["input_ids"], batch["attention_mask"])
        return read_states(states, batch["pooling_mask"], self._count)

    def _sums(self, states: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        words = self.decoder.config.vocab_size
        return log_probabilities(self.decoder, states, ids, mask, words=words).sum(1)


def _moved(inputs: Inputs, device: torch.device) -> Inputs:
    return {
        name: value.to(device) if isinstance(value, Tensor) else _moved(value, device)
        for name, value in inputs.items()
    }
