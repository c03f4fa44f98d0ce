"""What is given in place of a model's or bundle's folder is named for what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from decant.embedders import BundleError, RecipeError, find_model, load
from models import save_model, write_json


@pytest.mark.parametrize("name", ["onnx/model.onnx", "decant.json", "onnx", "tokenizer.json"])
def test_a_part_of_a_bundle_names_the_bundle(tiny_bundle: Path, name: str) -> None:
    with pytest.raises(BundleError, match=f"is a part of the bundle .*{tiny_bundle.name}; open"):
        load(tiny_bundle / name)


def test_what_is_no_bundle_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(BundleError, match=r"model\.onnx is a graph.*decant import-onnx"):
        load(tmp_path / "model.onnx")
    with pytest.raises(BundleError, match=r"notes\.txt is a file, and a bundle is a folder"):
        load(tmp_path / "notes.txt")
    with pytest.raises(BundleError, match=r"has no decant\.json.*decant export MODEL "):
        load(tmp_path)
    with pytest.raises(BundleError, match="nothing does not exist"):
        load(tmp_path / "nothing")
    write_json(tmp_path / "config.json", {})
    with pytest.raises(BundleError, match=rf"not a bundle.*decant export {tmp_path} TARGET"):
        load(tmp_path)


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "tiny", "bert")
    for name in ("config.json", "model.safetensors"):
        with pytest.raises(RecipeError, match=f"{name} is a file of {folder}; give that folder"):
            find_model(folder / name)
    other = tmp_path / "other"
    other.mkdir()
    for name in ("model.onnx", "notes.txt"):
        (other / name).touch()
    with pytest.raises(RecipeError, match=r"model\.onnx is a graph.*decant import-onnx"):
        find_model(other / "model.onnx")
    with pytest.raises(RecipeError, match=r"notes\.txt is a file; give the folder of"):
        find_model(other / "notes.txt")
    with pytest.raises(RecipeError, match=r"exists but holds no config\.json"):
        find_model(other)
    with pytest.raises(RecipeError, match=r"is a file; give the folder of .* LoRA adapter"):
        find_model(folder, adapters=[other / "notes.txt"])


def test_a_gguf_file_is_no_adapter(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "tiny", "llama")
    (tmp_path / "lora.gguf").write_bytes(b"GGUF")
    with pytest.raises(RecipeError, match=r"holds no LoRA adapter \(peft\) that decant reads"):
        find_model(folder, adapters=[tmp_path / "lora.gguf"])


@pytest.mark.parametrize(
    ("module", "config"),
    [
        ("models.StaticEmbedding", None),
        ("sentence_transformer.modules.static_embedding.StaticEmbedding", {}),
        ("models.StaticEmbedding", {"model_type": "model2vec"}),
        (None, {"model_type": "model2vec"}),
    ],
)
def test_static_embeddings_are_named_as_such(
    tmp_path: Path, module: str | None, config: dict[str, str] | None
) -> None:
    """Static models (qdrant/fastembed#388, MinishLab/model2vec PR 347) are no Transformers."""
    if module is not None:
        listed = [{"idx": 0, "name": "0", "path": "", "type": f"sentence_transformers.{module}"}]
        write_json(tmp_path / "modules.json", listed)
    if config is not None:
        write_json(tmp_path / "config.json", config)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(RecipeError, match=r"holds static embeddings: .*--strategy static"):
        find_model(tmp_path)
