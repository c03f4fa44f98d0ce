"""Ten thousand batches of random shapes: memory stays flat, and no vector sees its neighbours."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from numpy.typing import NDArray

from decant.embedders import Bundle, Precision
from decant.embedders.onnx import Session
from decant.embedders.tokens import Tokens, pad
from decant.export import export
from models import LONGEST

BATCHES = 10_000
WARM_UP = 1_000
MOST_ROWS = 40
TEXTS = 400
# Resident memory of a process wavers by less than this when it only waits.
MOST_GROWTH = 4 << 20
# The gate of fp32; int8 has it too, because its scales are one for each token.
LEAST_COSINE = 0.99999


@dataclass(frozen=True, slots=True, kw_only=True)
class Soaked:
    """What was seen on the way.

    Args:
        resident: Bytes after each batch.
        worst: The smallest cosine of a vector to that of the text alone.
        shapes: How many different shapes ran.
    """

    resident: list[int]
    worst: float
    shapes: int


def resident() -> int:
    """Return the bytes of this process that are in memory now."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("/proc/self/status has no VmRSS")


def soak(session: Session, rows: list[Tokens], *, batches: int) -> Soaked:
    """Run random batches of some texts, padded on a random side."""
    chance = random.Random(0)
    alone = unit(np.concatenate([session.run(pad([row], pad_id=0)) for row in rows]))
    lengths = np.array([len(row.ids) for row in rows])
    seen, worst, shapes = [], 1.0, set()
    for _ in range(batches):
        short = np.flatnonzero(lengths <= chance.randint(1, LONGEST))
        drawn = [int(chance.choice(short)) for _ in range(chance.randint(1, MOST_ROWS))]
        batch = pad([rows[index] for index in drawn], pad_id=0, left=chance.random() < 0.5)
        vectors = unit(session.run(batch))
        worst = min(worst, float((vectors * alone[drawn]).sum(axis=1).min()))
        shapes.add(batch.input_ids.shape)
        seen.append(resident())
    return Soaked(resident=seen, worst=worst, shapes=len(shapes))


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the same directions, of length one."""
    wide = vectors.astype(np.float64)
    return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True))


@pytest.fixture(scope="module")
def rows() -> list[Tokens]:
    """Return texts of random ids; the first ones have every length from 1 on."""
    chance = random.Random(1)
    sizes = [*range(1, LONGEST + 1), *(chance.randint(1, LONGEST) for _ in range(TEXTS - LONGEST))]
    return [Tokens(ids=tuple(chance.choices(range(7, 260), k=size)), counted=0) for size in sizes]


@pytest.fixture(scope="module")
def bundle(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle with both precisions that run on the CPU by default."""
    folder = tmp_path_factory.mktemp("soak") / "bundle"
    export(tiny_folder, folder, precisions=["int8"])
    return Bundle.open(folder)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8])
def test_ten_thousand_random_batches_leave_memory_and_vectors_alone(
    bundle: Bundle, rows: list[Tokens], precision: Precision
) -> None:
    session = Session(bundle.graph(precision), "CPUExecutionProvider", threads=1)
    found = soak(session, rows, batches=BATCHES)
    steady = found.resident[WARM_UP:]
    third = len(steady) // 3
    assert found.shapes > BATCHES // 10
    assert median(steady[-third:]) - median(steady[:third]) < MOST_GROWTH
    assert found.worst >= LEAST_COSINE
