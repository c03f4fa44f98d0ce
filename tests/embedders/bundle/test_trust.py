"""What a bundle says of itself is judged when it is opened: certificate, hashes, outputs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from decant.embedders import (
    Bundle,
    BundleError,
    DecantError,
    ParityError,
    Precision,
    Recipe,
    Role,
    load,
)
from decant.embedders.bundle.onnx_file import mismatch, read_onnx_file
from decant.embedders.files import file_hash
from decant.embedders.onnx.choose_graph import rank_choices

CPU = "CPUExecutionProvider"
Change = Callable[[Any], object]


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


def change(path: Path, how: Change) -> None:
    """Change what a JSON file holds."""
    held = json.loads(path.read_text("utf-8"))
    how(held)
    path.write_text(json.dumps(held), encoding="utf-8")


def figure(**said: object) -> Change:
    return lambda held: held["entries"][0].update(said)


def check(**said: object) -> Change:
    return lambda held: held["entries"][0]["checks"][2].update(said)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (figure(worst_cosine=-1), r"worst cosine -1\.0+ is not between 0\.99999 and 1"),
        (figure(worst_cosine=1.5), r"worst cosine 1\.5"),
        (figure(mean_cosine=0.5), r"mean cosine 0\.5"),
        (figure(batch_invariance=0.9), r"batch invariance 0\.9"),
        (figure(checks=[]), "holds no check"),
        (figure(not_finite=999), "999 vectors hold NaN or infinity"),
        (figure(not_finite=-1), "-1 vectors hold"),
        (figure(top10_overlap=7.0), "top10 overlap 7.0"),
        (figure(max_abs_error=-1.0), "max abs error -1.0"),
        (figure(longest=0), "longest probe has 0"),
        (check(worst_cosine=0.1), r"right padding, worst cosine 0\.1"),
        (check(cases=0), "right padding compared no vector"),
        (check(passed=False), "right padding"),
        (check(name="neighbours", worst_cosine=0.9), r"neighbours, worst cosine 0\.9"),
        (figure(precision="int8"), "certified on CPUExecutionProvider as int8"),
        (lambda held: held.update(digest="0" * 16), "is of recipe 0000000000000000"),
    ],
)
def test_figures_that_miss_a_gate_are_refused_by_name_whatever_passed_says(
    bundle: Path, how: Change, message: str
) -> None:
    change(bundle / "certificate.json", how)
    with pytest.raises(ParityError, match=message):
        load(bundle)
    with load(bundle, allow_uncertified=True) as encoder:
        assert encoder.encode(["a"], role=Role.QUERY).dense.shape == (1, 32)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda held: held.update(format=99, added=1), "format 99.*upgrade decant"),
        (lambda held: held.update(format=0), "does not say its format"),
        (lambda held: held.update(format=True), "does not say its format"),
        (figure(worst_cosine=float("nan")), "worst_cosine: expected a finite number, found nan"),
        (figure(max_abs_error=float("inf")), "max_abs_error: expected a finite number"),
    ],
)
def test_a_certificate_that_cannot_be_read_is_a_bundle_error(
    bundle: Path, how: Change, message: str
) -> None:
    change(bundle / "certificate.json", how)
    with pytest.raises(BundleError, match=rf"certificate\.json.*{message}"):
        load(bundle)


def test_of_two_entries_for_one_graph_the_failed_one_counts(bundle: Path) -> None:
    def doubled(held: Any) -> None:
        held["entries"].append({**held["entries"][0], "worst_cosine": 0.5})

    change(bundle / "certificate.json", doubled)
    with pytest.raises(ParityError, match=r"worst cosine 0\.5"):
        load(bundle)


def called_int8(bundle: Path) -> None:
    """Call the float32 graph int8, whose gates are wider, in manifest and certificate."""
    change(
        bundle / "decant.json",
        lambda held: held.update(graphs={"int8": held["graphs"]["fp32"]}),
    )
    change(bundle / "certificate.json", figure(precision="int8", worst_cosine=0.96))


def test_a_float32_graph_is_not_certified_by_the_gates_of_int8(bundle: Path) -> None:
    called_int8(bundle)
    with pytest.raises(ParityError, match=r"int8 graph of .* has no operator for integers"):
        load(bundle)
    with pytest.raises(ParityError, match="no operator for integers"):
        load(bundle, precision="int8")
    with load(bundle, precision="int8", allow_uncertified=True) as encoder:
        assert encoder.precision is Precision.INT8


def test_auto_passes_over_a_graph_that_another_certificate_speaks_of(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    assert opened.entry(Precision.FP32, CPU) is not None
    assert rank_choices(opened, provider=CPU).choices[0].precision is Precision.FP32
    change(bundle / "certificate.json", lambda held: held.update(digest="0" * 16))
    assert opened.entry(Precision.FP32, CPU) is None


@pytest.mark.parametrize("name", ["tokenizer.json", "onnx/model.onnx"])
def test_what_decides_vectors_must_be_among_the_hashed_files(bundle: Path, name: str) -> None:
    change(bundle / "decant.json", lambda held: held["files"].pop(name))
    with pytest.raises(BundleError, match=rf"decant\.json.*{name} decides vectors.*hash"):
        load(bundle)


def test_a_config_without_a_hash_is_refused(bundle: Path) -> None:
    change(bundle / "decant.json", lambda held: held["files"].pop("config.json"))
    with pytest.raises(BundleError, match=r"config\.json exists.*no hash"):
        load(bundle)
    (bundle / "config.json").unlink()
    load(bundle).close()


def with_weights_beside(bundle: Path, location: str = "model.onnx_data") -> Path:
    """Write the bundle's graph with its weights in a file beside it, and list the graph only."""
    graph = bundle / "onnx" / "model.onnx"
    model = onnx.load(graph)
    onnx.save_model(
        model, graph, save_as_external_data=True, location=location, size_threshold=1024
    )
    relisted(bundle)
    return graph


