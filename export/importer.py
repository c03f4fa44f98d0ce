"""Import an ONNX graph of another tool: complete and certify it as a bundle, without torch.

The graph keeps its nodes and its weights. ``onnx_import/complete.py`` adds what is missing before
and behind them, and ``passes/slice_pooled_token.py`` restricts the last layers to the pooled token.
The reference is the graph itself, run on one unpadded text at a time: a graph whose vectors depend
on padding fails its certificate, and nothing is left of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import onnx_ir
from tokenizers import Tokenizer

from decant.embedders import (
    Certificate,
    CertificateCheck,
    Choices,
    ModelFiles,
    OnStep,
    ParityError,
    Precision,
    Recipe,
    RecipeError,
    find_model,
    resolve,
)
from decant.embedders.bundle import fresh_folder
from decant.embedders.files import REFERENCE, file_hash
from decant.embedders.onnx import provider_name
from decant.embedders.sources import pad_id
from decant.embedders.tokens import TextTokenizer, embedding_count, read_tokenizer

from .bundle_writer import graph_name, write_certificate, write_manifest
from .certify.certifier import Certifier, Place
from .certify.probes import longest_probe, probe_rows, probe_texts
from .certify.reference import Reference
from .graph.external_data import save_graph, weight_files
from .onnx_import.complete import finish
from .onnx_import.contract import (
    Contract,
    ModelConfig,
    precision_of,
    read_contract,
    read_graph,
    usual_output,
)
from .onnx_import.dense_weights import Layer, read_head
from .onnx_import.source_graph import Original, attention_check, original_reference
from .onnx_import.source_match import check_token_table, check_weights
from .passes.name_axes import name_axes
from .passes.slice_pooled_token import ONE_TOKEN, prune_unread

_COPIED = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
)
_UNSAID_HEADS = 32  # if the config does not state its heads, probes are chosen as for many heads


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Job:
    """The inputs of an import, known before the first file is written."""

    path: Path
    model: onnx_ir.Model
    contract: Contract
    recipe: Recipe
    head: tuple[Layer, ...]
    tokenizer: TextTokenizer
    source: ModelFiles
    precision: Precision
    longest: int
    weights: list[CertificateCheck]


def import_onnx(  # noqa: PLR0913 - each is a decision of its own
    graph: str | Path,
    source: str | Path | ModelFiles,
    target: str | Path,
    *,
    choices: Choices | None = None,
    output: str | None = None,
    replace: bool = False,
    on_step: OnStep | None = None,
) -> Certificate:
    """Turn an ONNX graph of token states into a certified bundle of finished vectors.

    Args:
        graph: An ONNX file with token states among its outputs.
        source: The model it was made from, for recipe, tokenizer and dense layers: a folder, a hub
            id, or files already found. Some of its backbone weights (``*.safetensors``) are
            compared with the graph's; the vectors are the graph's alone.
        target: The bundle's folder; it appears whole or not at all.
        choices: Your choices for the recipe; they override registry and model files.
        output: The output with token states; None: ``last_hidden_state``, ``token_embeddings`` or
            ``hidden_states``.
        replace: Whether a bundle at ``target`` may be replaced.
        on_step: Called with the name of each step as it begins.

    Returns:
        The certificate, which is also in the bundle; it passed. Its reference is the original
        graph, whose hash is part of the recipe's revision and so of its digest: a collection that
        was filled by an export, or by another graph of the same model, does not open with it.

    Raises:
        RecipeError: The recipe is incomplete, or needs outputs that a finished graph does not
            have.
        BundleError: The graph cannot be imported, it is not of this model, ``target`` exists,
            or the disk is full.
        ParityError: The graph's vectors depend on padding or neighbours; nothing is left.
    """
    on_step = on_step or (lambda _: None)
    with fresh_folder(Path(target), replace=replace) as folder:
        on_step(f"reading {Path(graph).name}")
        found = source if isinstance(source, ModelFiles) else find_model(source)
        job = _prepare(Path(graph), found, choices, output)
        on_step("computing reference vectors")
        reference, known = _measure(job)
        on_step("adding pooling and normalisation")
        _write(job, folder, reference)
        on_step("certifying on the CPU")
        certificate = _certify(job, folder, reference, known, on_step)
        write_certificate(folder, certificate)
        if not certificate.passed:
            failures = certificate.entries[0].failures
            raise ParityError(f"{graph} was not imported to {target}: {failures}")
    return certificate


def _prepare(path: Path, source: ModelFiles, choices: Choices | None, output: str | None) -> _Job:
    model = read_graph(path)
    source = _identified(source, path, model, output)
    recipe = resolve(source, choices)
    if recipe.mix is not None:
        raise RecipeError(
            f"the recipe averages layers {list(recipe.mix.layers)}, and a finished graph gives "
            "only its last states; export the model itself, or leave mix out"
        )
    beyond = {
        "an ensemble of prompts": recipe.ensemble,
        "a contrast": recipe.contrast,
        "token prepending": recipe.prepending,
        "a sparse head": recipe.sparse_head,
        "token states": recipe.token_embeddings,
        "states of appended tokens": recipe.appended,
        "a latent attention": recipe.latent_heads,
    }
    if named := [name for name, value in beyond.items() if value]:
        raise RecipeError(
            f"the recipe wants {named[0]}, which a finished graph cannot give; export the "
            "model itself, or leave it out"
        )
    if recipe.layer != -1:
        raise RecipeError(
            f"the recipe pools layer {recipe.layer}, and a finished graph gives only its last "
            "states; export the model itself, or pass layer=-1"
        )
    config = ModelConfig.read(source.folder)
    heads = config.heads or _UNSAID_HEADS
    contract = read_contract(model, path, config, output=output)
    tokenizer = _tokenizer(source.folder)
    check_token_table(model, path, source.folder, tokenizer)
    return _Job(
        path=path,
        model=model,
        contract=contract,
        recipe=recipe,
        head=read_head(source.folder, recipe.head),
        tokenizer=TextTokenizer(tokenizer, recipe, embedded=embedding_count(source.folder)),
        source=source,
        precision=precision_of(model),
        longest=longest_probe(recipe.max_tokens, heads=heads),
        weights=check_weights(model, path, source.folder, adapted=bool(source.adapters)),
    )


def _identified(
    source: ModelFiles, path: Path, model: onnx_ir.Model, output: str | None
) -> ModelFiles:
    """Return the source with the graph's hash in its revision, because the graph makes the vectors.

    A recipe's digest distinguishes models by the revision; a hub's commit stays readable in it.
    """
    digest = hashlib.sha256(source.revision.encode())
    for file in (path, *weight_files(model)):
        digest.update(bytes.fromhex(file_hash(file)))
    if output is not None and output != usual_output(model.graph):
        digest.update(output.encode())
    commit = "" if source.revision.startswith("sha256:") else f"{source.revision}+"
    return dataclasses.replace(source, revision=f"{commit}sha256:{digest.hexdigest()[:16]}")


def _tokenizer(folder: Path) -> Tokenizer:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise RecipeError(
            f"{folder} has no tokenizer.json, which the import needs; write one with transformers: "
            "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
        )
    return read_tokenizer(path)


def _measure(job: _Job) -> tuple[Reference, list[CertificateCheck]]:
    """Run the original graph and close it, because two open graphs hold the weights twice."""
    uncounted = job.contract.uncounted_id
    texts = probe_texts(job.tokenizer, longest=job.longest, uncounted_id=uncounted)
    rows = probe_rows(job.tokenizer, texts)
    original = Original(job.path, job.contract)
    found = original_reference(original, rows, texts=texts, recipe=job.recipe, head=job.head)
    said = f"the original graph {job.path.name}, SHA-256 {file_hash(job.path)[:16]}"
    reference = dataclasses.replace(found, origin=said)
    floats = job.precision in (Precision.FP32, Precision.FP16, Precision.BF16)
    attention = attention_check(original, rows, job.recipe) if floats else []
    return reference, [*job.weights, *attention]


def _write(job: _Job, folder: Path, reference: Reference) -> None:
    """Write everything but the certificate."""
    dim = reference.vectors.shape[1]
    finish(job.model, job.contract, recipe=job.recipe, head=job.head, dim=dim)
    name_axes(job.model)
    if job.recipe.pooling in ONE_TOKEN:
        prune_unread(job.model, job.recipe.pooling)
    file = graph_name(job.precision)
    (folder / file).parent.mkdir()
    save_graph(job.model, folder / file)
    for name in _COPIED:
        if (wanted := job.source.folder / name).is_file():
            shutil.copyfile(wanted, folder / name)
    reference.save(folder / REFERENCE)
    write_manifest(
        folder,
        job.tokenizer,
        dim=dim,
        pad_id=pad_id(job.source.folder),
        graphs={job.precision: file},
    )


def _certify(
    job: _Job, folder: Path, reference: Reference, known: list[CertificateCheck], on_step: OnStep
) -> Certificate:
    certifier = Certifier(
        folder=folder,
        tokenizer=job.tokenizer,
        reference=reference,
        pad_id=pad_id(job.source.folder),
        on_step=on_step,
    )
    place = Place(provider=provider_name("cpu"))
    entry = certifier.entry(job.precision, graph_name(job.precision), place, known=known)
    return Certificate(format=1, digest=job.recipe.digest(), entries=(entry,))
