"""Encode on the CPU with decant in each precision and with sentence-transformers in each form.

MiniLM, a seeded model of BERT-base's (and mpnet's) size, and one of Qwen3-Embedding-0.6B's: mixed
lengths, then short texts one by one. All take turns in one run; vectors are compared with PyTorch's
in float32. sentence-transformers' backends onnx and openvino want other versions than decant, so
each runs in an environment of its own, in a process that keeps its own time. First prepare, then
measure, so that a machine need be quiet for the second only:

    python benchmarks/head_to_head.py --keep DIR --prepare
    python benchmarks/head_to_head.py --keep DIR --onnx-python A --openvino-python B
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench.backends import BACKENDS, BackendProcess
from bench.contest import Ours, decant_contenders, targets_of
from bench.corpus import LONGEST, Cutter, load_corpus, some_queries
from bench.gpu.shapes import SHAPES, save_seeded
from bench.machine import circumstances
from bench.options import Common, Stage, carry_out, common, parser, positive
from bench.peers import batch_seconds, sentence_transformers, worst_cosine
from bench.report import Amount, Figure, Result, Section, Target, section
from bench.rounds import Contender, interleave
from decant.embedders import Role
from decant.export import convert, export, verify

MINILM = "minilm"
MODELS = (MINILM, "bert-base", "qwen3-0.6b")
FORMS = (
    partial(sentence_transformers, dtype="bfloat16"),
    partial(sentence_transformers, autocast=True),
)
_SAMPLE = 0.25
_DEFAULT = 32
_BATCHES = (4, 8, 16, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to measure.

    Args:
        common: As for every benchmark.
        models: Names of ``MODELS``.
        tokens: Tokens of mixed lengths in a run.
        singles: How many short texts are encoded one by one.
        layers: Most layers of the decoder; None: all.
        keep: Where models and bundles lie between runs.
        prepare: Whether they are only made.
        pythons: The interpreters of the environments with sentence-transformers' backends.
    """

    common: Common
    models: tuple[str, ...]
    tokens: int
    singles: int
    layers: int | None
    keep: Path
    prepare: bool
    pythons: dict[str, Path]


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    made = parser(str(__doc__).partition("\n\n")[0], rounds=5)
    made.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="(all)")
    made.add_argument("--tokens", type=positive, default=8_000, help="size of a run (%(default)s)")
    made.add_argument("--singles", type=positive, default=16, help="short texts (%(default)s)")
    made.add_argument("--layers", type=positive, help="most layers of the decoder (all)")
    made.add_argument("--keep", type=Path, required=True, help="where models and bundles stay")
    made.add_argument("--prepare", action="store_true", help="make them and measure nothing")
    for backend in BACKENDS:
        made.add_argument(
            f"--{backend}-python", type=Path, metavar="PYTHON",
            help=f"interpreter with sentence-transformers and its backend {backend} (not compared)",
        )  # fmt: skip
    found = made.parse_args(arguments)
    given = {backend: getattr(found, f"{backend}_python") for backend in BACKENDS}
    return Options(
        common=common(found),
        models=tuple(found.models),
        tokens=found.tokens,
        singles=found.singles,
        layers=found.layers,
        keep=found.keep,
        prepare=found.prepare,
        pythons={backend: python for backend, python in given.items() if python is not None},
    )


def measure(options: Options, stage: Stage) -> Result:
    """Prepare each model, then compare."""
    sections: list[Section] = []
    figures: list[Figure] = []
    targets: list[Target] = []
    for name in options.models:
        model, bundle = prepared(name, options, stage)
        if not options.prepare:
            found, worth, aims = compare(name, model, bundle, options, stage)
            sections += found
            figures += worth
            targets += aims
    return Result(
        benchmark="head_to_head",
        circumstances=circumstances(),
        seed=options.common.seed,
        settings={
            "layers of the decoder": str(options.layers or "all"),
        },
        sections=tuple(sections),
        figures=tuple(figures),
        targets=tuple(targets),
    )


def prepared(name: str, options: Options, stage: Stage) -> tuple[Path, Path]:
    """Return a model's folder and its bundle, certified on both providers; make what is missing."""
    layers = options.layers if name != "bert-base" else None
    folder = options.keep / f"{name}-{layers or 'all'}-{options.common.seed}"
    model, bundle = folder / "model", folder / "bundle"
    if name == MINILM:
        model = stage.model
    elif not model.exists():
        stage.on_step(f"drawing {name}")
        # The borrowed tokenizer has no more words; a row that no text takes costs nothing.
        shape = replace(SHAPES[name].cut(layers), vocabulary=30_522)
        save_seeded(model, stage.model, shape, seed=options.common.seed)
    if not bundle.exists():
        stage.on_step(f"exporting {name}")
        if name == MINILM:
            shutil.copytree(stage.bundle, bundle)
            convert(bundle, "int8")
        else:
            export(model, bundle, precisions=["int8"])
        stage.on_step(f"certifying {name} on OpenVINO")
        verify(bundle, provider="openvino")
    return model, bundle


