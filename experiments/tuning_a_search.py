"""What is a search worth on new queries whose mode and fusion were chosen by 50 labelled ones?

On each set and for each seed, 50 random queries choose as ``decant tune-search`` does, and all
other queries measure what was chosen, and what would have been without the test of the gain,
against DBSF. The last table has the same for 100 and 200 queries, where 50 others are left,
and the one before counts what is kept where gains have random signs, so that none is real.
Rankings are those of ``fusion_of_rankings.py``: exact cosines, and BM25 by a plain formula.
Intervals are of the paired bootstrap over queries, 95 %.

For example:
python experiments/tuning_a_search.py minilm --data data --cache scratch
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import nltk
import numpy as np

from decant.embedders import Encoder, load
from decant.evaluation import RetrievalSet, read_beir
from decant.integrations.qdrant import (
    HeldOutGain,
    RankingMetric,
    SearchDefaults,
    SearchMode,
    SelectionSettings,
)
from decant.integrations.qdrant.searching.candidates import Rankings
from decant.integrations.qdrant.searching.choices import candidates, ranked_ids
from decant.integrations.qdrant.searching.selection import best, estimate_gain
from fusion_of_rankings import DEPTH, parse, rank

SETS = ("cosqa_dev", "wikiqa_dev", "xquad_de", "xquad_en", "cranfield", "squad2_dev_cs224n")
SEEDS, CHANCES = range(5), 200
LABELLED, MORE, LEAST_OTHERS = 50, (100, 200), 50
PRESENT = SearchDefaults(mode=SearchMode.HYBRID)
TRIED = candidates((SearchMode.DENSE, SearchMode.WORDS), PRESENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What one seed chose on one set, and what it is worth."""

    best: int
    estimate: HeldOutGain
    gains: np.ndarray

    @property
    def is_better(self) -> bool:
        """Whether the choice is kept."""
        return self.best != 0 and self.estimate.low > 0


def main() -> None:
    """Choose and measure on every set, and print tables."""
    options = parse(__doc__)
    nltk.data.path.append(str(files("llama_index.core") / "_static" / "nltk_cache"))
    print("| set | seed | chosen by 50 | estimated gain | kept | gain on the others | queries |")
    print("|---|---|---|---|---|---|---|")
    rows: dict[str, list[Trial]] = {}
    alone: dict[str, np.ndarray] = {}
    chances: dict[str, int] = {}
    by_count: dict[tuple[str, int], list[Trial]] = {}
    with load(options.bundle, provider="cpu", precision="fp32") as encoder:
        for name in SETS:
            data = read_beir(options.data / "retrieval" / name)
            scores = _score(data, encoder, options.cache)
            alone[name] = scores.mean(axis=0)
            rows[name] = [_try(scores, seed, LABELLED) for seed in SEEDS]
            chances[name] = _count_chances(scores)
            for count in (LABELLED, *MORE):
                if len(scores) >= count + LEAST_OTHERS:
                    by_count[name, count] = [_try(scores, seed, count) for seed in SEEDS]
            for seed, trial in zip(SEEDS, rows[name], strict=True):
                _show(name, seed, trial)
    print(f"\n| | {' | '.join(SETS)} |\n|---{'|---' * len(SETS)}|")
    for number, one in enumerate(TRIED):
        print(f"| {one} | {' | '.join(f'{alone[name][number]:.3f}' for name in SETS)} |")
    print(f"\n| set | kept of {CHANCES} draws in which no candidate is better |\n|---|---|")
    for name, times in chances.items():
        print(f"| {name} | {times} |")
    print("\n| set | labelled | kept | gain as kept, mean | gain if always taken |")
    print("|---|---|---|---|---|")
    for (name, labelled), trials in by_count.items():
        kept = [trial.gains.mean() * trial.is_better for trial in trials]
        taken = [trial.gains.mean() for trial in trials]
        better = sum(trial.is_better for trial in trials)
        shown = (name, labelled, f"{better} of {len(trials)}", f"{np.mean(kept):+.4f}")
        print(f"| {' | '.join(map(str, shown))} | {_spread(taken)} |")


def _try(scores: np.ndarray, seed: int, count: int) -> Trial:
    """Choose by so many random queries, and return with it what all others gain by the choice."""
    labelled = np.random.default_rng(seed).choice(len(scores), count, replace=False)
    chosen = best(scores[labelled])
    others = np.delete(scores, labelled, axis=0)
    return Trial(
        best=chosen,
        estimate=estimate_gain(scores[labelled], SelectionSettings(seed=seed)),
        gains=others[:, chosen] - others[:, 0],
    )


def _count_chances(scores: np.ndarray) -> int:
    """Return how often a candidate is kept though none is better: signs of gains are random."""
    random, kept = np.random.default_rng(0), 0
    for seed in range(CHANCES):
        labelled = scores[random.choice(len(scores), LABELLED, replace=False)]
        gains = (labelled - labelled[:, :1]) * random.choice([-1, 1], (LABELLED, 1))
        estimate = estimate_gain(gains, SelectionSettings(seed=seed))
        kept += Trial(best=best(gains), estimate=estimate, gains=gains).is_better
    return kept


def _show(name: str, seed: int, trial: Trial) -> None:
    gains = trial.gains
    drawn = np.random.default_rng(0).integers(0, len(gains), (2000, len(gains)))
    low, high = np.quantile(gains[drawn].mean(axis=1), [0.025, 0.975])
    measured = HeldOutGain(value=float(gains.mean()), low=float(low), high=float(high))
    kept = "yes" if trial.is_better else "no"
    shown = (name, seed, TRIED[trial.best], trial.estimate, kept, measured, len(gains))
    print(f"| {' | '.join(map(str, shown))} |", flush=True)


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):+.4f} ({min(values):+.4f} to {max(values):+.4f})"


def _score(data: RetrievalSet, encoder: Encoder, cache: Path) -> np.ndarray:
    """Return the nDCG@10 of each query under each candidate, shape ``(Q, C)``."""
    found = rank(data, encoder, cache)
    metric = RankingMetric()
    scores = []
    for query, one, (two, _) in zip(found.queries, found.dense, found.words, strict=True):
        fetched = {SearchMode.DENSE: one[:DEPTH], SearchMode.WORDS: two[:DEPTH]}
        rankings = Rankings.fetched(fetched, DEPTH)
        relevant = data.relevant(query)
        scores.append([metric.score(ranked_ids(tried, rankings), relevant) for tried in TRIED])
    return np.array(scores)


if __name__ == "__main__":
    main()
