"""Speed and worth of each precision, on MiniLM and on a seeded decoder, against PyTorch.

Speed: the same real texts through decant in every precision and sentence-transformers in float32
and bfloat16, turn by turn, in one process. Worth: STS-B and cranfield, MiniLM only, because the
decoder's weights are drawn. Beside each precision run the products of its shapes alone, the
machine's ceiling. For two cores of a larger machine: taskset -c 0,1 python
benchmarks/precisions.py
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.ceiling import ceilings
from bench.corpus import LONGEST, Cutter, load_corpus
from bench.decoder import Shape, read_shape, save_decoder
from bench.machine import circumstances
from bench.options import Common, Stage, carry_out, common, parser, positive
from bench.peers import Peer, batch_seconds, sentence_transformers
from bench.report import Amount, Figure, Findings, Result, Section, Target, lowest_speed_up, section
from bench.rounds import Contender, interleave
from decant.embedders import OnnxEncoder, Role, load
from decant.evaluation import Retrieval, Task, read_beir, sts_task
from decant.export import convert, export

PRECISIONS = ("int8", "fp32", "w8", "w4")
DTYPES = ("float32", "bfloat16")
_STS = "sts/stsb_en.dev.tsv"
_RETRIEVAL = "retrieval/cranfield"
_SAMPLE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to measure.

    Args:
        common: As for every benchmark.
        tokens: Tokens of mixed lengths in a run.
        quality: Whether STS-B and cranfield are run.
        decoder: The seeded decoder's shape.
    """

    common: Common
    tokens: int
    quality: bool
    decoder: Shape


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    made = parser(str(__doc__), rounds=5)
    made.add_argument("--tokens", type=positive, default=16_000, help="size of a run (%(default)s)")
    made.add_argument(
        "--quality", action=argparse.BooleanOptionalAction, default=True,
        help="run STS-B and cranfield, if the data are there",
    )  # fmt: skip
    made.add_argument(
        "--decoder", type=read_shape, default=Shape(), metavar="WIDTHxLAYERS",
        help="the seeded decoder (512x8)",
    )  # fmt: skip
    found = made.parse_args(arguments)
    return Options(
        common=common(found), tokens=found.tokens, quality=found.quality, decoder=found.decoder
    )


def measure(options: Options, stage: Stage) -> Result:
    """Time both models, then see what MiniLM's precisions are worth."""
    encoder_bundle = Path(shutil.copytree(stage.bundle, stage.work / "minilm"))
    for precision in ("int8", "w8"):  # w4 is refused here: it loses too much
        stage.on_step(f"converting to {precision}")
        convert(encoder_bundle, precision)
    seed = options.common.seed
    decoder = save_decoder(stage.work / "decoder", stage.model, options.decoder, seed=seed)
    stage.on_step("exporting the decoder")
    export(decoder, stage.work / "qwen3", precisions=("int8", "w8", "w4"))
    compared = [
        compare("MiniLM, mixed lengths", encoder_bundle, stage.model, options, stage),
        compare("Qwen3 shape, mixed lengths", stage.work / "qwen3", decoder, options, stage),
    ]
    sections = [one for found in compared for one in found.sections]
    shares = [one for found in compared for one in found.figures]
    return Result(
        benchmark="precisions",
        circumstances=circumstances(),
        seed=seed,
        settings={"decoder": str(options.decoder)},
        sections=tuple(sections),
        figures=(*shares, *worth(encoder_bundle, options)),
        targets=tuple(_targets(*sections)),
    )


