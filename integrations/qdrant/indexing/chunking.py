"""Cut documents into chunks that an encoder can take whole.

Sizes are counted in the encoder's own tokens. A chunk is a slice of the document, to the letter:
only white space at its ends is left between two chunks, and what base64 stands in the text for a
picture or another file (``data:image/png;base64,…``), which is no text. The cutting itself is done
by semantic-text-splitter, which prefers the ends of paragraphs, then of sentences, then of words;
in Markdown the ends of sections come first, so that a heading stays with the text below it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import PurePosixPath
from typing import assert_never

from semantic_text_splitter import MarkdownSplitter, TextSplitter

from decant.embedders import Encoder, Role, TextError
from decant.embedders.tokens import is_blank

from .file_formats import CONVERTED

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


# Shorter data are left where they are: an icon makes a chunk or two. What opens an image without a
# name, and what closes one or a quoted address, would be chunks without a word.
_BASE64 = ";base64,"
_DATA_URI = re.compile(
    r"""(?:!\[\]\()?data:(?:[\w.+-]+/[\w.+-]+)?(?:;[\w.+=-]+)*;base64,[\w+/=%-]{1024,}[)"'>\]]*""",
    re.ASCII,
)
# English has 4 to 5 characters a token; tables padded with blanks, which are no tokens, some 40.
_CHARACTERS_PER_TOKEN = 64
_LEAST_CHARACTERS = 1_024


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
        max_characters: The longest chunk, in characters, for texts of which many are one token:
            some tokenizers take a word of any length for one unknown token. By default 64 for each
            token, and 1,024 at least, which ordinary text never reaches. Chunks that are cut by it
            do not overlap.

    Raises:
        TextError: A number is out of range.
    """

    max_tokens: int = 256
    overlap: int = 0
    max_characters: int | None = None

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise TextError(f"a chunk has at least 1 token, got max_tokens={self.max_tokens}")
        if not 0 <= self.overlap < self.max_tokens:
            raise TextError(
                f"overlap must be from 0 to max_tokens - 1 = {self.max_tokens - 1}, "
                f"got {self.overlap}"
            )
        if self.max_characters is not None and self.max_characters < 1:
            raise TextError(
                f"a chunk has at least 1 character, got max_characters={self.max_characters}"
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
        room = encoder.max_text_tokens(Role.PASSAGE)
        self.max_tokens = min(chunking.max_tokens, room)
        self.overlap = chunking.overlap
        self.max_characters = chunking.max_characters or max(
            _LEAST_CHARACTERS, _CHARACTERS_PER_TOKEN * self.max_tokens
        )
        if self.overlap >= self.max_tokens:
            raise TextError(
                f"chunks cannot overlap by {self.overlap} tokens: {encoder.recipe.base} has room "
                f"for {room}; choose a smaller overlap"
            )
        self._tokenizer = encoder.tokenizer

    def cut(self, text: str, syntax: Syntax = Syntax.PLAIN) -> list[Chunk]:
        """Return the chunks of a text in order; what is blank gives none.

        The first line of a chunk of Markdown keeps its indentation, which says how deep in a list
        or in code it is.
        """
        return [
            Chunk(start=start + at, text=piece)
            for start, part in without_data(text)
            for at, piece in self._pieces(part, syntax)
            if not is_blank(piece, self._tokenizer)
        ]

    def _pieces(self, text: str, syntax: Syntax) -> Iterator[tuple[int, str]]:
        for start, piece in self._by_tokens(text, syntax):
            if len(piece) <= self.max_characters:
                yield start, piece
                continue
            for at, part in _by_characters(piece, self.max_characters):
                # Again, because the end of a word that was one unknown token may be many.
                for inner, short in self._plain.chunk_indices(part):
                    yield start + at + inner, short

    def _by_tokens(self, text: str, syntax: Syntax) -> Iterator[tuple[int, str]]:
        match syntax:
            case Syntax.PLAIN:
                yield from self._plain.chunk_indices(text)
            case Syntax.MARKDOWN:
                for start, part in _parts(text):
                    for at, piece in self._markdown.chunk_indices(part):
                        yield start + at, piece
            case _:
                assert_never(syntax)

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


def has_data(text: str) -> bool:
    """Return whether a text holds data in base64 that is left out of its chunks."""
    return _BASE64 in text and _DATA_URI.search(text) is not None


def without_data(text: str) -> Iterator[tuple[int, str]]:
    """Yield what stands around data in base64, with its places; all of a text without."""
    start = 0
    if _BASE64 in text:
        for found in _DATA_URI.finditer(text):
            yield start, text[start : found.start()]
            start = found.end()
    yield start, text[start:]


def _by_characters(text: str, most: int) -> Iterator[tuple[int, str]]:
    """Yield pieces of at most so many characters, cut behind white space where there is some."""
    start = 0
    while len(text) - start > most:
        middle, end = start + most // 2, start + most
        cut = max(text.rfind(mark, middle, end) + 1 for mark in ("\n", " ")) or end
        yield start, text[start:cut]
        start = cut
    yield start, text[start:]


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
