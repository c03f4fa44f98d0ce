"""Masked next-token prediction, which makes a causal model bidirectional (LLM2Vec's first step).

BehnamGhader et al., arXiv 2404.05961, section 2.2: tokens are masked, and each is predicted from
the hidden state at the position before it, where a causal model predicts it. The code's mask token
is a plain underscore, and its shares are BERT's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, cast

import torch
from torch import Tensor
from torch.nn import functional

from decant.embedders import Attention, Role

from ..data.row import Column, TrainingExample
from ..errors import TrainingError
from ..models.language_model import LanguageBase
from ..models.trainable import Batch
from .objective import Inputs, Objective

_IGNORED = -100


@dataclass(frozen=True, slots=True, kw_only=True)
class MntpSettings:
    """How tokens are masked.

    The paper uses share 0.2 and 80/10/10 for Llama 2 and 3, and share 0.8, all masked, for Mistral.

    Args:
        share: Share of a text's tokens that are predicted. Special tokens and the first token are
            never predicted.
        masked: Share of the predicted tokens that become the mask token.
        random: Share of the predicted tokens that become a random token; the rest stays unchanged.
        mask_token: A token of the vocabulary.
    """

    share: float = 0.2
    masked: float = 0.8
    random: float = 0.1
    mask_token: str = "_"  # noqa: S105

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise TrainingError(f"share must be above 0 and at most 1, got {self.share}")
        if min(self.masked, self.random) < 0 or self.masked + self.random > 1:
            raise TrainingError("masked and random must be shares whose sum is at most 1")


class Mntp(Objective):
    """Predict masked tokens from the hidden states before them, with bidirectional attention.

    Args:
        language: A model opened with bidirectional attention.
        settings: How tokens are masked.

    Raises:
        TrainingError: The model attends causally, or its vocabulary lacks the mask token.
    """

    needs: ClassVar[tuple[Column, ...]] = (Column.QUERY,)
    settings: MntpSettings

    def __init__(self, language: LanguageBase, settings: MntpSettings) -> None:
        base = language.base
        super().__init__(base, settings)
        self.language = language
        self.whole = language.whole
        if base.model.recipe.attention is not Attention.BIDIRECTIONAL:
            raise TrainingError(
                "MNTP trains bidirectional attention; open it with attention='bidirectional'"
            )
        mask = base.tokenizer.bare.token_to_id(settings.mask_token)
        if mask is None:
            raise TrainingError(
                f"the vocabulary has no token {settings.mask_token!r}; set mask_token to a rare "
                "token that it has"
            )
        self._mask: int = mask
        added = base.tokenizer.bare.get_added_tokens_decoder()
        special = [number for number, token in added.items() if token.special]
        self.register_buffer("_special", torch.tensor(special, dtype=torch.int64), persistent=False)

    def collate(self, rows: Sequence[TrainingExample]) -> Inputs:
        """Tokenise a batch; :meth:`forward` draws which tokens are masked."""
        texts = [row.query for row in rows]
        return cast("Inputs", self.base.tokens(texts, role=Role.PASSAGE))

    def forward(self, batch: Inputs) -> dict[str, Tensor]:
        """Return the loss, and the share of masked tokens that were predicted correctly."""
        tokens = cast("Batch", batch)
        ids, mask = tokens["input_ids"], tokens["attention_mask"]
        chosen = self._chosen(ids, mask)
        corrupted = self._corrupted(ids, chosen)
        ((states,), _) = self.model.states(corrupted, mask)
        # The state before a chosen token; the first token is never chosen.
        before = states[:, :-1][chosen[:, 1:]]  # (M, d)
        wanted = ids[chosen]  # (M,), in the same order
        if not len(wanted):
            return {"loss": states.sum() * 0}
        logits = self.language.logits(before).float()  # (M, V)
        found = functional.cross_entropy(logits, wanted)
        return {"loss": found, "guessed": (logits.argmax(-1) == wanted).float().mean()}

    def _chosen(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return which tokens are predicted, drawn at random, bool (B, T)."""
        first = mask.cumsum(1) == 1
        special = torch.isin(ids, cast("Tensor", self._special))
        allowed = (mask == 1) & ~first & ~special
        return allowed & (torch.rand(ids.shape, device=ids.device) < self.settings.share)

    def _corrupted(self, ids: Tensor, chosen: Tensor) -> Tensor:
        """Return the ids with the chosen tokens masked, replaced or unchanged."""
        draw = torch.rand(ids.shape, device=ids.device)
        settings = self.settings
        words = torch.randint(self.whole.config.vocab_size, ids.shape, device=ids.device)
        masked = chosen & (draw < settings.masked)
        swapped = chosen & ~masked & (draw < settings.masked + settings.random)
        found = torch.where(masked, self._mask, ids)
        return torch.where(swapped, words, found)

    def write(self, folder: Path) -> None:
        """Write the model with its head; its attention is bidirectional."""
        self.language.write(folder)