def relisted(bundle: Path, *further: str) -> None:
    """Say in manifest and certificate what hash the graph has now, and those of further files."""
    found = file_hash(bundle / "onnx" / "model.onnx")
    hashes = {"onnx/model.onnx": found, **{name: file_hash(bundle / name) for name in further}}
    change(bundle / "decant.json", lambda held: held["files"].update(hashes))
    change(bundle / "certificate.json", figure(sha256=found))


def test_weights_beside_a_graph_must_be_among_the_hashed_files(bundle: Path) -> None:
    expected = encoded(bundle)
    with_weights_beside(bundle)
    with pytest.raises(BundleError, match=r"model\.onnx reads onnx/model\.onnx_data.*no hash"):
        load(bundle)
    relisted(bundle, "onnx/model.onnx_data")
    assert np.abs(encoded(bundle) - expected).max() < 1e-6


def encoded(bundle: Path) -> Any:
    with load(bundle) as encoder:
        return encoder.encode(["the winds"], role=Role.QUERY).dense


@pytest.mark.parametrize("location", ["../outside.bin", "/tmp/outside.bin", "a/../../x", "C:\\x"])
def test_weights_outside_the_bundle_are_refused(bundle: Path, location: str) -> None:
    graph = with_weights_beside(bundle)
    model = onnx.load(graph, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    onnx.save_model(model, graph)
    relisted(bundle)
    with pytest.raises(BundleError, match="not inside the bundle"):
        load(bundle)


def test_a_graph_that_gives_another_width_is_refused(bundle: Path) -> None:
    change(bundle / "decant.json", lambda held: held.update(dim=64))
    with pytest.raises(BundleError, match=r"gives vectors of 32 values, decant\.json says 64"):
        load(bundle)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda held: held.update(files={}), "decides vectors"),
        (lambda held: held.update(graphs={}), "no graphs"),
        (lambda held: held.update(golden=[]), "no golden token ids"),
        (lambda held: held.update(dim=-1), "dim -1"),
        (lambda held: held.update(dim=0), "dim 0"),
        (lambda held: held.update(dim=10**400), "width|values"),
        (lambda held: held.update(pad_id=-1), "pad_id -1"),
        (lambda held: held.update(pad_id=10**30), "pad_id 1000"),
        (lambda held: held.update(format=True), "does not say its format"),
        (lambda held: held.update(golden=held["golden"] * 2), "golden texts"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(bundle: Path, how: Change, message: str) -> None:
    change(bundle / "decant.json", how)
    with pytest.raises(BundleError, match=message):
        load(bundle)


def test_a_recipe_whose_output_the_graph_lacks_is_refused(bundle: Path) -> None:
    def claims_tokens(held: Any) -> None:
        held["recipe"]["tokens"] = True
        held["digest"] = Recipe.from_json(json.dumps(held["recipe"])).digest()

    change(bundle / "decant.json", claims_tokens)
    with pytest.raises(BundleError, match="gives no token_embeddings"):
        load(bundle)


def test_what_an_onnx_file_says_is_what_onnx_reads(tiny_bundle: Path) -> None:
    path = tiny_bundle / "onnx" / "model.onnx"
    model = onnx.load(path)
    found = read_onnx_file(path)
    assert {node.op_type for node in model.graph.node} <= found.operators
    assert {item.data_type for item in model.graph.initializer} <= found.weight_types
    assert found.external == frozenset()
    assert mismatch(found, Precision.FP32) == ""
    assert all(mismatch(found, one) for one in Precision if one is not Precision.FP32)


@pytest.mark.parametrize(
    "raw", [b"", b"\x00", b"no onnx at all", b"\x3a\xff\xff\xff\xff\x0f", b"\xff" * 99]
)
def test_what_is_no_onnx_file_is_said_to_be_none(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(raw)
    with pytest.raises(BundleError, match=r"model\.onnx is no ONNX file"):
        read_onnx_file(path)


def test_deeply_nested_graphs_are_no_onnx_file(tmp_path: Path) -> None:
    raw = b""
    for _ in range(3000):  # graph, node, attribute, graph, …
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            raw = tag + varint(len(raw)) + raw
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x3a" + varint(len(raw)) + raw)
    with pytest.raises(BundleError, match="no ONNX file"):
        read_onnx_file(path)


def varint(number: int) -> bytes:
    found = b""
    while number >= 0x80:
        found, number = found + bytes([number & 0x7F | 0x80]), number >> 7
    return found + bytes([number])


def test_every_error_of_a_certificate_is_one_of_ours(bundle: Path) -> None:
    (bundle / "certificate.json").unlink()
    with pytest.raises(DecantError, match=r"certificate\.json does not exist"):
        load(bundle)
