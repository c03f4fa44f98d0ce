"""Is MiniLM, tuned as a cross-encoder on half of SQuAD's articles, better than the best fusion?

The passages of ``retrieval/squad2_dev_cs224n`` stand article by article. They are cut in two where
neighbours near the middle have least to do with each other, so that the halves share no passage and
no article. The first half trains: its questions with the passages that answer them, and as
negatives the best other hits of a search by vectors and words among its own passages. Its last
articles are held out to look at the training. The other half is searched with its own questions, by
vectors, by words and by fusions of both, and the best hits are reranked.

For example:
python experiments/ordering/rerank_squad.py train --data data --base minilm-folder \
    --bundle minilm --out scratch
python experiments/ordering/rerank_squad.py evaluate --data data --bundle minilm --out scratch
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file

from decant.embedders import (
    Encoder,
    HashReranker,
    RerankChoices,
    Reranker,
    Role,
    TorchEncoder,
    TorchReranker,
    best_first,
    load,
    load_reranker,
)
from decant.evaluation import Bootstrap, Measurement, Retrieval, RetrievalSet, compare, read_beir
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Fusion,
    LabelledQuery,
    Record,
    SearchDefaults,
    SearchMode,
    Words,
    connect,
    tune_search,
)
from decant.training import (
    Mining,
    MixedPrecision,
    Ranking,
    RerankBase,
    RerankLoss,
    RerankSettings,
    RerankTraining,
    TrainingCallbacks,
    TrainingExample,
    TrainingSettings,
    mine,
    open_rerank_base,
    read_table,
    train,
)

SET = "squad2_dev_cs224n"
AROUND, NEAR = 3, 0.1  # passages on either side of a cut; the share of the corpus where it may lie
DEV = 0.15  # of the first half, its last articles
MINED, DEPTH = 7, 30
BOOTSTRAP = Bootstrap(resamples=2000, seed=0)
CANDIDATES = (5, 10, 20, 50)
SAVED = 50
WATCHED, NEAREST = 40, 10  # questions that are scored while training, and hits of each
LOOKED_AT, SHOWN = 20, 10  # candidates and questions of the account of losses


def main() -> None:
    """Train or evaluate."""
    asked = parse()
    asked.out.mkdir(parents=True, exist_ok=True)
    if asked.command == "take":
        take(asked)
        return
    with load(asked.bundle, provider="cpu", precision="fp32") as encoder:
        parts = divide(read_beir(asked.data / "retrieval" / SET), encoder)
        for name, part in parts.items():
            print(f"{name}: {len(part.documents)} passages, {len(part.judgements)} questions")
        if asked.command == "train":
            fit(parts, encoder, asked)
        else:
            part = parts[asked.part]
            if asked.questions is not None:
                part = drawn(part, asked.questions)
            measure(part, encoder, asked)


def parse() -> argparse.Namespace:
    """Return the options."""
    made = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    made.add_argument("command", choices=("train", "take", "evaluate"))
    made.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    made.add_argument("--bundle", type=Path, required=True, help="MiniLM, exported")
    made.add_argument("--base", type=Path, help="MiniLM's folder")
    made.add_argument("--out", type=Path, required=True)
    made.add_argument("--name", default="tuned", help="the trained folder in --out")
    made.add_argument("--reranker", help="a bundle; by default the trained folder, in PyTorch")
    made.add_argument("--precision", default="fp32", help="of the bundle")
    made.add_argument("--part", choices=("dev", "other", "whole"), default="other")
    made.add_argument("--questions", type=int, help="evaluate on so many, drawn at random")
    made.add_argument("--loss", choices=tuple(RerankLoss), default="listwise")
    made.add_argument("--negatives", type=int, default=3)
    made.add_argument("--epochs", type=int, default=2)
    made.add_argument("--rate", type=float, default=1e-4)
    made.add_argument("--batch", type=int, default=8)
    made.add_argument("--max-tokens", type=int, default=192)
    made.add_argument("--max-steps", type=int)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--looks", type=int, default=1, help="at a part of dev while training")
    made.add_argument("--fp32", action="store_true")
    return made.parse_args()


def divide(data: RetrievalSet, encoder: Encoder) -> dict[str, RetrievalSet]:
    """Return the parts: train, dev, other, and the other's questions over the whole corpus."""
    ids = list(data.documents)
    vectors = encoder.encode([data.documents[one] for one in ids], role=Role.PASSAGE).dense
    middle = cut_near(vectors, 0.5)
    first = cut_near(vectors[:middle], 1 - DEV)
    other = part_of(data, ids[middle:], "other")
    return {
        "train": part_of(data, ids[:first], "train"),
        "dev": part_of(data, ids[first:middle], "dev"),
        "other": other,
        "whole": replace(other, name="whole", documents=data.documents),
    }


