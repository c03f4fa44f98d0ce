"""Strategies side by side on one model: what each is worth, and what it costs.

Each strategy is exported, and its certified graph scored on STS-B dev, WordSim-353, Google's
analogies and cranfield, in a process of its own, so that its peak memory is its own. Sparse vectors
are rows of their own, compared by cosine. Analogies: 3CosAdd without the question's words.

For example:
python experiments/strategies.py --model models/stories --data data --out table.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.machine import circumstances
from decant.embedders import (
    Bundle,
    Choices,
    DecantError,
    OnnxEncoder,
    Output,
    Role,
    Vectors,
    load,
    strategies,
)
from decant.embedders.json_records import to_json
from decant.embedders.onnx import peak_memory_mb
from decant.evaluation import (
    Analogies,
    Bootstrap,
    Retrieval,
    Solver,
    Task,
    read_beir,
    read_google_analogies,
    read_sts,
    sts_task,
    word_similarity_task,
)
from decant.export import export

_STS = "sts/stsb_en.dev.tsv"
_TIMED = 256
_ROUNDS = 5
_NOTHING = 1e-6
_OF_SPARSE = ("STS-B dev", "cranfield")
_SHOWN = ("STS-B dev", "WordSim-353", "analogies", "cranfield")


def main() -> None:
    """Run every strategy and print a table, or one of them and print JSON."""
    options = _parse()
    if options.one is not None:
        print(json.dumps(_one(options)))
        return
    names = options.strategies.split(",") if options.strategies else list(strategies())
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        for name in names:
            rows += _measured(options, name, folder / name)
        _time(options.data, folder, rows)
    print(_table(rows))
    if options.out is not None:
        found = {"circumstances": json.loads(to_json(circumstances(sys.argv))), "rows": rows}
        options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _parse() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--model", type=Path, required=True, help="a model's folder")
    made.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    made.add_argument("--strategies", help="names with commas between; all by default")
    made.add_argument("--max-tokens", type=int, help="the longest input")
    made.add_argument("--keep", type=Path, help="keep bundles here; those that are there are used")
    made.add_argument(
        "--tasks", default=",".join(_SHOWN), help="which of them, with commas between (all)"
    )
    made.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    made.add_argument("--out", type=Path, help="write JSON here, too")
    made.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    made.add_argument("--sparse", action="store_true", help=argparse.SUPPRESS)
    return made.parse_args()


def _measured(options: argparse.Namespace, name: str, bundle: Path) -> Iterable[dict[str, object]]:
    """Export a strategy, and score it in another process."""
    try:
        if not bundle.exists():
            choices = Choices(max_tokens=options.max_tokens)
            export(options.model, bundle, strategy=name, choices=choices)
        (entry,) = Bundle.open(bundle).certificate().entries
    except DecantError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return
    with load(bundle) as encoder:
        kinds = [False, True] if encoder.recipe.sparse_head is not None else [False]
    for sparse in kinds:
        command = [
            sys.executable, __file__, "--model", options.model, "--data", options.data,
            "--seed", str(options.seed), "--tasks", options.tasks,
            "--one", bundle, *(["--sparse"] if sparse else []),
        ]  # fmt: skip
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        row: dict[str, object] = {
            "strategy": f"{name}, sparse" if sparse else name,
            "passes": strategies()[name].passes,
            "bundle": name,
            "worst_cosine": entry.worst_cosine,
            **json.loads(done.stdout),
        }
        print(json.dumps(row), file=sys.stderr)
        yield row


class _Sparse:
    """An encoder's sparse vectors as dense ones."""

    def __init__(self, encoder: OnnxEncoder, width: int) -> None:
        self._encoder = encoder
        self._width = width

    def encode(self, texts: Iterable[str], *, role: Role) -> Vectors:
        """Return float32 vectors of the vocabulary's width."""
        found = self._encoder.encode(texts, role=role, outputs=[Output.SPARSE]).sparse
        assert found is not None
        # One column more, so that a vector without entries has a direction, far from all others.
        dense = np.zeros((len(found), self._width + 1), np.float32)
        dense[:, -1] = _NOTHING
        for row, (indices, values) in zip(dense, found, strict=True):
            row[indices] = values
        return Vectors(dense=dense)


def _one(options: argparse.Namespace) -> dict[str, object]:
    """Score one bundle."""
    with load(options.one) as encoder:
        texts = _texts(options.data)
        rows = encoder.text_tokenizer(texts, role=Role.PASSAGE)
        tokens = sum(len(one.ids) for row in rows for one in row.rows) / len(texts)
        sparse_head = encoder.recipe.sparse_head
        words = encoder.tokenizer.get_vocab_size()
        width = words if sparse_head is None else sparse_head.clusters or words
        system = _Sparse(encoder, width) if options.sparse else encoder
        bootstrap = Bootstrap(seed=options.seed, resamples=100)
        scores = {
            name: next(iter(task.score(system))).score.value
            for name, task in _tasks(options.data, bootstrap).items()
            if name in options.tasks.split(",") and (not options.sparse or name in _OF_SPARSE)
        }
    return {
        "tokens": round(tokens, 1),
        "peak_mb": peak_memory_mb(),
        **{name: round(100 * value, 2) for name, value in scores.items()},
    }


def _texts(data: Path) -> list[str]:
    return list(read_sts(data / _STS).first[:_TIMED])


def _time(data: Path, folder: Path, rows: Sequence[dict[str, object]]) -> None:
    """Time all bundles turn by turn on the same sentences; add the medians to their rows."""
    texts = _texts(data)
    seconds: list[list[float]] = [[] for _ in rows]
    with ExitStack() as stack:
        encoders = [stack.enter_context(load(folder / str(row["bundle"]))) for row in rows]
        for turn in range(_ROUNDS + 1):
            for row, encoder, taken in zip(rows, encoders, seconds, strict=True):
                outputs = [Output.SPARSE] if str(row["strategy"]).endswith(", sparse") else []
                begun = time.perf_counter()
                encoder.encode(texts, role=Role.PASSAGE, outputs=outputs)
                if turn:  # the first warms up
                    taken.append(time.perf_counter() - begun)
    for row, taken in zip(rows, seconds, strict=True):
        row["ms_per_text"] = round(1000 * statistics.median(taken) / len(texts), 3)


def _tasks(data: Path, bootstrap: Bootstrap) -> dict[str, Task]:
    sts = sts_task([data / _STS], name="STS-B dev")
    words = word_similarity_task(data / "wordsim/EN-WS-353-ALL.txt")
    questions = read_google_analogies(data / "analogy/questions-words.dev.txt")
    cranfield = Retrieval(data=read_beir(data / "retrieval/cranfield"), bootstrap=bootstrap)
    tasks = (
        replace(sts, bootstrap=bootstrap),
        replace(words, bootstrap=bootstrap),
        Analogies(
            name="analogies",
            categories=questions,
            solvers=(Solver.ADD,),
            bootstrap=bootstrap,
        ),
        cranfield,
    )
    return dict(zip(_SHOWN, tasks, strict=True))


def _table(rows: Sequence[dict[str, object]]) -> str:
    """Return a Markdown table."""
    columns = ("strategy", "passes", "tokens", "ms_per_text", "peak_mb", *_SHOWN)
    lines = ["| " + " | ".join(columns) + " |", "|---|" + "---:|" * (len(columns) - 1)]
    lines += ["| " + " | ".join(str(row.get(name, "–")) for name in columns) + " |" for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
