"""Options for parts of a recipe, shared by the commands that make bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from decant.embedders import Attention, PooledTokens, Pooling, ScoreActivation

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
PairTemplate: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="TEMPLATE",
        help="Of a reranker: the input, such as 'A: {query} B: {text}'.",
    ),
]
Instruction: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--instruction", metavar="TEXT", help="Of a reranker: the task in place of {instruction}."
    ),
]
TrueToken: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="TOKEN", help="Of a reranker: the token that says yes."),
]
FalseToken: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="TOKEN", help="Of a reranker: the token that says no."),
]
Label: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of a reranker: the classifier's output that is the score."),
]
Against: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of a reranker: the output that is subtracted from it."),
]
ActivationOption: TypeAlias = Annotated[
    ScoreActivation | None,
    typer.Option(
        metavar="NAME",
        help=f"Of a reranker, what follows the score: {', '.join(ScoreActivation)}.",
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