def cut_near(vectors: np.ndarray, share: float) -> int:
    """Return where to cut rows near a share of them: where both sides are least alike."""
    count = len(vectors)
    near = range(int((share - NEAR) * count), min(int((share + NEAR) * count), count - AROUND))

    def alike(place: int) -> float:
        before, after = (
            rows.mean(0) for rows in (vectors[place - AROUND : place], vectors[place:][:AROUND])
        )
        return float(before @ after / np.linalg.norm(before) / np.linalg.norm(after))

    return min(near, key=alike)


def part_of(data: RetrievalSet, ids: Sequence[str], name: str) -> RetrievalSet:
    """Return some passages with the questions that one of them answers."""
    kept = {*ids}
    judged = {query: grades for query, grades in data.judgements.items() if kept & {*grades}}
    judgements = {
        query: {one: grade for one, grade in grades.items() if one in kept}
        for query, grades in judged.items()
    }
    return RetrievalSet(
        name=name,
        documents={one: data.documents[one] for one in ids},
        queries={query: data.queries[query] for query in judged},
        judgements=judgements,
    )


@dataclass(frozen=True, slots=True)
class Hits:
    """A search of a collection, for mining and for evaluation."""

    collection: Collection
    way: SearchDefaults

    def __call__(self, query: str, *, limit: int) -> list[tuple[str, float]]:
        """Return ids by falling places, for evaluation."""
        hits = self.collection.search(
            query, limit=limit, mode=self.way.mode, fusion=self.way.fusion
        )
        return [(hit.id, -float(place)) for place, hit in enumerate(hits)]

    def search(self, rows: Sequence[TrainingExample], *, limit: int) -> Iterator[Ranking]:
        """Yield every hit as a negative: each question was written for one passage of the set."""
        for row in rows:
            hits = self.collection.search(
                row.query, limit=limit, mode=self.way.mode, fusion=self.way.fusion
            )
            candidates = [(hit.text, -float(place)) for place, hit in enumerate(hits)]
            yield Ranking(positive=0.0, candidates=candidates)


def filled(store: object, part: RetrievalSet, encoder: Encoder) -> Collection:
    """Return a collection of a part's passages, by vectors and by English stems."""
    settings = CollectionSettings(words=Words(language="english"))
    made = Collection.create(store, part.name, encoder, settings=settings)  # type: ignore[arg-type]
    made.add([Record(id=one, text=text) for one, text in part.documents.items()])
    return made


