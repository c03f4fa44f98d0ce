"""Vectors of parts of a text, each seen in the whole: words in context, and late chunking.

The text is embedded once; what belongs to each part is pooled from its tokens' states. Late
chunking is section 2 of arXiv 2409.04701; a word's vector in its sentence is the mean over its
tokens (arXiv 2402.11094, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeGuard, assert_never, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..errors import RecipeError, TextError
from ..recipe.enums import Pooling
from ..recipe.prompt import Role, TextFormat
from ..recipe.recipe import Recipe
from ..tokens.prompt_layout import Place
from ..tokens.tokenizer import TextTokenizer
from .protocol import Encoder, Output

_OVERLAP = 0.25


@runtime_checkable
class TokenEncoder(Encoder, Protocol):
    """An encoder that maps characters to tokens: bundles and PyTorch models."""

    @property
    def text_tokenizer(self) -> TextTokenizer:
        """The tokenizer with the recipe's prompts and limits."""
        ...


def gives_parts(encoder: object) -> TypeGuard[TokenEncoder]:
    """Return whether :func:`span_vectors` accepts the encoder."""
    return isinstance(encoder, TokenEncoder) and not _hindrance(encoder.recipe)


def span_vectors(
    encoder: TokenEncoder, text: str, spans: Sequence[Place], *, role: Role = Role.PASSAGE
) -> NDArray[np.float32]:
    """Return a vector for each part of a text, pooled from token states that saw the whole text.

    A text that is longer than the model takes is read in windows that overlap by a quarter. Each
    part is pooled in the window in which it lies farthest from both ends ("long late chunking",
    arXiv 2409.04701, section 3.2). A part that fits whole into none of them gets its own window,
    with as much text before it as after it.

    Args:
        encoder: Its recipe has ``token_embeddings``, and no head after pooling.
        text: Any non-empty text.
        spans: For each part, its first character and the character after its last.
        role: Selects the prompt; the model sees its tokens, and they belong to no part.

    Returns:
        float32, shape (N, d); unit length if the recipe normalises. A part as long as the text has
        the vector of the text, without the special tokens.

    Raises:
        RecipeError: The encoder gives no token embeddings, or its recipe rewords texts or has a
            head.
        TextError: A part lies outside the text, no token holds any of it, or it is longer than the
            model reads at once; the message names the part.
    """
    _check(encoder, text, spans)
    tokenizer = encoder.text_tokenizer
    windows = _windows(tokenizer, text, role)
    places = [
        window if _holds(window, span) else _around(tokenizer, text, span, role)
        for window, span in zip(_choose(windows, spans), spans, strict=True)
    ]
    states: dict[_Window, NDArray[np.float32]] = {}
    for window in sorted(set(places), key=lambda one: one.begin):
        shown = text[window.begin : window.end]
        tokens = encoder.encode(
            [shown], role=role, outputs=[Output.TOKEN_EMBEDDINGS]
        ).token_embeddings
        assert tokens is not None
        states[window] = tokens[0]
    rows = []
    for number, ((begin, end), window) in enumerate(zip(spans, places, strict=True)):
        if not _holds(window, (begin, end)):
            raise TextError(
                f"part {number}, {text[begin:end][:40]!r}, is longer than what the model reads at "
                f"once, {tokenizer.max_text_tokens(role)} tokens; make it smaller"
            )
        shown = text[window.begin : window.end]
        inside = (begin - window.begin, end - window.begin)
        ((first, last),) = tokenizer.places(shown, [inside], role=role)
        last = min(last, len(states[window]))
        if first >= last:
            raise TextError(f"part {number}, {text[begin:end][:40]!r}, holds no token of the text")
        rows.append(_pooled(states[window][first:last], encoder.recipe.pooling))
    found = np.stack(rows) if rows else np.zeros((0, encoder.dim), np.float32)
    if encoder.recipe.dim is not None:
        found = found[:, : encoder.recipe.dim]
    if encoder.recipe.normalize and len(found):
        found = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    return np.asarray(found, np.float32)


@dataclass(frozen=True, slots=True)
class _Window:
    """Characters that are read together."""

    begin: int
    end: int


def _check(encoder: Encoder, text: str, spans: Sequence[Place]) -> None:
    if hindrance := _hindrance(encoder.recipe):
        raise RecipeError(hindrance)
    for number, (begin, end) in enumerate(spans):
        if not 0 <= begin < end <= len(text):
            raise TextError(
                f"part {number} is characters {begin} to {end} of a text of {len(text)}; parts "
                "begin inside the text, and hold a character at least"
            )


