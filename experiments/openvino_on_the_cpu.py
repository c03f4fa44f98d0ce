"""Time a bundle on ONNX Runtime's CPU provider and on OpenVINO, in one process, round by round.

    python experiments/openvino_on_the_cpu.py BUNDLE FOLDER [--texts 96] [--rounds 5] [--workers 2]

BUNDLE has the graphs fp32 and int8, certified on both providers. FOLDER holds text files, of which
pieces of 80 to 1,200 letters are drawn (seed 0). Each round runs every system once, on the same
texts: in batches as the encoder makes them, then each of the first 24 alone. Printed are medians of
seconds and of processor seconds over the rounds, each also as a multiple of fp32 on ONNX Runtime,
and the worst and mean cosine to it.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decant.embedders import ExecutionOptions, OnnxEncoder, Role, load

SYSTEMS = (
    ("cpu", "fp32"),
    ("cpu", "int8"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
)
LETTERS = (80, 200, 500, 900, 1200)
ALONE = 24
A_FILE = 12


@dataclass(slots=True)
class Times:
    """Seconds, and processor seconds, of each round."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def add(self, work: Callable[[], object]) -> None:
        """Run and time a round."""
        wall, processor = time.perf_counter(), time.process_time()
        work()
        self.wall.append(time.perf_counter() - wall)
        self.processor.append(time.process_time() - processor)

    def beside(self, first: Times) -> str:
        """Return the medians, and how many times as fast as ``first`` this is."""
        wall, processor = statistics.median(self.wall), statistics.median(self.processor)
        faster = statistics.median(first.wall) / wall
        cheaper = statistics.median(first.processor) / processor
        return f"{wall:7.3f} s {faster:5.2f} x   processor {processor:7.3f} s {cheaper:5.2f} x"


def drawn_texts(folder: Path, count: int) -> list[str]:
    """Return pieces of the folder's files, of many lengths, in random order."""
    drawn = random.Random(0)  # noqa: S311 - not for secrets
    pieces = []
    for file in sorted(folder.rglob("*.txt"))[: max(1, count // A_FILE) * 2]:
        text = " ".join(file.read_text(encoding="utf-8", errors="ignore").split())
        for _ in range(A_FILE):
            letters = drawn.choice(LETTERS)
            start = drawn.randrange(max(1, len(text) - letters))
            pieces.append(text[start : start + letters])
    drawn.shuffle(pieces)
    return [piece for piece in pieces if piece.strip()][:count]


def cosines(found: NDArray[np.float32], exact: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the cosine of each row."""
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(exact, axis=1)
    result: NDArray[np.float32] = (found * exact).sum(axis=1) / lengths
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--texts", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    texts = drawn_texts(given.folder, given.texts)
    runtime = ExecutionOptions(workers=given.workers, threads=1, token_budget=512)
    encoders: dict[tuple[str, str], OnnxEncoder] = {
        key: load(given.bundle, provider=key[0], precision=key[1], runtime=runtime)
        for key in SYSTEMS
    }
    tokens = sum(row.width for row in encoders[SYSTEMS[0]].text_tokenizer(texts, role=Role.PASSAGE))
    print(f"{len(texts)} texts, {tokens:,} tokens, {runtime}")
    batches = {key: Times() for key in SYSTEMS}
    alone = {key: Times() for key in SYSTEMS}

    def one_by_one(encoder: OnnxEncoder) -> None:
        for text in texts[:ALONE]:
            encoder.encode([text], role=Role.PASSAGE)

    vectors = {
        key: encoder.encode(texts, role=Role.PASSAGE).dense for key, encoder in encoders.items()
    }
    for encoder in encoders.values():
        one_by_one(encoder)
    for _ in range(given.rounds):
        for key, encoder in encoders.items():
            batches[key].add(partial(encoder.encode, texts, role=Role.PASSAGE))
            alone[key].add(partial(one_by_one, encoder))
    for name, times in (("batches", batches), ("alone", alone)):
        for key in SYSTEMS:
            print(f"{name:8} {' '.join(key):14} {times[key].beside(times[SYSTEMS[0]])}")
    for key in SYSTEMS:
        found = cosines(vectors[key], vectors[SYSTEMS[0]])
        print(f"cosine   {' '.join(key):14} worst {found.min():.6f} mean {found.mean():.6f}")


if __name__ == "__main__":
    main()
