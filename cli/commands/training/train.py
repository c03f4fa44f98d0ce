"""``decant train``: one command a method; each leaves a folder that every other command opens."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from decant.embedders import Attention, Choices, DecantError, Pooling

from ...exit_codes import guarded
from ...input.wanted_files import ALONE, DOCUMENTS, GRADED, PAIRS, existing
from ...options.command import Command, Group
from ...options.recipe import PoolingOption
from ...options.train import HeldOut, RunOptions, ready, sharing
from .train_appended import align, compress, gen
from .train_data import generate, mine
from .train_rerank import NOT_OF_RERANKERS, rerank
from .training_run import Run, begin, carry_out

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tokenizers import Tokenizer

Texts: TypeAlias = Annotated[
    list[Path],
    typer.Option(metavar="FILE", callback=existing(ALONE), help="Texts: .jsonl or .tsv."),
]

train = typer.Typer(
    name="train",
    cls=Group,
    no_args_is_help=True,
    help="Train an embedder or a reranker on your own texts.\n\nAn interrupted run is resumed "
    "when the same command is given again.",
)


def contrastive(
    *,
    run: RunOptions,
    pairs: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            callback=existing(PAIRS),
            help="Queries with their answers: .jsonl or .tsv.",
        ),
    ] = None,
    corpus: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            callback=existing(DOCUMENTS),
            help="Documents from which pairs are made, if you have no pairs.",
        ),
    ] = None,
    made: Annotated[
        str, typer.Option(metavar="HOW", help="How pairs are made from --corpus: crops, or cloze.")
    ] = "crops",
    held_out: HeldOut = 0.1,
    pooling: PoolingOption = None,
) -> None:
    """Train on queries and their answers (contrastive, InfoNCE).

    A part of the pairs is held out, so that no passage is in both parts, and
    retrieval on it is measured before and after.

    Examples:
      decant train contrastive --base my-minilm --pairs faq.tsv --out tuned
      decant train contrastive --base my-minilm --corpus docs --out tuned --lora 16
    """
    ready()
    from decant.training import (
        Contrastive,
        ContrastiveSettings,
        Plan,
        TrainingSettings,
        open_base,
        split,
    )

    if bool(pairs) == bool(corpus):
        raise typer.BadParameter("give either --pairs or --corpus")
    plan = run.plan(Plan(objective=ContrastiveSettings(), loop=TrainingSettings()))
    choices = run.chosen(Choices(pooling=pooling))
    opened = open_base(run.base, choices=choices, lora=plan.lora, seed=plan.loop.seed)
    objective = Contrastive(opened, plan.objective)
    with ExitStack() as stack:
        files = pairs or [
            stack.enter_context(
                _pairs_of(corpus or [], run.out, opened.tokenizer.bare, made, plan.loop.seed)
            )
        ]
        table = run.table(files, Contrastive.needs)
        tasks = run.tasks()
        if held_out:
            from ...input.held_out import held_out_task

            sides = split(table, share=held_out, seed=plan.loop.seed)
            table = sides.train
            tasks.insert(0, held_out_task(sides.held_out))
        made_run = Run(
            objective=objective, table=table, target=run.out, loop=plan.loop, tasks=tasks
        )
        carry_out(made_run, as_json=run.json)


def simcse(
    *,
    run: RunOptions,
    texts: Texts,
    dropout: Annotated[
        float, typer.Option(metavar="SHARE", help="Dropout: 0.1 suits encoders; LLM2Vec uses 0.3.")
    ] = 0.1,
    pooling: PoolingOption = None,
) -> None:
    """Train on texts without pairs (SimCSE; LLM2Vec's second step).

    Examples:
      decant train simcse --base mntp --texts queries.tsv --dropout 0.3 --lora 16 --out llm2vec
    """
    ready()
    from decant.training import ContrastiveSettings, Plan, SimCSE, TrainingSettings, open_base

    # train_configs/simcse of LLM2Vec's code, which has no warm-up.
    loop = TrainingSettings(batch_size=128, learning_rate=3e-5, warmup=0.0)
    plan = run.plan(Plan(objective=ContrastiveSettings(), loop=loop))
    opened = open_base(
        run.base,
        choices=run.chosen(Choices(pooling=pooling)),
        lora=plan.lora,
        dropout=dropout,
        seed=plan.loop.seed,
    )
    begin(run, SimCSE(opened, plan.objective), texts, plan.loop)


def graded(
    *,
    run: RunOptions,
    pairs: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE", callback=existing(GRADED), help="Pairs with a score: .jsonl or .tsv."
        ),
    ],
    pooling: PoolingOption = None,
) -> None:
    """Train on pairs with similarity scores (CoSENT).

    Examples:
      decant train graded --base my-minilm --pairs sts.tsv --columns score,query,positive --out mine
    """
    ready()
    from decant.training import CoSENT, CoSENTSettings, Plan, TrainingSettings, open_base

    plan = run.plan(Plan(objective=CoSENTSettings(), loop=TrainingSettings()))
    choices = run.chosen(Choices(pooling=pooling))
    opened = open_base(run.base, choices=choices, lora=plan.lora, seed=plan.loop.seed)
    begin(run, CoSENT(opened, plan.objective), pairs, plan.loop)


def distil(
    *,
    run: RunOptions,
    teacher: Annotated[
        Path,
        typer.Option(metavar="BUNDLE", help="The teacher: a folder that `decant export` made."),
    ],
    texts: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE",
            callback=existing(ALONE),
            help="Texts or pairs: .jsonl or .tsv.",
        ),
    ],
    pooling: PoolingOption = None,
) -> None:
    """Learn from another encoder: its vectors, or its ranking scores (distillation).

    Examples:
      decant train distil --base small --teacher large-bundle --texts texts.tsv --out student
    """
    ready()
    from decant.embedders import load
    from decant.training import (
        Distillation,
        DistillationSettings,
        Plan,
        TrainingSettings,
        open_base,
    )

    plan = run.plan(Plan(objective=DistillationSettings(), loop=TrainingSettings()))
    choices = run.chosen(Choices(pooling=pooling))
    opened = open_base(run.base, choices=choices, lora=plan.lora, seed=plan.loop.seed)
    with load(teacher) as encoder:
        begin(run, Distillation(opened, plan.objective, encoder), texts, plan.loop)


def sparse(
    *,
    run: RunOptions,
    pairs: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE",
            callback=existing(PAIRS),
            help="Queries with their answers: .jsonl or .tsv.",
        ),
    ],
    strategy: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="A strategy with sparse vectors: splade, lens, promptreps."
        ),
    ] = "splade",
) -> None:
    """Train sparse vectors with few weights (SPLADE's loss with its FLOPS regulariser).

    Examples:
      decant train sparse --base my-llama --pairs mined.jsonl --lora 16 --out splade
    """
    ready()
    from decant.training import (
        Plan,
        SparseContrastive,
        SparseSettings,
        TrainingSettings,
        open_language_model,
    )

    plan = run.plan(Plan(objective=SparseSettings(), loop=TrainingSettings()))
    language = open_language_model(
        run.base,
        choices=run.chosen(Choices()),
        strategy=strategy,
        lora=plan.lora,
        seed=plan.loop.seed,
    )
    begin(run, SparseContrastive(language, plan.objective), pairs, plan.loop)


def mntp(*, run: RunOptions, texts: Texts) -> None:
    """Train a causal model to attend in both directions (LLM2Vec's first step).

    The paper trains LoRA adapters: --lora 16. They are merged at the end.

    Examples:
      decant train mntp --base my-llama --texts wiki.jsonl --out mntp --lora 16 --max-steps 1000
    """
    ready()
    if run.attention is Attention.CAUSAL:
        raise typer.BadParameter(
            "mntp trains bidirectional attention; leave this option out", param_hint="--attention"
        )
    from decant.training import Mntp, MntpSettings, Plan, TrainingSettings, open_language_model

    loop = TrainingSettings(learning_rate=5e-5, warmup=0.0)
    plan = run.plan(Plan(objective=MntpSettings(), loop=loop))
    choices = run.chosen(Choices(attention=Attention.BIDIRECTIONAL, pooling=Pooling.MEAN))
    language = open_language_model(run.base, choices=choices, lora=plan.lora, seed=plan.loop.seed)
    begin(run, Mntp(language, plan.objective), texts, plan.loop)


for _command in (contrastive, simcse, graded, distil, sparse, mntp, compress, align, gen):
    train.command(_command.__name__, cls=Command)(guarded(sharing(_command)))
train.command("rerank", cls=Command)(guarded(sharing(rerank, without=NOT_OF_RERANKERS)))
train.command("generate", cls=Command)(guarded(generate))
train.command("mine", cls=Command)(guarded(mine))


@contextmanager
def _pairs_of(
    folders: Sequence[Path], out: Path, tokenizer: Tokenizer, made: str, seed: int
) -> Iterator[Path]:
    """Yield a file of pairs made from documents, next to the run; delete it on an error."""
    from decant.integrations.qdrant import read_documents
    from decant.training import PairKind, PairMining, write_pairs

    if made not in list(PairKind):
        raise typer.BadParameter(f"--made is one of {', '.join(PairKind)}, got {made!r}")
    target = out.with_name(f"{out.name}.pairs.jsonl")
    documents = (
        (document.source, document.text)
        for folder in folders
        for document in read_documents(folder)
    )
    try:
        write_pairs(documents, target, tokenizer, PairMining(made=PairKind(made), seed=seed))
        yield target
    except DecantError:
        target.unlink(missing_ok=True)
        raise
