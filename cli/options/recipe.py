"""What a user says about a recipe, as options that the commands which make bundles share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from decant.embedders import Attention, PooledTokens, Pooling

Target: TypeAlias = Annotated[
    Path, typer.Argument(metavar="TARGET", help="The bundle's folder, which is made.")
]
PoolingOption: TypeAlias = Annotated[
    Pooling | None,
    typer.Option(metavar="NAME", help=f"How tokens combine: {', '.join(Pooling)}."),
]
AttentionOption: TypeAlias = Annotated[
    Attention | None,
    typer.Option(metavar="NAME", help=f"As it was trained: {', '.join(Attention)}."),
]
QueryPrompt: TypeAlias = Annotated[
    str | None, typer.Option(metavar="TEMPLATE", help="For queries: 'query: {text}'.")
]
PassagePrompt: TypeAlias = Annotated[
    str | None, typer.Option(metavar="TEMPLATE", help="For passages: 'passage: {text}'.")
]
Eos: TypeAlias = Annotated[
    str | None, typer.Option(metavar="TOKEN", help="The token that every input ends with.")
]
SpanOption: TypeAlias = Annotated[
    PooledTokens | None,
    typer.Option(metavar="NAME", help="Which tokens count: all, or text without prompt."),
]
Dim: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Keep only this many dimensions.")
]
MaxTokens: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="The longest input, with prompt; also of what certifying runs."
    ),
]
Normalize: TypeAlias = Annotated[
    bool | None,
    typer.Option("--normalize/--no-normalize", help="Whether vectors get unit length."),
]
Name: TypeAlias = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What to call the model of a folder.")
]
Revision: TypeAlias = Annotated[
    str | None, typer.Option(metavar="REF", help="A hub branch, tag or commit.")
]
Replace: TypeAlias = Annotated[bool, typer.Option("--replace", help="Replace a bundle at TARGET.")]
ExistOk: TypeAlias = Annotated[
    bool, typer.Option("--exist-ok", help="Keep a bundle at TARGET that is what would be made.")
]
