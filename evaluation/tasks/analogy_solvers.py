"""Score candidates as answers to ``a : a' :: b : ?``, by each of the usual formulas.

Vectors are unit rows ``E`` of V candidates, shape ``(V, D)``; a question is three row numbers. All
functions return scores of shape ``(Q, V)``, higher is better, and exclude nothing.
Sources: 3CosAdd Mikolov et al. 2013; 3CosMul and PairDirection Levy and Goldberg 2014; 3CosAvg and
LRCos Drozd et al. 2016, with the choices of their toolkit, Vecto.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

Rows = NDArray[np.float32]
Numbers = NDArray[np.intp]

_EPSILON = np.float32(0.001)  # Levy and Goldberg 2014, section 4
_REPEATED = 4  # Vecto: the sources count four times, in addition to as many random words


class Solver(Enum):
    """How an analogy is solved."""

    ADD = "3CosAdd"
    """argmax cos(x, a' - a + b), over unit vectors."""
    MUL = "3CosMul"
    """argmax cos(x, a') cos(x, b) / (cos(x, a) + 0.001), cosines moved to [0, 1]."""
    PAIR_DISTANCE = "PairDistance"
    """argmax cos(x - b, a' - a)."""
    AVERAGE = "3CosAvg"
    """argmax cos(x, mean(a') - mean(a) + b), means over the category's other pairs."""
    LRCOS = "LRCos"
    """argmax P(x is a target) (cos(x, b) + 1) / 2, P from a logistic regression."""
    SIMILAR_TO_B = "similar to b"
    """argmax cos(x, b): what a solver must beat to have used the analogy."""

    @property
    def by_category(self) -> bool:
        """Whether it learns from all other pairs of the category instead of one."""
        return self in (Solver.AVERAGE, Solver.LRCOS)


def add_scores(rows: Rows, shown: Numbers, target: Numbers, asked: Numbers) -> Rows:
    """Return 3CosAdd's scores; the length of ``a' - a + b`` changes no order and is left out."""
    return np.asarray((rows[target] - rows[shown] + rows[asked]) @ rows.T, np.float32)


def mul_scores(rows: Rows, shown: Numbers, target: Numbers, asked: Numbers) -> Rows:
    """Return 3CosMul's scores, cosines moved to [0, 1]."""
    near_target, near_asked, near_shown = (
        (rows[part] @ rows.T + 1) / 2 for part in (target, asked, shown)
    )
    return np.asarray(near_target * near_asked / (near_shown + _EPSILON), np.float32)


def pair_distance_scores(rows: Rows, shown: Numbers, target: Numbers, asked: Numbers) -> Rows:
    """Return PairDistance's scores; b itself, whose offset is zero, gets minus infinity."""
    offset = rows[target] - rows[shown]
    along = offset @ rows.T - np.einsum("qd,qd->q", offset, rows[asked])[:, None]
    squares = 2 - 2 * (rows[asked] @ rows.T)  # |x - b|^2 of unit vectors
    lengths = np.sqrt(np.maximum(squares, np.float32(1e-12)))
    scores = np.asarray(along / lengths, np.float32)
    scores[np.arange(len(asked)), asked] = -np.inf
    return scores


def average_scores(rows: Rows, sources: Numbers, targets: Numbers, asked: Numbers) -> Rows:
    """Return 3CosAvg's scores for questions that learn from the same pairs."""
    offset = rows[targets].mean(axis=0) - rows[sources].mean(axis=0)
    return np.asarray((rows[asked] + offset) @ rows.T, np.float32)


def lrcos_scores(
    rows: Rows, sources: Numbers, targets: Numbers, asked: Numbers, *, seed: int
) -> Rows:
    """Return LRCos' scores for questions that learn from the same pairs.

    Positive are the targets; negative are the sources, four times, and as many random candidates
    as there are sources. Logistic regression by liblinear, C = 1, classes balanced.
    """
    random = np.random.default_rng(seed).integers(len(rows), size=len(sources))
    negative = np.concatenate([np.tile(sources, _REPEATED), random])
    chosen = np.concatenate([targets, negative])
    labels = np.concatenate([np.ones(len(targets)), np.zeros(len(negative))])
    model = LogisticRegression(
        solver="liblinear", class_weight="balanced", C=1.0, random_state=seed
    )
    model.fit(rows[chosen], labels)
    likely = model.predict_proba(rows)[:, 1]
    return np.asarray(likely[None, :] * (rows[asked] @ rows.T + 1) / 2, np.float32)


def similar_scores(rows: Rows, asked: Numbers) -> Rows:
    """Return each candidate's cosine with b."""
    return np.asarray(rows[asked] @ rows.T, np.float32)
