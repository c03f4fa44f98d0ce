"""Pairs of plain documents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decant.training import DataError, PairKind, PairMining, TrainingError, write_pairs
from models import tokenizer

TEXT = "One whale swam. It was white! Was it cold? The winter had come, and the sea was still. "
sentences = st.lists(st.sampled_from(TEXT.split(". ")), min_size=1, max_size=40).map(". ".join)


def made(target: Path, text: str, making: PairMining) -> list[dict[str, str]]:
    write_pairs([("doc", text)], target, tokenizer(), making)
    return [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]


@given(text=sentences, seed=st.integers(0, 9))
def test_crops_are_spans_of_their_document(
    tmp_path_factory: pytest.TempPathFactory, text: str, seed: int
) -> None:
    target = tmp_path_factory.mktemp("crops") / "pairs.jsonl"
    making = PairMining(max_tokens=64, seed=seed)
    rows = made(target, f"{text} and so on it went.", making)
    for row in rows:
        assert row["query"] in f"{text} and so on it went."
        assert row["positive"] in f"{text} and so on it went."
        assert row["group"] == "doc"
    assert made(target, f"{text} and so on it went.", making) == rows


def test_a_cloze_is_a_sentence_and_what_stands_around_it(tmp_path: Path) -> None:
    rows = made(tmp_path / "a.jsonl", 60 * TEXT, PairMining(made=PairKind.CLOZE, max_tokens=120))
    kept = [row for row in rows if row["query"] in row["positive"].split(". ")[0]]
    assert len(rows) > 20
    assert all(row["query"][-1] in ".!?" for row in rows)
    assert len(kept) < len(rows)


def test_documents_without_words_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give longer texts"):
        write_pairs([("doc", "one")], tmp_path / "a.jsonl", tokenizer(), PairMining())


def test_shares_that_make_no_sense_are_refused() -> None:
    with pytest.raises(TrainingError, match="shortest <= longest"):
        PairMining(shortest=0.6)
