"""Check texts and cut streams into blocks, before any tokenising.

Texts are never altered here or anywhere else: no stripping, no replaced newlines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from .errors import TextError

T = TypeVar("T")


def checked(texts: Iterable[str]) -> Iterator[str]:
    """Yield the texts as they are.

    Raises:
        TextError: A text is empty or not a string (the message holds its index), or ``texts`` is
            itself one string.
    """
    if isinstance(texts, str):
        raise TextError("expected several texts, got one string; put it in a list: [text]")
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


def blocks(items: Iterable[T], size: int, *, first: int | None = None) -> Iterator[list[T]]:
    """Cut ``items`` into lists of ``size``; the last may be shorter.

    With ``first``, sizes begin there and double until they reach ``size``.
    """
    iterator = iter(items)
    wanted = size if first is None else first
    while block := list(islice(iterator, wanted)):
        yield block
        wanted = min(size, 2 * wanted)
