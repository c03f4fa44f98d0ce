"""Loading a backbone: odd widths, missing weights, folders that hold something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from decant.embedders import (
    Attention,
    Choices,
    LayerMix,
    Pooling,
    RecipeError,
    Role,
    TorchEncoder,
)
from models import WIDTH, save_model, save_nv_embed, save_sentence_transformer, write_json
from sentence_models import alike, save_tokenizer_settings

MEAN = Choices(pooling=Pooling.MEAN)


@pytest.mark.parametrize(("layer", "width"), [(-1, WIDTH // 2), (-2, WIDTH)])
def test_an_opt_that_projects_its_last_states_has_their_width(
    tmp_path: Path, layer: int, width: int
) -> None:
    folder = save_model(tmp_path, "opt_projected")
    said = Choices(pooling=Pooling.MEAN, layer=layer)
    encoder = TorchEncoder.from_pretrained(folder, choices=said)
    assert encoder.dim == width
    assert encoder.encode(["some text"], role=Role.QUERY).dense.shape == (1, width)
    encoder.close()


def test_a_mix_is_as_wide_as_its_layers_and_widths_are_not_mixed(tmp_path: Path) -> None:
    folder = save_model(tmp_path, "opt_projected")
    inner = Choices(pooling=Pooling.MEAN, mix=LayerMix(layers=(0, 1)))
    with TorchEncoder.from_pretrained(folder, choices=inner) as encoder:
        assert encoder.dim == WIDTH
        assert encoder.encode(["some text"], role=Role.QUERY).dense.shape == (1, WIDTH)
    both = Choices(pooling=Pooling.MEAN, mix=LayerMix(layers=(0, -1)))
    with pytest.raises(RecipeError, match="cannot be averaged"):
        TorchEncoder.from_pretrained(folder, choices=both)


def test_missing_weights_are_named_instead_of_drawn(tmp_path: Path) -> None:
    folder = save_model(tmp_path, "llama")
    stored = load_file(folder / "model.safetensors")
    del stored["layers.1.mlp.up_proj.weight"]
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RecipeError, match=r"no weights for 'layers\.1\.mlp\.up_proj\.weight'"):
        TorchEncoder.from_pretrained(folder, choices=MEAN)


def test_an_nv_embed_folder_without_the_model_inside_is_refused(tmp_path: Path) -> None:
    folder = save_nv_embed(tmp_path)
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    write_json(folder / "config.json", {**settings, "text_config": None})
    said = Choices(pooling=Pooling.MEAN, attention=Attention.BIDIRECTIONAL, max_tokens=32)
    with pytest.raises(RecipeError, match="lacks its text_config"):
        TorchEncoder.from_pretrained(folder, choices=said)


@pytest.mark.parametrize("family", ["t5", "umt5", "t5gemma"])
def test_the_encoder_of_an_encoder_with_a_decoder_is_taken(tmp_path: Path, family: str) -> None:
    folder = save_sentence_transformer(tmp_path, family)
    save_tokenizer_settings(folder)
    assert any(name.startswith("decoder.") for name in load_file(folder / "model.safetensors"))
    texts = ["a", "the ferry leaves at seven", "what the winds want " * 3]
    expected = SentenceTransformer(str(folder), device="cpu").encode(texts)
    with TorchEncoder.from_pretrained(folder) as encoder:
        assert encoder.recipe.attention is Attention.BIDIRECTIONAL
        assert alike(encoder.encode(texts, role=Role.PASSAGE).dense, expected)


def test_an_encoder_without_a_class_of_its_own_is_refused(tmp_path: Path) -> None:
    said = Choices(pooling=Pooling.MEAN, attention=Attention.BIDIRECTIONAL)
    with pytest.raises(RecipeError, match="no class for the encoder alone"):
        TorchEncoder.from_pretrained(save_model(tmp_path, "bart"), choices=said)


def test_a_model_that_does_not_run_on_text_is_refused(tmp_path: Path) -> None:
    said = Choices(pooling=Pooling.MEAN, attention=Attention.BIDIRECTIONAL)
    with pytest.raises(RecipeError, match="lilt model does not run on token ids and their mask"):
        TorchEncoder.from_pretrained(save_model(tmp_path, "lilt"), choices=said)
