"""Learnt layer weights of a sentence-transformers folder, against sentence-transformers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling as PoolingModule
from sentence_transformers.sentence_transformer.modules import Transformer, WeightedLayerPooling

from decant.embedders import Pooling, RecipeError, Role, TorchEncoder
from models import LONGEST, WIDTH, save_model, write_json

TEXTS = ["a", "the ferry leaves at seven", "what the winds want " * 3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of sentence-transformers, with weights 0.5 and 3 of layers 1 and 2."""
    plain = save_model(tmp_path / "plain", "bert")
    config = json.loads((plain / "config.json").read_text(encoding="utf-8"))
    write_json(plain / "config.json", {**config, "output_hidden_states": True})
    # Else Transformers takes the tokenizer's file for a WordPiece vocabulary.
    bare = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>"}
    write_json(plain / "tokenizer_config.json", {**bare, "model_max_length": LONGEST})
    layers = WeightedLayerPooling(WIDTH, num_hidden_layers=2, layer_start=1)
    layers.layer_weights = torch.nn.Parameter(torch.tensor([0.5, 3.0]))
    modules = [Transformer(str(plain)), layers, PoolingModule(WIDTH, pooling_mode="mean")]
    SentenceTransformer(modules=modules).save_pretrained(str(tmp_path / "model"))
    return tmp_path / "model"


def test_vectors_are_those_of_sentence_transformers(folder: Path) -> None:
    expected = SentenceTransformer(str(folder)).encode(TEXTS, batch_size=1)
    with TorchEncoder.from_pretrained(folder) as encoder:
        assert encoder.recipe.mix is not None
        assert encoder.recipe.mix.weights == (0.5, 3.0)
        assert encoder.recipe.pooling is Pooling.MEAN
        found = encoder.encode(TEXTS, role=Role.PASSAGE).dense
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_module_that_sentence_transformers_would_pass_over_is_told(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    write_json(folder / "config.json", {**config, "output_hidden_states": False})
    with pytest.raises(RecipeError, match="ignores the module"):
        TorchEncoder.from_pretrained(folder)


def test_weights_that_do_not_fit_are_told(folder: Path) -> None:
    (module,) = folder.glob("1_*")
    settings = json.loads((module / "config.json").read_text(encoding="utf-8"))
    write_json(module / "config.json", {**settings, "layer_start": 0})
    with pytest.raises(RecipeError, match="2 weights for the layers 0 to 2"):
        TorchEncoder.from_pretrained(folder)
    write_json(module / "config.json", {**settings, "layer_start": None})
    with pytest.raises(RecipeError, match="lacks a layer_start"):
        TorchEncoder.from_pretrained(folder)
    write_json(module / "config.json", settings)
    (module / "model.safetensors").unlink()
    with pytest.raises(RecipeError, match=r"model\.safetensors is missing"):
        TorchEncoder.from_pretrained(folder)


def test_the_maximum_is_refused(folder: Path) -> None:
    (pooling,) = folder.glob("2_*")
    settings = json.loads((pooling / "config.json").read_text(encoding="utf-8"))
    write_json(pooling / "config.json", {**settings, "pooling_mode": "max"})
    with pytest.raises(RecipeError, match="every pooling but max"):
        TorchEncoder.from_pretrained(folder)
