"""Count the tokens of any slice of a text from one tokenisation of the whole text.

A splitter asks for the size of some ten slices for each chunk, and to tokenise each of them took
four times as long as to tokenise the text. Tokenizers of BERT's kind cut a text at white space and
punctuation and look at each word alone, so the tokens of a slice that begins and ends between two
words are those that the whole text has there. Invariant: a count is always the tokenizer's own; a
slice that cuts a word is tokenised. Other tokenizers, whose tokens depend on what stands before
them, have no such counts.
"""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left

from tokenizers import Encoding, Tokenizer

# They change one character after the other, whatever stands around it.
_NORMALIZERS = frozenset({None, "BertNormalizer", "Lowercase"})
_PRE_TOKENIZERS = frozenset({"BertPreTokenizer", "Whitespace", "WhitespaceSplit"})
_MODELS = frozenset({"WordPiece", "WordLevel"})
AHEAD = 4_096  # characters; longer texts are tokenised one by one, when they are cut
_BLOCK = 65_536  # characters that are tokenised at once; lists of tokens take much memory


def reads_words_alone(tokenizer: Tokenizer) -> bool:
    """Return whether a tokenizer looks at each word of a text alone."""
    made = json.loads(tokenizer.to_str())
    # White space around an added token, or letters, may decide whether it is one.
    return (
        _type(made["normalizer"]) in _NORMALIZERS
        and _type(made["pre_tokenizer"]) in _PRE_TOKENIZERS
        and _type(made["model"]) in _MODELS
        and not any(
            added["lstrip"] or added["rstrip"] or added["single_word"]
            for added in made["added_tokens"]
        )
        and made["truncation"] is None
        and made["padding"] is None
    )


def _type(part: dict[str, object] | None) -> object:
    return None if part is None else part.get("type")


class TokenCounts:
    """The token counts of the slices of one text.

    Args:
        tokenizer: One that :func:`reads_words_alone`.
        text: The text.
        first: What the tokenizer makes of a text of at most ``AHEAD`` characters, if that is known.
    """

    def __init__(self, tokenizer: Tokenizer, text: str, first: Encoding | None = None) -> None:
        self._tokenizer = tokenizer
        self._text = text
        self._tokens = array("L")  # where tokens start, in order
        self._words = array("L")  # where words start, in order
        self._ends = array("L")  # where the same words end
        self._hint = 0
        self._read = _block_end(text, 0)
        self._first: Encoding | None = first
        if first is None:
            self._first = self._encode(text[: self._read])

    def fit(self, most: int) -> bool:
        """Return whether the whole text has at most so many tokens."""
        if self._first is not None and (len(self._first) > most or self._read == len(self._text)):
            return len(self._first) <= most
        self._finish()
        return len(self._tokens) <= most

    def of(self, piece: str) -> int:
        """Return the number of tokens of a slice of the text."""
        self._finish()
        # Equal slices have equal counts, so any place of the slice will do; the next one asked for
        # is mostly found where the last one was, or behind it.
        at = self._text.find(piece, self._hint)
        if at < 0:
            at = self._text.find(piece)
        if at >= 0:
            self._hint = at
            end = at + len(piece)
            if self._is_between_words(at) and self._is_between_words(end):
                return bisect_left(self._tokens, end) - bisect_left(self._tokens, at)
        return len(self._encode(piece))

    def _encode(self, text: str) -> Encoding:
        return self._tokenizer.encode(text, add_special_tokens=False)

    def _is_between_words(self, place: int) -> bool:
        before = bisect_left(self._words, place) - 1
        return before < 0 or self._ends[before] <= place

    def _finish(self) -> None:
        """Read the rest of the text, block by block."""
        if self._first is None:
            return
        self._keep(self._first, 0)
        self._first = None
        while self._read < len(self._text):
            start, self._read = self._read, _block_end(self._text, self._read)
            self._keep(self._encode(self._text[start : self._read]), start)

    def _keep(self, found: Encoding, start: int) -> None:
        last: int | None = None
        for (begin, end), word in zip(found.offsets, found.word_ids, strict=True):
            self._tokens.append(start + begin)
            if word is None or word != last:
                self._words.append(start + begin)
                self._ends.append(start + end)
            else:
                self._ends[-1] = start + end
            last = word


def _block_end(text: str, start: int) -> int:
    """Return where a block ends: behind white space, or with the text."""
    if len(text) - start <= _BLOCK:
        return len(text)
    end = start + _BLOCK
    cut = max(text.rfind(mark, start, end) for mark in ("\n", " ")) + 1
    if cut > start:
        return cut
    places = [at for mark in ("\n", " ") if (at := text.find(mark, end)) >= 0]
    return min(places) + 1 if places else len(text)
