"""Held-out pairs are asked as training asks them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from decant.cli.input.held_out import HeldOutRanking, held_out_ranking, held_out_task
from decant.embedders import HashReranker, Role, Vectors
from decant.training import Column, read_table

ROWS: list[dict[str, object]] = [
    {"query": "one", "positive": "first", "instruction": "find A", "negatives": ["second"]},
    {"query": "two", "positive": "second"},
    {"query": "three", "positive": "third", "instruction": "find B"},
    {"query": "one", "positive": "third", "instruction": "find A"},
]


class Spy:
    """Gives a vector that depends on the instruction, and notes what it was asked."""

    dim = 4

    def __init__(self) -> None:
        self.asked: list[tuple[str, Role, str | None]] = []

    def encode(
        self, texts: Iterable[str], *, role: Role, instruction: str | None = None
    ) -> Vectors:
        listed = list(texts)
        self.asked += [(text, role, instruction) for text in listed]
        seeds = [sum(f"{text}{instruction or ''}".encode()) for text in listed]
        rows = [np.random.default_rng(seed).normal(size=self.dim) for seed in seeds]
        return Vectors(dense=np.array(rows, np.float32))


@pytest.mark.parametrize("instructed", [True, False])
def test_each_query_is_asked_with_the_instruction_of_its_row(
    tmp_path: Path, *, instructed: bool
) -> None:
    rows = [
        {name: value for name, value in row.items() if instructed or name != "instruction"}
        for row in ROWS
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    task = held_out_task(read_table([file], needs=(Column.QUERY, Column.POSITIVE)))
    assert task.name == "held out"
    spy = Spy()
    measured = task.score(spy)
    queries = {text: said for text, role, said in spy.asked if role is Role.QUERY}
    told = {"one": "find A", "two": None, "three": "find B"}
    assert queries == (told if instructed else dict.fromkeys(told))
    passages = {(text, said) for text, role, said in spy.asked if role is Role.PASSAGE}
    assert passages == {("first", None), ("second", None), ("third", None)}
    assert measured[0].score.metric == "nDCG@10"
    assert measured[0].score.cases == 3
    # Rows are put back in the order of the queries.
    alone = spy.encode(["three"], role=Role.QUERY, instruction=queries["three"]).dense
    if instructed:
        from decant.cli.input.held_out import _Instructed

        found = _Instructed(spy, task.instructions).encode(  # type: ignore[arg-type]
            ["one", "two", "three"], role=Role.QUERY
        )
        np.testing.assert_array_equal(found.dense[2:], alone)


def test_a_reranker_orders_what_the_data_have_for_each_query(tmp_path: Path) -> None:
    """The reranker is one of shared words, in place of a trained model."""
    rows = [
        {"query": "red fish", "positive": "a red fish", "negatives": ["a red house", "blue"]},
        {"query": "red fish", "positive": "fish in red", "negatives": ["blue"]},
        {"query": "old house", "positive": "the barn", "negatives": ["an old house"]},
        {"query": "nothing to order", "positive": "nothing"},
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    (task,) = held_out_ranking(read_table([file]), HashReranker().recipe)
    assert isinstance(task, HeldOutRanking)
    measured = {one.score.metric: one for one in task.score_reranker(HashReranker())}
    assert list(measured) == ["nDCG@10", "MRR@10", "MAP@1000"]
    assert measured["MRR@10"].cases.found.tolist() == [1.0, 0.5]
    assert held_out_ranking(read_table([file])[3:], HashReranker().recipe) == []