def compare(title: str, bundle: Path, model: Path, options: Options, stage: Stage) -> Findings:
    """Time one model's precisions, their products alone, and PyTorch's two on the same texts."""
    there = [name for name in PRECISIONS if _holds(bundle, name)]
    encoders = [load(bundle, provider="cpu", precision=name) for name in there]
    corpus = load_corpus(options.common.data)
    cutter = Cutter(encoders[0].tokenizer, longest=LONGEST)
    texts = cutter.mixed(corpus, options.tokens, seed=options.common.seed)
    contenders = [_ours(encoder, texts) for encoder in encoders]
    for dtype in DTYPES:
        peer = sentence_transformers(model, dtype=dtype)
        stage.on_step(f"{title}: the fastest batch size of {peer.name}")
        sweep = batch_seconds(peer, _sample(texts))
        contenders += _theirs(peer, texts, best=min(sweep, key=sweep.__getitem__))
    on_step = partial(_name_step, stage, title)
    amount = Amount(chunks=len(texts), tokens=sum(cutter.tokens(texts)))
    on_step("the products of its shapes alone")
    named = {f"decant {encoder.precision}": encoder for encoder in encoders}
    with ceilings(named, amount.tokens) as rows:
        contenders += [row.contender for row in rows]
        laps = interleave(contenders, rounds=options.common.rounds, on_step=on_step)
    amounts = dict.fromkeys(laps, amount) | {row.contender.name: row.amount for row in rows}
    return Findings(
        sections=(section(title, contenders, laps, amounts),),
        figures=tuple(row.figure(title, laps, amounts) for row in rows),
    )


def worth(bundle: Path, options: Options) -> list[Figure]:
    """Return STS-B and cranfield in each precision, in points; none without the data."""
    sts, retrieval = options.common.data / _STS, options.common.data / _RETRIEVAL
    if not options.quality or not sts.exists():
        return []
    tasks: list[Task] = [sts_task([sts]), Retrieval(data=read_beir(retrieval))]
    found = []
    for name in PRECISIONS:
        if _holds(bundle, name):
            with load(bundle, provider="cpu", precision=name) as encoder:
                # The first of each task's figures: Spearman's correlation, nDCG@10.
                scores = [task.score(encoder)[0].score for task in tasks]
            for label, score in zip(("STS-B dev", "cranfield nDCG@10"), scores, strict=True):
                points = 100 * score.value
                found.append(Figure(name=f"{label}, {name}", value=points, unit="points"))
    return found


def _holds(bundle: Path, precision: str) -> bool:
    file = "model.onnx" if precision == "fp32" else f"model_{precision}.onnx"
    return (bundle / "onnx" / file).exists()


def _ours(encoder: OnnxEncoder, texts: Sequence[str]) -> Contender:
    return Contender(
        name=f"decant {encoder.precision}",
        settings="its defaults",
        run=lambda: encoder.encode(texts, role=Role.PASSAGE),
        warm_up=lambda: encoder.encode(_sample(texts), role=Role.PASSAGE),
    )


def _theirs(peer: Peer, texts: Sequence[str], *, best: int) -> list[Contender]:
    return [
        Contender(
            name=f"{peer.name}, batch {batch}",
            settings=peer.threads,
            run=partial(peer.embed, texts, batch),
            warm_up=partial(peer.embed, _sample(texts), batch),
        )
        for batch in dict.fromkeys((best, peer.default_batch))
    ]


def _sample(texts: Sequence[str]) -> Sequence[str]:
    return texts[: max(16, int(len(texts) * _SAMPLE))]


def _name_step(stage: Stage, title: str, what: str) -> None:
    stage.on_step(f"{title}: {what}")


def _targets(encoder: Section, decoder: Section) -> list[Target]:
    wanted = (
        ("int8 MiniLM against float32", encoder, "sentence-transformers, ", 2.8),
        ("int8 MiniLM against bfloat16", encoder, "sentence-transformers bfloat16", 1.5),
        ("int8 decoder against float32", decoder, "sentence-transformers, ", 1.7),
    )
    return [
        Target(
            name=f"{name}, sentence-transformers at its fastest",
            wanted=value,
            measured=lowest_speed_up(found, prefix),
            unit="times as fast",
        )
        for name, found, prefix, value in wanted
    ]


if __name__ == "__main__":
    chosen = parse()
    carry_out(chosen.common, lambda stage: measure(chosen, stage))
