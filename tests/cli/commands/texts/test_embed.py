"""``decant embed``: any number of texts, to the letter, whole files or none."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from command_line import Decant
from decant.cli.commands.texts.vector_files import JsonlWriter, NpyWriter
from decant.cli.exit_codes import Exit
from decant.cli.input.text_lines import Line, read_lines
from decant.embedders import Role, TextError, load

TEXTS = ["hello world", "  spaced  ", "naïve café", "who approves a PEP?"]
LINES = "\n".join(TEXTS) + "\n"
# What one line can hold: no line end, nothing that reading would take for one or for a mark.
line_texts = st.lists(
    st.text(st.characters(exclude_characters="\n\r\ufeff", exclude_categories=["Cs"]), min_size=1)
)


@pytest.fixture
def expected(tiny_bundle: Path) -> NDArray[np.float32]:
    """Return the vectors of ``TEXTS`` as passages."""
    with load(tiny_bundle) as encoder:
        return encoder.encode(TEXTS, role=Role.PASSAGE).dense


def test_a_npy_file_holds_one_row_a_line(
    decant: Decant, tiny_bundle: Path, tmp_path: Path, expected: NDArray[np.float32]
) -> None:
    (tmp_path / "texts.txt").write_text(LINES, encoding="utf-8")
    ran = decant("embed", tiny_bundle, "texts.txt", "--role", "passage", "-o", "vectors.npy")
    assert ran.code == Exit.OK
    assert ran.out == ""
    assert "4 texts, 32 wide" in ran.err
    vectors = np.load(tmp_path / "vectors.npy")
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, expected)


def test_standard_input_gives_json_lines_on_standard_output(
    decant: Decant, tiny_bundle: Path, expected: NDArray[np.float32]
) -> None:
    ran = decant("embed", tiny_bundle, "--role", "passage", typed=LINES)
    assert ran.code == Exit.OK
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert [row["text"] for row in rows] == TEXTS
    np.testing.assert_array_equal(np.array([row["embedding"] for row in rows], "<f4"), expected)


def test_the_role_selects_the_prompt(decant: Decant, tiny_bundle: Path) -> None:
    outs = {decant("embed", tiny_bundle, "--role", role, typed="a\n").out for role in Role}
    assert len(outs) == len(Role)


def test_the_role_has_no_default(decant: Decant, tiny_bundle: Path) -> None:
    ran = decant("embed", tiny_bundle, typed="a\n")
    assert ran.code == Exit.INPUT
    assert "--role" in ran.err


def test_json_lines_keep_their_other_fields(
    decant: Decant, tiny_bundle: Path, tmp_path: Path
) -> None:
    typed = '{"id": 7, "text": "hello"}\n{"text": "world", "tags": ["x"]}\n'
    ran = decant("embed", tiny_bundle, "--jsonl", "--role", "query", "-o", "out.jsonl", typed=typed)
    assert ran.code == Exit.OK
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [set(row) for row in rows] == [
        {"id", "text", "embedding"},
        {"text", "tags", "embedding"},
    ]


def test_no_text_gives_an_empty_array(decant: Decant, tiny_bundle: Path, tmp_path: Path) -> None:
    assert decant("embed", tiny_bundle, "--role", "query", "-o", "v.npy").code == Exit.OK
    assert np.load(tmp_path / "v.npy").shape == (0, 32)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (b"a\n\nb\n", "line 2 is empty"),
        (b"a\nb\xff\n", "line 2 is not UTF-8: byte 0xff at position 1"),
    ],
)
def test_a_bad_line_is_named_and_no_file_appears(
    decant: Decant, tiny_bundle: Path, tmp_path: Path, typed: bytes, said: str
) -> None:
    ran = decant("embed", tiny_bundle, "--role", "query", "-o", "v.npy", typed=typed)
    assert ran.code == Exit.INPUT
    assert said in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "line 1 is not JSON"),
        ('["text"]', 'no JSON object with a string "text"'),
        ('{"text": 3}', 'no JSON object with a string "text"'),
        ('{"text": "\\ud800"}', "lone surrogate"),
        ('{"text": ""}', "line 1 is empty"),
    ],
)
def test_a_bad_json_line_is_named(line: str, said: str) -> None:
    with pytest.raises(TextError, match=said):
        list(read_lines(io.BytesIO(line.encode()), jsonl=True, skip_empty=False))


def test_empty_lines_are_passed_over_on_request() -> None:
    stream = io.BytesIO(b'\n{"text": ""}\n{"text": "a"}\n')
    (line,) = read_lines(stream, jsonl=True, skip_empty=True)
    assert line.text == "a"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.txt"], "nothing.txt does not exist"),
        (["-o", "vectors.txt"], "must end with .npy"),
        (["-o", "nowhere/vectors.npy"], "folder of nowhere/vectors.npy does not"),
    ],
)
def test_what_cannot_work_is_refused_before_the_model_loads(
    decant: Decant, arguments: list[str], said: str
) -> None:
    ran = decant("embed", "no-bundle-here", *arguments, "--role", "query")
    assert ran.code == Exit.INPUT
    assert said in ran.err


@given(line_texts, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_lines_come_back_to_the_letter(texts: list[str], end: str, marked: bool) -> None:
    data = end.join([*texts, ""]).encode("utf-8-sig" if marked else "utf-8")
    lines = read_lines(io.BytesIO(data), jsonl=False, skip_empty=False)
    assert [line.text for line in lines] == texts


def test_lines_are_read_one_by_one() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"again\n"

    class Endless(io.BytesIO):
        def __iter__(self) -> Iterator[bytes]:
            return endless()

    lines = read_lines(Endless(), jsonl=False, skip_empty=False)
    assert [next(lines).text for _ in range(3)] == ["again"] * 3


@given(st.lists(st.integers(0, 5), max_size=4), st.integers(1, 3))
def test_blocks_make_the_same_npy_file_as_the_whole(sizes: list[int], dim: int) -> None:
    blocks = [np.arange(size * dim, dtype=np.float32).reshape(size, dim) for size in sizes]
    stream = io.BytesIO()
    writer = NpyWriter(stream, dim)
    for block in blocks:
        writer.write([Line(text="x", fields={})] * len(block), block)
    writer.finish()
    stream.seek(0)
    whole = np.concatenate([np.zeros((0, dim), np.float32), *blocks])
    np.testing.assert_array_equal(np.load(stream), whole)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_json_holds_every_float32_exactly(number: float) -> None:
    stream = io.BytesIO()
    JsonlWriter(stream).write([Line(text="x", fields={})], np.array([[number]], np.float32))
    (read,) = json.loads(stream.getvalue())["embedding"]
    assert np.float32(read) == np.float32(number)
