"""The part of a recipe that makes sparse vectors over a vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..enum_fields import settle
from ..errors import RecipeError
from .dense import Dense


class SparsePooling(StrEnum):
    """What weighs a word: logits of tokens, as ``log(1 + max(0, logit))``, or the word's own token.

    MAX: the largest over the counted tokens (SPLADE v2, arXiv 2109.10086, section 3.1).
    LAST: the last counted token's (PromptReps, arXiv 2404.18424, section 3).
    TOKENS: a linear layer on the state of the word's own token, ``max(0, w · h + b)``, the largest
    over its places in the text (BGE-M3, arXiv 2402.03216, section 3.1).
    """

    MAX = "max"
    LAST = "last"
    TOKENS = "tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseHead:
    """A sparse vector, in the same pass as the dense one.

    It comes from the model's language-model head, or from one linear layer (TOKENS).

    Args:
        weighting: Which tokens' logits count.
        top: The most entries of a vector; the heaviest are kept.
        words: Weigh only tokens of the text's own words, as PromptReps does: lower-cased, without
            stop words and punctuation. A text without such words keeps its ten heaviest tokens.
        clusters: Merge the head's rows into so many clusters by k-means (LENS, arXiv 2501.09749,
            section 3); dimensions are clusters then, not tokens. None: dimensions are token ids.
        passes: How often k-means goes through the rows (``pytorch/vocabulary_clusters.py``). None:
            there are no clusters, or the recipe is older than this field.
        projection: The linear layer of TOKENS; None for the others.
        skipped_ids: Ids that weigh nothing, for TOKENS: special tokens.
    """

    weighting: SparsePooling = SparsePooling.MAX
    top: int = 256
    words: bool = False
    clusters: int | None = None
    passes: int | None = None
    projection: Dense | None = None
    skipped_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        settle(self, {"weighting": SparsePooling}, ("top", "clusters", "passes"), error=RecipeError)
        if self.top < 1:
            raise RecipeError(f"top must be at least 1, got {self.top}")
        if self.clusters is not None and self.clusters < 2:
            raise RecipeError(f"clusters must be at least 2 or None, got {self.clusters}")
        if self.passes is not None and (self.clusters is None or self.passes < 1):
            raise RecipeError(
                f"passes are at least 1, and of clusters; got passes={self.passes} and "
                f"clusters={self.clusters}"
            )
        by_tokens = self.weighting is SparsePooling.TOKENS
        if by_tokens != (self.projection is not None) or (by_tokens and self.of_vocabulary):
            raise RecipeError(
                "weights of a text's own tokens come from a projection alone, without words or "
                f"clusters, and other weights from a language-model head; got {self}"
            )
        if self.words and self.clusters is not None:
            raise RecipeError(
                "words need tokens as dimensions, and clusters are none; choose one of them"
            )

    @property
    def of_vocabulary(self) -> bool:
        """Whether words of the text or clusters of the vocabulary are chosen."""
        return self.words or self.clusters is not None
