"""Cut texts into requests that the limits of a server allow and that keep its model busy.

Tokens are not counted here, but bounded: a tokenizer gives at most about one token for each byte,
and the model reads no more than its recipe says. Where the bound fails the server says so, and the
request is halved. Here nothing is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from ..encoding.protocol import Output
from ..errors import TextError
from ..tokens.pair_tokenizer import Pair
from .score_wire import RerankerFacts
from .wire import EncodeOptions, EncoderFacts

Item = TypeVar("Item")

_FIRST_TEXTS = 64  # so that the first vectors come soon and storing can begin
_MOST_TEXTS = 512
_ANSWER_BYTES = 2**25  # of token embeddings, which are held for each request that is under way
_JSON = 8  # quotes, comma, and some characters that JSON writes with more bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockLimits:
    """The most that one request may have.

    Args:
        texts: Texts.
        text_bytes: Bytes of one text.
        body_bytes: Bytes of all texts.
        tokens: Tokens of all texts.
        text_tokens: Tokens that the model reads of one text, prompts included.
    """

    texts: int
    text_bytes: int
    body_bytes: int
    tokens: int
    text_tokens: int

    @classmethod
    def of(cls, facts: EncoderFacts, options: EncodeOptions, *, underway: int) -> Self:
        """Return the limits for requests to a server, of which some are under way at a time."""
        tokens = facts.limits.tokens // underway
        if Output.TOKEN_EMBEDDINGS in options.outputs:
            tokens = min(tokens, _ANSWER_BYTES // (4 * facts.dim))
        instruction = len((options.instruction or "").encode())
        return cls(
            texts=min(_MOST_TEXTS, facts.limits.texts),
            text_bytes=facts.limits.text_bytes,
            body_bytes=max(1, facts.limits.body_bytes - instruction - 1_024),
            tokens=max(1, tokens),
            text_tokens=facts.recipe.max_tokens * (1 + len(facts.recipe.further)),
        )

    @classmethod
    def of_pairs(cls, facts: RerankerFacts, instruction: str | None, *, underway: int) -> Self:
        """Return the limits for requests to a reranker, of which some are under way at a time."""
        taken = len((instruction or "").encode())
        return cls(
            texts=min(_MOST_TEXTS, facts.limits.texts),
            text_bytes=facts.limits.text_bytes,
            body_bytes=max(1, facts.limits.body_bytes - taken - 1_024),
            tokens=max(1, facts.limits.tokens // underway),
            text_tokens=facts.recipe.max_tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestBlock(Generic[Item]):
    """The texts of one request, or its pairs of texts, and whether no others follow."""

    texts: tuple[Item, ...]
    is_last: bool


def request_blocks(texts: Iterable[str], limits: BlockLimits) -> Iterator[RequestBlock[str]]:
    """Yield blocks of texts, in order; without texts, none.

    The next text is read before a block is yielded, to know whether it is the last.

    Raises:
        TextError: A text has more bytes than the server takes; the message holds its index.
    """
    return _blocks(((text, (text,)) for text in texts), limits)


def pair_blocks(pairs: Iterable[Pair], limits: BlockLimits) -> Iterator[RequestBlock[Pair]]:
    """Yield blocks of pairs, in order, as :func:`request_blocks` does.

    Raises:
        TextError: A query or a passage has more bytes than the server takes.
    """
    return _blocks(((pair, pair) for pair in pairs), limits)


def _blocks(
    items: Iterable[tuple[Item, tuple[str, ...]]], limits: BlockLimits
) -> Iterator[RequestBlock[Item]]:
    """Yield blocks of items, which come with the texts in them."""
    held: list[Item] = []
    size = tokens = 0
    most = min(_FIRST_TEXTS, limits.texts)
    for index, (item, texts) in enumerate(items):
        lengths = [len(text.encode()) for text in texts]
        if (longest := max(lengths)) > limits.text_bytes:
            what = "text" if longest == lengths[-1] else "the query of text"
            raise TextError(
                f"{what} {index} has {longest:,} bytes, and the server takes "
                f"{limits.text_bytes:,}; shorten it, or split it"
            )
        length = sum(lengths) + _JSON * len(lengths)
        own = min(length, limits.text_tokens)
        is_full = size + length > limits.body_bytes or tokens + own > limits.tokens
        if held and (is_full or len(held) == most):
            yield RequestBlock(texts=tuple(held), is_last=False)
            held, size, tokens = [], 0, 0
            most = min(2 * most, limits.texts)
        held.append(item)
        size += length
        tokens += own
    if held:
        yield RequestBlock(texts=tuple(held), is_last=True)
