"""Training data: what is read, what is refused and where, and how it is split."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decant.training import Column, Columns, DataError, TrainingDataset, describe, read_table, split
from decant.training.loop.batch_sampler import TaskOrder

PAIR = (Column.QUERY, Column.POSITIVE)


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def text(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def test_json_lines_are_read_by_common_names(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "a.jsonl",
        {"question": "q1", "passage": "p1", "negatives": ["n1", "n2"], "other": 1},
        {"question": "q2\n", "passage": "p2", "negatives": [], "task": "t"},
    )
    first, second = read_table([path], needs=PAIR)
    assert (first.query, first.positive, first.negatives) == ("q1", "p1", ("n1", "n2"))
    assert (second.query, second.task, second.place) == ("q2\n", "", f"{path}:2")


def test_tsv_is_read_by_its_header_or_by_an_order(tmp_path: Path) -> None:
    headed = text(tmp_path / "a.tsv", 'query\tpositive\n"q" \\t\tp\r\n\n')
    (row,) = read_table([headed], needs=PAIR)
    assert (row.query, row.positive) == ('"q" \\t', "p")
    bare = text(tmp_path / "b.tsv", "3.5\tq\tp\tn\tm\n")
    columns = Columns.parse("score,query,positive,negatives,negatives")
    (row,) = read_table([bare], columns=columns)
    assert (row.score, row.negatives) == (3.5, ("n", "m"))


def test_columns_can_be_renamed(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"a": "q", "b": "p", "query": "no"})
    (row,) = read_table([path], columns=Columns.parse("query=a,positive=b"), needs=PAIR)
    assert (row.query, row.positive) == ("q", "p")


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=30))
def test_rows_that_repeat_are_left_out_and_counted(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    rows = [{"query": f"q{a}", "positive": f"p{b}"} for a, b in pairs]
    table = read_table([lines(folder / "a.jsonl", *rows)])
    kept = list(dict.fromkeys(pairs))
    assert [(row.query, row.positive) for row in table] == [(f"q{a}", f"p{b}") for a, b in kept]
    assert table.repeated == len(pairs) - len(kept)


@pytest.mark.parametrize(
    ("name", "content", "columns", "message"),
    [
        ("a.jsonl", '{"query": "q"}\n', None, "no column is the positive.*'query'"),
        ("a.jsonl", '{"query": "q", "positive": "p"}\nnot\n', None, ":2: not JSON"),
        ("a.jsonl", '{"query": "q", "positive": "p"}\n[1]\n', None, ":2: should be a JSON object"),
        (
            "a.jsonl",
            '{"query": "q", "positive": "p"}\n{"query": "q"}\n',
            None,
            ":2: there is no positive",
        ),
        ("a.jsonl", '{"query": "q", "positive": " "}\n', None, ":1: the positive is empty"),
        ("a.jsonl", '{"query": "q", "positive": 3}\n', None, ":1: the positive should be a text"),
        (
            "a.jsonl",
            '{"query": "q", "anchor": "a", "positive": "p"}',
            None,
            "could all be the query",
        ),
        (
            "a.jsonl",
            '{"query": "q", "positive": "p", "score": NaN}\n',
            None,
            ":1: the score should be a finite",
        ),
        ("a.jsonl", '{"query": "q", "positive": "p", "score": "high"}', None, "found 'high'"),
        ("a.tsv", "query\tpositive\nq\n", None, ":2: 1 columns, where 2 were named"),
        ("a.tsv", "q\tp\n", None, "no column is the query.*'q', 'p'"),
        ("a.tsv", "query\tpositive\n", None, "there are no rows"),
        ("a.tsv", "", None, "is empty"),
        ("a.csv", "query,positive\n", None, "reads JSON lines"),
        ("a.tsv", "q\tp\n", "query", "no column is the positive"),
    ],
)
def test_bad_data_are_refused_by_file_and_line(
    tmp_path: Path, name: str, content: str, columns: str | None, message: str
) -> None:
    path = text(tmp_path / name, content)
    said = None if columns is None else Columns.parse(columns)
    with pytest.raises(DataError, match=message):
        read_table([path], columns=said, needs=PAIR)


def test_bytes_that_are_no_text_are_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(b"query\tpositive\nq\tp\nq\xff\tp\n")
    with pytest.raises(DataError, match=r"a\.tsv:3: not UTF-8"):
        read_table([path])


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a file"):
        read_table([tmp_path / "none.tsv"])


@pytest.mark.parametrize(
    ("said", "message"),
    [("query=a,positive", "mix two forms"), ("topic", "is not a column"), ("query,query", "twice")],
)
def test_columns_that_mean_nothing_are_refused(said: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Columns.parse(said)


def made(folder: Path, count: int, groups: int) -> TrainingDataset:
    rows = [{"query": f"q{n}", "positive": f"p{n % groups}"} for n in range(count)]
    return read_table([lines(folder / "a.jsonl", *rows)])


@given(st.integers(2, 30), st.integers(2, 9), st.floats(0.05, 0.95), st.integers(0, 99))
def test_no_passage_stands_on_both_sides_of_a_split(
    tmp_path_factory: pytest.TempPathFactory, count: int, groups: int, share: float, seed: int
) -> None:
    table = made(tmp_path_factory.mktemp("split"), count, groups)
    sides = split(table, share=share, seed=seed)
    left = {row.positive for row in sides.train}
    right = {row.positive for row in sides.held_out}
    assert left
    assert right
    assert not left & right
    assert len(sides.train) + len(sides.held_out) == len(table)
    again = split(table, share=share, seed=seed)
    assert [row.query for row in again.train] == [row.query for row in sides.train]


def test_a_named_group_decides_the_side(tmp_path: Path) -> None:
    rows = [{"query": f"q{n}", "positive": f"p{n}", "group": f"g{n % 2}"} for n in range(8)]
    sides = split(read_table([lines(tmp_path / "a.jsonl", *rows)]), share=0.5, seed=0)
    assert len({row.group for row in sides.train}) == 1


def test_a_split_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="all rows are of one group"):
        split(made(tmp_path, 3, 1), share=0.5, seed=0)
    with pytest.raises(DataError, match="between 0 and 1"):
        split(made(tmp_path, 3, 3), share=1.0, seed=0)


def test_batches_are_of_one_task_and_change_with_the_epoch(tmp_path: Path) -> None:
    rows = [{"query": f"q{n}", "task": "ab"[n % 3 == 0]} for n in range(40)]
    table = read_table([lines(tmp_path / "a.jsonl", *rows)])
    order = TaskOrder(table, batch_size=4, seed=0)
    seen = list(order)
    assert len(seen) == len(set(seen)) == len(order) == 36
    for begin in range(0, len(seen), 4):
        assert len({table[index].task for index in seen[begin : begin + 4]}) == 1
    assert list(order) == seen
    order.set_epoch(1)
    assert list(order) != seen


def test_a_report_tells_lengths_cuts_and_balance(tmp_path: Path) -> None:
    rows = [{"query": "a " * n, "positive": "b", "score": n % 2} for n in range(1, 11)]
    table = read_table([lines(tmp_path / "a.jsonl", *rows, rows[0])])
    report = describe(table, lambda row: {"query": (n := len(row.query.split()), min(n, 8))})
    assert (report.rows, report.repeated, report.groups) == (10, 1, 1)
    assert report.scores == {"0": 5, "1": 5}
    assert (report.lengths["query"].longest, report.lengths["query"].cut) == (10, 0.2)


def test_scores_are_kept_for_all_rows(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"query": "a", "score": 1}, {"query": "b"})
    assert np.isnan(read_table([path]).scores).tolist() == [False, True]


def test_scores_of_a_teacher_are_one_for_each_passage(tmp_path: Path) -> None:
    row = {"query": "q", "positive": "p", "negatives": ["n", "m"]}
    (found,) = read_table([lines(tmp_path / "a.jsonl", {**row, "teacher_scores": [3, 1.5, -2]})])
    assert found.teacher_scores == (3.0, 1.5, -2.0)
    (alone,) = read_table([lines(tmp_path / "b.jsonl", {**row, "teacher_scores": None})])
    assert alone.teacher_scores == ()
    with pytest.raises(DataError, match=r"2 teacher_scores for a positive and 2 negatives"):
        read_table([lines(tmp_path / "c.jsonl", {**row, "teacher_scores": [3, 1]})])
    with pytest.raises(DataError, match="finite number"):
        read_table([lines(tmp_path / "d.jsonl", {**row, "teacher_scores": [3, 1, "high"]})])
