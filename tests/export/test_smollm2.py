"""A real language model from its GGUF file: exported, certified, in few bits, searched."""

from __future__ import annotations

from pathlib import Path

import pytest

from decant.embedders import Bundle, Precision, load
from decant.export import export
from decant.integrations.qdrant import Collection, Record, connect
from gguf_files import smollm2_file

pytestmark = pytest.mark.slow

_TEXTS = {
    "ferry": "The ferry to the island leaves at seven.",
    "bread": "Bread rises because yeast turns sugar into carbon dioxide.",
    "council": "The Steering Council accepts or rejects a proposal.",
    "storm": "A storm broke the mast of the fishing boat.",
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("smollm2") / "bundle"
    precisions = [Precision.INT8, Precision.W4]
    export(smollm2_file(), target, strategy="prompt-eol", precisions=precisions)
    return target


def test_it_is_certified_and_its_own_four_bits_lose_least(bundle: Path) -> None:
    entries = {entry.precision: entry for entry in Bundle.open(bundle).certificate().entries}
    assert entries[Precision.FP32].worst_cosine > 0.99999
    assert entries[Precision.W4].worst_cosine > 0.998 > entries[Precision.INT8].worst_cosine > 0.98
    sizes = {kind: _bytes(bundle, f"model_{kind}") for kind in ("w4", "int8")}
    assert sizes["w4"] < 0.25 * _bytes(bundle, "model")


def _bytes(bundle: Path, stem: str) -> int:
    return sum((bundle / "onnx" / f"{stem}{end}").stat().st_size for end in (".onnx", ".onnx_data"))


@pytest.mark.parametrize("precision", ["int8", "w4"])
def test_it_finds_what_is_meant(bundle: Path, tmp_path: Path, precision: str) -> None:
    with load(bundle, precision=precision) as encoder, connect(tmp_path / "index") as store:
        notes = Collection.open_or_create(store, "notes", encoder)
        notes.add([Record(id=key, text=text) for key, text in _TEXTS.items()])
        (hit,) = notes.search("when does the boat to the island depart?", limit=1)
        assert hit.id == "ferry"
        (hit,) = notes.search("why does dough become larger?", limit=1)
        assert hit.id == "bread"
