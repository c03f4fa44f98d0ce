"""The enumerations of a recipe, and which field holds which.

This module defines what the members mean; other modules implement them
(``pytorch/attention_mask.py``, ``tokens/tokenizer.py``, ``pytorch/pooling.py``,
``pytorch/load.py``).
"""

from __future__ import annotations

from enum import StrEnum

from .prompt import TextFormat


class Attention(StrEnum):
    """Which tokens a token may see."""

    CAUSAL = "causal"
    BIDIRECTIONAL = "bidirectional"


class PooledTokens(StrEnum):
    """Which tokens count when pooling.

    ALL: every token that is not padding. TEXT: the text itself and what follows it, without the
    prompt before it (GritLM, NV-Embed, LLM2Vec; sentence-transformers' ``include_prompt: false``).
    COPY: the second copy of the text and what follows it (Echo). CONTENT: the text's own tokens,
    without prompt, BOS or EOS ("Revisiting Word Embeddings in the LLM Era", arXiv 2402.11094); a
    text that gives no token counts as a whole. TAIL: the last of the appended tokens
    (:class:`AppendedTokens`).
    """

    ALL = "all"
    TEXT = "text"
    COPY = "copy"
    CONTENT = "content"
    TAIL = "tail"


class Pooling(StrEnum):
    """How the counted tokens combine into one vector.

    With ``m`` the mask, ``seen = cumsum(m)`` and ``count = sum(m)``, the weights of MEAN are ``m``;
    of WEIGHTED_MEAN ``m·seen`` (SGPT, arXiv 2202.08904, section 3, by rank among the counted
    tokens); of FIRST ``m·(seen = 1)``; of LAST ``m·(seen = count)``, each divided by its sum.
    MEAN_SQRT is the sum over ``sqrt(count)``; MAX the largest value per dimension.
    """

    MEAN = "mean"
    MEAN_SQRT = "mean_sqrt"
    WEIGHTED_MEAN = "weighted_mean"
    FIRST = "first"
    LAST = "last"
    MAX = "max"

    @property
    def sentence_transformers_name(self) -> str:
        """Its ``pooling_mode`` in the files of sentence-transformers."""
        return _POOLINGS[self][0]

    @property
    def sentence_transformers_switch(self) -> str:
        """The boolean that stands for it in files of sentence-transformers up to 5."""
        return f"pooling_mode_{_POOLINGS[self][1]}"


_POOLINGS = {
    Pooling.MEAN: ("mean", "mean_tokens"),
    Pooling.MEAN_SQRT: ("mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
    Pooling.WEIGHTED_MEAN: ("weightedmean", "weightedmean_tokens"),
    Pooling.FIRST: ("cls", "cls_token"),
    Pooling.LAST: ("lasttoken", "lasttoken"),
    Pooling.MAX: ("max", "max_tokens"),
}


class Activation(StrEnum):
    """The function after a dense layer of the head."""

    IDENTITY = "identity"
    TANH = "tanh"
    RELU = "relu"
    GELU = "gelu"


KINDS = {
    "attention": Attention,
    "pooling": Pooling,
    "span": PooledTokens,
    "text_format": TextFormat,
}
"""Fields of a recipe, and of choices, that hold members of an enumeration."""
INTEGERS = ("max_tokens", "layer", "dim", "latent_heads", "min_dim", "max_text_tokens")
"""Fields that hold an integer."""
