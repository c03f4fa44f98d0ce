"""Averages of layers: against a loop over Transformers' own states, in torch and in the graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

from decant.embedders import (
    Choices,
    LayerMix,
    Pooling,
    RecipeError,
    Role,
    TorchEncoder,
    find_model,
    load,
    resolve,
)
from decant.embedders.tokens.batching import pad
from decant.embedders.tokens.tokenizer import TextTokenizer
from decant.export import export, import_onnx
from models import save_model

TEXTS = ["a", "the ferry leaves at seven", "what the winds want " * 6]
MIXES = {
    "all": LayerMix(),
    "first+last": LayerMix.parse("first+last"),
    "weighted": LayerMix(layers=(0, 2), unit=False, weights=(0.25, 3.0)),
}


def loop(folder: Path, mix: LayerMix, rows: list[list[int]]) -> np.ndarray:
    """Mean-pool each layer of each text alone and average: numpy, one number at a time."""
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    vectors = []
    for ids in rows:
        with torch.no_grad():
            states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
        wanted = mix.layers or tuple(range(len(states)))
        weights = mix.weights or (1.0,) * len(wanted)
        total = np.zeros(states[0].shape[-1])
        for layer, weight in zip(wanted, weights, strict=True):
            vector = states[layer][0].numpy().astype(np.float64).mean(axis=0)
            if mix.unit:
                vector = vector / np.linalg.norm(vector)
            total += weight * vector
        vectors.append(total / np.linalg.norm(total))
    return np.stack(vectors)


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("bert", "all"),
        pytest.param("llama", "first+last", marks=pytest.mark.slow),
        pytest.param("llama", "weighted", marks=pytest.mark.slow),
    ],
)
def test_a_mix_is_the_loop_in_torch_and_in_the_graph(
    tmp_path: Path, family: str, name: str
) -> None:
    mix = MIXES[name]
    folder = save_model(tmp_path / "model", family)
    said = Choices(pooling=Pooling.MEAN, mix=mix)
    recipe = resolve(find_model(folder), said)
    with TorchEncoder.from_pretrained(folder, choices=said) as encoder:
        tokenizer = TextTokenizer(encoder.tokenizer, recipe)
        rows = [list(row.ids) for row in tokenizer(TEXTS, role=Role.PASSAGE)]
        expected = loop(folder, mix, rows)
        found = encoder.encode(TEXTS, role=Role.PASSAGE).dense
        left = encoder.run(pad(tokenizer(TEXTS, role=Role.PASSAGE), pad_id=0, left=True))
    np.testing.assert_allclose(found, expected, atol=2e-5)
    np.testing.assert_allclose(left, expected, atol=2e-5)
    certificate = export(folder, tmp_path / "bundle", choices=said)
    assert certificate.passed
    with load(tmp_path / "bundle") as onnx_encoder:
        assert onnx_encoder.recipe.mix == mix
        np.testing.assert_allclose(
            onnx_encoder.encode(TEXTS, role=Role.PASSAGE).dense, expected, atol=2e-5
        )


def test_token_embeddings_alone_are_a_recipe_whose_graph_has_no_layers(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", "llama")
    said = Choices(pooling=Pooling.MEAN, layer=0)
    assert export(folder, tmp_path / "bundle", choices=said).passed
    table = AutoModel.from_pretrained(folder, dtype=torch.float32).embed_tokens.weight
    with load(tmp_path / "bundle") as encoder:
        tokenizer = TextTokenizer(encoder.tokenizer, encoder.recipe)
        found = encoder.encode(TEXTS, role=Role.PASSAGE).dense
        rows = [row.ids for row in tokenizer(TEXTS, role=Role.PASSAGE)]
    expected = torch.stack([table[list(ids)].mean(0) for ids in rows]).detach()
    expected = torch.nn.functional.normalize(expected, dim=-1)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    size = (tmp_path / "bundle" / "onnx" / "model.onnx").stat().st_size
    assert size < 1.5 * table.numel() * 4, "nothing but the table is in the graph"


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        (LayerMix(layers=(1, 9)), "layer 9 is not among the model's 2 layers"),
        (LayerMix(layers=(2, -1)), "name one of them twice"),
    ],
)
def test_layers_that_are_not_there_are_refused(tmp_path: Path, mix: LayerMix, message: str) -> None:
    folder = save_model(tmp_path, "llama")
    with pytest.raises(RecipeError, match=message):
        TorchEncoder.from_pretrained(folder, choices=Choices(pooling=Pooling.MEAN, mix=mix))


def test_a_mix_cannot_be_sealed_onto_a_finished_graph(tiny_bundle: Path, tiny_folder: Path) -> None:
    graph = tiny_bundle / "onnx" / "model.onnx"
    with pytest.raises(RecipeError, match="averages layers"):
        import_onnx(graph, tiny_folder, tiny_bundle.parent / "no", choices=Choices(mix=LayerMix()))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LayerMix(layers=(1, 1)), "stands twice"),
        (lambda: LayerMix(layers=(1, 2), weights=(1.0,)), "1 weights for 2 named layers"),
        (lambda: LayerMix(weights=(1.0,)), "1 weights for 0"),
        (lambda: LayerMix(layers=(1,), weights=(0.0,)), "positive"),
        (lambda: LayerMix.parse("last"), "layers are all, first\\+last, last4"),
    ],
)
def test_a_mix_that_says_nothing_clear_is_refused(build: object, message: str) -> None:
    assert callable(build)
    with pytest.raises(RecipeError, match=message):
        build()
