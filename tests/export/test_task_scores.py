"""What a graph is worth on tasks: stated in its entry beside float32, and kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from decant.embedders import Bundle, BundleError, Encoder, Precision, Role
from decant.embedders.bundle import read_manifest
from decant.embedders.json_records import to_json
from decant.export import convert, verify

TEXTS = ["the hat", "in a hat", "what is in the hat"]


@pytest.fixture(scope="module")
def rounded(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("rounded") / "bundle"))
    convert(folder, "int8")
    return folder


@pytest.fixture
def bundle(rounded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(rounded, tmp_path / "bundle"))


def first_number(encoder: Encoder) -> Mapping[str, float]:
    dense = encoder.encode(TEXTS, role=Role.QUERY).dense
    return {"first": float(dense[0, 0]), "second": float(dense[1, 0])}


def test_each_precision_stands_beside_float32(bundle: Path) -> None:
    asked: list[object] = []

    def scores(encoder: Encoder) -> Mapping[str, float]:
        asked.append(encoder)
        return first_number(encoder)

    exact, int8 = verify(bundle, provider="cpu", scores=scores).entries
    assert [entry.precision for entry in (exact, int8)] == [Precision.FP32, Precision.INT8]
    assert len(asked) == 2, "float32 is scored once"
    assert [task.name for task in int8.tasks] == ["first", "second"]
    for own, other in zip(exact.tasks, int8.tasks, strict=True):
        assert own.value == own.exact == other.exact
        assert own.loss == 0
        assert other.value != other.exact
        assert other.loss == other.exact - other.value
    assert Bundle.open(bundle).certificate().entries == (exact, int8)


@pytest.mark.slow
def test_scores_stay_until_the_graph_changes(bundle: Path) -> None:
    before = verify(bundle, provider="cpu", scores=first_number)
    after = verify(bundle, provider="cpu")
    assert [entry.tasks for entry in after.entries] == [entry.tasks for entry in before.entries]
    assert convert(bundle, "int8").entries[-1].tasks == ()


def test_without_float32_there_is_nothing_to_stand_beside(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    data = json.loads(to_json(manifest))
    data["graphs"] = {"int8": manifest.graphs["int8"]}
    (bundle / "decant.json").write_text(json.dumps(data), encoding="utf-8")
    certificate = (bundle / "certificate.json").read_bytes()
    with pytest.raises(BundleError, match="has no fp32 graph"):
        verify(bundle, provider="cpu", scores=first_number)
    assert (bundle / "certificate.json").read_bytes() == certificate
    assert verify(bundle, provider="cpu").passed


def test_a_score_that_fails_changes_nothing(bundle: Path) -> None:
    def broken(_: Encoder) -> Mapping[str, float]:
        raise ValueError("no such task")

    certificate = (bundle / "certificate.json").read_bytes()
    with pytest.raises(ValueError, match="no such task"):
        verify(bundle, provider="cpu", scores=broken)
    assert (bundle / "certificate.json").read_bytes() == certificate


def test_bf16_is_left_out_on_the_cpu_unless_it_is_asked_for(bundle: Path) -> None:
    data = json.loads((bundle / "decant.json").read_text("utf-8"))
    data["graphs"]["bf16"] = data["graphs"]["fp32"]
    (bundle / "decant.json").write_text(json.dumps(data), encoding="utf-8")
    found = verify(bundle, provider="cpu").entries
    assert [entry.precision for entry in found] == [Precision.FP32, Precision.INT8]
