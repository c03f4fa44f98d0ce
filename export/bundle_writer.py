"""Write the manifest and the certificate of a bundle, and add a graph to a bundle in use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from decant.embedders import Bundle, BundleError, Certificate, Precision
from decant.embedders.bundle import (
    BUNDLE_FORMAT,
    RERANKER_FORMAT,
    Manifest,
    golden_of,
    read_manifest,
    write_sentence_files,
)
from decant.embedders.distribution import decant_version
from decant.embedders.files import CERTIFICATE, MANIFEST, file_hash, write_atomically
from decant.embedders.json_records import to_json
from decant.embedders.tokens import PairTokenizer, TextTokenizer

GRAPH = "onnx/model.onnx"
_OURS = (MANIFEST, CERTIFICATE)


def graph_name(precision: Precision) -> str:
    """Return the path of a precision's graph in a bundle.

    >>> graph_name(Precision.INT8)
    'onnx/model_int8.onnx'
    """
    return GRAPH if precision is Precision.FP32 else f"onnx/model_{precision}.onnx"


def write_manifest(
    folder: Path,
    tokenizer: TextTokenizer,
    *,
    dim: int,
    pad_id: int,
    graphs: dict[Precision, str],
) -> Manifest:
    """Write ``decant.json`` for the present files of ``folder``, and return it.

    The files for sentence-transformers are written first, if it is an encoder.

    Args:
        folder: The unfinished bundle; every file in it is hashed.
        tokenizer: The tokenizer, with the recipe and the golden ids.
        dim: Width D of the vectors.
        pad_id: The token id of padded positions.
        graphs: For each precision, the graph's path in the bundle.
    """
    reranker = tokenizer.pair_recipe if isinstance(tokenizer, PairTokenizer) else None
    if reranker is None:
        write_sentence_files(folder, tokenizer.recipe)
    manifest = Manifest(
        format=BUNDLE_FORMAT if reranker is None else RERANKER_FORMAT,
        made_by=f"decant {decant_version()}",
        recipe=tokenizer.recipe,
        digest=(reranker or tokenizer.recipe).digest(),
        dim=dim,
        pad_id=pad_id,
        graphs={str(precision): name for precision, name in graphs.items()},
        files={
            name: file_hash(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and (name := path.relative_to(folder).as_posix()) not in _OURS
        },
        golden=golden_of(tokenizer),
        reranker=reranker,
    )
    (folder / MANIFEST).write_text(to_json(manifest), encoding="utf-8")
    return manifest


def write_certificate(folder: Path, certificate: Certificate) -> None:
    """Write ``certificate.json``."""
    (folder / CERTIFICATE).write_text(to_json(certificate), encoding="utf-8")


def check_same_bundle(bundle: Bundle) -> None:
    """Refuse to write into a bundle that was replaced since it was opened.

    Raises:
        BundleError: Its manifest changed, or is gone.
    """
    if read_manifest(bundle.folder) != bundle.manifest:
        raise BundleError(
            f"{bundle.folder} was replaced or changed while this ran, and nothing was written into "
            "it; run it again"
        )


def without_graph(bundle: Bundle, precision: Precision) -> Bundle:
    """Remove a precision from a bundle's manifest, if it is there; its file stays."""
    manifest = bundle.manifest
    if precision not in manifest.graphs:
        return bundle
    path = manifest.graphs[precision]
    return _rewritten(
        bundle,
        graphs={name: file for name, file in manifest.graphs.items() if name != precision},
        files={name: sha for name, sha in manifest.files.items() if not name.startswith(path)},
    )


def add_graph(bundle: Bundle, precision: Precision, made: Path, certificate: Certificate) -> None:
    """Move a graph and its weights into a bundle that others may be reading.

    A crash at any moment leaves a bundle that opens, because the manifest is written last, when all
    files that it names exist with their hashes.

    Args:
        bundle: The bundle, whose manifest does not name ``precision``; see :func:`without_graph`.
        precision: The precision of the new graph.
        made: A folder on the same disk with the new files, in the layout of a bundle.
        certificate: The bundle's certificate, with the new entry.
    """
    file = graph_name(precision)
    home = (bundle.folder / file).parent
    for old in home.glob(f"{Path(file).name}*"):
        old.unlink()
    for new in sorted((made / file).parent.iterdir()):
        new.replace(home / new.name)
    write_atomically(bundle.folder / CERTIFICATE, to_json(certificate))
    # Bundles of older versions have no files for sentence-transformers.
    encodes = bundle.manifest.reranker is None
    further = write_sentence_files(bundle.folder, bundle.manifest.recipe) if encodes else []
    paths = [*sorted(home.glob(f"{Path(file).name}*")), *(bundle.folder / name for name in further)]
    added = {path.relative_to(bundle.folder).as_posix(): file_hash(path) for path in paths}
    _rewritten(
        bundle,
        graphs={**bundle.manifest.graphs, str(precision): file},
        files={**bundle.manifest.files, **added},
    )


def _rewritten(bundle: Bundle, *, graphs: dict[str, str], files: dict[str, str]) -> Bundle:
    manifest = replace(bundle.manifest, graphs=graphs, files=files)
    write_atomically(bundle.folder / MANIFEST, to_json(manifest))
    return replace(bundle, manifest=manifest)
