"""``decant export``: turn a model into a certified ONNX bundle.

The command has many parameters because typer reads every option from one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from decant.embedders import Choices, LayerMix, Precision, RecipeError, RerankChoices
from decant.embedders.errors import need

from ..exit_codes import Exit
from ..options.recipe import (
    ActivationOption,
    Against,
    AttentionOption,
    Dim,
    Eos,
    ExistOk,
    FalseToken,
    Instruction,
    Label,
    MaxTokens,
    Name,
    Normalize,
    PairTemplate,
    PassagePrompt,
    PoolingOption,
    QueryPrompt,
    Replace,
    Revision,
    SpanOption,
    Target,
    TrueToken,
)
from ..options.shared import AsJson
from ..output.progress import steps
from ..output.quiet import no_more_download_bars, silenced
from ..output.terminal import say, show_json
from ..output.views import say_advice, show_certificate

if TYPE_CHECKING:
    from decant.embedders import Certificate, ModelFiles

_ADDED = [member for member in Precision if member is not Precision.FP32]
_NEEDED = ("torch", "transformers", "onnxscript", "optimum")


def export(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A model's folder, or a hub id such as BAAI/bge-m3."),
    ],
    target: Target,
    *,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="A strategy of `decant strategies`, or the path of a .json file."
        ),
    ] = None,
    pooling: PoolingOption = None,
    attention: AttentionOption = None,
    query_prompt: QueryPrompt = None,
    passage_prompt: PassagePrompt = None,
    eos: Eos = None,
    span: SpanOption = None,
    layer: Annotated[
        int | None,
        typer.Option(metavar="N", help="The layer whose hidden states are pooled; -1 is the last."),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Layers to average: all, first+last, last4, or indices such as -1,-2.",
        ),
    ] = None,
    dim: Dim = None,
    max_tokens: MaxTokens = None,
    normalize: Normalize = None,
    token_embeddings: Annotated[
        bool,
        typer.Option(
            "--token-embeddings",
            help="Also output token embeddings, for late interaction and late chunking.",
        ),
    ] = False,
    instruction: Annotated[
        str | None,
        typer.Option(
            "--instruction-template",
            metavar="TEMPLATE",
            help="Template of queries with a task: 'Instruct: {instruction}\\nQuery: {text}'.",
        ),
    ] = None,
    pair_template: PairTemplate = None,
    task: Instruction = None,
    true_token: TrueToken = None,
    false_token: FalseToken = None,
    label: Label = None,
    against: Against = None,
    activation: ActivationOption = None,
    name: Name = None,
    revision: Revision = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(metavar="FOLDER", help="A LoRA adapter to merge; may be repeated, in order."),
    ] = None,
    precision: Annotated[
        list[Precision] | None,
        typer.Option(
            metavar="NAME",
            help=f"Add a graph in another precision: {', '.join(_ADDED)}. May be repeated.",
        ),
    ] = None,
    certify: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Also certify on this provider, such as openvino; all is each one that auto may "
            "take when the bundle is loaded. May be repeated.",
        ),
    ] = None,
    replace: Replace = False,
    exist_ok: ExistOk = False,
    as_json: AsJson = False,
) -> None:
    """Turn a model into a certified ONNX bundle.

    Pooling, prompts and lengths come from the model's own files and from our
    registry; options override both. TARGET appears whole or not at all, and only
    if the graph agrees with PyTorch. With --exist-ok the command may be repeated:
    a bundle of the same model files, recipe and precisions is kept, and another
    one is refused, or with --replace replaced.

    Examples:
      decant export sentence-transformers/all-MiniLM-L6-v2 minilm
      decant export Qwen/Qwen3-Embedding-0.6B qwen3 --dim 512
      decant export BAAI/bge-small-en-v1.5 bge --precision int8 --precision fp16
      decant export BAAI/bge-small-en-v1.5 bge --certify openvino
      decant export ./my-llama one-word --strategy prompt-eol
      decant export ./my-llama mine --pooling last --query-prompt "Query: {text}"
      decant export cross-encoder/ms-marco-MiniLM-L6-v2 reranker
      decant export ./llama yes --true-token yes --pair-template "{query} {text}"
    """
    choices = Choices(
        attention=attention,
        pooling=pooling,
        max_tokens=max_tokens,
        layer=layer,
        mix=None if layers is None else LayerMix.parse(layers),
        query_prompt=query_prompt,
        passage_prompt=passage_prompt,
        eos=eos,
        span=span,
        dim=dim,
        normalize=normalize,
        token_embeddings=token_embeddings or None,
        instruction_template=instruction,
    )
    reranking = {
        "pair_template": pair_template,
        "instruction": task,
        "true_token": true_token,
        "false_token": false_token,
        "label": label,
        "against": against,
        "activation": activation,
    }
    from decant.embedders import find_model

    source = find_model(model, revision=revision, name=name, adapters=adapter or ())
    certificate = export_source(
        source,
        target,
        choices=_of_reranker(reranking, choices),
        strategy=strategy,
        precisions=precision or (),
        replace=replace,
        exist_ok=exist_ok,
    )
    for provider in certify or ():
        certificate = _certify(target, provider)
    if as_json:
        show_json({"bundle": str(target), "passed": certificate.passed, "certificate": certificate})
    else:
        show_certificate(certificate)
        verb = "there is" if exist_ok else "wrote"
        say(f"{verb} {target}, recipe {certificate.digest}")
        say_advice(target)
    if not certificate.passed:
        say(f"{target} has not passed everywhere; see above", label="failed", style="bold red")
        raise typer.Exit(Exit.FINDING)


def _of_reranker(given: Mapping[str, Any], choices: Choices) -> Choices | RerankChoices:
    """Return the choices of a reranker if any option of one is given.

    Raises:
        RecipeError: Options of a reranker and of an encoder are given together.
    """
    said = {name: value for name, value in given.items() if value is not None}
    if not said:
        return choices
    shared = ("attention", "max_tokens", "pooling")
    others = [
        item.name
        for item in fields(choices)
        if getattr(choices, item.name) is not None and item.name not in shared
    ]
    if others:
        raise RecipeError(
            f"{next(iter(said))} is of a reranker and {others[0]} of an encoder; leave one out"
        )
    return RerankChoices(
        **said,
        attention=choices.attention,
        max_tokens=choices.max_tokens,
        pooling=choices.pooling,
    )


def _certify(target: Path, provider: str) -> Certificate:
    """Certify the new bundle on a provider, showing each step."""
    with silenced(), steps() as on_step:
        from decant.export import verify

        return verify(target, provider=provider, on_step=on_step)


def export_source(
    source: ModelFiles,
    target: Path,
    *,
    choices: Choices | RerankChoices | None = None,
    strategy: str | None = None,
    precisions: Iterable[Precision] = (),
    replace: bool,
    exist_ok: bool = False,
) -> Certificate:
    """Export a model, showing each step; see :func:`decant.export.export`."""
    no_more_download_bars()
    with steps() as on_step:
        on_step("starting PyTorch")
        for module in _NEEDED:
            need(module, extra="export")
        from decant.export import export as run

        return run(
            source,
            target,
            choices=choices,
            strategy=strategy,
            precisions=precisions,
            replace=replace,
            exist_ok=exist_ok,
            on_step=on_step,
        )
