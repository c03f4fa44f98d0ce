"""Which fusion of a dense ranking and one by words finds most, on every retrieval set at hand?

Dense is the exact cosine; words are BM25 by a plain formula on tokens, independent of Qdrant, with
Snowball stems and NLTK's stop words of the set's language, or on the words as they are. Every
fusion is scored by nDCG@10 and compared, query by query, with the better of the two rankings it
fuses: ``+`` and ``-`` mark an interval (paired bootstrap over queries, 95 %) without zero.
RRF, DBSF and relative score fusion are decant's own. The z-sum adds standard scores, with the least
of a ranking for what it lacks. Convex adds cosines and BM25 over the greatest that the words of the
query could give, or over that of its best hit; what a ranking lacks has 0 there.

The stop words are those that come with llama-index-core. Vectors are kept in ``--cache``.

For example:
python experiments/fusion_of_rankings.py minilm --data data --cache scratch
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TypeAlias

import nltk
import numpy as np
from nltk.corpus import stopwords
from nltk.stem import SnowballStemmer
from scipy import sparse

from decant.embedders import Encoder, Role, load
from decant.evaluation import (
    Bootstrap,
    Comparison,
    Measurement,
    Retrieval,
    RetrievalSet,
    compare,
    read_beir,
)
from decant.evaluation.scores.statistics import macro_mean_statistic
from decant.integrations.qdrant import Fusion
from decant.integrations.qdrant.searching.fusion import fuse

Ranking: TypeAlias = list[tuple[str, float]]
"""Ids and scores, best first."""
Fuse = Callable[[Ranking, Ranking, float], Ranking]
"""Of the dense ranking, that by words, and the greatest BM25 that the query's words could give."""
ByWords = Sequence[tuple[Ranking, float]]
"""The ranking by words of each query, and the greatest BM25 that its words could give."""
Row = dict[str, Measurement]
"""The nDCG@10 of each method on one set."""

K, B = 1.2, 0.75  # BM25's, as decant's Words
DEPTH, DEPTHS = 100, (20, 50, 100, 200)
WEIGHTS = (0.3, 0.4, 0.5, 0.6, 0.7)
SAMPLED = {"cosqa_dev": 2000}
LANGUAGES = {"de": "german", "en": "english", "es": "spanish"}
BOOTSTRAP = Bootstrap(resamples=2000, seed=0)
FIRST = 10
DENSE, WORDS, PLAIN = "dense", "words", "words as they are"
OLDEST, BEST = "RRF k=60", "DBSF"


def main() -> None:
    """Score every method on every set and print tables."""
    options = parse(__doc__)
    nltk.data.path.append(str(files("llama_index.core") / "_static" / "nltk_cache"))
    rows: dict[str, Row] = {}
    with load(options.bundle, provider="cpu", precision="fp32") as encoder:
        for folder in sorted((options.data / "retrieval").iterdir()):
            for data in _parts(read_beir(folder)):
                rows[data.name] = _measure(data, encoder, options.cache)
                print(f"measured {data.name}", flush=True)
    complete = [name for name in rows if "," not in name]
    short = [name for name in rows if name not in SAMPLED]
    means = {"mean of complete sets": complete, "mean, cosqa_dev cut": short}
    names = list(rows["adi"])
    deep = [name for name in names if name.endswith(" deep")]
    weighted = [name for name in names if any(f" {weight}" in name for weight in WEIGHTS)]
    _show_values(rows, [name for name in names if name not in {*deep, *weighted}], means)
    _show_values(rows, weighted, means)
    _show_values(rows, deep, means)
    _show_differences(rows)
    _show_over_all({name: rows[name] for name in complete})


