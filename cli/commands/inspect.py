"""``decant inspect``: show what is in a bundle."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from decant.embedders import (
    Certificate,
    MissingExtra,
    Precision,
    ProviderError,
    Role,
    ScoreEntry,
)

from ..options.shared import AsJson, BundlePlace
from ..output.quiet import silenced
from ..output.terminal import show, show_json
from ..output.views import floored, show_facts
from .tune import described

if TYPE_CHECKING:
    from decant.embedders import (
        Bundle,
        GraphChoice,
        LateInteraction,
        Recipe,
        RerankRecipe,
        SparseHead,
    )
    from decant.embedders.bundle import AnyEntry
    from decant.embedders.onnx import Calibrations
    from decant.embedders.remote import EncoderFacts, RerankerFacts


def inspect(
    bundle: BundlePlace,
    *,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Also show what auto does not take, and why."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is in a bundle: recipe, files, graphs, certificate, what runs.

    The hash of every file is checked. Of an address, it shows what the server
    says of its encoder, after a check of the golden vectors, or of its reranker.

    Examples:
      decant inspect minilm
      decant inspect minilm --verbose
      decant inspect http://encoder:6900
      decant inspect minilm --json | jq .manifest.recipe
    """
    from decant.embedders import Bundle
    from decant.embedders.remote import is_address

    if is_address(bundle):
        _inspect_remote(bundle, as_json=as_json)
        return
    from decant.embedders.onnx import read_calibrations, read_tuning

    opened = Bundle.open(bundle)
    tuning = read_tuning(opened)
    calibrations = read_calibrations(opened)
    certificate = opened.certificate()
    graphs = {name: _interface(opened, name) for name in sorted(opened.manifest.graphs)}
    if as_json:
        show_json(
            {
                "bundle": str(bundle),
                "manifest": opened.manifest,
                "graphs": graphs,
                "bytes": _sizes(opened),
                "certificate": certificate,
                "passed": certificate.passed,
                "tuning": tuning,
                "calibrations": _ranges(calibrations),
                "choice": _choice(opened),
            }
        )
        return
    manifest = opened.manifest
    show_facts(
        {
            "bundle": str(bundle),
            "made by": f"{manifest.made_by}, format {manifest.format}",
            **_recipe(manifest.recipe if manifest.reranker is None else manifest.reranker.model),
            "digest": manifest.digest,
            **(
                _reranking(manifest.reranker)
                if manifest.reranker is not None
                else {
                    "vectors": f"{manifest.dim} wide, "
                    f"{'unit length' if manifest.recipe.normalize else 'not normalised'}"
                }
            ),
            **{f"graph {name}": _interface_line(found) for name, found in graphs.items()},
        }
    )
    show(_files(opened))
    _show_summary(certificate)
    show_facts(
        {
            f"tuned {entry.precision or precision}, {entry.provider}": described(entry)
            for precision, file in opened.manifest.graphs.items()
            for entry in tuning.entries
            if entry.sha256 == opened.manifest.files[file]
        }
        | {
            f"ranges of {found['dim']} values": f"from {found['texts']:,} texts, recipe "
            f"{found['digest']}"
            for found in _ranges(calibrations)
        }
        | _choice_facts(_choice(opened), verbose=verbose)
    )


def _reranking(recipe: RerankRecipe) -> dict[str, str]:
    """Return how a pair becomes a score."""
    if recipe.tokens is not None:
        read = f"the logit of {recipe.tokens.true!r}"
        read += "" if recipe.tokens.false is None else f" less that of {recipe.tokens.false!r}"
    else:
        assert recipe.label is not None
        read = f"output {recipe.label.index} of {recipe.label.count}"
        read += "" if recipe.label.against is None else f" less output {recipe.label.against}"
    pair = recipe.pair
    template = pair.template or "two sequences of the tokenizer"
    told = {} if pair.instruction is None else {"instruction": pair.instruction}
    return {"scores": f"{read}, then {recipe.activation}", "pair": template, **told}


def _choice(bundle: Bundle) -> GraphChoice | str:
    """Return what ``load`` takes on this machine, or why nothing runs."""
    try:
        from decant.embedders.onnx import rank_choices

        return rank_choices(bundle).choices[0]
    except (MissingExtra, ProviderError) as error:
        return str(error)


def _choice_facts(choice: GraphChoice | str, *, verbose: bool) -> dict[str, str]:
    facts = {"auto takes here": str(choice)}
    if isinstance(choice, str):
        return facts
    if choice.advice:
        facts["faster"] = choice.advice
    if verbose:
        facts |= {f"not {one.precision}, {one.provider}": one.reason for one in choice.rejected}
    return facts


def _inspect_remote(address: str, *, as_json: bool) -> None:
    """Show what a server says of its encoder or its reranker."""
    from decant.embedders.remote import RerankerFacts

    facts = _remote_facts(address)
    is_reranker = isinstance(facts, RerankerFacts)
    if as_json:
        show_json({"address": address, "reranker" if is_reranker else "encoder": facts})
        return
    limits = facts.limits
    if isinstance(facts, RerankerFacts):
        recipe, gives = facts.recipe.model, _reranking(facts.recipe)
    else:
        recipe = facts.recipe
        unit = "unit length" if recipe.normalize else "not normalised"
        gives = {"vectors": f"{facts.dim} wide, {unit}"}
    show_facts(
        {
            "address": address,
            "name": facts.name,
            "served by": f"decant {facts.version}, protocol {facts.protocol}",
            **_recipe(recipe),
            "digest": facts.digest,
            **gives,
            "runs": f"{facts.precision} on {facts.provider}",
            "a request": f"up to {limits.texts:,} texts, {limits.body_bytes:,} bytes, "
            f"{limits.tokens:,} tokens",
        }
    )


