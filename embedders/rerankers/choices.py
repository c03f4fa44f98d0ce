"""What a user may say of a reranker's recipe, and the models whose files do not say it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

from ..enum_fields import settle
from ..errors import RecipeError
from ..recipe.enums import Attention, Pooling
from ..recipe.rerank_recipe import ScoreActivation


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankChoices:
    """The user's choices for the recipe of a reranker; None: the model's files or rows say it.

    Args:
        pair_template: The string with ``{query}`` and ``{text}``, and perhaps ``{instruction}``;
            see :class:`PairFormat`.
        instruction: The task in its place.
        true_token: The token that says yes, as the vocabulary spells it.
        false_token: The token that says no.
        label: The classifier's output that is the score: its name in ``config.json``, or its
            number.
        against: The output that is subtracted from it.
        activation: What turns the raw score into the score.
        max_tokens: The longest input; a longer pair loses the end of its passage.
        attention: Whether the model attends causally.
        pooling: Which state the classifier reads.
    """

    pair_template: str | None = None
    instruction: str | None = None
    true_token: str | None = None
    false_token: str | None = None
    label: str | None = None
    against: str | None = None
    activation: ScoreActivation | None = None
    max_tokens: int | None = None
    attention: Attention | None = None
    pooling: Pooling | None = None

    def __post_init__(self) -> None:
        enums = {"activation": ScoreActivation, "attention": Attention, "pooling": Pooling}
        settle(self, enums, ("max_tokens",), error=RecipeError)
        if self.false_token is not None and self.true_token is None:
            raise RecipeError("false_token is subtracted from true_token; name that one, too")
        if self.label is not None and self.true_token is not None:
            raise RecipeError(
                "a score is an output of a classifier (label) or the logits of label tokens "
                "(true_token); name one of the two"
            )

    @property
    def says_reranker(self) -> bool:
        """Whether they make sense for a reranker alone."""
        return any(value is not None for value in (self.pair_template, self.true_token, self.label))

    def over(self, other: Self) -> Self:
        """Return these choices, with fields of ``other`` where this one has None."""
        own = {
            item.name: value
            for item in fields(self)
            if (value := getattr(self, item.name)) is not None
        }
        return replace(other, **own)


# Qwen/Qwen3-Reranker-0.6B, model card: the conversation, the task, and softmax over "no" and "yes".
_QWEN3 = RerankChoices(
    pair_template=(
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query "
        'and the Instruct provided. Note that the answer can only be "yes" or "no".'
        "<|im_end|>\n<|im_start|>user\n<Instruct>: {instruction}\n<Query>: {query}\n"
        "<Document>: {text}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    ),
    instruction="Given a web search query, retrieve relevant passages that answer the query",
    true_token="yes",  # noqa: S106 - a token of a vocabulary
    false_token="no",  # noqa: S106 - a token of a vocabulary
    activation=ScoreActivation.SIGMOID,
    max_tokens=8192,
)
# BAAI/bge-reranker-v2-gemma, model card (get_inputs): query and passage after their letters, the
# task behind them; the score is the logit of "Yes".
_BGE_GEMMA = RerankChoices(
    pair_template=(
        "A: {query}\nB: {text}\nGiven a query A and a passage B, determine whether the passage "
        "contains an answer to the query by providing a prediction of either 'Yes' or 'No'."
    ),
    true_token="Yes",  # noqa: S106 - a token of a vocabulary
    activation=ScoreActivation.SIGMOID,
    max_tokens=1024,
)
# mxbai_rerank/mxbai_rerank_v2.py: its conversation; logit("1") - logit("0").
_MXBAI = RerankChoices(
    pair_template=(
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a "
        "helpful assistant.<|im_end|>\n<|im_start|>user\nquery: {query}\ndocument: {text}\n"
        "You are a search relevance expert who evaluates how well documents match search queries. "
        "For each query-document pair, carefully analyze the semantic relationship between them, "
        "then provide your binary relevance judgment (0 for not relevant, 1 for relevant).\n"
        "Relevance:<|im_end|>\n<|im_start|>assistant\n"
    ),
    true_token="1",  # noqa: S106 - a token of a vocabulary
    false_token="0",  # noqa: S106 - a token of a vocabulary
    activation=ScoreActivation.IDENTITY,
    max_tokens=8192,
)
_KNOWN = {
    "Qwen/Qwen3-Reranker-": _QWEN3,
    "BAAI/bge-reranker-v2-gemma": _BGE_GEMMA,
    "mixedbread-ai/mxbai-rerank-base-v2": _MXBAI,
    "mixedbread-ai/mxbai-rerank-large-v2": _MXBAI,
    # Trained with a loss on logits, and published with the identity.
    "cross-encoder/ms-marco-": RerankChoices(activation=ScoreActivation.IDENTITY),
    "BAAI/bge-reranker-v2-m3": RerankChoices(activation=ScoreActivation.SIGMOID, max_tokens=8192),
}
"""Choices by the beginning of a hub id, after each model's reference code."""


def known_reranker(base: str) -> RerankChoices | None:
    """Return the row of a known model, also for a folder of its name; None: it is not known."""
    for start, row in _KNOWN.items():
        if base.startswith((start, start.rpartition("/")[2])):
            return row
    return None
