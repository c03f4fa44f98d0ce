"""Check texts and cut streams into blocks, before any tokenising.

Texts are never altered here or anywhere else: no stripping, no replaced newlines.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterable, Iterator, KeysView, Mapping, Set
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from ..errors import TextError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Controls, formats, separators, and combining marks without a base; not lone surrogates, which are
# no text. U+FFFD replaces bytes that could not be read, and BERT's normalizer drops it too.
_UNSEEN = frozenset({"Cc", "Cf", "Cn", "Co", "Zl", "Zp", "Zs", "Mc", "Me", "Mn"})
_REPLACEMENT = "\ufffd"

T = TypeVar("T")


def checked(texts: Iterable[str]) -> Iterator[str]:
    """Yield the texts as they are.

    Raises:
        TextError: A text is empty or not a string (the message holds its index), or ``texts`` gives
            no texts in an order: it is one string, bytes, a mapping (whose keys would be embedded),
            a set, a table, an open file, or not iterable.
    """
    if refusal := _refusal(texts):
        raise TextError(f"expected several texts, got {refusal}")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TextError(f"text {index} is a {type(text).__name__}, not a string")
        if not text:
            raise TextError(f"text {index} is empty; an empty text has no vector, leave it out")
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise TextError(
                    f"text {index} is not valid Unicode: a lone surrogate at position "
                    f"{error.start}; decode the bytes it came from again"
                ) from error
        yield text


def _refusal(texts: object) -> str | None:
    """Return what ``texts`` is instead of texts, with advice; None if it may be texts."""
    kind = type(texts).__name__
    match texts:
        case str():
            return "one string; put it in a list: [text]"
        case bytes() | bytearray() | memoryview():
            return f"{kind}; decode them and put the text in a list: [data.decode()]"
        case Mapping():
            return f"a {kind}, whose keys would be embedded; pass its values: list(texts.values())"
        case Set() if not isinstance(texts, KeysView):  # a dict's keys have an order
            return f"a {kind}, which has no order of its rows; pass a list: sorted(texts)"
        case io.IOBase():
            return "an open file, whose lines end in line breaks; pass file.read().splitlines()"
    if getattr(texts, "ndim", 1) != 1:  # iterating a table of pandas gives the columns' names
        return f"a {kind} of {getattr(texts, 'ndim', None)} dimensions; pass one column of it"
    if not isinstance(texts, Iterable) and not hasattr(texts, "__getitem__"):
        return f"{kind}; put texts in a list: [text, …]"
    return None


def is_unseen(text: str) -> bool:
    """Return whether a text holds only invisible characters, white space included."""
    return all(one == _REPLACEMENT or unicodedata.category(one) in _UNSEEN for one in text)


def is_blank(text: str, tokenizer: Tokenizer) -> bool:
    """Return whether a text holds nothing to embed.

    That is white space, and other invisible characters if the tokenizer drops them: BERT's
    normalizer drops a zero-width space, while for other tokenizers it is a token.
    """
    if not is_unseen(text):
        return False
    return not text.strip() or not tokenizer.encode(text, add_special_tokens=False).ids


def blocks(items: Iterable[T], size: int, *, first: int | None = None) -> Iterator[list[T]]:
    """Cut ``items`` into lists of ``size``; the last may be shorter.

    With ``first``, the first list has that size, and sizes double until they reach ``size``.
    """
    iterator = iter(items)
    wanted = size if first is None else first
    while block := list(islice(iterator, wanted)):
        yield block
        wanted = min(size, 2 * wanted)
