"""Make a bundle of a model: trace, certify, and only then move the folder to its place."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import transformers
from numpy.typing import NDArray
from optimum.utils.save_utils import maybe_save_preprocessors

from decant.embedders import (
    Attention,
    Bundle,
    BundleError,
    Certificate,
    Choices,
    ModelFiles,
    OnStep,
    ParityError,
    Pooling,
    Precision,
    Recipe,
    RecipeError,
    RerankChoices,
    RerankRecipe,
    Strategy,
    TorchEncoder,
    TorchReranker,
    find_model,
    is_reranker,
    resolve,
    resolve_reranker,
)
from decant.embedders.bundle import fresh_folder
from decant.embedders.files import MANIFEST, REFERENCE
from decant.embedders.sources import pad_id
from decant.embedders.tokens import PairTokenizer, pad

from .bundle_writer import graph_name, write_certificate, write_manifest
from .certify.certifier import Certifier
from .certify.output_checks import Extras
from .certify.probes import longest_probe, probe_rows, probe_texts
from .certify.reference import Reference
from .certify.score_certifier import ScoreCertifier
from .certify.score_probes import probe_pairs
from .certify.score_reference import ScoreReference
from .certify.weight_checks import Fingerprints
from .graph_maker import Making, trace_graphs

_EXPLAINED_ROWS = 8


def export(  # noqa: PLR0913 - each is a decision of its own
    model: str | Path | ModelFiles,
    target: str | Path,
    *,
    choices: Choices | RerankChoices | None = None,
    strategy: str | Strategy | None = None,
    precisions: Iterable[Precision | str] = (),
    replace: bool = False,
    exist_ok: bool = False,
    on_step: OnStep | None = None,
) -> Certificate:
    """Turn a model into a certified ONNX bundle.

    Args:
        model: A Transformers or sentence-transformers folder, a hub id, or files already found.
        target: The bundle's folder; it appears whole or not at all.
        choices: Your choices for the recipe; they override registry and model files. With
            :class:`RerankChoices`, or without a pooling and a strategy for a model that is a
            reranker by its folder or name, the bundle holds a reranker.
        strategy: The name of a strategy (``decant strategies``), the path of a JSON file, or a
            :class:`Strategy`; it overrides registry and model files.
        precisions: Graphs to make in addition to the float32 one, for example ``["int8"]``.
        replace: Whether a bundle at ``target`` may be replaced.
        exist_ok: Whether a bundle at ``target`` is kept if the export would make the same: its
            files have their hashes, its certificate passed, and model files, recipe and precisions
            are the same. Then its certificate is returned, and nothing is exported. Another bundle
            is refused, or replaced with ``replace=True``.
        on_step: Called with the name of each step as it begins.

    Returns:
        The certificate, which is also in the bundle; it passed. A bf16 graph has no entry, because
        the CPU provider does not run it: call :func:`verify` on the machine that will run it.

    Raises:
        RecipeError: The model does not exist, its recipe is incomplete, or it cannot be traced.
        BundleError: ``target`` exists, a precision is unknown, or the disk is full; with
            ``exist_ok``, the bundle at ``target`` is another, and the message says how it
            differs.
        ParityError: A graph does not agree with PyTorch; nothing is left at ``target``.
    """
    on_step = on_step or (lambda _: None)
    wanted = (Precision.FP32, *_beside(precisions))

    def resolved(source: ModelFiles) -> Recipe | RerankRecipe:
        return recipe_of(source, choices, strategy=strategy)

    if exist_ok and (Path(target) / MANIFEST).is_file():
        model = model if isinstance(model, ModelFiles) else find_model(model)
        held = Bundle.unchecked(target)
        difference = _difference(held, resolved(model), wanted)
        if not difference:
            return Bundle.open(target).certificate()
        if not replace:
            raise BundleError(
                f"{target} already holds another bundle: {difference}; choose another name, or "
                "pass replace=True (--replace)"
            )
    with fresh_folder(Path(target), replace=replace) as folder:
        source = model if isinstance(model, ModelFiles) else find_model(model)
        recipe = resolved(source)
        if isinstance(recipe, RerankRecipe):
            making, dim = _trace_reranker(source, recipe, folder, wanted, on_step), 1
        else:
            making, dim = _trace(source, recipe, folder, wanted, on_step)
        # Modules refer to each other, so only a garbage collection frees the model.
        gc.collect()
        tokenizer = making.certifier.tokenizer
        certificate = Certificate(format=1, digest=recipe.digest())
        for precision in wanted:
            try:
                entry = making.entry(precision)
            except ParityError as error:
                message = f"{source.base} was not exported to {target}: {precision}: {error}"
                raise ParityError(message) from error
            certificate = certificate if entry is None else certificate.with_entry(entry)
            if certificate.failed:
                break
        if certificate.failed:
            (bad,) = certificate.failed
            failures = f"{bad.precision}: {bad.failures}"
            raise ParityError(f"{source.base} was not exported to {target}: {failures}")
        write_manifest(
            folder,
            tokenizer,
            dim=dim,
            pad_id=making.certifier.pad_id,
            graphs={precision: graph_name(precision) for precision in wanted},
        )
        write_certificate(folder, certificate)
    return certificate


def recipe_of(
    source: ModelFiles,
    choices: Choices | RerankChoices | None,
    *,
    strategy: str | Strategy | None = None,
) -> Recipe | RerankRecipe:
    """Return the recipe by which a model is exported: of an encoder, or of a reranker.

    Raises:
        RecipeError: As :func:`resolve` and :func:`resolve_reranker`; or there are choices for a
            reranker, and a strategy.
    """
    if isinstance(choices, RerankChoices):
        if strategy is not None:
            raise RecipeError("a strategy is for encoders; export a reranker without")
        return resolve_reranker(source, choices)
    encodes = strategy is not None or (choices is not None and choices.pooling is not None)
    if encodes or not is_reranker(source):
        return resolve(source, choices, strategy=strategy)
    said = choices or Choices()
    if others := [
        item.name
        for item in fields(said)
        if getattr(said, item.name) is not None and item.name not in ("attention", "max_tokens")
    ]:
        raise RecipeError(
            f"{source.base} is a reranker, which takes no {others[0]}; leave it out, or name a "
            "pooling to export the backbone as an encoder"
        )
    own = RerankChoices(attention=said.attention, max_tokens=said.max_tokens)
    return resolve_reranker(source, own)


def _difference(held: Bundle, recipe: Recipe | RerankRecipe, wanted: Sequence[Precision]) -> str:
    """Return how a bundle differs from the one that would be made; "" if it does not."""
    own = held.manifest.reranker or held.manifest.recipe
    if type(own) is not type(recipe):
        return "the one is a reranker, the other an encoder"
    if own != recipe:
        pairs = (
            (item.name, getattr(own, item.name), getattr(recipe, item.name))
            for item in fields(recipe)
        )
        return "; ".join(
            f"its {name} is {one!r}, not {other!r}" for name, one, other in pairs if one != other
        )
    if lacking := [precision for precision in wanted if precision not in held.manifest.graphs]:
        return f"it has no graph in {', '.join(lacking)}, which `decant convert` adds"
    return "" if held.certificate().passed else "its certificate has not passed"


def _trace(
    source: ModelFiles, recipe: Recipe, folder: Path, wanted: Sequence[Precision], on_step: OnStep
) -> tuple[Making, int]:
    """Do all work with the PyTorch model; return what later steps need, and the vectors' width."""
    on_step(f"loading {source.base}")
    with TorchEncoder.from_source(source, recipe, on_step=on_step) as encoder:
        trace_graphs(encoder.model, folder, wanted, on_step)
        _save_preprocessors(source, folder, encoder)
        heads: int = encoder.model.backbone.config.num_attention_heads
        longest = longest_probe(encoder.recipe.max_tokens, heads=heads)
        uncounted = encoder.model.uncounted_id
        texts = probe_texts(encoder.text_tokenizer, longest=longest, uncounted_id=uncounted)
        reference = _reference(encoder, texts, on_step)
        reference.save(folder / REFERENCE)
        certifier = Certifier(
            folder=folder,
            tokenizer=encoder.text_tokenizer,
            reference=reference,
            pad_id=pad_id(source.folder),
            on_step=on_step,
        )
        return Making(certifier, Fingerprints.of(encoder.model), on_step), encoder.dim


