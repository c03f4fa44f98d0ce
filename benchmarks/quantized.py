"""Score vectors of bytes and bits against float32: MiniLM on STS-B and cranfield.

Ranges come from seeded sentences of STS-B's training part. Codes are compared as a store compares
them (cosine of int8 and uint8 codes; of bits the number that agree, which orders pairs as the
cosine of signs does), and int8 also after its values came back.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.machine import circumstances
from bench.options import Common, Stage, carry_out, common, parser, positive
from bench.report import Figure, Result
from decant.embedders import Encoder, Quantizer, Role, Vectors, calibrate_vectors, load
from decant.evaluation import Bootstrap, Retrieval, Task, read_beir, read_sts, sts_task

_TRAIN = "sts/stsb_en.train.tsv"
_STS = "sts/stsb_en.dev.tsv"
_RETRIEVAL = "retrieval/cranfield"

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to measure.

    Args:
        common: As for every benchmark.
        texts: How many sentences the ranges come from.
    """

    common: Common
    texts: int


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    made = parser(str(__doc__), rounds=1)
    made.add_argument(
        "--texts", type=positive, default=5000, help="sentences for the ranges (%(default)s)"
    )
    found = made.parse_args(arguments)
    return Options(common=common(found), texts=found.texts)


class Changed:
    """An encoder whose vectors are changed before they are compared; each text is run once.

    Args:
        encoder: Gives the vectors.
        change: Maps float32 (N, D) to what is compared, float32 (N, any).
        memory: Vectors by role and text, shared between those of one encoder.
    """

    def __init__(
        self,
        encoder: Encoder,
        change: Callable[[Floats], Floats],
        memory: dict[tuple[Role, str], Floats],
    ) -> None:
        self._encoder = encoder
        self._change = change
        self._memory = memory

    def encode(self, texts: Iterable[str], *, role: Role) -> Vectors:
        """Return one changed vector per text, in the order given."""
        asked = list(texts)
        new = [text for text in dict.fromkeys(asked) if (role, text) not in self._memory]
        for text, row in zip(new, self._encoder.encode(new, role=role).dense, strict=True):
            self._memory[role, text] = row
        return Vectors(dense=self._change(np.stack([self._memory[role, text] for text in asked])))


def measure(options: Options, stage: Stage) -> Result:
    """Calibrate, then score every kind on the same vectors."""
    data, seed = options.common.data, options.common.seed
    train = read_sts(data / _TRAIN)
    texts = list(dict.fromkeys([*train.first, *train.second]))
    chosen = random.Random(seed).sample(texts, min(options.texts, len(texts)))  # noqa: S311
    stage.on_step(f"calibrating on {len(chosen):,} sentences")
    calibrate_vectors(stage.bundle, chosen, provider="cpu", precision="fp32")
    bootstrap = Bootstrap(seed=seed)
    tasks: dict[str, Task] = {
        "STS-B dev": replace(sts_task([data / _STS]), bootstrap=bootstrap),
        "cranfield nDCG@10": Retrieval(data=read_beir(data / _RETRIEVAL), bootstrap=bootstrap),
    }
    figures: list[Figure] = []
    memory: dict[tuple[Role, str], Floats] = {}
    with load(stage.bundle, provider="cpu", precision="fp32") as encoder:
        quantizers = {kind: encoder.quantizer(kind) for kind in ("int8", "uint8", "ubinary")}
        for name, change in changes(quantizers).items():
            changed = Changed(encoder, change, memory)
            for label, task in tasks.items():
                stage.on_step(f"{label}, {name}")
                score = task.score(changed)[0].score
                for part, value in (("", score.value), (" low", score.low), (" high", score.high)):
                    points = Figure(name=f"{label}, {name}{part}", value=100 * value, unit="points")
                    figures.append(points)
        for kind, quantizer in quantizers.items():
            size = quantizer.quantize(np.zeros((1, encoder.dim), np.float32)).nbytes
            figures.append(Figure(name=f"a vector, {kind}", value=size, unit="bytes"))
    return Result(
        benchmark="quantized",
        circumstances=circumstances(),
        seed=seed,
        settings={"texts": str(len(chosen))},
        sections=(),
        figures=tuple(figures),
        targets=(),
    )


def changes(quantizers: dict[str, Quantizer]) -> dict[str, Callable[[Floats], Floats]]:
    """Return what is compared instead of the vectors, by name."""
    int8, uint8, ubinary = (quantizers[kind] for kind in ("int8", "uint8", "ubinary"))

    def signs(vectors: Floats) -> Floats:
        codes = np.asarray(ubinary.quantize(vectors), np.uint8)
        bits = np.unpackbits(codes, axis=1, count=vectors.shape[1])
        return 2 * bits.astype(np.float32) - 1

    return {
        "float32": lambda vectors: vectors,
        "int8 codes": lambda vectors: int8.quantize(vectors).astype(np.float32),
        "uint8 codes": lambda vectors: uint8.quantize(vectors).astype(np.float32),
        "int8, values back": lambda vectors: int8.dequantize(int8.quantize(vectors)),
        "ubinary": signs,
    }


if __name__ == "__main__":
    chosen = parse()
    carry_out(chosen.common, lambda stage: measure(chosen, stage))
