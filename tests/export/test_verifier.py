"""Verifying a bundle: what is written, what is refused, and what is not loaded for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
import pytest

from decant.embedders import (
    Bundle,
    BundleError,
    CertificateEntry,
    Choices,
    load,
)
from decant.export import export, verify
from fresh_process import modules_loaded_by

CPU = "CPUExecutionProvider"


def failed(entry: CertificateEntry) -> set[str]:
    return {check.name for check in entry.checks if not check.passed}


def test_verify_adds_what_it_measured(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    (bundle / "certificate.json").unlink()
    certificate = verify(bundle, provider="cpu")
    assert certificate.passed
    assert [entry.provider for entry in certificate.entries] == [CPU]
    load(bundle, provider="cpu").close()
    assert len(verify(bundle, provider="cpu").entries) == 1


def test_verify_names_a_file_that_was_altered(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    model = onnx.load(bundle / "onnx" / "model.onnx")
    for item in model.graph.initializer:
        if "word_embeddings" in item.name:
            values = onnx.numpy_helper.to_array(item) * -1
            item.CopyFrom(onnx.numpy_helper.from_array(values, item.name))
    onnx.save(model, bundle / "onnx" / "model.onnx")
    certificate = verify(bundle, provider="cpu")
    assert not certificate.passed
    (entry,) = certificate.entries
    assert failed(entry) >= {"files", "one by one"}
    assert "onnx/model.onnx" in entry.failures
    with pytest.raises(BundleError, match="altered or damaged"):
        load(bundle)


def test_a_damaged_reference_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    (bundle / "reference.npz").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(BundleError, match=r"reference\.npz"):
        verify(bundle)


def test_verify_needs_no_torch(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    code = f"from decant.export import verify; assert verify({str(bundle)!r}).passed"
    loaded = modules_loaded_by(code)
    assert "onnxruntime" in loaded
    assert not loaded & {"torch", "transformers", "onnx"}


def test_loading_and_encoding_need_no_torch(tiny_bundle: Path) -> None:
    code = (
        "from decant.embedders import load, Role\n"
        f"with load({str(tiny_bundle)!r}) as encoder:\n"
        "    encoder.encode(['a', 'b'], role=Role.QUERY)"
    )
    assert not modules_loaded_by(code) & {"torch", "transformers", "onnx", "qdrant_client"}


def test_what_the_user_said_is_in_the_bundle(tiny_folder: Path, tmp_path: Path) -> None:
    export(tiny_folder, tmp_path / "bundle", choices=Choices(dim=16, query_prompt="ask {text}"))
    recipe = Bundle.open(tmp_path / "bundle").manifest.recipe
    assert recipe.dim == 16
    assert recipe.query_prompt.template == "ask {text}"
