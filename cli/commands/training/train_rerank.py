"""``decant train rerank``: a reranker from queries with their answers and negatives."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from decant.embedders import RerankChoices

from ...input.open import open_reranker
from ...input.wanted_files import PAIRS, existing
from ...options.recipe import ActivationOption, FalseToken, Instruction, PairTemplate, TrueToken
from ...options.train import HeldOut, RunOptions, ready
from ...output.quiet import silenced
from ...output.terminal import say
from .training_run import Run, carry_out

if TYPE_CHECKING:
    from decant.embedders import TorchEncoder
    from decant.training import Plan, RerankSettings

# Options of every method that say nothing of a reranker: its pair has a template, not prompts, and
# it has no vectors. `decant evaluate --rerank` measures it behind a search.
NOT_OF_RERANKERS = ("query_prompt", "passage_prompt", "sts", "retrieval")


def rerank(
    *,
    run: RunOptions,
    pairs: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE",
            callback=existing(PAIRS),
            help="Queries with their answers and negatives: .jsonl or .tsv.",
        ),
    ],
    loss: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The loss: listwise, pairwise, bce, or distil."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="RERANKER", help="The larger reranker of distil: what `decant export` made."
        ),
    ] = None,
    negatives: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="The most negatives of a row in use.")
    ] = None,
    held_out: HeldOut = 0.1,
    pair_template: PairTemplate = None,
    task: Instruction = None,
    true_token: TrueToken = None,
    false_token: FalseToken = None,
    activation: ActivationOption = None,
) -> None:
    """Train a reranker, which scores a query and a passage together (cross-encoder).

    The base is a reranker's folder, an encoder's, which gets a new classifier, or
    a causal model with --true-token and --pair-template. Negatives come from
    `decant train mine`. A part of the pairs is held out, so that no passage is in
    both parts, and the order of its passages is measured before and after.

    Examples:
      decant train mine --bundle minilm --pairs faq.tsv --out mined.jsonl
      decant train rerank --base my-minilm --pairs mined.jsonl --out reranker
      decant train rerank --base small --pairs mined.jsonl --out student
          --loss distil --teacher large
    """
    ready()
    from decant.training import (
        Plan,
        RerankSettings,
        RerankTraining,
        TrainingSettings,
        open_rerank_base,
        split,
    )

    # Groups of up to eight pairs: eight rows are 64 inputs. The rate is that of
    # sentence-transformers' scripts for cross-encoders.
    loop = TrainingSettings(batch_size=8, learning_rate=2e-5)
    plan = _settled(run.plan(Plan(objective=RerankSettings(), loop=loop)), loss, negatives)
    choices = RerankChoices(
        attention=run.attention,
        max_tokens=run.max_tokens,
        pair_template=pair_template,
        instruction=task,
        true_token=true_token,
        false_token=false_token,
        activation=activation,
    )
    with silenced():
        opened = open_rerank_base(run.base, choices=choices, lora=plan.lora, seed=plan.loop.seed)
    with ExitStack() as stack:
        larger = None if teacher is None else stack.enter_context(closing(open_reranker(teacher)))
        objective = RerankTraining(opened, plan.objective, larger)
        table = run.table(pairs, RerankTraining.needs)
        tasks = []
        if held_out:
            from ...input.held_out import held_out_ranking

            sides = split(table, share=held_out, seed=plan.loop.seed)
            table = sides.train
            tasks = held_out_ranking(sides.held_out, opened.recipe)
        if alone := sum(not row.negatives for row in table):
            say(f"{alone:,} rows have no negatives and teach nothing", label="warning")
        carry_out(
            Run(
                objective=objective,
                table=table,
                target=run.out,
                loop=plan.loop,
                tasks=tasks,
                reopen=_reopened,
            ),
            as_json=run.json,
        )


def _settled(
    plan: Plan[RerankSettings], loss: str | None, negatives: int | None
) -> Plan[RerankSettings]:
    """Return a plan with the options of the command in it."""
    from decant.training import RerankLoss

    objective = plan.objective
    if loss is not None:
        if loss not in list(RerankLoss):
            raise typer.BadParameter(
                f"{loss!r} is none of {', '.join(RerankLoss)}", param_hint="--loss"
            )
        objective = replace(objective, loss=RerankLoss(loss))
    if negatives is not None:
        objective = replace(objective, negatives=negatives)
    return replace(plan, objective=objective)


def _reopened(folder: Path) -> TorchEncoder:
    """Return what scores the pairs of a trained reranker."""
    from decant.embedders import TorchReranker

    return TorchReranker.from_pretrained(folder).encoder
