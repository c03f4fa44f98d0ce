"""Other tools read our bundles: what works with each, and what cannot, shown.

sentence-transformers has tests of its own, in ``tests/integrations``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from transformers import AutoConfig, AutoTokenizer

from decant.embedders import OnnxEncoder, Role, load
from decant.export import export
from models import WIDTH, save_sentence_transformer
from sentence_models import save_tokenizer_settings

TEXTS = ["What is a PEP?", "a", "two  spaces", "日本語 and 🎉", "a text beyond the limit " * 20]
FAMILIES = {"bert": "mean", "qwen3": "lasttoken"}
Float = NDArray[np.float32]


@pytest.fixture(scope="module", params=["bert", pytest.param("qwen3", marks=pytest.mark.slow)])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of an encoder, and one of a decoder that reads its last token."""
    family = str(request.param)
    root = tmp_path_factory.mktemp(family)
    folder = save_sentence_transformer(root / "model", family, pooling=FAMILIES[family])
    save_tokenizer_settings(folder)
    export(folder, root / "bundle")
    return root / "bundle"


@pytest.fixture(scope="module")
def encoder(bundle: Path) -> Iterator[OnnxEncoder]:
    with load(bundle, provider="cpu") as made:
        yield made


@pytest.fixture(scope="module")
def vectors(encoder: OnnxEncoder) -> Float:
    return encoder.encode(TEXTS, role=Role.PASSAGE).dense


def worst(found: Float, expected: Float) -> float:
    """The least cosine; both are of unit length."""
    return float((found * expected).sum(axis=1).min())


def test_the_files_lie_where_optimum_and_the_hub_look_for_them(bundle: Path) -> None:
    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert {"config.json", "tokenizer.json", "tokenizer_config.json", "onnx/model.onnx"} <= files
    config = AutoConfig.from_pretrained(bundle)
    assert (
        config.model_type == json.loads((bundle / "config.json").read_text("utf-8"))["model_type"]
    )
    assert config.hidden_size == WIDTH


def test_transformers_and_onnxruntime_alone_give_our_vectors(bundle: Path, vectors: Float) -> None:
    tokenizer = AutoTokenizer.from_pretrained(bundle)
    session = onnxruntime.InferenceSession(
        str(bundle / "onnx" / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    for side in ("left", "right"):
        tokenizer.padding_side = side
        batch = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="np")
        feed = {item.name: batch[item.name].astype(np.int64) for item in session.get_inputs()}
        (found,) = session.run(["sentence_embedding"], feed)
        assert worst(np.asarray(found), vectors) >= 0.99999


def test_fastembed_serves_the_graph_with_its_pooling_disabled(bundle: Path, vectors: Float) -> None:
    fastembed = pytest.importorskip("fastembed")
    described = pytest.importorskip("fastembed.common.model_description")
    name = f"decant/{bundle.parent.name}"
    fastembed.TextEmbedding.add_custom_model(
        model=name,
        pooling=described.PoolingType.DISABLED,
        normalization=False,
        sources=described.ModelSource(hf=name),
        dim=WIDTH,
        model_file="onnx/model.onnx",
    )
    model = fastembed.TextEmbedding(name, specific_model_path=str(bundle), cuda=False)
    found = np.stack(list(model.embed(TEXTS, batch_size=2)))
    assert worst(found, vectors) >= 0.99999