def fit(parts: Mapping[str, RetrievalSet], encoder: Encoder, asked: argparse.Namespace) -> None:
    """Mine negatives, and train."""
    part = parts["train"]
    pairs, mined = asked.out / "pairs.jsonl", asked.out / "mined.jsonl"
    fused = SearchDefaults(mode=SearchMode.HYBRID)
    if not mined.exists():
        lines = [
            json.dumps({"query": part.queries[query], "positive": part.documents[one]})
            for query, grades in part.judgements.items()
            for one, grade in grades.items()
            if grade > 0
        ]
        pairs.write_text("\n".join(lines) + "\n", encoding="utf-8")
        with tempfile.TemporaryDirectory() as home, connect(home) as store:
            searcher = Hits(filled(store, part, encoder), fused)
            mining = Mining(count=MINED, max_positive_ratio=1.0, depth=DEPTH)
            print(mine(read_table([pairs]), searcher, mined, mining))
    opened, settings = opened_for(asked)
    table = read_table([mined])
    steps = asked.max_steps or asked.epochs * (len(table) // asked.batch)
    loop = TrainingSettings(
        batch_size=asked.batch,
        epochs=asked.epochs,
        max_steps=asked.max_steps,
        learning_rate=asked.rate,
        precision=MixedPrecision.FP32 if asked.fp32 else MixedPrecision.BF16,
        log_every=10,
        score_every=max(1, steps // asked.looks),
        save_every=SAVED,
        seed=asked.seed,
    )
    begun = time.monotonic()

    def progress(step: int, total: int, values: Mapping[str, float]) -> None:
        told = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
        print(f"{time.monotonic() - begun:.0f} s, step {step} of {total}: {told}", flush=True)

    with tempfile.TemporaryDirectory() as home, connect(home) as store:
        dev = parts["dev"]
        task = Retrieval(data=drawn(dev, WATCHED))
        watch = Watch(task, Hits(filled(store, dev, encoder), fused))

        def score(model: TorchEncoder) -> dict[str, float]:
            return watch(opened.reranker(model))

        callbacks = TrainingCallbacks(progress=progress, scorer=score)
        training = RerankTraining(opened, settings)
        print(train(training, table, asked.out / asked.name, loop, callbacks=callbacks))


def opened_for(asked: argparse.Namespace) -> tuple[RerankBase, RerankSettings]:
    """Return the model in training and its settings."""
    settings = RerankSettings(loss=RerankLoss(asked.loss), negatives=asked.negatives)
    choices = RerankChoices(max_tokens=asked.max_tokens)
    # Without dropout: the pass over half a set is short, and attention without it is twice as fast.
    opened = open_rerank_base(asked.base, choices=choices, dropout=0.0, seed=asked.seed)
    return opened, settings


def take(asked: argparse.Namespace) -> None:
    """Write the model of a run's last checkpoint, which another run may start from."""
    opened, settings = opened_for(asked)
    training = RerankTraining(opened, settings)
    partial = asked.out / f"{asked.name}.partial"
    last = max(int(path.name.rpartition("-")[2]) for path in partial.glob("checkpoints/*"))
    weights = load_file(partial / f"checkpoints/checkpoint-{last}/model.safetensors")
    training.load_state_dict(weights, strict=False)  # of weights with two names it has one
    folder = asked.out / f"{asked.name}-{last}"
    folder.mkdir()
    training.eval().write(folder)
    print(f"wrote {folder}")


@dataclass(frozen=True, slots=True)
class Watch:
    """The nDCG@10 of some questions, reranked and as they were found."""

    task: Retrieval
    search: Hits

    def __call__(self, reranker: Reranker) -> dict[str, float]:
        """Return both values by name."""
        found = self.task.score_reranked(self.search, reranker, candidates=NEAREST)
        return {
            "dev": found.after[0].score.value,
            "fusion": found.before[0].score.value,
        }


def drawn(part: RetrievalSet, count: int) -> RetrievalSet:
    """Return a part with some of its questions, drawn at random, and all its passages."""
    chosen = np.random.default_rng(0).choice(list(part.judgements), count, replace=False)
    return replace(part, judgements={query: part.judgements[query] for query in chosen.tolist()})


class Remembered(HashReranker):
    """A reranker that scores each pair once, for rankings of several depths."""

    def __init__(self, inner: Reranker) -> None:
        super().__init__()
        self._inner = inner
        self._known: dict[tuple[str, str], float] = {}

    def score(self, query: str, texts: Iterable[str], **_: object) -> NDArray[np.float32]:
        """Return raw scores, which order passages as finished ones do."""
        listed = list(texts)
        if new := [text for text in listed if (query, text) not in self._known]:
            scores = self._inner.score(query, new, raw=True).tolist()
            self._known |= {(query, text): one for text, one in zip(new, scores, strict=True)}
        return np.array([self._known[query, text] for text in listed], np.float32)


def measure(part: RetrievalSet, encoder: Encoder, asked: argparse.Namespace) -> None:
    """Search a part, rerank, compare, and show where it is lost."""
    task = Retrieval(data=part, bootstrap=BOOTSTRAP)
    if asked.reranker is None:
        inner: Reranker = TorchReranker.from_pretrained(asked.out / asked.name)
    else:
        inner = load_reranker(asked.reranker, provider="cpu", precision=asked.precision)
    reranker = Remembered(inner)
    with tempfile.TemporaryDirectory() as home, connect(home) as store:
        collection = filled(store, part, encoder)
        labelled = [
            LabelledQuery(text=part.queries[query], relevant=part.relevant(query))
            for query in part.judgements
        ]
        best = tune_search(collection, labelled).best.defaults
        ways = {
            "words": SearchDefaults(mode=SearchMode.WORDS),
            "vectors": SearchDefaults(mode=SearchMode.DENSE),
            "RRF": SearchDefaults(mode=SearchMode.HYBRID, fusion=Fusion.rrf()),
            "DBSF": SearchDefaults(mode=SearchMode.HYBRID, fusion=Fusion.dbsf()),
            f"best ({best})": best,
        }
        found = {name: task.score_search(Hits(collection, way))[0] for name, way in ways.items()}
        name = max(found, key=lambda one: found[one].score.value)
        for way, measurement in found.items():
            print(f"| {way} | {shown(measurement)} | |")
        search = Hits(collection, ways[name])
        for candidates in CANDIDATES:
            scored = task.score_reranked(search, reranker, candidates=candidates)
            difference = compare(scored.before[0], scored.after[0]).difference
            print(
                f"| {name}, {candidates} reranked | {shown(scored.after[0])} | "
                f"{100 * difference.value:+.1f} ({100 * difference.low:+.1f} to "
                f"{100 * difference.high:+.1f}), p {difference.p_value:.4f}; "
                f"{scored.gain.score.note} |",
                flush=True,
            )
            if candidates == LOOKED_AT:
                show_losses(part, search, reranker, (scored.before[0], scored.after[0]))


def shown(measurement: Measurement) -> str:
    """Return a score with its interval, in points."""
    score = measurement.score
    return f"{100 * score.value:.1f} ({100 * score.low:.1f} to {100 * score.high:.1f})"


def show_losses(
    part: RetrievalSet,
    search: Hits,
    reranker: Reranker,
    measured: tuple[Measurement, Measurement],
) -> None:
    """Print the questions that lose most, with what was found and what should have been."""
    before, after = measured
    gains = after.cases.found - before.cases.found
    queries = list(part.judgements)
    for place in np.argsort(gains, kind="stable")[:SHOWN].tolist():
        query = queries[place]
        head = [one for one, _ in search(part.queries[query], limit=LOOKED_AT)]
        scores = reranker.score(part.queries[query], [part.documents[one] for one in head])
        order = best_first(scores)
        right = next(iter(part.relevant(query)))
        print(f"\n{query} {gains[place]:+.2f}: {part.queries[query]}")
        if right in head:
            at = head.index(right)
            print(f"  right, found {at + 1}, then {order.index(at) + 1}, {scores[at]:.2f}:")
        else:
            print("  right, not among the candidates:")
        print(f"    {part.documents[right]}")
        print(f"  first now, found {order[0] + 1}, {scores[order[0]]:.2f}:")
        print(f"    {part.documents[head[order[0]]]}")


if __name__ == "__main__":
    main()
