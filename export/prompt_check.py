"""Compare texts that go on from their prompt's states with PyTorch, which runs them whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from decant.embedders import (
    DENSE,
    Check,
    Precision,
    Session,
    SharedPrompts,
    TokenBatch,
    Tokens,
    pad,
)

from .certifying import cosines_of, least

_GROUP = 8


def prompt_checks(
    session: Session,
    rows: Sequence[Tokens],
    expected: NDArray[np.float32],
    *,
    precision: Precision,
    pad_id: int,
) -> list[Check]:
    """Run every text alone and in groups behind its prompt; none where nothing is shared.

    Args:
        session: The graph.
        rows: The probe texts as tokens, M rows.
        expected: PyTorch's vectors, float32 (M, D).
        precision: Sets the gates.
        pad_id: Fills padded positions.
    """
    if not session.takes_prompts:
        return []
    prompts = SharedPrompts(session)
    found, wanted = [], []
    for batch, numbers in _batches(rows, pad_id):
        rest = prompts.begun(batch, [DENSE])
        if rest is not batch:
            found.append(session.run(rest))
            wanted.append(expected[numbers])
    if not found:
        return []
    finding = "texts that go on from their prompt's states get other vectors"
    cosines = cosines_of(np.concatenate(found), np.concatenate(wanted))
    return [least(precision, "shared prompt", cosines, finding)]


def _batches(rows: Sequence[Tokens], pad_id: int) -> Iterator[tuple[TokenBatch, list[int]]]:
    """Yield each row alone, then groups of similar length and one prompt."""
    for number, row in enumerate(rows):
        yield pad([row], pad_id=pad_id), [number]
    order = sorted(range(len(rows)), key=lambda number: (_prompt(rows[number]), rows[number].width))
    for start in range(0, len(rows), _GROUP):
        numbers = order[start : start + _GROUP]
        yield pad([rows[number] for number in numbers], pad_id=pad_id), numbers


def _prompt(row: Tokens) -> tuple[int, ...]:
    return row.ids[: row.prompt]
