"""Measure the cost of sparse vectors and token states in addition to dense ones, in one pass.

The model is exported twice, with dense vectors alone and with all three outputs, and both bundles
encode the same sentences turn by turn; the ratio of medians is what counts. For example:
python benchmarks/outputs.py --model models/stories --data data
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.machine import circumstances
from decant.embedders import Choices, OnnxEncoder, Output, Role, load
from decant.embedders.json_records import to_json
from decant.evaluation import read_sts
from decant.export import export

_ALL = (Output.SPARSE, Output.TOKEN_EMBEDDINGS)


def main() -> None:
    """Export, measure, and print the ratio."""
    options = _parse()
    texts = list(read_sts(options.data / "sts/stsb_en.dev.tsv").first)
    with tempfile.TemporaryDirectory() as folder:
        alone, whole = Path(folder) / "dense", Path(folder) / "all"
        export(options.model, alone, strategy="mean", choices=Choices())
        export(options.model, whole, strategy="splade", choices=Choices(token_embeddings=True))
        with load(alone) as dense, load(whole) as every:
            same = np.array_equal(
                every.encode(texts, role=Role.PASSAGE, outputs=_ALL).dense,
                every.encode(texts, role=Role.PASSAGE).dense,
            )
            seconds: tuple[list[float], ...] = ([], [])
            for _ in range(options.rounds):
                seconds[0].append(_taken(dense, texts, ()))
                seconds[1].append(_taken(every, texts, _ALL))
    first, second = map(statistics.median, seconds)
    print(to_json(circumstances(sys.argv)))
    print(f"dense alone {first:.3f} s, all outputs {second:.3f} s: {second / first:.2f} x")
    print(f"dense vectors of both calls equal to the bit: {same}")


def _parse() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--model", type=Path, required=True, help="a language model's folder")
    made.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    made.add_argument("--rounds", type=int, default=9, help="turns of each (%(default)s)")
    return made.parse_args()


def _taken(encoder: OnnxEncoder, texts: Sequence[str], outputs: Sequence[Output]) -> float:
    begun = time.perf_counter()
    encoder.encode(texts, role=Role.PASSAGE, outputs=outputs)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
