"""The files of a bundle lie inside it, are plain, and stay those that were checked."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from decant.embedders import Bundle, BundleError, Role, load
from decant.embedders.bundle.file_list import hashed

TEXTS = [f"what wind number {number} wants" for number in range(300)]


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


def moved(bundle: Path, name: str, new: str) -> None:
    """Call a file of the manifest otherwise, in files and graphs."""
    held = json.loads((bundle / "decant.json").read_text("utf-8"))
    held["files"][new] = held["files"].pop(name)
    held["graphs"] = {key: new if file == name else file for key, file in held["graphs"].items()}
    (bundle / "decant.json").write_text(json.dumps(held), encoding="utf-8")


@pytest.mark.parametrize("absolute", [False, True])
def test_a_graph_outside_the_bundle_is_refused(bundle: Path, absolute: bool) -> None:
    outside = bundle.parent / "outside.onnx"
    shutil.copy(bundle / "onnx" / "model.onnx", outside)
    moved(bundle, "onnx/model.onnx", str(outside) if absolute else "../outside.onnx")
    with pytest.raises(BundleError, match=r"outside\.onnx.*not inside the bundle"):
        load(bundle)


@pytest.mark.parametrize("name", ["", "..", "a/../../b", "..\\b", "C:\\b", "a\0b"])
def test_names_that_lead_elsewhere_are_refused(bundle: Path, name: str) -> None:
    moved(bundle, "modules.json", name)
    with pytest.raises(BundleError, match="not inside the bundle"):
        Bundle.open(bundle)


def test_a_cache_of_links_to_plain_files_opens(tiny_bundle: Path, tmp_path: Path) -> None:
    """The hub's cache holds symbolic links (microsoft/onnxruntime#27353)."""
    snapshot, blobs = tmp_path / "snapshots" / "abc", tmp_path / "blobs"
    blobs.mkdir()
    for number, path in enumerate(sorted(tiny_bundle.rglob("*"))):
        if path.is_file():
            link = snapshot / path.relative_to(tiny_bundle)
            link.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, blobs / str(number))
            link.symlink_to(os.path.relpath(blobs / str(number), link.parent))
    assert (snapshot / "decant.json").is_symlink()
    assert np.array_equal(encoded(snapshot), encoded(tiny_bundle))


def encoded(bundle: Path) -> NDArray[np.float32]:
    with load(bundle) as encoder:
        return encoder.encode(TEXTS[:2], role=Role.QUERY).dense


@pytest.mark.parametrize(
    "name", ["decant.json", "certificate.json", "tuning.json", "tokenizer.json", "onnx/model.onnx"]
)
@pytest.mark.parametrize("target", ["/dev/zero", "pipe"])
def test_an_endless_file_is_refused_and_not_read(bundle: Path, name: str, target: str) -> None:
    (bundle / name).unlink(missing_ok=True)
    if target == "pipe":
        os.mkfifo(bundle / name)
    else:
        (bundle / name).symlink_to(target)
    with pytest.raises(BundleError):
        load(bundle)


@pytest.mark.parametrize("name", ["tuning.json", "calibration.json", "certificate.json"])
def test_json_of_a_bundle_has_a_largest_size(bundle: Path, name: str) -> None:
    with (bundle / name).open("w") as file:
        file.truncate(2**26 + 1)
    with pytest.raises(BundleError, match=rf"{name}.*at most 67,108,864"):
        load(bundle).quantizer("int8")


def replaced_graph(bundle: Path, *, same_file: bool) -> None:
    """Put other weights into the graph: another file, or the same one written over."""
    graph = bundle / "onnx" / "model.onnx"
    model = onnx.load(graph)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2:
            values = onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values[::-1].copy(), tensor.name))
    if not same_file:
        graph.unlink()
    graph.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("same_file", [False, True])
def test_a_graph_replaced_after_load_is_not_mixed_in(bundle: Path, same_file: bool) -> None:
    with load(bundle) as encoder:
        if encoder.runtime.threads == encoder.runtime.lone_threads:
            pytest.skip("on one core there is one session, which is open")
        before = encoder.encode(TEXTS[:1], role=Role.QUERY).dense
        replaced_graph(bundle, same_file=same_file)
        with pytest.raises(BundleError, match=r"model\.onnx was replaced.*load the bundle again"):
            encoder.encode(TEXTS, role=Role.QUERY)
        assert np.array_equal(encoder.encode(TEXTS[:1], role=Role.QUERY).dense, before)


def test_a_bundle_that_is_gone_is_told_of(bundle: Path) -> None:
    with load(bundle) as encoder:
        if encoder.runtime.threads == encoder.runtime.lone_threads:
            pytest.skip("on one core there is one session, which is open")
        shutil.rmtree(bundle)
        with pytest.raises(BundleError, match="replaced or removed"):
            encoder.encode(TEXTS, role=Role.QUERY)


def test_a_file_that_was_only_touched_goes_on(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bundle.parent)
    with load(bundle.name) as encoder:
        os.utime(bundle / "onnx" / "model.onnx", (1, 1))
        monkeypatch.chdir("/")
        assert encoder.encode(TEXTS, role=Role.QUERY).dense.shape == (300, 32)


def test_a_tokenizer_replaced_between_check_and_use_is_refused(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    text = (bundle / "tokenizer.json").read_text("utf-8")
    (bundle / "tokenizer.json").write_text(text + " ", encoding="utf-8")
    with pytest.raises(BundleError, match=r"tokenizer\.json was replaced"):
        opened.tokenizer()


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no plain file"):
        hashed(tmp_path)
