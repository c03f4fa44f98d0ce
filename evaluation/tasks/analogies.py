"""Word analogies: ``a : a' :: b : ?``, answered by the best word of a vocabulary.

Accuracy is given twice: with the words of the question excluded from the answers, as is
usual, and with them included, which is much lower. A question with an unknown word counts as wrong
or is left out, as :class:`Unknown` specifies; the coverage is the share of answerable questions.
Invariant: candidates are one fixed list of words, the same for every encoder that knows them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from decant.embedders import Role

from ..errors import EvaluationError
from ..models.protocol import Embedder, known, unit_vectors
from ..scores.measurement import Cases, Measurement, measure
from ..scores.statistics import BOOTSTRAP, Bootstrap, macro_mean_statistic, mean_statistic
from .analogy_files import Category
from .analogy_solvers import (
    Numbers,
    Rows,
    Solver,
    add_scores,
    average_scores,
    lrcos_scores,
    mul_scores,
    pair_distance_scores,
    similar_scores,
)

_SCORES = 20_000_000  # candidates times questions of one block; 80 MB of float32


class Unknown(Enum):
    """How a question with a word that the embedder does not know is counted."""

    WRONG = "wrong"
    LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Analogies:
    """Analogy questions in categories.

    Solvers that learn from a category (3CosAvg, LRCos) answer each asked pair once, from all other
    pairs, and exclude b alone; the others answer every question, and exclude a, a' and b.

    Args:
        name: The name of the task.
        categories: One or more categories.
        solvers: The solvers to score.
        vocabulary: Candidates in addition to the words of the questions.
        unknown: How questions with unknown words are counted.
        role: The role of the words, which selects their prompt.
        seed: Seed of LRCos' random words.
        bootstrap: Settings of the intervals; questions are drawn inside their category.
    """

    name: str
    categories: tuple[Category, ...]
    solvers: tuple[Solver, ...] = tuple(Solver)
    vocabulary: tuple[str, ...] = ()
    unknown: Unknown = Unknown.WRONG
    role: Role = Role.QUERY
    seed: int = 0
    bootstrap: Bootstrap = BOOTSTRAP

    def __post_init__(self) -> None:
        if not self.categories or not self.solvers:
            raise EvaluationError(f"{self.name}: there are no categories, or no solvers")

    @property
    def words(self) -> tuple[str, ...]:
        """All candidates: the words of the questions, then the vocabulary, each once."""
        asked = (
            word
            for category in self.categories
            for pair in category.pairs
            for word in (pair.source, *pair.targets)
        )
        return tuple(dict.fromkeys([*asked, *self.vocabulary]))

    def score(self, embedder: Embedder) -> tuple[Measurement, ...]:
        """Return two accuracies of each solver, without and with the words of the question.

        Both are means over categories.

        Raises:
            EvaluationError: No word is known; or, with ``Unknown.LEFT_OUT``, no question of a
                category can be asked.
        """
        words = self.words
        kept = known(embedder, words)
        held = [word for word, can in zip(words, kept, strict=True) if can]
        if not held:
            raise EvaluationError(f"{self.name}: none of the {len(words)} words can be embedded")
        rows = unit_vectors(embedder, held, role=self.role)
        number_of = {word: number for number, word in enumerate(held)}
        asked = [_Asked.of(category, number_of) for category in self.categories]
        if not any(part.answerable(one).any() for part in asked for one in self.solvers):
            raise EvaluationError(
                f"{self.name}: {len(held)} of {len(words)} words can be embedded, and no question "
                "can be asked with them"
            )
        found: list[Measurement] = []
        for solver in self.solvers:
            hits = [_hits(solver, rows, part, seed=self.seed) for part in asked]
            for side, excluding in enumerate(("", ", no word excluded")):
                metric = f"{solver.value} accuracy, mean of categories{excluding}"
                found.append(self._measured(metric, [part[side] for part in hits], asked, solver))
        return tuple(found)

    def by_category(self, measurement: Measurement) -> dict[str, Measurement]:
        """Return the accuracy in each category, from a measurement of :meth:`score`.

        Categories of which no question could be asked, with ``Unknown.LEFT_OUT``, are not in it.
        """
        cases = measurement.cases
        found: dict[str, Measurement] = {}
        for number, category in enumerate(self.categories):
            own = cases.groups == number
            if not (own & cases.covered).any():
                continue
            part = Cases(
                truth=cases.truth[own],
                found=cases.found[own],
                groups=cases.groups[own],
                covered=cases.covered[own],
            )
            metric = measurement.score.metric.replace(", mean of categories", "")
            found[category.name] = measure(
                f"{self.name}, {category.name}",
                metric,
                part,
                mean_statistic,
                bootstrap=self.bootstrap,
            )
        return found

    def _measured(
        self, metric: str, hits: list[NDArray[np.bool_]], asked: list[_Asked], solver: Solver
    ) -> Measurement:
        answerable = np.concatenate([part.answerable(solver) for part in asked])
        found = np.concatenate(hits)
        cases = Cases(
            truth=np.zeros(len(found)),
            found=found.astype(np.float64),
            groups=np.repeat(np.arange(len(hits)), [len(part) for part in hits]),
            covered=(
                answerable if self.unknown is Unknown.LEFT_OUT else np.ones(len(found), np.bool_)
            ),
        )
        made = measure(self.name, metric, cases, macro_mean_statistic, bootstrap=self.bootstrap)
        return replace(made, score=replace(made.score, coverage=float(answerable.mean())))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Asked:
    """A category in row numbers; minus one stands for a word that is not known.

    Args:
        sources: Of each pair, shape ``(P,)``.
        targets: The known right answers of each pair.
        questions: Pairs shown and asked, shape ``(Q, 2)``.
    """

    sources: Numbers
    targets: tuple[Numbers, ...]
    questions: Numbers

    @classmethod
    def of(cls, category: Category, number_of: Mapping[str, int]) -> _Asked:
        return cls(
            sources=np.array([number_of.get(pair.source, -1) for pair in category.pairs], np.intp),
            targets=tuple(
                np.array([number_of[one] for one in pair.targets if one in number_of], np.intp)
                for pair in category.pairs
            ),
            questions=np.array(category.questions, np.intp),
        )

    @property
    def whole(self) -> NDArray[np.bool_]:
        """Which pairs are known, shape ``(P,)``."""
        return (self.sources >= 0) & np.array([len(part) > 0 for part in self.targets], np.bool_)

    @property
    def asked_pairs(self) -> Numbers:
        """Pairs that some question asks for, each once, in ascending order."""
        return np.unique(self.questions[:, 1])

    def answerable(self, solver: Solver) -> NDArray[np.bool_]:
        """Which cases of a solver can be answered: questions, or asked pairs."""
        whole = self.whole
        if not solver.by_category:
            return np.asarray(whole[self.questions].all(axis=1))
        # A pair alone has nothing to learn from.
        others = np.count_nonzero(whole) - whole[self.asked_pairs].astype(np.intp)
        return np.asarray(whole[self.asked_pairs] & (others > 0))


def _hits(
    solver: Solver, rows: Rows, asked: _Asked, *, seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which cases are answered rightly, with the words of the question excluded and not."""
    answerable = asked.answerable(solver)
    without = np.zeros(len(answerable), np.bool_)
    honest = np.zeros(len(answerable), np.bool_)
    pairs = asked.asked_pairs if solver.by_category else asked.questions[:, 1]
    for cases, scores, given in _scored(solver, rows, asked, np.flatnonzero(answerable), seed):
        right = [asked.targets[pairs[case]] for case in cases]
        answers = scores.argmax(axis=1)
        honest[cases] = [answer in good for answer, good in zip(answers, right, strict=True)]
        scores[np.arange(len(cases))[:, None], given] = -np.inf
        answers = scores.argmax(axis=1)
        without[cases] = [answer in good for answer, good in zip(answers, right, strict=True)]
    return without, honest