def _trace_reranker(
    source: ModelFiles,
    recipe: RerankRecipe,
    folder: Path,
    wanted: Sequence[Precision],
    on_step: OnStep,
) -> Making:
    """Do all work with the PyTorch model of a reranker; return what later steps need."""
    on_step(f"loading {source.base}")
    with TorchReranker.from_source(source, recipe, on_step=on_step) as reranker:
        encoder, tokenizer = reranker.encoder, reranker.encoder.text_tokenizer
        assert isinstance(tokenizer, PairTokenizer)
        trace_graphs(encoder.model, folder, wanted, on_step)
        _save_preprocessors(source, folder, encoder)
        heads: int = encoder.model.backbone.config.num_attention_heads
        longest = longest_probe(encoder.recipe.max_tokens, heads=heads)
        pairs, ranked = probe_pairs(tokenizer, longest=longest)
        on_step(f"computing reference scores: {len(pairs)} pairs")
        rows = tokenizer.pairs(pairs)
        reference = ScoreReference(
            queries=[query for query, _ in pairs],
            passages=[text for _, text in pairs],
            scores=np.concatenate([encoder.run(pad([row], pad_id=0))[:, 0] for row in rows]),
            ranked=ranked,
        )
        reference.save(folder / REFERENCE)
        certifier = ScoreCertifier(
            folder=folder,
            tokenizer=tokenizer,
            reference=reference,
            pad_id=pad_id(source.folder),
            on_step=on_step,
        )
        return Making(certifier, Fingerprints.of(encoder.model), on_step)


