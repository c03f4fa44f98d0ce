"""Write the files of a bundle that say what is in it: ``decant.json`` and ``certificate.json``."""

from __future__ import annotations

from pathlib import Path

from decant.embedders import (
    BUNDLE_FORMAT,
    Certificate,
    Golden,
    Manifest,
    Precision,
    TextTokenizer,
    decant_version,
    file_hash,
    to_json,
)

GRAPH = "onnx/model.onnx"
_OURS = ("decant.json", "certificate.json")


def graph_name(precision: Precision) -> str:
    """Return where a bundle keeps the graph of a precision.

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
    """Write ``decant.json`` for the files that lie in ``folder`` now, and return it.

    Args:
        folder: The bundle in the making; every file in it is hashed.
        tokenizer: Holds the recipe, and gives the golden ids.
        dim: Width D of the vectors.
        pad_id: Fills padded positions.
        graphs: For each precision, the graph's path in the bundle.
    """
    manifest = Manifest(
        format=BUNDLE_FORMAT,
        made_by=f"decant {decant_version()}",
        recipe=tokenizer.recipe,
        digest=tokenizer.recipe.digest(),
        dim=dim,
        pad_id=pad_id,
        graphs={str(precision): name for precision, name in graphs.items()},
        files={
            name: file_hash(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and (name := path.relative_to(folder).as_posix()) not in _OURS
        },
        golden=tuple(
            Golden(role=role, text=text, ids=ids) for role, text, ids in tokenizer.golden()
        ),
    )
    (folder / "decant.json").write_text(to_json(manifest), encoding="utf-8")
    return manifest


def write_certificate(folder: Path, certificate: Certificate) -> None:
    """Write ``certificate.json``."""
    (folder / "certificate.json").write_text(to_json(certificate), encoding="utf-8")
