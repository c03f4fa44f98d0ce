"""Options for parts of a recipe, shared by the commands that make bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from decant.embedders import Attention, PooledTokens, Pooling

Target: TypeAlias = Annotated[
    Path, typer.Argument(metavar="TARGET", help="The folder to write the bundle to.")
]
PoolingOption: TypeAlias = Annotated[
    Pooling | None,
    typer.Option(metavar="NAME", help=f"How token states become one vector: {', '.join(Pooling)}."),
]
AttentionOption: TypeAlias = Annotated[
    Attention | None,
    typer.Option(
        metavar="NAME",
        help=f"The attention that the model was trained with: {', '.join(Attention)}.",
    ),
]
QueryPrompt: TypeAlias = Annotated[
    str | None, typer.Option(metavar="TEMPLATE", help="Prompt of queries, such as 'query: {text}'.")
]
PassagePrompt: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="TEMPLATE", help="Prompt of passages, such as 'passage: {text}'."),
]
Eos: TypeAlias = Annotated[
    str | None, typer.Option(metavar="TOKEN", help="The token that every input ends with.")
]
SpanOption: TypeAlias = Annotated[
    PooledTokens | None,
    typer.Option(
        metavar="NAME", help="Which tokens are pooled: all, or text (without the prompt)."
    ),
]
Dim: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Keep only this many dimensions.")
]
MaxTokens: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="The most tokens of an input, prompt included; longer texts are cut.",
    ),
]
Normalize: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--normalize/--no-normalize", help="Scale vectors to unit length, or leave their length."
    ),
]
Name: TypeAlias = Annotated[
    str | None, typer.Option(metavar="TEXT", help="The name of a model that is given as a folder.")
]
Revision: TypeAlias = Annotated[
    str | None, typer.Option(metavar="REF", help="A branch, tag or commit of the hub.")
]
Replace: TypeAlias = Annotated[
    bool, typer.Option("--replace", help="Replace an existing bundle at TARGET.")
]
ExistOk: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--exist-ok",
        help="Accept a bundle at TARGET that is equal to the one this command would make.",
    ),
]
