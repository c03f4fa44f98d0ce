"""Files of labelled queries: both forms, and what is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from decant.integrations.qdrant import LabelledQuery, StoreInputError, read_labelled_queries


def test_lines_have_ids_or_grades(tmp_path: Path) -> None:
    file = tmp_path / "queries.jsonl"
    file.write_text(
        '{"query": "one", "relevant": ["a", "b"]}\n\n{"query": "two", "relevant": {"c": 3}}\n'
    )
    assert read_labelled_queries(file) == [
        LabelledQuery(text="one", relevant={"a": 1, "b": 1}),
        LabelledQuery(text="two", relevant={"c": 3}),
    ]


@pytest.mark.parametrize("judged", ["qrels.tsv", "qrels/test.tsv"])
def test_a_folder_is_read_in_the_layout_of_beir(tmp_path: Path, judged: str) -> None:
    (tmp_path / "queries.jsonl").write_text(
        '{"_id": "q1", "text": "one"}\n{"_id": "q2", "text": "of another split"}\n'
    )
    (tmp_path / judged).parent.mkdir(exist_ok=True)
    (tmp_path / judged).write_text("query-id\tcorpus-id\tscore\nq1\ta\t2\nq1\tb\t0\n")
    assert read_labelled_queries(tmp_path) == [LabelledQuery(text="one", relevant={"a": 2})]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"query": "one"}', "expected"),
        ('{"query": "one", "relevant": [1]}', "expected"),
        ('{"query": " ", "relevant": ["a"]}', "blank"),
        ('{"query": "one", "relevant": {"a": 0.5}}', "no whole number"),
        ('{"query": "one", "relevant": {"a": 1' + "0" * 400 + "}}", "no whole number"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "queries.jsonl"
    file.write_text('{"query": "fine", "relevant": ["a"]}\n' + line + "\n")
    with pytest.raises(StoreInputError, match=f"queries.jsonl:2: .*{said}"):
        read_labelled_queries(file)


def test_judgements_of_unknown_queries_are_refused(tmp_path: Path) -> None:
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "one"}\n')
    (tmp_path / "qrels.tsv").write_text("q9\ta\t1\n")
    with pytest.raises(StoreInputError, match="'q9'"):
        read_labelled_queries(tmp_path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "queries.jsonl").write_text("")
    with pytest.raises(StoreInputError, match="no labelled queries"):
        read_labelled_queries(tmp_path / "queries.jsonl")
