"""Cut documents into chunks that an encoder can take whole.

Sizes are counted in the encoder's own tokens. A chunk is a slice of the document, to the letter:
only white space at its ends is left between two chunks. The cutting itself is done by
semantic-text-splitter, which prefers the ends of paragraphs, then of sentences, then of words; in
Markdown the ends of sections come first, so that a heading stays with the text below it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import PurePosixPath
from typing import assert_never

from semantic_text_splitter import MarkdownSplitter, TextSplitter

from decant.embedders import Encoder, Role, TextError

from .converting import CONVERTED

# As GitHub's Linguist names them, and what is converted to Markdown: everything but PDF, of which
# only lines of text come.
_MARKDOWN = frozenset(
    {".md", ".markdown", ".mdown", ".mdwn", ".mkd", ".mkdn", ".mkdown", ".mdx", ".qmd", ".rmd"}
)
_CONVERTED_TO_MARKDOWN = CONVERTED - {".pdf"}


# A list or quote that is never closed makes the Markdown splitter look through the whole rest at
# each chunk: 7 MB of RFCs took 386 s at once and 21 s in parts.
_PART = 100_000
_PART_ENDS = ("\n# ", "\n## ", "\n#", "\n\n", "\n")


class Syntax(StrEnum):
    """How a text is written, which decides where it is best cut."""

    PLAIN = "plain"
    MARKDOWN = "markdown"


def syntax_of(source: str) -> Syntax:
    """Return how a document is written, which its name alone decides.

    >>> syntax_of("notes/README.md"), syntax_of("slides.pptx"), syntax_of("notes/readme.txt")
    (<Syntax.MARKDOWN: 'markdown'>, <Syntax.MARKDOWN: 'markdown'>, <Syntax.PLAIN: 'plain'>)
    """
    suffix = PurePosixPath(source).suffix.lower()
    return Syntax.MARKDOWN if suffix in _MARKDOWN | _CONVERTED_TO_MARKDOWN else Syntax.PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunking:
    """How documents are cut.

    Args:
        max_tokens: The longest chunk, in tokens of text; less where the encoder has less room.
        overlap: Tokens of the end of a chunk that the next one may start with.

    Raises:
        TextError: A number is out of range.
    """

    max_tokens: int = 256
    overlap: int = 0

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise TextError(f"a chunk has at least 1 token, got max_tokens={self.max_tokens}")
        if not 0 <= self.overlap < self.max_tokens:
            raise TextError(
                f"overlap must be from 0 to max_tokens - 1 = {self.max_tokens - 1}, "
                f"got {self.overlap}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A slice of a document: ``text == document[start : start + len(text)]``."""

    start: int
    text: str


class Chunker:
    """Cuts documents for one encoder.

    Args:
        encoder: Whose tokens count, and whose room for a passage is the upper limit.
        chunking: How to cut.

    Raises:
        TextError: The overlap does not fit into the encoder's room.
    """

    def __init__(self, encoder: Encoder, chunking: Chunking) -> None:
        room = encoder.room(Role.PASSAGE)
        self.max_tokens = min(chunking.max_tokens, room)
        self.overlap = chunking.overlap
        if self.overlap >= self.max_tokens:
            raise TextError(
                f"chunks cannot overlap by {self.overlap} tokens: {encoder.recipe.base} has room "
                f"for {room}; choose a smaller overlap"
            )
        self._tokenizer = encoder.tokenizer

    def cut(self, text: str, syntax: Syntax = Syntax.PLAIN) -> list[Chunk]:
        """Return the chunks of a text in order; white space alone gives none.

        The first line of a chunk of Markdown keeps its indentation, which says how deep in a list
        or in code it is.
        """
        match syntax:
            case Syntax.PLAIN:
                pieces = self._plain.chunk_indices(text)
            case Syntax.MARKDOWN:
                pieces = [
                    (start + at, piece)
                    for start, part in _parts(text)
                    for at, piece in self._markdown.chunk_indices(part)
                ]
            case _:
                assert_never(syntax)
        return [Chunk(start=start, text=piece) for start, piece in pieces if piece.strip()]

    @cached_property
    def _plain(self) -> TextSplitter:
        return TextSplitter.from_huggingface_tokenizer(
            self._tokenizer, self.max_tokens, self.overlap
        )

    @cached_property
    def _markdown(self) -> MarkdownSplitter:
        return MarkdownSplitter.from_huggingface_tokenizer(
            self._tokenizer, self.max_tokens, self.overlap
        )


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """Yield parts of a long text of Markdown with their places, cut before a heading if possible.

    Chunks do not reach over the end of a part; a text of one line without end is one part.
    """
    start = 0
    while len(text) - start > _PART:
        middle, end = start + _PART // 2, start + _PART
        at = next((found for mark in _PART_ENDS if (found := text.rfind(mark, middle, end)) > 0), 0)
        if not at:
            break
        yield start, text[start : at + 1]
        start = at + 1
    yield start, text[start:]
