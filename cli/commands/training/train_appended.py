"""``decant train compress | align | gen``: methods that append trained tokens to every text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from decant.embedders import Choices

from ...input.wanted_files import ANSWERS, CONTEXTS, TRIPLETS, existing
from ...options.train import RunOptions, ready
from .training_run import begin

if TYPE_CHECKING:
    from decant.embedders import Encoder
    from decant.training import LLM2VecGenSettings, Plan


def compress(
    *,
    run: RunOptions,
    pairs: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE",
            callback=existing(CONTEXTS),
            help="Contexts, instructions and outputs: .jsonl or .tsv.",
        ),
    ],
) -> None:
    """Compress texts into states that a frozen copy of the model decodes (AutoRegEmbed, stage 1).

    The vector is the mean of the states of a few appended tokens. All weights
    are trained, as in the paper, unless --lora is given; learning rate, warm-up
    and schedule are those of the authors' script.

    Examples:
      decant train compress --base my-llama --pairs contexts.jsonl --out compressed
    """
    ready()
    from decant.training import (
        Compression,
        CompressionSettings,
        Plan,
        Schedule,
        TrainingSettings,
        frozen_decoder,
        open_compression,
    )

    # run_information_compress.sh of the authors' code; its 32 rows are 8 on each of 4 GPUs.
    loop = TrainingSettings(
        batch_size=32, learning_rate=1e-5, warmup=0.05, schedule=Schedule.COSINE
    )
    plan = run.plan(Plan(objective=CompressionSettings(), loop=loop))
    opened = open_compression(
        run.base,
        plan.objective,
        choices=run.chosen(Choices()),
        lora=plan.lora,
        seed=plan.loop.seed,
    )
    begin(run, Compression(opened, plan.objective, frozen_decoder(run.base)), pairs, plan.loop)


def align(
    *,
    run: RunOptions,
    pairs: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE",
            callback=existing(TRIPLETS),
            help="Queries, positives and negatives: .jsonl or .tsv.",
        ),
    ],
    decoder: Annotated[
        str, typer.Option(metavar="MODEL", help="The language model that stage 1 started from.")
    ],
) -> None:
    """Align queries with the passages that they make probable (AutoRegEmbed, stage 2).

    Learning rate, epochs, warm-up and schedule are those of the authors' script,
    which has 32 rows on each of four GPUs.

    Examples:
      decant train align --base compressed --decoder my-llama --pairs nli.jsonl --out autoregembed
    """
    ready()
    from decant.training import (
        AlignmentSettings,
        DistributionAlignment,
        Plan,
        Schedule,
        TrainingSettings,
        frozen_decoder,
        open_base,
    )

    # run_condition_distribution_alignment.sh of the authors' code.
    loop = TrainingSettings(
        batch_size=32, learning_rate=5e-6, epochs=4, warmup=0.05, schedule=Schedule.COSINE
    )
    plan = run.plan(Plan(objective=AlignmentSettings(), loop=loop))
    opened = open_base(run.base, choices=run.chosen(Choices()), lora=plan.lora, seed=plan.loop.seed)
    begin(
        run,
        DistributionAlignment(opened, plan.objective, frozen_decoder(decoder)),
        pairs,
        plan.loop,
    )


def gen(
    *,
    run: RunOptions,
    pairs: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE",
            callback=existing(ANSWERS),
            help="Questions with the model's own answers.",
        ),
    ],
    teacher: Annotated[
        Path, typer.Option(metavar="BUNDLE", help="The encoder of the answers: a bundle.")
    ],
) -> None:
    """Embed a text as the answer that a frozen language model would give (LLM2Vec-Gen).

    New tokens and two layers are trained; the language model does not change.
    The answers are its own: decant train generate writes them.

    Examples:
      decant train gen --base my-llama --teacher llm2vec --pairs answers.jsonl --out gen
    """
    ready()
    from decant.embedders import load
    from decant.training import LLM2VecGenSettings, Plan, TrainingSettings

    # conf/training of the authors' code: a linear schedule, and a warm-up of 100 of 5,000 steps.
    loop = TrainingSettings(batch_size=32, learning_rate=3e-4, warmup=0.02)
    plan = run.plan(Plan(objective=LLM2VecGenSettings(), loop=loop))
    with load(teacher) as encoder:
        _gen(run, plan, pairs, encoder, run.chosen(Choices()))


def _gen(
    run: RunOptions,
    plan: Plan[LLM2VecGenSettings],
    pairs: list[Path],
    teacher: Encoder,
    choices: Choices,
) -> None:
    from decant.training import LLM2VecGen, open_gen

    opened = open_gen(
        run.base,
        plan.objective,
        teacher,
        choices=choices,
        lora=plan.lora,
        seed=plan.loop.seed,
    )
    begin(run, LLM2VecGen(opened, plan.objective, teacher), pairs, plan.loop)
