"""``decant calibrate-vectors``, and vectors that are cut or quantised on the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.embedders import Role, load

TEXTS = [f"a text about the number {number} " * (1 + number % 3) for number in range(40)]
LINES = "\n".join([*TEXTS, ""])


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny bundle, beside a file of texts."""
    (tmp_path / "texts.txt").write_text(LINES, encoding="utf-8")
    return Path(shutil.copytree(tiny_bundle, tmp_path / "tiny"))


def test_vectors_come_in_bytes_after_a_calibration(
    decant: Decant, bundle: Path, tmp_path: Path
) -> None:
    asked = ("embed", bundle, "texts.txt", "--role", "passage", "-o", "codes.npy", "--quantize")
    refused = decant(*asked, "int8")
    assert refused.code == Exit.INPUT
    assert "decant calibrate-vectors" in refused.err
    assert not (tmp_path / "codes.npy").exists()
    ran = decant("calibrate-vectors", bundle, "--texts", "texts.txt")
    assert ran.code == Exit.OK
    assert "32 values, from 40 texts" in ran.err
    with load(bundle) as encoder:
        vectors = encoder.encode(TEXTS, role=Role.PASSAGE).dense
        for kind in ("int8", "uint8", "ubinary"):
            done = decant(*asked, kind)
            assert done.code == Exit.OK
            assert f"40 texts, 32 wide as {kind}" in done.err
            expected = encoder.quantizer(kind).quantize(vectors)
            found = np.load(tmp_path / "codes.npy")
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)


def test_json_lines_hold_codes_as_whole_numbers(decant: Decant, bundle: Path) -> None:
    ran = decant("embed", bundle, "--role", "query", "--quantize", "ubinary", typed="a\nb\n")
    rows = [json.loads(line)["embedding"] for line in ran.out.splitlines()]
    assert [len(row) for row in rows] == [4, 4]
    assert all(isinstance(code, int) and 0 <= code <= 255 for row in rows for code in row)


def test_an_unknown_kind_is_an_input_error(decant: Decant, bundle: Path) -> None:
    ran = decant("embed", bundle, "--role", "query", "--quantize", "int4", typed="a\n")
    assert ran.code == Exit.INPUT
    assert "known are 'int8', 'uint8', 'ubinary'" in ran.err
    assert ran.out == ""


def test_a_width_is_calibrated_embedded_and_shown(
    decant: Decant, bundle: Path, tmp_path: Path
) -> None:
    refused = decant("calibrate-vectors", bundle, "--texts", "texts.txt", "--dim", 16)
    assert refused.code == Exit.INPUT
    assert "--allow-any-dim" in refused.err
    cut = ("--dim", 16, "--allow-any-dim")
    ran = decant("calibrate-vectors", bundle, "--texts", "texts.txt", *cut, "--json")
    assert (ran.json["dim"], ran.json["texts"]) == (16, 40)
    done = decant("embed", bundle, "texts.txt", "--role", "query", *cut, "-o", "v.npy")
    assert "40 texts, 16 wide" in done.err
    vectors = np.load(tmp_path / "v.npy")
    assert vectors.shape == (40, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert "ranges of 16 values" in decant("inspect", bundle).out
    shown = decant("inspect", bundle, "--json").json["calibrations"]
    assert isinstance(shown, list)
    assert [(entry["dim"], entry["digest"]) for entry in shown] == [(16, ran.json["digest"])]


def test_an_index_of_cut_vectors_is_searched_at_the_same_width(
    decant: Decant, bundle: Path, notes: Path
) -> None:
    cut = ("--dim", 16, "--allow-any-dim")
    assert decant("index", bundle, notes, *cut).code == Exit.OK
    found = decant("search", bundle, "when does the ferry leave?", *cut, "--json")
    assert found.code == Exit.OK
    mismatch = decant("search", bundle, "when does the ferry leave?")
    assert mismatch.code == Exit.INPUT
    assert "dim: 16 there, None here" in mismatch.err


def test_a_file_of_texts_is_needed(decant: Decant, bundle: Path) -> None:
    assert decant("calibrate-vectors", bundle).code == Exit.INPUT
    assert decant("calibrate-vectors", bundle, "--texts", "nothing.txt").code == Exit.INPUT
