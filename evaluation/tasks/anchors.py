"""Anchor tasks: how far does the vector of a sentence move when the sentence is varied?

Mean cosines per variation are shown, but only their order within one sentence can be compared
between models: the win rate is how often the variation that keeps the meaning stays closer than
the one that turns it round, ties half (arXiv 2402.11094, with the win rate as our threshold-free
addition). Where the data name the anchor word, its vectors inside the sentence and the variation
are compared too, for embedders that give vectors of parts of a text (``anchor_words.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decant.embedders import Role
from decant.embedders.encoding import gives_parts

from ..errors import EvaluationError
from ..models.protocol import Embedder, known_cosines
from ..scores.measurement import Measurement, cases_of, described, measure
from ..scores.statistics import BOOTSTRAP, Bootstrap, Floats, mean_statistic
from ..scores.units import Unit
from .anchor_words import Anchor, check_word, word_cosines, word_place
from .data_lines import numbered_lines, text
from .variations import Variation, made_variations

CONTESTS = (
    (Variation.PARAPHRASE, Variation.ANTONYM),
    (Variation.PARAPHRASE, Variation.NEGATION),
    (Variation.SYNONYM, Variation.ANTONYM),
    (Variation.PARAPHRASE, Variation.JUMBLED),
    (Variation.EXCLAMATION, Variation.NEGATION),
)
"""Which variation should stay closer than which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchors:
    """Mean cosine of each variation, and win rates between variations.

    The mean cosine of the anchor word follows for each variation that has it. Encoders without
    vectors of parts (those exported without ``tokens``, with a head after pooling or with reworded
    texts, word vectors, wrapped models) have no such rows; nothing else stands in for them.

    Args:
        name: The name of the task.
        anchors: One or more sentences; each variation and contest counts those that have it.
        contests: Pairs of variations, the closer one first; pairs that no sentence has are skipped.
        role: The role of the sentences, which selects their prompt.
        bootstrap: Settings of the intervals over sentences.

    Raises:
        EvaluationError: There are no sentences, or none has a variation.
    """

    name: str
    anchors: tuple[Anchor, ...]
    contests: tuple[tuple[Variation, Variation], ...] = CONTESTS
    role: Role = Role.QUERY
    bootstrap: Bootstrap = BOOTSTRAP

    def __post_init__(self) -> None:
        if not any(anchor.variants for anchor in self.anchors):
            raise EvaluationError(f"{self.name}: there is no sentence with a variation")

    def score(self, embedder: Embedder) -> tuple[Measurement, ...]:
        """Return the win rates, then the mean cosines of sentences, then those of anchor words.

        Raises:
            EvaluationError: Nothing is covered.
            TextError: An anchor word is longer than the model reads at once.
        """
        cosines, covered = self._cosines(embedder)
        found: list[Measurement] = []
        for closer, farther in self.contests:
            both = [
                i for i, one in enumerate(self.anchors) if {closer, farther} <= set(one.variants)
            ]
            if not both:
                continue
            wins = np.array(
                [
                    (np.sign(cosines[i, closer] - cosines[i, farther]) + 1) / 2
                    if (i, closer) in cosines and (i, farther) in cosines
                    else 0.0
                    for i in both
                ]
            )
            can = np.array([covered[i, closer] and covered[i, farther] for i in both], np.bool_)
            metric = f"win rate, {closer.value} over {farther.value}"
            found.append(self._mean(metric, wins, can, ranks=True))
        for variation in Variation:
            having = [i for i, one in enumerate(self.anchors) if variation in one.variants]
            if not having:
                continue
            values = np.array([cosines.get((i, variation), 0.0) for i in having])
            can = np.array([covered[i, variation] for i in having], np.bool_)
            found.append(self._mean(f"mean cosine, {variation.value}", values, can, ranks=False))
        return (*found, *self._words(embedder))

    def _words(self, embedder: Embedder) -> list[Measurement]:
        if not gives_parts(embedder) or not any(anchor.words for anchor in self.anchors):
            return []
        cosines = [word_cosines(embedder, anchor, role=self.role) for anchor in self.anchors]
        found = []
        for variation in Variation:
            values = np.array([one[variation] for one in cosines if variation in one])
            if len(values):
                metric = f"mean cosine of the word, {variation.value}"
                can = np.ones(len(values), np.bool_)
                found.append(self._mean(metric, values, can, ranks=False))
        return found

    def _mean(
        self, metric: str, values: Floats, covered: NDArray[np.bool_], *, ranks: bool
    ) -> Measurement:
        cases = cases_of(np.zeros(len(values)), values, covered=covered)
        made = measure(
            self.name,
            metric,
            cases,
            mean_statistic,
            bootstrap=self.bootstrap,
            higher_is_better=ranks,
        )
        return made if ranks else described(made, unit=Unit.COSINE)

    def _cosines(
        self, embedder: Embedder
    ) -> tuple[dict[tuple[int, Variation], float], dict[tuple[int, Variation], bool]]:
        """Return cosines of known pairs, and which pairs are known, by sentence and variation."""
        keys = [(i, one) for i, anchor in enumerate(self.anchors) for one in anchor.variants]
        first = [self.anchors[i].base for i, _ in keys]
        second = [self.anchors[i].variants[one] for i, one in keys]
        found, covered = known_cosines(embedder, first, second, role=self.role)
        cosines = {
            key: float(value) for key, value, can in zip(keys, found, covered, strict=True) if can
        }
        return cosines, {key: bool(one) for key, one in zip(keys, covered, strict=True)}


