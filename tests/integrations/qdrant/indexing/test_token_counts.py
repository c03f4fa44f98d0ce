"""Counts of slices are the tokenizer's own, and cutting with them tokenises a document once."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given
from semantic_text_splitter import MarkdownSplitter, TextSplitter
from tokenizers import Encoding, Tokenizer
from tokenizers.models import BPE, WordLevel, WordPiece
from tokenizers.normalizers import BertNormalizer, Replace
from tokenizers.pre_tokenizers import BertPreTokenizer, ByteLevel, Metaspace

from decant.embedders import HashEncoder
from decant.integrations.qdrant import Chunking
from decant.integrations.qdrant.indexing import token_counts
from decant.integrations.qdrant.indexing.chunking import Chunker, Syntax
from decant.integrations.qdrant.indexing.token_counts import TokenCounts, reads_words_alone

PARTS = [
    "one", "two ", "unaffable", " ", "  ", "\n", "\n\n", "\t", "\r\n", ". ", ",", "don't",
    "[SEP]", "[", "# One\n", "- item\n", "Ünï", "e\u0301", "\u0301", "ΣΑΣ", "İ", "ß", "日本",
    "ไทย", "한국", "\u00ad", "\u200b", "\x00", "\ufffd", "\x1c", "\x85", "\xa0", "\u3000",
    "😀", "👩\u200d👧", "ﬁ", "123", "x" * 120,
]  # fmt: skip


def texts() -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(PARTS), max_size=40).map("".join)


def word_pieces() -> Tokenizer:
    letters = {letter for part in PARTS for letter in part.lower() if not letter.isspace()}
    pieces = ["[UNK]", "[SEP]", "un", "##aff", "##able", "one", "tw", *sorted(letters)]
    pieces += [f"##{letter}" for letter in sorted(letters)]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.add_special_tokens(["[SEP]"])
    return tokenizer


class Recorder:
    """A tokenizer that remembers what it was given."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.read: list[str] = []

    def encode(self, text: str, *, add_special_tokens: bool) -> Encoding:
        self.read.append(text)
        return self._tokenizer.encode(text, add_special_tokens=add_special_tokens)

    def encode_batch(self, texts: list[str], *, add_special_tokens: bool) -> list[Encoding]:
        self.read += texts
        return self._tokenizer.encode_batch(texts, add_special_tokens=add_special_tokens)

    def to_str(self) -> str:
        return self._tokenizer.to_str()


class Recording(HashEncoder):
    """An encoder whose tokenizer is a :class:`Recorder`."""

    def __init__(self) -> None:
        super().__init__(8)
        self.recorder = Recorder(HashEncoder.tokenizer.fget(self))  # type: ignore[attr-defined]

    @property
    def tokenizer(self) -> Tokenizer:
        return self.recorder  # type: ignore[return-value]


class WordPieces(HashEncoder):
    """An encoder that counts word pieces."""

    @property
    def tokenizer(self) -> Tokenizer:
        return word_pieces()


@given(texts(), st.integers(0, 200), st.integers(0, 200))
def test_the_count_of_any_slice_is_the_tokenizers(text: str, one: int, other: int) -> None:
    tokenizer = word_pieces()
    counts = TokenCounts(tokenizer, text)
    for piece in (text[min(one, other) : max(one, other)], text[:other], text):
        assert counts.of(piece) == len(tokenizer.encode(piece, add_special_tokens=False))


@given(texts(), st.integers(0, 60))
def test_a_text_fits_if_the_tokenizer_gives_no_more(text: str, most: int) -> None:
    tokenizer = word_pieces()
    expected = len(tokenizer.encode(text, add_special_tokens=False)) <= most
    assert TokenCounts(tokenizer, text).fit(most) is expected