def _remote_facts(address: str) -> EncoderFacts | RerankerFacts:
    """Return what a server says of its only encoder, or else of its reranker."""
    from decant.embedders import RemoteEncoder, RemoteError, RemoteReranker

    try:
        with RemoteEncoder.connect(address) as encoder:
            return encoder.facts
    except RemoteError as error:
        if "reranker" not in str(error):  # which is what a server of decant says that has one
            raise
    with RemoteReranker.connect(address) as reranker:
        return reranker.facts


def _ranges(calibrations: Calibrations) -> list[dict[str, str | int]]:
    """Return what was calibrated, without the ranges themselves."""
    return [
        {"dim": len(entry.low), "texts": entry.texts, "digest": entry.digest, "date": entry.date}
        for entry in calibrations.entries
    ]


def _recipe(recipe: Recipe) -> dict[str, str]:
    facts = {
        "model": recipe.base,
        "revision": recipe.revision or "unknown",
        "pooling": f"{recipe.pooling}, span {recipe.span}, {_layers(recipe)}",
        "attention": recipe.attention,
        "input": f"up to {recipe.max_tokens:,} tokens",
        "end": recipe.eos or "as the tokenizer does it",
    }
    facts |= {
        f"{role} prompt": json.dumps(recipe.prompt(role).template, ensure_ascii=False)
        for role in Role
    }
    for number, prompt in enumerate(recipe.further, start=2):
        facts[f"prompt {number}"] = json.dumps(prompt.template, ensure_ascii=False)
    if recipe.instruction_template is not None:
        facts["instructions"] = json.dumps(recipe.instruction_template, ensure_ascii=False)
    if recipe.prepending is not None:
        facts["slot"] = (
            f"overwritten in layers {recipe.prepending.start} to {recipe.prepending.stop - 1}"
        )
    if recipe.contrast is not None:
        facts["contrast"] = (
            f"with prompt 2 in layer {recipe.contrast.layer}, strength {recipe.contrast.strength}"
        )
    if recipe.sparse_head is not None:
        facts["sparse vectors"] = _describe_sparse_head(recipe.sparse_head)
    if (late := recipe.late_interaction) is not None:
        facts["token vectors"] = _describe_late(late)
    if recipe.appended is not None:
        tokens = json.dumps(recipe.appended.tokens, ensure_ascii=False)
        facts["appended"] = f"{tokens}, of which the last {recipe.appended.read} are read"
    if recipe.head:
        widths = [recipe.head[0].inputs, *(layer.outputs for layer in recipe.head)]
        facts["head"] = " → ".join(map(str, widths))
    return facts


def _describe_sparse_head(sparse_head: SparseHead) -> str:
    if sparse_head.projection is not None:
        return "the text's own tokens, weighed by a layer of their own"
    over = (
        "tokens" if sparse_head.clusters is None else f"{sparse_head.clusters:,} clusters of tokens"
    )
    words = ", of the text's own words" if sparse_head.words else ""
    pooled = f"weighed by the {sparse_head.weighting} token"
    return f"the {sparse_head.top} heaviest {over}{words}, {pooled}"


def _describe_late(late: LateInteraction) -> str:
    parts = ["the states" if late.projection is None else f"{late.projection.outputs} wide"]
    if late.expansion is not None:
        parts.append(f"queries filled up to {late.expansion.length} with {late.expansion.token}")
    if late.skipped:
        parts.append(f"{len(late.skipped)} tokens of passages skipped")
    return ", ".join(parts)


def _layers(recipe: Recipe) -> str:
    if recipe.mix is None:
        return f"layer {recipe.layer}"
    named = ", ".join(map(str, recipe.mix.layers)) or "all"
    weights = f", weights {list(recipe.mix.weights)}" if recipe.mix.weights else ""
    return f"average of layers {named}{', each of unit length' if recipe.mix.unit else ''}{weights}"


def _interface(bundle: Bundle, precision: str) -> dict[str, list[str] | str]:
    """Return the names of a graph's inputs and outputs, or why they are not known."""
    try:
        from decant.embedders.onnx import Session, provider_name

        with silenced():
            session = Session(bundle.graph(Precision(precision)), provider_name("cpu"))
    except MissingExtra as error:
        return {"unknown": str(error)}
    return {"inputs": session.inputs, "outputs": session.outputs}


def _interface_line(interface: dict[str, list[str] | str]) -> str:
    if "unknown" in interface:
        return str(interface["unknown"])
    return f"{', '.join(interface['inputs'])} → {', '.join(interface['outputs'])}"


def _sizes(bundle: Bundle) -> dict[str, int]:
    return {name: (bundle.folder / name).stat().st_size for name in bundle.manifest.files}


def _files(bundle: Bundle) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("file", overflow="fold")
    table.add_column("bytes", justify="right")
    table.add_column("sha256", no_wrap=True)
    for name, size in _sizes(bundle).items():
        table.add_row(name, f"{size:,}", bundle.manifest.files[name][:16])
    return table


def _closeness(entry: AnyEntry) -> str:
    if isinstance(entry, ScoreEntry):
        return f"Kendall tau {entry.kendall_tau:.4f}, worst difference {entry.worst_difference:.1e}"
    return f"worst cosine {floored(entry.worst_cosine)}"


def _show_summary(certificate: Certificate) -> None:
    show_facts(
        {
            f"certificate {entry.precision}": f"{'passed' if entry.passed else 'FAILED'} on "
            f"{entry.provider}, {_closeness(entry)}, {entry.date[:10]}"
            + ("" if entry.passed else f": {entry.failures}")
            for entry in certificate.measured
        }
        or {"certificate": "none; make one with: decant verify"}
    )