def read_anchors(file: Path, *, make: bool, seed: int = 0) -> tuple[Anchor, ...]:
    """Read lines of sentence, kind of variation and varied sentence, with tabs between.

    A fourth column names the anchor word: its first occurrence as a whole word, in the sentence
    and in the varied one, is its place (:func:`word_place`). Where another word took its place, as
    a synonym does, a fifth column says which.

    Args:
        file: Lines of one sentence need not stand together; the kinds are the values of
            :class:`Variation`, for example ``paraphrase``. With ``make``, a sentence may also
            stand alone on a line. A line of three columns compares no words.
        make: Add the variations that need no model, where the file has none of that kind; the
            anchor word is looked for in them.
        seed: Seed of the order of jumbled words.

    Raises:
        EvaluationError: There are no lines, a line has other columns or an unknown kind, a text is
            empty, a kind comes twice for a sentence, or one cannot be made for it; or a sentence
            has two anchor words, or does not hold the one it has.
        OSError: The file cannot be read.
    """
    found: dict[str, _Lines] = {}
    for number, line in numbered_lines(file):
        if make and "\t" not in line:
            found.setdefault(text(file, number, line), _Lines(number))
            continue
        row = _row(file, number, line)
        found.setdefault(row.base, _Lines(number)).rows.append(row)
    if not found:
        raise EvaluationError(f"{file}: there are no sentences")
    return tuple(_anchor(file, base, lines, make=make, seed=seed) for base, lines in found.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A line of a file; ``word`` and ``other`` are empty where the line does not name them."""

    number: int
    base: str
    kind: Variation
    variant: str
    word: str = ""
    other: str = ""


@dataclass(frozen=True, slots=True)
class _Lines:
    """The lines of one sentence, and the number of the first."""

    first: int
    rows: list[_Row] = field(default_factory=list)


def _row(file: Path, number: int, line: str) -> _Row:
    parts = line.split("\t")
    if len(parts) not in {3, 4, 5}:
        raise EvaluationError(
            f"{file}:{number}: {len(parts)} columns with tabs between, expected 3, or up to 5 with "
            "the anchor word and what stands for it"
        )
    base, kind, variant, *words = (text(file, number, part) for part in parts)
    kinds = {one.value: one for one in Variation}
    if kind not in kinds:
        raise EvaluationError(
            f"{file}:{number}: {kind!r} is no variation; known are {', '.join(kinds)}"
        )
    word, other = (words[0], words[-1]) if words else ("", "")
    if words:
        check_word(base, word, where=f"{file}:{number}")
        check_word(variant, other, where=f"{file}:{number}")
    return _Row(number=number, base=base, kind=kinds[kind], variant=variant, word=word, other=other)


def _anchor(file: Path, base: str, lines: _Lines, *, make: bool, seed: int) -> Anchor:
    variants: dict[Variation, str] = {}
    words: dict[Variation, str] = {}
    named = ""
    for row in lines.rows:
        where = f"{file}:{row.number}"
        if row.kind in variants:
            raise EvaluationError(f"{where}: a second {row.kind.value} of {base!r}")
        variants[row.kind] = row.variant
        if row.word:
            if named and row.word != named:
                raise EvaluationError(
                    f"{where}: {base!r} has the anchor word {named!r} above and {row.word!r} here; "
                    "a sentence has one"
                )
            named = row.word
            words[row.kind] = row.other
    if make:
        try:
            made = made_variations(base, seed=seed)
        except EvaluationError as error:
            raise EvaluationError(f"{file}:{lines.first}: {error}") from error
        added = {kind: variant for kind, variant in made.items() if kind not in variants}
        words |= {kind: named for kind, new in added.items() if named and word_place(new, named)}
        variants = {**made, **variants}
    return Anchor(base=base, variants=variants, word=named or None, words=words)
