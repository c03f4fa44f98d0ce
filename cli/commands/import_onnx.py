"""``decant import-onnx``: turn an ONNX graph made by another tool into a certified bundle.

The command has many parameters because typer reads every option from one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from decant.embedders import Choices

from ..options.recipe import (
    AttentionOption,
    Dim,
    Eos,
    MaxTokens,
    Name,
    Normalize,
    PassagePrompt,
    PoolingOption,
    QueryPrompt,
    Replace,
    Revision,
    SpanOption,
    Target,
)
from ..options.shared import AsJson
from ..output.progress import steps
from ..output.quiet import silenced
from ..output.terminal import say, show_json
from ..output.views import show_certificate


def import_onnx(
    graph: Annotated[
        Path, typer.Argument(metavar="GRAPH", help="An ONNX file whose output are token states.")
    ],
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="The folder or hub id of the model that it was made from."
        ),
    ],
    target: Target,
    *,
    pooling: PoolingOption = None,
    attention: AttentionOption = None,
    query_prompt: QueryPrompt = None,
    passage_prompt: PassagePrompt = None,
    eos: Eos = None,
    span: SpanOption = None,
    dim: Dim = None,
    max_tokens: MaxTokens = None,
    normalize: Normalize = None,
    output: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="GRAPH's output with token states, if not last_hidden_state."
        ),
    ] = None,
    name: Name = None,
    revision: Revision = None,
    replace: Replace = False,
    as_json: AsJson = False,
) -> None:
    """Turn an ONNX graph made by another tool into a certified bundle.

    GRAPH comes from optimum-onnx, Olive, sentence-transformers or the hub. Its
    output is last_hidden_state, token_embeddings or the one that --output names;
    its sizes and weights must be those of MODEL. Positions, pooling, dense layers
    and normalisation are added from MODEL's files, our registry and the options;
    PyTorch is not needed. TARGET appears only if its vectors agree with those of
    GRAPH on one unpadded text at a time.

    Examples:
      decant import-onnx onnx/model.onnx ./my-model sealed
      decant import-onnx model.onnx ./my-llama sealed --pooling last
    """
    choices = Choices(
        attention=attention,
        pooling=pooling,
        max_tokens=max_tokens,
        query_prompt=query_prompt,
        passage_prompt=passage_prompt,
        eos=eos,
        span=span,
        dim=dim,
        normalize=normalize,
    )
    from decant.embedders import find_model

    source = find_model(model, revision=revision, name=name)
    with silenced(), steps() as on_step:
        on_step("starting")
        from decant.export import import_onnx as run

        certificate = run(
            graph,
            source,
            target,
            choices=choices,
            output=output,
            replace=replace,
            on_step=on_step,
        )
    if as_json:
        show_json({"bundle": str(target), "passed": certificate.passed, "certificate": certificate})
    else:
        show_certificate(certificate)
        say(f"wrote {target}, recipe {certificate.digest}")
