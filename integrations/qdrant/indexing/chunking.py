"""Cut documents into chunks that an encoder can read whole.

Sizes are counted in the encoder's own tokens; without its tokenizer (:class:`ServerInference`), in
characters, four for each token. A chunk is an exact slice of the document. Only white
space between chunks is left out, and embedded files in base64 (``data:image/png;base64,…``), which
are no text. The package semantic-text-splitter cuts; it prefers the ends of paragraphs, then of
sentences, then of words. In Markdown the ends of sections come first, so that a heading stays with
the text below it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from pathlib import PurePosixPath
from typing import TypeAlias, assert_never

from semantic_text_splitter import MarkdownSplitter, TextSplitter
from tokenizers import Encoding, Tokenizer

from decant.embedders import Encoder, Role, TextError

from ..inference.server_encoder import ServerEncoder, is_blank_for
from .file_formats import CONVERTED
from .token_counts import AHEAD, TokenCounts, reads_words_alone

# The suffixes of Markdown in GitHub's Linguist, and the formats that are converted to Markdown; a
# converted PDF is plain lines of text.
_MARKDOWN = frozenset(
    {".md", ".markdown", ".mdown", ".mdwn", ".mkd", ".mkdn", ".mkdown", ".mdx", ".qmd", ".rmd"}
)
_CONVERTED_TO_MARKDOWN = CONVERTED - {".pdf"}


# In a list or quote that never ends, the Markdown splitter scans the whole rest for each chunk: 7
# MB of RFCs took 386 s at once and 21 s in parts.
_PART = 100_000
_PART_ENDS = ("\n# ", "\n## ", "\n#", "\n\n", "\n")


# Shorter data stay in the text: an icon makes a chunk or two. The pattern includes the brackets and
# quotes around the data, which would else be chunks without a word.
_BASE64 = ";base64,"
_DATA_URI = re.compile(
    r"""(?:!\[\]\()?data:(?:[\w.+-]+/[\w.+-]+)?(?:;[\w.+=-]+)*;base64,[\w+/=%-]{1024,}[)"'>\]]*""",
    re.ASCII,
)
# English has 4 to 5 characters a token; tables padded with blanks, which make no tokens, some 40.
_CHARACTERS_PER_TOKEN = 64
_LEAST_CHARACTERS = 1_024
# Unicode's, which the splitter strips; str.strip() takes the separators U+001C to U+001F, too.
_WHITE_SPACE = "".join(
    chr(code)
    for part in ((9, 14), (32, 33), (0x85, 0x86), (0xA0, 0xA1), (0x1680, 0x1681), (0x2000, 0x200B),
                 (0x2028, 0x202A), (0x202F, 0x2030), (0x205F, 0x2060), (0x3000, 0x3001))
    for code in range(*part)
)  # fmt: skip
_CHARACTERS_WITHOUT_TOKENIZER = 4  # for each token: few enough for English


_Splitter: TypeAlias = TextSplitter | MarkdownSplitter


class Syntax(StrEnum):
    """The syntax of a text, which decides where it is best cut."""

    PLAIN = "plain"
    MARKDOWN = "markdown"


