"""``decant export``: a model becomes a certified ONNX bundle.

The command has many parameters because typer reads every option from one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from decant.embedders import Attention, Choices, Pooling, Span, need

from .options import AsJson
from .progress import steps
from .quiet import no_more_download_bars
from .terminal import say, show_json
from .views import show_certificate

if TYPE_CHECKING:
    from decant.embedders import Certificate, Source

_NEEDED = ("torch", "transformers", "onnxscript", "optimum")


def export(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A model's folder, or a hub id such as BAAI/bge-m3."),
    ],
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help="The bundle's folder, which is made.")
    ],
    *,
    pooling: Annotated[
        Pooling | None,
        typer.Option(metavar="NAME", help=f"How tokens combine: {', '.join(Pooling)}."),
    ] = None,
    attention: Annotated[
        Attention | None,
        typer.Option(metavar="NAME", help=f"As it was trained: {', '.join(Attention)}."),
    ] = None,
    query_prompt: Annotated[
        str | None, typer.Option(metavar="TEMPLATE", help="For queries: 'query: {text}'.")
    ] = None,
    passage_prompt: Annotated[
        str | None, typer.Option(metavar="TEMPLATE", help="For passages: 'passage: {text}'.")
    ] = None,
    eos: Annotated[
        str | None, typer.Option(metavar="TOKEN", help="The token that every input ends with.")
    ] = None,
    span: Annotated[
        Span | None,
        typer.Option(metavar="NAME", help="Which tokens count: all, or text without prompt."),
    ] = None,
    layer: Annotated[
        int | None, typer.Option(metavar="N", help="Whose states are pooled; -1 is the last.")
    ] = None,
    dim: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Keep only this many dimensions.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="The longest input, with prompt.")
    ] = None,
    normalize: Annotated[
        bool | None,
        typer.Option("--normalize/--no-normalize", help="Whether vectors get unit length."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What to call the model of a folder.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option(metavar="REF", help="A hub branch, tag or commit.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a bundle at TARGET.")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn a model into a certified ONNX bundle.

    Pooling, prompts and lengths come from the model's own files and from our
    registry; what you say here wins over both. TARGET appears whole or not at
    all, and only if the graph agrees with PyTorch.

    Examples:
      decant export sentence-transformers/all-MiniLM-L6-v2 minilm
      decant export Qwen/Qwen3-Embedding-0.6B qwen3 --dim 512
      decant export ./my-llama mine --pooling last --query-prompt "Query: {text}"
    """
    choices = Choices(
        attention=attention,
        pooling=pooling,
        max_tokens=max_tokens,
        layer=layer,
        query=query_prompt,
        passage=passage_prompt,
        eos=eos,
        span=span,
        dim=dim,
        normalize=normalize,
    )
    from decant.embedders import find_source

    source = find_source(model, revision=revision, name=name)
    certificate = export_source(source, target, choices=choices, replace=replace)
    if as_json:
        show_json({"bundle": str(target), "passed": certificate.passed, "certificate": certificate})
    else:
        show_certificate(certificate)
        say(f"wrote {target}, recipe {certificate.digest}")


def export_source(
    source: Source, target: Path, *, choices: Choices | None = None, replace: bool
) -> Certificate:
    """Export while showing each step; see :func:`decant.export.export`."""
    no_more_download_bars()
    with steps() as step:
        step("starting PyTorch")
        for module in _NEEDED:
            need(module, extra="export")
        from decant.export import export as run

        return run(source, target, choices=choices, replace=replace, step=step)