def _beside(precisions: Iterable[Precision | str]) -> list[Precision]:
    """Return the precisions other than float32, each once, in the order of the enumeration."""
    # A single name is an iterable of letters.
    names = [precisions] if isinstance(precisions, str) else precisions
    asked = {str(precision) for precision in names}
    if unknown := sorted(asked - set(Precision)):
        raise BundleError(
            f"no precision is called {unknown[0]!r}; known are {', '.join(Precision)}"
        )
    return [member for member in Precision if member in asked and member is not Precision.FP32]


def _save_preprocessors(source: ModelFiles, folder: Path, encoder: TorchEncoder) -> None:
    """Write config and tokenizer; ``tokenizer.json`` is the tokenizer that was used, untouched."""
    encoder.model.backbone.config.save_pretrained(folder)
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        maybe_save_preprocessors(source.folder, folder, trust_remote_code=False)
    finally:
        transformers.logging.set_verbosity(before)
    if (source.folder / "tokenizer.json").exists():
        shutil.copyfile(source.folder / "tokenizer.json", folder / "tokenizer.json")
    else:
        encoder.tokenizer.save(str(folder / "tokenizer.json"))


def _reference(encoder: TorchEncoder, texts: list[str], on_step: OnStep) -> Reference:
    """Run every probe alone and unpadded in PyTorch."""
    rows = probe_rows(encoder.text_tokenizer, texts)
    longest = max(row.width for row in rows)
    on_step(f"computing reference vectors: {len(rows)} probes of up to {longest:,} tokens")
    batches = [pad([row], pad_id=0) for row in rows]
    vectors = np.concatenate([encoder.run(batch) for batch in batches])
    others: dict[Pooling, NDArray[np.float32]] = {}
    causal = encoder.recipe.attention is Attention.CAUSAL
    for pooling in Pooling:
        pointless = causal and pooling is Pooling.FIRST  # a recipe with this combination is invalid
        if pooling is not encoder.recipe.pooling and not pointless:
            swapped = encoder.model.pooled_by(pooling)
            twin = TorchEncoder(swapped, encoder.text_tokenizer, pad_id=0)
            parts = [twin.run(batch) for batch in batches[:_EXPLAINED_ROWS]]
            others[pooling] = np.concatenate(parts)
            twin.close()
    extras = Extras.of(encoder.outputs_of, rows, encoder.recipe)
    return Reference(texts=texts, vectors=vectors, others=others, extras=extras)
