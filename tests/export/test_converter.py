"""Converting a bundle that is in use: it opens whatever happens, and says what it lacks."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir
import pytest

from decant.embedders import Bundle, BundleError, ParityError, Precision, Role, load
from decant.embedders.bundle import read_manifest
from decant.embedders.json_records import to_json
from decant.export import convert, verify
from decant.export.graph.external_data import weights_of
from decant.export.passes.plain_graph import PlainGraph
from decant.export.quantize.weight_only import to_weight_only

TEXTS = ["the hat", "in a hat"]


class Killed(BaseException):
    """Stands for a process that ends at once: no handler of ours runs for it."""


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> list[str]:
    """Make the ``step``-th change of the disk the last; return the list of those that happened."""
    done: list[str] = []

    def counted(name: str, original: Callable[..., object]) -> Callable[..., object]:
        def call(path: Path, *args: object, **kwargs: object) -> object:
            if len(done) == step:
                raise Killed
            done.append(f"{name} {path.name}")
            return original(path, *args, **kwargs)

        return call

    for name in ("replace", "unlink"):
        monkeypatch.setattr(Path, name, counted(name, getattr(Path, name)))
    return done


@pytest.mark.slow
@pytest.mark.parametrize("already", [False, True])
def test_a_bundle_opens_wherever_converting_was_killed(
    bundle: Path, tmp_path: Path, *, already: bool
) -> None:
    if already:
        convert(bundle, "int8")
    with load(bundle, precision="fp32") as encoder:
        expected = encoder.encode(TEXTS, role=Role.PASSAGE).dense
    step = 0
    while True:
        copy = Path(shutil.copytree(bundle, tmp_path / f"killed-{step}"))
        with pytest.MonkeyPatch.context() as patch:
            done = kill_at(patch, step)
            try:
                convert(copy, "int8")
                break
            except Killed:
                assert len(done) == step
        with load(copy, precision="fp32") as encoder:
            found = encoder.encode(TEXTS, role=Role.PASSAGE).dense
        np.testing.assert_array_equal(found, expected)
        graphs = Bundle.open(copy).manifest.graphs
        if "int8" in graphs:
            load(copy, precision="int8").close()
        step += 1
    assert step >= (5 if already else 3), "the graph, the certificate and the manifest at least"
    convert(tmp_path / "killed-1", "int8")
    assert verify(tmp_path / "killed-1", provider="cpu").passed


@pytest.mark.parametrize("precision", ["fp16", "int8", "w8", "w4"])
def test_a_precision_loads_the_float32_graph_once(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    loaded: list[Path] = []

    def load_model(path: Path) -> onnx_ir.Model:
        loaded.append(path)
        return original(path)

    original = onnx_ir.load
    monkeypatch.setattr("onnx_ir.load", load_model)
    monkeypatch.setattr("decant.export.converter.refuse_hopeless", lambda *_, **__: None)
    with contextlib.suppress(ParityError):  # a tiny model loses too much by four bits
        convert(bundle, precision)
    assert loaded == [bundle / "onnx" / "model.onnx"]


def test_copies_of_the_float32_graph_share_its_weights_alone(bundle: Path) -> None:
    plain = PlainGraph.load(bundle / "onnx" / "model.onnx")
    before = onnx_ir.to_proto(plain.model).SerializeToString()
    copy = plain.copy()
    for weight, other in zip(weights_of(copy), weights_of(plain.model), strict=True):
        assert weight is not other
        assert weight.const_value is other.const_value
    assert onnx_ir.to_proto(copy).SerializeToString() == before
    assert to_weight_only(copy, bits=8)
    assert onnx_ir.to_proto(plain.model).SerializeToString() == before


def test_a_full_disk_is_told_and_leaves_the_bundle_as_it_was(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = {path: path.read_bytes() for path in bundle.rglob("*.*")}
    monkeypatch.setattr("decant.export.converter.save_graph", full)
    with pytest.raises(BundleError, match=r"the disk is full: .* was not converted to int8"):
        convert(bundle, "int8")
    assert {path: path.read_bytes() for path in bundle.rglob("*.*")} == before
    assert [path.name for path in bundle.parent.iterdir()] == [bundle.name]


def test_a_bundle_without_a_float32_graph_says_so(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    (file,) = manifest.graphs.values()
    sealed = replace(manifest, graphs={"fp16": file})
    (bundle / "decant.json").write_text(to_json(sealed), encoding="utf-8")
    with pytest.raises(BundleError, match="has no fp32 graph, only fp16"):
        convert(bundle, "int8")


def test_a_new_graph_takes_the_place_of_the_old_one_and_of_its_weights(bundle: Path) -> None:
    convert(bundle, "int8")
    (bundle / "onnx" / "model_int8.onnx_data").write_bytes(b"of a run that was killed")
    certificate = convert(bundle, "int8")
    assert not (bundle / "onnx" / "model_int8.onnx_data").exists()
    assert [entry.precision for entry in certificate.entries] == [Precision.FP32, Precision.INT8]
    assert "onnx/model_int8.onnx_data" not in Bundle.open(bundle).manifest.files
