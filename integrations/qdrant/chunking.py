"""Cut documents into chunks that an encoder can take whole.

Sizes are counted in the encoder's own tokens. A chunk is a slice of the document, to the letter:
only white space at its ends is left between two chunks. The cutting itself is done by
semantic-text-splitter, which prefers the ends of paragraphs, then of sentences, then of words.
"""

from __future__ import annotations

from dataclasses import dataclass

from semantic_text_splitter import TextSplitter

from decant.embedders import Encoder, Role, TextError


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
        self._splitter = TextSplitter.from_huggingface_tokenizer(
            encoder.tokenizer, self.max_tokens, self.overlap
        )

    def cut(self, text: str) -> list[Chunk]:
        """Return the chunks of a text in order; white space alone gives none."""
        pieces = self._splitter.chunk_indices(text)
        return [Chunk(start=start, text=piece) for start, piece in pieces]
