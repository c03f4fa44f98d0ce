"""The supervised extras of LLM2Vec-Gen, held against loops over what its code computes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor

from appended_objectives import ANSWERED, ROWS, gen, states_of
from decant.embedders import Role
from decant.training import (
    Column,
    Columns,
    DataError,
    LLM2VecGen,
    LLM2VecGenSettings,
    Mining,
    TrainingExample,
    TrainingSettings,
    check_run,
    mine,
    read_table,
)

EXTRAS = LLM2VecGenSettings(
    total=4, read=3, align=0.7, contrast=0.5, apart=0.25, distance=3.0, repeat=2.0,
    hard_negatives=True,
)  # fmt: skip


def vector(objective: LLM2VecGen, text: str) -> Tensor:
    """Return the student's vector of one string, prompt included."""
    with torch.no_grad():
        return cast("Tensor", objective.model.head(states_of(objective, text).mean(0)))


def asked(objective: LLM2VecGen, text: str) -> Tensor:
    return vector(objective, f"{text}\nsay: ")


def repeated(objective: LLM2VecGen, text: str) -> Tensor:
    return vector(objective, f"Repeat this text word by word. {text}")


def mean_square(objective: LLM2VecGen, vectors: list[Tensor], answers: list[str]) -> float:
    """Return the mean squared difference from the teacher's vectors, over rows and dimensions."""
    taught = objective.teacher.encode(answers, role=Role.PASSAGE).dense
    return float((torch.stack(vectors) - torch.from_numpy(taught)).square().mean())


def contrast(objective: LLM2VecGen, own: str, candidates: list[str], question: str) -> float:
    """Return one question's loss: its own answer repeated, against other answers repeated."""
    found = asked(objective, question)
    others = [repeated(objective, text) for text in (own, *candidates)]
    cosines = [float(torch.cosine_similarity(found, one, 0)) for one in others]
    return -float((torch.tensor(cosines, dtype=torch.float64) * 20).log_softmax(0)[0])


def test_hard_negatives_are_aligned_contrasted_held_apart_and_repeated(llama: Path) -> None:
    objective = gen(llama, EXTRAS).eval()
    found = objective(objective.collate(ANSWERED))
    questions = [row.query for row in ANSWERED]
    answers = [cast("str", row.positive) for row in ANSWERED]
    negatives = [text for row in ANSWERED for text in row.negatives]
    replies = [text for row in ANSWERED for text in row.negative_answers]
    vectors = [asked(objective, text) for text in questions]
    hard = [asked(objective, text) for text in negatives]
    align = mean_square(objective, vectors, answers) + mean_square(objective, hard, replies)
    assert found["align"].item() == pytest.approx(0.7 * align, abs=1e-5)
    again = [repeated(objective, text) for text in answers]
    hard_again = [repeated(objective, text) for text in replies]
    repeat = mean_square(objective, again, answers) + mean_square(objective, hard_again, replies)
    assert found["repeat"].item() == pytest.approx(2.0 * repeat, abs=1e-5)
    losses = [
        contrast(objective, answers[row], [answers[1 - row], *replies], questions[row])
        for row in range(2)
    ]
    assert found["contrast"].item() == pytest.approx(0.5 * sum(losses) / 2, abs=1e-4)
    missing = [
        max(0.0, 9.0 - float((vectors[row] - other).square().sum()))
        for row in range(2)
        for other in (vectors[1 - row], *hard)
    ]
    assert found["apart"].item() == pytest.approx(0.25 * sum(missing) / 8, abs=1e-4)
    names = ("align", "reconstruct", "contrast", "apart", "repeat")
    parts = sum(found[name].item() for name in names)
    assert found["loss"].item() == pytest.approx(parts, abs=1e-5)


def test_the_students_repetition_learns_from_the_contrast(llama: Path) -> None:
    settings = LLM2VecGenSettings(total=4, read=3, align=0, reconstruct=0, contrast=1.0)
    objective = gen(llama, settings)
    batch = objective.collate(ROWS)
    assert "negatives" not in batch
    together = objective(batch)["loss"]
    answers = [cast("str", row.positive) for row in ROWS]
    wanted = [
        contrast(objective, answers[row], [answers[1 - row]], ROWS[row].query) for row in range(2)
    ]
    assert together.item() == pytest.approx(sum(wanted) / 2, abs=1e-4)


