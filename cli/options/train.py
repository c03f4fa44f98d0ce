"""Options that all methods of ``decant train`` share, and the settings that follow from them.

Typer reads options from a function's parameters. A command takes these as one, ``run``, and
:func:`sharing` puts their parameters in its place.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar, get_type_hints

import typer

from decant.embedders import Choices
from decant.embedders.errors import need

from ..input.evaluation_tasks import Given, tasks_of
from ..input.wanted_files import BEIR, SCORED, TOML, existing
from ..output.quiet import no_more_download_bars
from .recipe import AttentionOption, PassagePrompt, QueryPrompt

if TYPE_CHECKING:
    from decant.evaluation import Task
    from decant.training import Column, Plan, TrainingDataset

Settings = TypeVar("Settings")

HeldOut: TypeAlias = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        min=0,
        max=0.9,
        help="Share of the pairs held out for evaluation; 0: none.",
    ),
]

_NEEDED = ("torch", "transformers", "accelerate", "peft", "matplotlib")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of every method."""

    base: Annotated[
        str, typer.Option(metavar="MODEL", help="The model to train: a folder, or a hub id.")
    ]
    out: Annotated[
        Path, typer.Option(metavar="TARGET", help="The folder to write the trained model to.")
    ]
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Columns of the data: 'query=question,positive=answer', or "
            "'score,query,positive' for files without a header.",
        ),
    ] = None
    settings: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            callback=existing(TOML),
            help="Settings in TOML, in tables objective, loop and lora; options override them.",
        ),
    ] = None
    batch_size: Annotated[int | None, typer.Option(metavar="N", min=1, help="Rows per step.")] = (
        None
    )
    epochs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="How often every row is used.")
    ] = None
    max_steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Stop after this many steps.")
    ] = None
    learning_rate: Annotated[
        float | None, typer.Option(metavar="RATE", help="The highest learning rate.")
    ] = None
    lora: Annotated[
        int | None,
        typer.Option(metavar="RANK", min=1, help="Train only LoRA adapters of this rank."),
    ] = None
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed of everything random.")] = None
    attention: AttentionOption = None
    query_prompt: QueryPrompt = None
    passage_prompt: PassagePrompt = None
    max_tokens: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Cut texts to this many tokens in training; the model keeps its own limit.",
        ),
    ] = None
    sts: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            callback=existing(SCORED),
            help="Evaluate before and after on STS pairs, as decant evaluate does.",
        ),
    ] = None
    retrieval: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            callback=existing(BEIR),
            help="Evaluate before and after on a retrieval set in BEIR's format.",
        ),
    ] = None
    json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False

    def plan(self, start: Plan[Settings]) -> Plan[Settings]:
        """Return the settings: of the options, else of the file, else the method's defaults."""
        from decant.training import Lora, read_plan

        plan = start if self.settings is None else read_plan(self.settings, start)
        loop, lora = plan.loop, plan.lora
        if self.lora is not None:
            lora = replace(lora or Lora(), rank=self.lora, alpha=2 * self.lora)
        rate = self.learning_rate
        return replace(
            plan,
            lora=lora,
            loop=replace(
                loop,
                batch_size=self.batch_size or loop.batch_size,
                epochs=self.epochs or loop.epochs,
                max_steps=self.max_steps or loop.max_steps,
                learning_rate=loop.learning_rate if rate is None else rate,
                seed=loop.seed if self.seed is None else self.seed,
            ),
        )

    def table(self, files: Sequence[Path], needs: tuple[Column, ...]) -> TrainingDataset:
        """Return the data, read and checked."""
        from decant.training import Columns, read_table

        columns = None if self.columns is None else Columns.parse(self.columns)
        return read_table(files, columns=columns, needs=needs)

    def tasks(self) -> list[Task]:
        """Return the tasks on which the model is evaluated before and after, if any."""
        if not self.sts and not self.retrieval:
            return []
        from decant.evaluation import Bootstrap

        given = Given(
            sts=self.sts or [],
            retrieval=self.retrieval or [],
            words=[],
            analogies=[],
            pairs=[],
            anchors=[],
            make_variations=False,
            hybrid=None,
            reranking=None,
            geometry=False,
        )
        return list(tasks_of(given, Bootstrap())[0])

    def chosen(self, choices: Choices) -> Choices:
        """Return the choices of the user, and those of the method where there are none."""
        own = Choices(
            attention=self.attention,
            query_prompt=self.query_prompt,
            passage_prompt=self.passage_prompt,
            max_tokens=self.max_tokens,
        )
        return own.over(choices)


def ready() -> None:
    """Check that the packages of training are installed, before anything else is done."""
    no_more_download_bars()
    for module in _NEEDED:
        need(module, extra="training")


def sharing(command: Callable[..., None], *, without: Sequence[str] = ()) -> Callable[..., None]:
    """Return a command whose parameter ``run`` is replaced by those of :class:`RunOptions`.

    Args:
        command: The command.
        without: Options of :class:`RunOptions` that it does not have; they keep their defaults.
    """
    hints = get_type_hints(RunOptions, include_extras=True)
    shared = [
        inspect.Parameter(
            item.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if item.default is MISSING else item.default,
            annotation=hints[item.name],
        )
        for item in fields(RunOptions)
        if item.name not in without
    ]
    own_hints = get_type_hints(command, include_extras=True)
    own = [
        one.replace(annotation=own_hints[name])
        for name, one in inspect.signature(command).parameters.items()
        if name != "run"
    ]
    names = {one.name for one in shared}

    @wraps(command)
    def run(**given: object) -> None:
        options = {name: given.pop(name) for name in names}
        command(run=RunOptions(**options), **given)  # type: ignore[arg-type]

    required = [one for one in shared if one.default is inspect.Parameter.empty]
    optional = [one for one in shared if one.default is not inspect.Parameter.empty]
    run.__signature__ = inspect.Signature([*required, *own, *optional])  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in [*required, *own, *optional]}
    return run