def _scored(
    solver: Solver, rows: Rows, asked: _Asked, cases: Numbers, seed: int
) -> Iterator[tuple[Numbers, Rows, Numbers]]:
    """Yield blocks of case numbers, their scores, and the rows of the words of each question."""
    first = np.array([part[0] if len(part) else -1 for part in asked.targets], np.intp)
    if solver.by_category:
        for case in cases:
            pair = asked.asked_pairs[case]
            others = asked.whole.copy()
            others[pair] = False
            learnt = asked.sources[others], first[others]
            given = asked.sources[[pair]]
            if solver is Solver.AVERAGE:
                scores = average_scores(rows, *learnt, given)
            else:
                scores = lrcos_scores(rows, *learnt, given, seed=seed)
            yield np.array([case]), scores, given[:, None]
        return
    size = max(1, _SCORES // len(rows))
    for start in range(0, len(cases), size):
        block = cases[start : start + size]
        shown, pair = asked.questions[block].T
        question = asked.sources[shown], first[shown], asked.sources[pair]
        yield block, _pairwise(solver, rows, *question), np.stack(question, axis=1)


def _pairwise(solver: Solver, rows: Rows, shown: Numbers, target: Numbers, asked: Numbers) -> Rows:
    match solver:
        case Solver.ADD:
            return add_scores(rows, shown, target, asked)
        case Solver.MUL:
            return mul_scores(rows, shown, target, asked)
        case Solver.PAIR_DISTANCE:
            return pair_distance_scores(rows, shown, target, asked)
        case Solver.SIMILAR_TO_B:
            return similar_scores(rows, asked)
        case Solver.AVERAGE | Solver.LRCOS:
            raise AssertionError(f"{solver} learns from a category")
        case _:
            assert_never(solver)