def test_equal_questions_and_answers_are_not_pushed_apart(llama: Path) -> None:
    settings = replace(EXTRAS, reconstruct=0.0)
    objective = gen(llama, settings).eval()
    same = TrainingExample(query="the cat", positive="winter", negatives=("a hat",), place="3")
    rows = [
        replace(ANSWERED[0], negatives=("the cat",), negative_answers=("the end",)),
        replace(same, negative_answers=("winter",)),
    ]
    found = objective(objective.collate(rows))
    assert found["apart"].item() == pytest.approx(
        0.25
        * max(
            0.0,
            9.0 - float((asked(objective, "the cat") - asked(objective, "a hat")).square().sum()),
        ),
        abs=1e-4,
    )  # of six pairs one is left: the first row and the second's hard negative


def test_the_order_of_rows_does_not_matter(llama: Path) -> None:
    objective = gen(llama, EXTRAS).eval()
    forth = objective(objective.collate(ANSWERED))["loss"].item()
    back = objective(objective.collate(ANSWERED[::-1]))["loss"].item()
    assert forth == pytest.approx(back, abs=1e-5)


def written(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


PLAIN: dict[str, object] = {"question": "q", "answer": "a"}
HARD: dict[str, object] = {**PLAIN, "negative_question": "n", "negative_answer": "m"}


def test_the_columns_of_the_authors_data_are_known(tmp_path: Path) -> None:
    (row,) = read_table([written(tmp_path / "a.jsonl", HARD)])
    assert (row.negatives, row.negative_answers) == (("n",), ("m",))
    alone: dict[str, object] = {**PLAIN, "negative_answer": "m"}
    (row,) = read_table([written(tmp_path / "b.jsonl", alone)])
    assert (row.negatives, row.negative_answers) == (("m",), ())
    columns = Columns.parse("query=question,negatives=negative_question,negatives=negative_answer")
    (row,) = read_table([tmp_path / "a.jsonl"], columns=columns)
    assert (row.negatives, row.negative_answers) == (("n", "m"), ())
    assert Column.NEGATIVE_ANSWERS not in columns.names
    assert (
        read_table([tmp_path / "a.jsonl"]).digest()
        != read_table([tmp_path / "a.jsonl"], columns=columns).digest()
    )


def test_negatives_and_their_answers_come_in_equal_numbers(tmp_path: Path) -> None:
    row: dict[str, object] = {**PLAIN, "negatives": ["n", "o"], "negative_answers": ["m"]}
    with pytest.raises(DataError, match=r"2 negatives and 1 answers of negatives; give one"):
        read_table([written(tmp_path / "a.jsonl", row)])


@pytest.mark.parametrize(
    ("settings", "row", "message"),
    [
        (EXTRAS, {**PLAIN, "negatives": ["n"]}, "no negative with an answer of its own"),
        (replace(EXTRAS, hard_negatives=False), {**PLAIN, "negatives": ["n"]}, "used with hard_n"),
        (
            LLM2VecGenSettings(total=4, read=3),
            HARD,
            "negatives have answers, which this method does not",
        ),
    ],
)
def test_negatives_that_would_be_left_out_are_refused(
    llama: Path, tmp_path: Path, settings: LLM2VecGenSettings, row: dict[str, object], message: str
) -> None:
    table = read_table([written(tmp_path / "a.jsonl", row)])
    with pytest.raises(DataError, match=message):
        check_run(gen(llama, settings), table, tmp_path / "out", TrainingSettings(batch_size=1))


def test_answered_negatives_are_not_mined_beside(tmp_path: Path) -> None:
    table = read_table([written(tmp_path / "a.jsonl", HARD)])

    class Nothing:
        def search(self, rows: object, *, limit: int) -> list[object]:
            raise AssertionError(rows, limit)

    with pytest.raises(DataError, match="mine negatives first"):
        mine(table, Nothing(), tmp_path / "mined.jsonl", Mining())  # type: ignore[arg-type]