def _parts(data: RetrievalSet) -> list[RetrievalSet]:
    """Return a set, and a part of it with fewer passages where one is measured, too."""
    if data.name not in SAMPLED:
        return [data]
    judged = {passage for grades in data.judgements.values() for passage in grades}
    others = [passage for passage in data.documents if passage not in judged]
    count = SAMPLED[data.name] - len(judged)
    kept = judged | {*np.random.default_rng(0).choice(others, count, replace=False).tolist()}
    documents = {key: text for key, text in data.documents.items() if key in kept}
    return [data, replace(data, name=f"{data.name}, {len(documents):,}", documents=documents)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """The rankings of a set: for each query with a relevant passage, in the order of its ids."""

    queries: list[str]
    dense: list[Ranking]
    words: ByWords
    plain: ByWords


def rank(data: RetrievalSet, encoder: Encoder, cache: Path) -> Ranked:
    """Return the rankings of a set by vectors, by stems, and by words as they are."""
    language = LANGUAGES.get(data.name.partition("_")[2], "english")
    queries = [query for query in data.judgements if data.relevant(query)]
    texts = [data.queries[query] for query in queries]
    ids = np.array([key for key, text in data.documents.items() if text.strip()], dtype=object)
    passages = [data.documents[key] for key in ids]
    vectors = [
        _embed(encoder, part, role, cache)
        for part, role in ((texts, Role.QUERY), (passages, Role.PASSAGE))
    ]
    dense = _best(vectors[0] @ vectors[1].T, ids, above=-np.inf)
    stems = partial(stem, stemmer=_stemmer(language), stop=_stop(language))
    words, plain = (_by_words(texts, passages, ids, read) for read in (stems, split))
    return Ranked(queries=queries, dense=dense, words=words, plain=plain)


def _measure(data: RetrievalSet, encoder: Encoder, cache: Path) -> Row:
    """Return the nDCG@10 of every method on a set."""
    found = rank(data, encoder, cache)
    dense, words, plain = found.dense, found.words, found.plain
    texts = [data.queries[query] for query in found.queries]
    task = Retrieval(data=data, bootstrap=BOOTSTRAP)

    def score(method: Fuse, second: ByWords = words, depth: int = DEPTH) -> Measurement:
        rankings = {
            text: method(one[:depth], two[:depth], most)[:FIRST]
            for text, one, (two, most) in zip(texts, dense, second, strict=True)
        }

        def search(query: str, *, limit: int) -> Ranking:  # noqa: ARG001 - ten are what counts
            return rankings[query]

        return task.score_search(search)[0]

    row = {DENSE: score(lambda one, *_: one), WORDS: score(lambda _, two, __: two)}
    row[PLAIN] = score(lambda _, two, __: two, plain)
    row |= {name: score(method) for name, method in methods().items()}
    row |= {f"{name}, {PLAIN}": score(methods()[name], plain) for name in (OLDEST, BEST)}
    for name in ("RRF k=1", OLDEST, BEST, "relative", "z-sum", "convex"):
        row |= {f"{name}, {n} deep": score(methods()[name], depth=n) for n in DEPTHS if n != DEPTH}
    return row


def methods() -> dict[str, Fuse]:
    """Return every fusion by its name; without a weight in it, both rankings count the same."""
    found: dict[str, Fuse] = {
        f"RRF k={k}": partial(_by_decant, Fusion.rrf(k=k)) for k in (1, 2, 5, 20, 60)
    }
    found |= {
        "DBSF": partial(_by_decant, Fusion.dbsf()),
        "DBSF, empty places left out": partial(_by_decant_alike, Fusion.dbsf()),
        "relative": partial(_by_decant, Fusion.relative()),
        "z-sum": lambda dense, words, _: z_sum(dense, words),
        "convex": partial(convex, 0.5),
        "convex, best hit": lambda dense, words, _: convex(
            0.5, dense, words, words[0][1] if words else 1.0
        ),
    }
    for weight in WEIGHTS:
        fusion = Fusion.relative(weights={DENSE: weight, WORDS: 1 - weight})
        found[f"relative {weight}"] = partial(_by_decant, fusion)
        found[f"convex {weight}"] = partial(convex, weight)
    return found


def _by_decant(fusion: Fusion, dense: Ranking, words: Ranking, _most: float) -> Ranking:
    # The dense ranking is as long as its depth, or as the corpus.
    ended = {WORDS} if len(words) < len(dense) else set()
    return fuse({DENSE: dense, WORDS: words}, fusion, ended=ended)


def _by_decant_alike(fusion: Fusion, dense: Ranking, words: Ranking, _most: float) -> Ranking:
    """Fuse as Qdrant does: what a ranking by words lacks does not count as 0 in it."""
    return fuse({DENSE: dense, WORDS: words}, fusion)


def z_sum(dense: Ranking, words: Ranking) -> Ranking:
    """Return the ranking by the sum of standard scores, a ranking's least for what it lacks."""
    total = dict.fromkeys([key for key, _ in [*dense, *words]], 0.0)
    for ranking in filter(None, (dense, words)):
        scores = np.array([score for _, score in ranking])
        deviation = scores.std(ddof=1) if len(scores) > 1 else 0.0
        standard = (scores - scores.mean()) / deviation if deviation else np.zeros(len(scores))
        held = dict(zip((key for key, _ in ranking), standard.tolist(), strict=True))
        least = min(held.values())
        total = {key: value + held.get(key, least) for key, value in total.items()}
    return _sorted(total)


def convex(weight: float, dense: Ranking, words: Ranking, most: float) -> Ranking:
    """Return the ranking by cosines and BM25 over ``most``, weighted; 0 for what one lacks."""
    total = {key: weight * score for key, score in dense}
    for key, score in words:
        total[key] = total.get(key, 0.0) + (1 - weight) * score / most
    return _sorted(total)


def _sorted(scores: Mapping[str, float]) -> Ranking:
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


def split(text: str) -> list[str]:
    """Return the words of a text, in lower case; Qdrant, too, cuts identifiers at underscores."""
    return re.findall(r"[^\W_]+", text.lower())


def stem(text: str, *, stemmer: Callable[[str], str], stop: frozenset[str]) -> list[str]:
    """Return the stems of the words that are no stop words."""
    return [stemmer(word) for word in split(text) if word not in stop]


def bm25(
    queries: Sequence[Sequence[str]], passages: Sequence[Sequence[str]]
) -> tuple[np.ndarray, list[float]]:
    """Return the BM25 score of each passage for each query, shape ``(Q, N)``, and the bounds.

    Lucene's formula, a word of a query counting once; passages without words count nowhere. The
    bound of a query is what a passage would have that held each of its words without end.
    """
    numbers: dict[str, int] = {}
    found = [[numbers.setdefault(word, len(numbers)) for word in words] for words in passages]
    counts = _counts(found, len(numbers))  # (N, V)
    lengths = np.array([len(words) for words in passages], np.float64)
    written = np.count_nonzero(lengths)
    holding = np.bincount(counts.indices, minlength=len(numbers))  # (V,), passages with the word
    idf = np.log1p((written - holding + 0.5) / (holding + 0.5))
    length = (K * (1 - B + B * lengths / (lengths.sum() / written)))[counts.tocoo().row]
    counts.data = idf[counts.indices] * counts.data * (K + 1) / (counts.data + length)
    asked = [[numbers[word] for word in {*words} & numbers.keys()] for words in queries]
    scores = np.asarray((_counts(asked, len(numbers)) @ counts.T).toarray())
    unheard = np.log1p((written + 0.5) / 0.5)
    missing = [len({*words} - numbers.keys()) for words in queries]
    bounds = [
        float(idf[one].sum() + unheard * count) * (K + 1) or 1.0
        for one, count in zip(asked, missing, strict=True)
    ]
    return scores, bounds


def _counts(rows: Sequence[Sequence[int]], width: int) -> sparse.csr_array:
    """Return how often each number stands in each row, shape ``(rows, width)``."""
    starts = np.cumsum([0, *map(len, rows)])
    columns = np.array([number for row in rows for number in row], np.int64)
    counts = sparse.csr_array((np.ones(len(columns)), columns, starts), shape=(len(rows), width))
    counts.sum_duplicates()
    return counts


def _stemmer(language: str) -> Callable[[str], str]:
    return SnowballStemmer(language).stem  # type: ignore[no-any-return]


def _stop(language: str) -> frozenset[str]:
    return frozenset(stopwords.words(language))


def _by_words(
    queries: Sequence[str],
    passages: Sequence[str],
    ids: np.ndarray,
    read: Callable[[str], list[str]],
) -> ByWords:
    scores, bounds = bm25([read(text) for text in queries], [read(text) for text in passages])
    return list(zip(_best(scores, ids, above=0), bounds, strict=True))


def _best(scores: np.ndarray, ids: np.ndarray, *, above: float) -> list[Ranking]:
    """Return the deepest rankings of scores above a bound, equal ones in the corpus's order."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, : max(DEPTHS)]
    best = np.take_along_axis(scores, order, axis=1)
    return [
        [(str(ids[n]), float(score)) for n, score in zip(row, values, strict=True) if score > above]
        for row, values in zip(order, best, strict=True)
    ]


def _embed(encoder: Encoder, texts: Sequence[str], role: Role, cache: Path) -> np.ndarray:
    """Return unit vectors, computed once for the same recipe and texts, shape ``(N, D)``."""
    key = hashlib.sha256("\0".join([encoder.recipe.digest(), role, *texts]).encode()).hexdigest()
    file = cache / f"{key[:16]}.npy"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        np.save(file, encoder.encode(texts, role=role).dense)
    vectors: np.ndarray = np.load(file)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _better(row: Row, words: str = WORDS) -> str:
    return max((DENSE, words), key=lambda name: row[name].score.value)


def _against_better(row: Row, name: str) -> Comparison:
    return compare(row[_better(row, PLAIN if name.endswith(PLAIN) else WORDS)], row[name])


def _mark(comparison: Comparison) -> str:
    found = comparison.difference
    return "+" if found.low > 0 else "-" if found.high < 0 else ""


def _show_values(
    rows: Mapping[str, Row], names: Sequence[str], means: Mapping[str, Sequence[str]]
) -> None:
    """Print the nDCG@10 of some methods, sets as columns."""
    columns = [*rows, *means]
    print(f"\n| | {' | '.join(columns)} |\n|---{'|---' * len(columns)}|")
    for name in names:
        cells = [f"{row[name].score.value:.3f}" for row in rows.values()]
        if name not in (DENSE, WORDS, PLAIN):
            marks = [_mark(_against_better(row, name)) for row in rows.values()]
            cells = [cell + mark for cell, mark in zip(cells, marks, strict=True)]
        cells += [
            f"{np.mean([rows[one][name].score.value for one in members]):.3f}"
            for members in means.values()
        ]
        print(f"| {name} | {' | '.join(cells)} |")


def _show_differences(rows: Mapping[str, Row]) -> None:
    """Print what the fusions differ by from the better ranking, with intervals."""
    shown = ("RRF k=1", OLDEST, BEST, "relative", "convex")
    print(f"\n| set | queries | better | {' | '.join(shown)} |\n|---|---|---{'|---' * len(shown)}|")
    for name, row in rows.items():
        cells = []
        for method in shown:
            found = _against_better(row, method).difference
            cells.append(f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})")
        count = row[DENSE].score.cases
        print(f"| {name} | {count:,} | {_better(row)} | {' | '.join(cells)} |")


def _show_over_all(rows: Mapping[str, Row]) -> None:
    """Print what each method differs by from DBSF in the mean over sets, queries drawn in each."""
    together = {name: _joined([row[name] for row in rows.values()]) for name in rows["adi"]}
    print(f"\n| method | mean over {len(rows)} sets | less {BEST} |\n|---|---|---|")
    for name, measured in together.items():
        found = compare(together[BEST], measured)
        delta = found.difference
        print(
            f"| {name} | {found.second:.4f} | "
            f"{delta.value:+.4f} ({delta.low:+.4f} to {delta.high:+.4f}) |"
        )


def _joined(parts: Sequence[Measurement]) -> Measurement:
    """Return one measurement of several sets, each a group, whose means are averaged."""
    cases = [part.cases for part in parts]
    joined = replace(
        cases[0],
        truth=np.concatenate([one.truth for one in cases]),
        found=np.concatenate([one.found for one in cases]),
        groups=np.repeat(np.arange(len(cases)), [len(one.found) for one in cases]),
        covered=np.concatenate([one.covered for one in cases]),
    )
    score = replace(parts[0].score, name="all sets")
    return Measurement(
        score=score, cases=joined, statistic=macro_mean_statistic, bootstrap=BOOTSTRAP
    )


def parse(description: str | None) -> argparse.Namespace:
    """Read the command line of a script that measures rankings of the data sets."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("bundle", type=Path, help="a bundle of a dense encoder")
    made.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    made.add_argument("--cache", type=Path, required=True, help="where vectors are kept")
    return made.parse_args()


if __name__ == "__main__":
    main()