@lru_cache(maxsize=1_024)  # asked twice for each document of a group
def syntax_of(source: str) -> Syntax:
    """Return a document's syntax, by the suffix of its name alone.

    >>> syntax_of("notes/README.md"), syntax_of("slides.pptx"), syntax_of("notes/readme.txt")
    (<Syntax.MARKDOWN: 'markdown'>, <Syntax.MARKDOWN: 'markdown'>, <Syntax.PLAIN: 'plain'>)
    """
    suffix = PurePosixPath(source).suffix.lower()
    return Syntax.MARKDOWN if suffix in _MARKDOWN | _CONVERTED_TO_MARKDOWN else Syntax.PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunking:
    """How documents are cut.

    Args:
        max_tokens: The longest chunk, in tokens of text; the encoder's limit applies, too.
        overlap: How many tokens from the end of a chunk the next chunk may repeat.
        max_characters: The longest chunk, in characters, for texts with very long tokens: for some
            tokenizers a word of any length is one unknown token. By default 64 for each
            token, and 1,024 at least, which ordinary text never reaches. Chunks that are cut by it
            do not overlap. Without a tokenizer (:class:`ServerInference`) this alone counts, by
            default 4 for each token, and chunks overlap by 4 for each token of ``overlap``.

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
        encoder: Its tokens are counted, and its longest passage is the upper limit.
        chunking: The sizes.

    Raises:
        TextError: The overlap is as long as the encoder's longest passage, or longer.
    """

    def __init__(self, encoder: Encoder, chunking: Chunking) -> None:
        room = encoder.max_text_tokens(Role.PASSAGE)
        self.max_tokens = min(chunking.max_tokens, room)
        self.overlap = chunking.overlap
        self.counts_tokens = not isinstance(encoder, ServerEncoder) or encoder.has_tokenizer
        most = max(_LEAST_CHARACTERS, _CHARACTERS_PER_TOKEN * self.max_tokens)
        if not self.counts_tokens:
            most = _CHARACTERS_WITHOUT_TOKENIZER * self.max_tokens
        self.max_characters = chunking.max_characters or most
        if self.overlap >= self.max_tokens:
            raise TextError(
                f"chunks cannot overlap by {self.overlap} tokens: {encoder.recipe.base} takes at "
                f"most {room}; choose a smaller overlap"
            )
        if not self.counts_tokens and self._overlapping >= self.max_characters:
            raise TextError(
                f"chunks of {self.max_characters} characters cannot overlap by "
                f"{self._overlapping}, four for each token of the overlap {self.overlap}; "
                "choose a smaller overlap, or give ServerInference the tokenizer"
            )
        self._encoder = encoder
        self._tokenizer = encoder.tokenizer if self.counts_tokens else None
        self._counted: Tokenizer | None = None
        if self._tokenizer is not None and reads_words_alone(self._tokenizer):
            self._counted = self._tokenizer
        self._ahead: dict[str, Encoding] = {}

    def read_ahead(self, texts: Sequence[str]) -> None:
        """Tokenise texts that are going to be cut, together: on every core, without Python's lock.

        Long ones are left out, for they keep a core busy alone, and their tokens take much memory.
        """
        if self._counted is None:
            return
        short = [text for text in texts if len(text) <= AHEAD]
        found = self._counted.encode_batch(short, add_special_tokens=False)
        self._ahead = dict(zip(short, found, strict=True))

    @property
    def _overlapping(self) -> int:
        return _CHARACTERS_WITHOUT_TOKENIZER * self.overlap

    def cut(self, text: str, syntax: Syntax = Syntax.PLAIN) -> list[Chunk]:
        """Return the chunks of a text in order; blank parts give none.

        The first line of a chunk of Markdown keeps its indentation, which says how deep in a list
        or in code it is.
        """
        return [
            Chunk(start=start + at, text=piece)
            for start, part in without_data(text)
            for at, piece in self._pieces(part, syntax)
            if not is_blank_for(self._encoder, piece)
        ]

    def _pieces(self, text: str, syntax: Syntax) -> Iterator[tuple[int, str]]:
        for start, piece in self._by_tokens(text, syntax):
            if len(piece) <= self.max_characters:
                yield start, piece
                continue
            for at, part in _by_characters(piece, self.max_characters):
                # Cut again, because the end of a word that was one unknown token may be many
                # tokens.
                for inner, short in self._plain.chunk_indices(part):
                    yield start + at + inner, short

    def _by_tokens(self, text: str, syntax: Syntax) -> Iterator[tuple[int, str]]:
        match syntax:
            case Syntax.PLAIN:
                yield from self._split(text, TextSplitter)
            case Syntax.MARKDOWN:
                for start, part in _parts(text):
                    for at, piece in self._split(part, MarkdownSplitter):
                        yield start + at, piece
            case _:
                assert_never(syntax)

    def _split(self, text: str, splitter: type[_Splitter]) -> list[tuple[int, str]]:
        if self._counted is None:
            whole = self._plain if splitter is TextSplitter else self._markdown
            return whole.chunk_indices(text)
        counts = TokenCounts(self._counted, text, self._ahead.pop(text, None))
        if splitter is TextSplitter and counts.fit(self.max_tokens):
            # What fits is one chunk, without the white space around it.
            piece = text.strip(_WHITE_SPACE)
            return [(text.index(piece), piece)] if piece else []
        return splitter.from_callback(counts.of, self.max_tokens, self.overlap).chunk_indices(text)

    @cached_property
    def _plain(self) -> TextSplitter:
        if self._tokenizer is None:
            return TextSplitter(self.max_characters, self._overlapping)
        return TextSplitter.from_huggingface_tokenizer(
            self._tokenizer, self.max_tokens, self.overlap
        )

    @cached_property
    def _markdown(self) -> MarkdownSplitter:
        if self._tokenizer is None:
            return MarkdownSplitter(self.max_characters, self._overlapping)
        return MarkdownSplitter.from_huggingface_tokenizer(
            self._tokenizer, self.max_tokens, self.overlap
        )


def has_data(text: str) -> bool:
    """Return whether a text holds data in base64 that is left out of its chunks."""
    return _BASE64 in text and _DATA_URI.search(text) is not None


def without_data(text: str) -> Iterator[tuple[int, str]]:
    """Yield the parts of a text without its base64 data, with their places."""
    start = 0
    if _BASE64 in text:
        for found in _DATA_URI.finditer(text):
            yield start, text[start : found.start()]
            start = found.end()
    yield start, text[start:]


def _by_characters(text: str, most: int) -> Iterator[tuple[int, str]]:
    """Yield pieces of at most so many characters, cut behind white space if there is any."""
    start = 0
    while len(text) - start > most:
        middle, end = start + most // 2, start + most
        cut = max(text.rfind(mark, middle, end) + 1 for mark in ("\n", " ")) or end
        yield start, text[start:cut]
        start = cut
    yield start, text[start:]


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """Yield parts of a long text of Markdown with their places, cut before a heading if possible.

    Chunks do not reach over the end of a part; a text of one very long line is one part.
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
