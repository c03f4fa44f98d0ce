"""Other tools read our bundles: what works with each, and what cannot, shown.

sentence-transformers 6 has no ONNX reader of its own: ``backend="onnx"`` needs optimum-onnx, which
cannot be installed beside transformers 5. Its modules can be ours instead, as below.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import InputModule
from transformers import AutoConfig, AutoTokenizer

from decant.embedders import OnnxEncoder, Role, load
from decant.export import export
from models import LONGEST, WIDTH, save_sentence_transformer, write_json

TEXTS = ["What is a PEP?", "a", "two  spaces", "日本語 and 🎉", "a text beyond the limit " * 20]
FAMILIES = {"bert": "mean", "qwen3": "lasttoken"}
Float = NDArray[np.float32]


@pytest.fixture(scope="module", params=["bert", pytest.param("qwen3", marks=pytest.mark.slow)])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of an encoder, and one of a decoder that reads its last token."""
    family = str(request.param)
    root = tmp_path_factory.mktemp(family)
    folder = save_sentence_transformer(root / "model", family, pooling=FAMILIES[family])
    settings = {
        "model_max_length": LONGEST,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
    }
    write_json(folder / "tokenizer_config.json", settings)
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


def test_sentence_transformers_onnx_backend_still_asks_for_what_cannot_be_installed(
    bundle: Path,
) -> None:
    with pytest.raises(Exception, match="requires installing Optimum and ONNX Runtime"):
        SentenceTransformer(str(bundle), backend="onnx", local_files_only=True)


class BundleModule(InputModule):
    """All that sentence-transformers needs to run a bundle: text in, ``sentence_embedding`` out."""

    def __init__(self, bundle: Path) -> None:
        torch.nn.Module.__init__(self)
        self.bundle = bundle
        self.reader = AutoTokenizer.from_pretrained(bundle)
        self.session = onnxruntime.InferenceSession(
            str(bundle / "onnx" / "model.onnx"), providers=["CPUExecutionProvider"]
        )

    def preprocess(
        self, inputs: Sequence[object], prompt: str | None = None, **_: object
    ) -> dict[str, torch.Tensor]:
        texts = [f"{prompt or ''}{text}" for text in inputs]
        batch = self.reader(texts, padding=True, truncation=True, return_tensors="pt")
        return {name: batch[name] for name in ("input_ids", "attention_mask")}

    def forward(self, features: dict[str, torch.Tensor], **_: object) -> dict[str, torch.Tensor]:
        feed = {name: features[name].numpy() for name in ("input_ids", "attention_mask")}
        (found,) = self.session.run(["sentence_embedding"], feed)
        return {**features, "sentence_embedding": torch.from_numpy(found)}

    def save(self, output_path: str, *args: object, **kwargs: object) -> None:
        shutil.copytree(self.bundle, output_path, dirs_exist_ok=True)


def test_sentence_transformers_runs_the_bundle_as_its_module(
    bundle: Path, encoder: OnnxEncoder, vectors: Float, tmp_path: Path
) -> None:
    module = BundleModule(bundle)
    model = SentenceTransformer(modules=[module], device="cpu")
    found = model.encode(TEXTS, batch_size=2, show_progress_bar=False)
    assert worst(np.asarray(found), vectors) >= 0.99999
    prompted = model.encode(["text"], prompt="query: ", show_progress_bar=False)
    expected = encoder.encode(["query: text"], role=Role.PASSAGE).dense
    assert worst(np.asarray(prompted), expected) >= 0.99999
    module.save(str(tmp_path / "saved"))
    with load(tmp_path / "saved", provider="cpu") as again:
        np.testing.assert_array_equal(again.encode(TEXTS, role=Role.PASSAGE).dense, vectors)
    similar = model.similarity(found, found)
    torch.testing.assert_close(similar.diagonal(), torch.ones(len(TEXTS)))
