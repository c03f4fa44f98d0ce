"""A certificate of scores sees where passages change places that PyTorch holds apart."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from certificates import GRAPH
from decant.embedders import Precision, ScoreEntry
from decant.embedders.tokens import TokenBatch, Tokens
from decant.export.certify.score_checks import HELD_APART, ScoreSubject, certify_scores
from decant.export.certify.score_reference import ScoreReference

QUERIES, PASSAGES = 20, 6
PAIRS = QUERIES * PASSAGES
# Each query has a passage that answers it, and others whose scores are close together.
EXACT = np.tile([3.0, -1.0, -1.1, -1.2, -1.3, -1.4], QUERIES).astype(np.float32)


def certified(scores: NDArray[np.float32], precision: Precision) -> ScoreEntry:
    """Return the entry of a graph that gives these scores, whatever is in a batch."""
    rows = [Tokens(ids=(1, pair + 2), counted=0) for pair in range(PAIRS)]

    def run(batch: TokenBatch) -> NDArray[np.float32]:
        pairs = (batch.input_ids * batch.attention_mask).sum(axis=1) - 3
        found: NDArray[np.float32] = scores[np.clip(pairs, 0, PAIRS - 1)]
        return found

    subject = ScoreSubject(
        run=run,
        shared=lambda _: None,
        rows=rows,
        reference=ScoreReference(
            queries=[f"query {pair // PASSAGES}" for pair in range(PAIRS)],
            passages=[f"passage {pair}" for pair in range(PAIRS)],
            scores=EXACT,
            ranked=PAIRS,
        ),
        precision=precision,
        pad_id=0,
    )
    return certify_scores(subject, GRAPH)


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.W8, Precision.W4])
def test_three_answers_that_fall_behind_are_caught_though_the_mean_order_is_good(
    precision: Precision,
) -> None:
    scores = EXACT.copy()
    scores[[0, PASSAGES, 2 * PASSAGES]] = -2.0
    entry = certified(scores, precision)
    assert entry.kendall_tau > 0.85
    assert entry.ndcg_loss < 0.05
    assert [check.name for check in entry.checks if not check.passed] == [HELD_APART]
    assert "change places whose scores are 4.4 apart, 0.39 is allowed" in entry.failures


def test_passages_of_nearly_equal_scores_may_change_places() -> None:
    scores = EXACT.copy()
    scores[[1, 2]] = scores[[2, 1]]
    entry = certified(scores, Precision.INT8)
    assert entry.passed
    assert entry.kendall_tau < 1


def test_what_is_judged_by_its_differences_has_no_such_check() -> None:
    assert HELD_APART not in {check.name for check in certified(EXACT, Precision.FP32).checks}