def _hindrance(recipe: Recipe) -> str:
    """Return why a recipe has no vectors for parts of a text; an empty string if it has."""
    if not recipe.token_embeddings:
        return (
            f"{recipe.base} gives no token embeddings: its recipe has token_embeddings=False. "
            "Export it with token_embeddings=True (--token-embeddings)"
        )
    if recipe.late_interaction is not None:
        return (
            f"the token embeddings of {recipe.base} are projected for late interaction, and no "
            "average of them is a vector of its texts"
        )
    if recipe.head:
        return f"{recipe.base} has a head after pooling, which parts of a text do not pass through"
    if recipe.appended is not None:
        return f"{recipe.base} reads its vectors from appended tokens, which belong to no part"
    if recipe.text_format is not TextFormat.VERBATIM:
        return f"parts are places in a text as it is, and the recipe of {recipe.base} rewords texts"
    return ""


def _windows(tokenizer: TextTokenizer, text: str, role: Role) -> list[_Window]:
    """Cut a text into windows that fit the model and overlap by a quarter."""
    room = tokenizer.max_text_tokens(role)
    offsets = tokenizer.bare.encode(text, add_special_tokens=False).offsets
    if len(offsets) <= room:
        return [_Window(0, len(text))]
    step = max(1, int(room * (1 - _OVERLAP)))
    starts = list(range(0, len(offsets) - room + step, step))
    # Each window is shortened until it fits: its tokens are not always those of the whole text.
    cuts = [_cut(offsets, start, room, len(text)) for start in starts]
    return [_fitting(tokenizer, text, window, room) for window in cuts]


def _cut(offsets: Sequence[Place], start: int, room: int, length: int) -> _Window:
    begin = 0 if start == 0 else offsets[start][0]
    last = start + room
    return _Window(begin, length if last >= len(offsets) else offsets[last][0])


def _fitting(tokenizer: TextTokenizer, text: str, window: _Window, room: int) -> _Window:
    while True:
        shown = text[window.begin : window.end]
        offsets = tokenizer.bare.encode(shown, add_special_tokens=False).offsets
        if len(offsets) <= room:
            return window
        window = _Window(window.begin, window.begin + offsets[room][0])


def _holds(window: _Window, span: Place) -> bool:
    return window.begin <= span[0] and span[1] <= window.end


def _around(tokenizer: TextTokenizer, text: str, span: Place, role: Role) -> _Window:
    """Return a window with a part in its middle; it is cut short if the part alone is too long."""
    room = tokenizer.max_text_tokens(role)
    offsets = tokenizer.bare.encode(text, add_special_tokens=False).offsets
    held = [i for i, (begin, end) in enumerate(offsets) if begin < span[1] and end > span[0]]
    own = len(held)
    # The tokens of a window are not always those of the whole text, so it shrinks until it fits.
    for more in range(room - own, -1, -1) if held else ():
        first = min(max(held[0] - more // 2, 0), max(len(offsets) - own - more, 0))
        cut = _cut(offsets, first, own + more, len(text))
        window = _Window(min(cut.begin, span[0]), max(cut.end, span[1]))
        shown = text[window.begin : window.end]
        if len(tokenizer.bare.encode(shown, add_special_tokens=False).offsets) <= room:
            return window
    return _fitting(tokenizer, text, _Window(*span), room)


def _choose(windows: Sequence[_Window], spans: Sequence[Place]) -> list[_Window]:
    """Return the window for each part: the one with most context on the part's poorer side."""

    def context(window: _Window, span: Place) -> tuple[int, int]:
        begin, end = span
        held = min(end, window.end) - max(begin, window.begin)
        return held, min(begin - window.begin, window.end - end)

    return [max(windows, key=lambda window: context(window, span)) for span in spans]


def _pooled(states: NDArray[np.float32], pooling: Pooling) -> NDArray[np.float32]:
    """Pool states (T, d), all of which count, as ``pytorch/pooling.py`` does."""
    count = len(states)
    match pooling:
        case Pooling.MEAN:
            return np.asarray(states.mean(axis=0), np.float32)
        case Pooling.MEAN_SQRT:
            return np.asarray(states.sum(axis=0) / np.sqrt(count), np.float32)
        case Pooling.WEIGHTED_MEAN:
            ranks = np.arange(1, count + 1, dtype=np.float32)
            return np.asarray(ranks @ states / ranks.sum(), np.float32)
        case Pooling.MAX:
            return np.asarray(states.max(axis=0), np.float32)
        case Pooling.LAST:
            return np.asarray(states[-1], np.float32)
        case Pooling.FIRST:
            return np.asarray(states[0], np.float32)
        case _:
            assert_never(pooling)