@pytest.mark.parametrize("syntax", list(Syntax))
@given(text=texts(), most=st.integers(1, 20), overlap=st.integers(0, 19))
def test_chunks_are_those_of_the_splitter_with_the_tokenizer(
    syntax: Syntax, text: str, most: int, overlap: int
) -> None:
    overlap %= most
    encoder = WordPieces(8)
    splitter = MarkdownSplitter if syntax is Syntax.MARKDOWN else TextSplitter
    made = splitter.from_huggingface_tokenizer(encoder.tokenizer, most, overlap)
    expected = [found for found in made.chunk_indices(text) if encoder.tokenizer.encode(found[1])]
    chunker = Chunker(encoder, Chunking(max_tokens=most, overlap=overlap))
    found = [(chunk.start, chunk.text) for chunk in chunker.cut(text, syntax)]
    assert found == [it for it in expected if it[1].strip()]


def test_long_texts_are_tokenised_in_blocks_that_end_between_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(token_counts, "_BLOCK", 20)
    tokenizer = word_pieces()
    text = "one two unaffable, one " * 9 + "x" * 70 + "\none two"
    counts = TokenCounts(tokenizer, text)
    for start in range(0, len(text), 7):
        for end in range(start, len(text) + 1, 11):
            piece = text[start:end]
            assert counts.of(piece) == len(tokenizer.encode(piece, add_special_tokens=False))
    assert counts.fit(1_000)
    assert not counts.fit(20)


@pytest.mark.parametrize("words", [40, 4_000])
def test_a_document_is_tokenised_once_to_cut_it(words: int) -> None:
    encoder = Recording()
    text = "\n\n".join(f"The ferry {number} leaves at seven." for number in range(words // 6))
    chunks = Chunker(encoder, Chunking(max_tokens=64)).cut(text)
    assert len(chunks) > words // 65
    assert "".join(encoder.recorder.read) == text


def test_a_document_of_one_chunk_is_tokenised_once() -> None:
    encoder = Recording()
    (chunk,) = Chunker(encoder, Chunking()).cut("  The ferry leaves.\n")
    assert (chunk.start, chunk.text) == (2, "The ferry leaves.")
    assert encoder.recorder.read == ["  The ferry leaves.\n"]


@pytest.mark.parametrize("syntax", list(Syntax))
@given(st.lists(texts(), min_size=1, max_size=5))
def test_texts_that_were_read_together_are_cut_as_each_alone(
    syntax: Syntax, together: list[str]
) -> None:
    alone, ahead = (Chunker(WordPieces(8), Chunking(max_tokens=7)) for _ in range(2))
    ahead.read_ahead(together)
    for text in [*together, *together]:
        assert ahead.cut(text, syntax) == alone.cut(text, syntax)


def test_texts_that_were_read_together_are_not_tokenised_again() -> None:
    encoder = Recording()
    chunker = Chunker(encoder, Chunking(max_tokens=8))
    together = ["The ferry leaves.", "The ferry leaves at seven. " * 9, "word " * 2_000]
    chunker.read_ahead(together)
    assert encoder.recorder.read == together[:2]
    for text in together:
        chunker.cut(text)
    assert encoder.recorder.read == together


def test_other_tokenizers_are_left_to_the_splitter() -> None:
    assert reads_words_alone(word_pieces())
    assert reads_words_alone(HashEncoder(8).tokenizer)
    for model, before in (
        (BPE(), ByteLevel()),
        (WordLevel({"a": 0}, unk_token="a"), Metaspace()),
        (WordLevel({"a": 0}, unk_token="a"), None),
    ):
        tokenizer = Tokenizer(model)
        if before is not None:
            tokenizer.pre_tokenizer = before
        assert not reads_words_alone(tokenizer)
    for change in ("normalizer", "truncation", "padding"):
        tokenizer = word_pieces()
        match change:
            case "normalizer":
                tokenizer.normalizer = Replace("one two", "")
            case "truncation":
                tokenizer.enable_truncation(8)
            case _:
                tokenizer.enable_padding()
        assert not reads_words_alone(tokenizer)
