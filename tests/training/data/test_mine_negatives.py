"""Hard negatives: against a naive loop, and by what may never become one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decant.embedders import HashEncoder, Role
from decant.training import (
    Column,
    DataError,
    Mining,
    Ranking,
    TrainingDataset,
    TrainingError,
    TrainingExample,
    mine,
    read_table,
)
from decant.training.data.mine_negatives import choose_negatives
from decant.training.data.table import text_hash

NEEDS = (Column.QUERY, Column.POSITIVE)
WORDS = ("ferry", "island", "bread", "yeast", "whale", "winter", "bridge", "harbour", "oven")


@dataclass(frozen=True)
class Exact:
    """Ranks passages by the cosines of an encoder, all of them compared."""

    encoder: HashEncoder
    passages: Sequence[str]

    def search(self, rows: Sequence[TrainingExample], *, limit: int) -> list[Ranking]:
        held = self.encoder.encode(self.passages, role=Role.PASSAGE).dense
        found = []
        for row in rows:
            query = self.encoder.encode([row.query], role=Role.QUERY).dense[0]
            own = self.encoder.encode([row.positive or ""], role=Role.PASSAGE).dense[0]
            scores = held @ query
            best = np.argsort(-scores, kind="stable")[:limit]
            candidates = [(self.passages[int(at)], float(scores[at])) for at in best]
            found.append(Ranking(positive=float(own @ query), candidates=candidates))
        return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return pairs of which some share a query or a positive, and one has all fields."""
    rows: list[dict[str, object]] = [
        {"query": f"the {word} {number % 5}", "positive": f"a {other} near the {word}"}
        for number, (word, other) in enumerate((a, b) for a in WORDS for b in WORDS[:4])
    ]
    rows[3] |= {"negatives": ["a whale near the ferry"], "instruction": "Find it", "group": "g"}
    rows[4] |= {"task": "sea", "score": 2}
    first = {**rows[0], "negatives": [], "instruction": None, "group": None}
    rows[0] = {**first, "task": None, "score": None}
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def searcher(table: TrainingDataset) -> Exact:
    passages = list(dict.fromkeys(row.positive or "" for row in table))
    return Exact(HashEncoder(dim=32), [*passages, "the ferry 0", "the oven 1"])


@pytest.mark.parametrize("skip", [0, 2])
def test_mined_negatives_are_those_of_a_naive_loop(path: Path, tmp_path: Path, skip: int) -> None:
    table = read_table([path], needs=NEEDS)
    exact = searcher(table)
    mining = Mining(count=20, max_positive_ratio=0.8, skip=skip)
    told: list[int] = []
    report = mine(table, exact, tmp_path / "mined.jsonl", mining, progress=told.append)
    mined = list(read_table([tmp_path / "mined.jsonl"], needs=NEEDS))
    counts: dict[int, int] = {}
    for row, got in zip(table, mined, strict=True):
        (ranking,) = exact.search([row], limit=100)
        positives = {one.positive for one in table if one.query == row.query}
        wanted: list[str] = []
        left = skip
        for text, score in ranking.candidates:
            if text in positives or text == row.query or text in row.negatives:
                continue
            if left:
                left -= 1
            elif score <= 0.8 * ranking.positive and len(wanted) < 20:
                wanted.append(text)
        assert list(got.negatives) == [*row.negatives, *wanted]
        assert (got.query, got.positive, got.score) == (row.query, row.positive, row.score)
        assert (got.instruction, got.task, got.group) == (row.instruction, row.task, row.group)
        counts[len(wanted)] = counts.get(len(wanted), 0) + 1
    assert report.rows == len(table) == sum(told)
    assert report.negatives == counts
    assert report.without == counts.get(0, 0)
    assert len(counts) > 1


@given(
    positive=st.floats(-1, 1),
    scores=st.lists(st.floats(-1, 1), max_size=30),
    share=st.floats(0.01, 1),
    count=st.integers(1, 6),
    skip=st.integers(0, 3),
)
def test_no_negative_is_nearer_than_the_threshold_and_none_below_it_is_missed(
    positive: float, scores: list[float], share: float, count: int, skip: int
) -> None:
    row = TrainingExample(query="t1", positive="t2")
    ordered = sorted(scores, reverse=True)
    ranking = Ranking(
        positive=positive, candidates=[(f"t{at}", one) for at, one in enumerate(ordered)]
    )
    mining = Mining(count=count, max_positive_ratio=share, skip=skip)
    answers = {text_hash("t2"), text_hash("t4")}
    found = choose_negatives(row, ranking, mining, answers=answers)
    allowed = [at for at in range(len(ordered)) if at not in (1, 2, 4)][skip:]
    below = [at for at in allowed if ordered[at] <= min(positive, share * positive)]
    assert found == [f"t{at}" for at in below[:count]]
    assert all(ordered[int(text[1:])] <= positive for text in found)


def test_a_text_that_comes_twice_is_taken_once() -> None:
    candidates = [("a", 0.5), ("a", 0.5), ("b", 0.4)]
    ranking = Ranking(positive=1.0, candidates=candidates)
    row = TrainingExample(query="q", positive="p")
    assert choose_negatives(row, ranking, Mining(), answers=set()) == ["a", "b"]


def test_a_score_that_is_no_number_is_refused_and_nothing_is_left(
    path: Path, tmp_path: Path
) -> None:
    class Broken:
        def search(self, rows: Sequence[TrainingExample], *, limit: int) -> list[Ranking]:
            return [Ranking(positive=float("nan"), candidates=[("a", 0.1)]) for _ in rows]

    with pytest.raises(DataError, match=r"pairs\.jsonl:1: the search gave a score"):
        mine(read_table([path], needs=NEEDS), Broken(), tmp_path / "mined.jsonl", Mining())
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_there_and_rows_without_positives_are_refused(
    path: Path, tmp_path: Path
) -> None:
    table = read_table([path], needs=NEEDS)
    with pytest.raises(TrainingError, match="exists; choose another name"):
        mine(table, searcher(table), path, Mining())
    alone = tmp_path / "alone.jsonl"
    alone.write_text('{"query": "q"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"alone\.jsonl:1: there is no positive"):
        mine(read_table([alone]), searcher(table), tmp_path / "mined.jsonl", Mining())
    alone.write_text(
        '{"query": "q", "positive": "p", "negatives": ["n"], "teacher_scores": [1, 0]}\n', "utf-8"
    )
    with pytest.raises(DataError, match=r"alone\.jsonl:1: there are teacher_scores"):
        mine(read_table([alone]), searcher(table), tmp_path / "mined.jsonl", Mining())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_positive_ratio": 0}, "max_positive_ratio must be above 0"),
        ({"max_positive_ratio": 1.5}, "max_positive_ratio must be above 0"),
        ({"count": 0}, "count must be at least 1"),
        ({"skip": -1}, "skip at least 0"),
        ({"count": 9, "skip": 2, "depth": 10}, r"count \+ skip = 11, got 10"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        Mining(**settings)  # type: ignore[arg-type]