def compare(
    name: str, model: Path, bundle: Path, options: Options, stage: Stage
) -> tuple[list[Section], list[Figure], list[Target]]:
    """Time one model in every system, in batches and one by one."""
    with contextlib.ExitStack() as open_things:
        ours = Ours.load(bundle)
        open_things.callback(ours.close)
        corpus = load_corpus(options.common.data)
        cutter = Cutter(ours.tokenizer, longest=LONGEST)
        seed = options.common.seed
        mixed = cutter.mixed(corpus, options.tokens, seed=seed)
        short = some_queries(corpus, cutter, options.singles, seed=seed)
        exact = sentence_transformers(model)
        expected = exact.embed(mixed, 8)
        figures = [
            Figure(
                name=f"{name}, decant {label}",
                value=worst_cosine(encoder.encode(mixed, role=Role.PASSAGE).dense, expected),
                unit="worst cosine to sentence-transformers in float32",
            )
            for label, encoder in ours.encoders.items()
        ]
        crowd, alone = decant_contenders(ours, mixed, short)
        for peer in (exact, *(form(model) for form in FORMS)):
            stage.on_step(f"{name}: the fastest batch size of {peer.name}")
            sweep = batch_seconds(peer, _sample(mixed))
            crowd += _theirs(peer.name, peer.embed, mixed, min(sweep, key=sweep.__getitem__))
            alone.append(_one_by_one(peer.name, peer.embed, short))
        for backend, python in options.pythons.items():
            stage.on_step(f"{name}: starting backend {backend}")
            work = stage.work / f"{name}-{backend}"
            work.mkdir()
            process = open_things.enter_context(BackendProcess(python, model, backend, work))
            worst = worst_cosine(process.embed(mixed, 8), expected)
            unit = "worst cosine to sentence-transformers in float32"
            shown = ", ".join(f"{each} {version}" for each, version in process.versions.items())
            figures.append(Figure(name=f"{name}, {process.name} ({shown})", value=worst, unit=unit))
            times = {batch: process.run(_sample(mixed), batch).wall for batch in _BATCHES}
            best = min(times, key=times.__getitem__)
            crowd += _theirs(process.name, process.run, mixed, best)
            alone.append(Contender(name=process.name, settings="", run=_each(process, short)))
        sections = []
        for title, contenders, texts in (("mixed", crowd, mixed), ("one by one", alone, short)):
            on_step = partial(_name_step, stage, f"{name}, {title}")
            laps = interleave(contenders, rounds=options.common.rounds, on_step=on_step)
            amount = Amount(chunks=len(texts), tokens=sum(cutter.tokens(texts)))
            rows = section(f"{name}, {title}", contenders, laps, dict.fromkeys(laps, amount))
            sections.append(rows)
    return sections, figures, targets_of(name, *sections)


def _theirs(
    name: str, run: Callable[[Sequence[str], int], object], texts: Sequence[str], best: int
) -> list[Contender]:
    return [
        Contender(
            name=f"{name}, batch {batch}",
            settings="its default batch size" if batch == _DEFAULT else "its fastest batch size",
            run=partial(run, texts, batch),
            warm_up=partial(run, _sample(texts), batch),
        )
        for batch in dict.fromkeys((best, _DEFAULT))
    ]


def _one_by_one(
    name: str, embed: Callable[[Sequence[str], int], object], texts: Sequence[str]
) -> Contender:
    def run() -> None:
        for text in texts:
            embed([text], 1)

    return Contender(name=name, settings="a text a call", run=run, warm_up=run)


def _each(process: BackendProcess, texts: Sequence[str]) -> Callable[[], object]:
    return lambda: process.run_each(texts)


def _sample(texts: Sequence[str]) -> Sequence[str]:
    return texts[: max(16, int(len(texts) * _SAMPLE))]


def _name_step(stage: Stage, title: str, what: str) -> None:
    stage.on_step(f"{title}: {what}")


if __name__ == "__main__":
    chosen = parse()
    carry_out(chosen.common, lambda stage: measure(chosen, stage))
