"""NV-Embed's latent attention against plain loops, in its own folder layout and in the graph."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import MistralConfig, MistralModel

from decant.embedders import (
    Attention,
    Choices,
    ModelFiles,
    PooledTokens,
    Pooling,
    RecipeError,
    Role,
    TorchEncoder,
    find_model,
    resolve,
)
from decant.embedders.onnx import Session
from decant.embedders.pytorch.latent_attention import load_latent_attention
from decant.embedders.tokens import pad
from decant.embedders.tokens.rows import Tokens
from decant.export import export
from models import LONGEST, WIDTH, save_nv_embed

HEADS, INNER = 2, 12
SAID = Choices(pooling=Pooling.MEAN, span=PooledTokens.TEXT)
Vector = NDArray[np.float64]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_nv_embed(tmp_path_factory.mktemp("model") / "nv", heads=HEADS, inner=INNER)


def latent_weights(folder: Path) -> dict[str, Vector]:
    stored = load_file(folder / "model.safetensors")
    prefix = "latent_attention_model."
    return {
        name.removeprefix(prefix).replace("cross_attend_blocks.", ""): value.double().numpy()
        for name, value in stored.items()
        if name.startswith(prefix)
    }


def layer_norm(values: Vector, weights: dict[str, Vector], name: str) -> Vector:
    scaled = (values - values.mean()) / math.sqrt(values.var() + 1e-5)
    return np.asarray(scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"])


def gelu(value: float) -> float:
    return value * (1 + math.erf(value / math.sqrt(2))) / 2


def naive(state: Vector, weights: dict[str, Vector]) -> Vector:
    """One token's state, head by head and latent by latent."""
    width = INNER // HEADS
    asked = weights["0.fn.to_q.weight"] @ layer_norm(state, weights, "0.norm")
    contexts = [layer_norm(latent, weights, "0.norm_context") for latent in weights["latents"]]
    both = [weights["0.fn.to_kv.weight"] @ context for context in contexts]
    found: list[float] = []
    for head in range(HEADS):
        part = slice(head * width, (head + 1) * width)
        scores = [math.exp(asked[part] @ row[:INNER][part] / math.sqrt(width)) for row in both]
        shares = [score / sum(scores) for score in scores]
        mixed = sum(share * row[INNER:][part] for share, row in zip(shares, both, strict=True))
        found.extend(np.asarray(mixed).tolist())
    between = weights["0.fn.to_out.weight"] @ np.array(found) + state
    normed = layer_norm(between, weights, "1.norm")
    wide = weights["1.fn.net.0.weight"] @ normed + weights["1.fn.net.0.bias"]
    half = len(wide) // 2
    gated = np.array([wide[index] * gelu(wide[half + index]) for index in range(half)])
    return np.asarray(weights["1.fn.net.2.weight"] @ gated + weights["1.fn.net.2.bias"] + between)


def plain_states(folder: Path, ids: tuple[int, ...]) -> Vector:
    """The Mistral inside, loaded by hand, attending to everything without a window."""
    encoder = TorchEncoder.from_pretrained(folder, choices=SAID)
    settings = encoder.model.backbone.config.to_dict()
    encoder.close()
    model = MistralModel(MistralConfig(**{**settings, "is_causal": False})).eval()
    stored = load_file(folder / "model.safetensors")
    prefix = "embedding_model."
    inside: dict[str, Tensor] = {
        name.removeprefix(prefix): value
        for name, value in stored.items()
        if name.startswith(prefix)
    }
    model.load_state_dict(inside)
    everything = torch.zeros(1, 1, len(ids), len(ids))  # a mask of ours, added to the scores
    with torch.inference_mode():
        states = model(input_ids=torch.tensor([ids]), attention_mask=everything).last_hidden_state
    return np.asarray(states[0].double().numpy())


def test_the_block_equals_plain_loops(folder: Path) -> None:
    torch.manual_seed(1)
    states = torch.randn(2, 3, WIDTH)
    found = load_latent_attention(folder, HEADS)(states).detach().numpy()
    weights = latent_weights(folder)
    for row in range(2):
        for token in range(3):
            expected = naive(states[row, token].double().numpy(), weights)
            np.testing.assert_allclose(found[row, token], expected, atol=1e-4)


def test_a_folder_of_nv_embeds_layout_gives_the_vectors_of_the_paper(folder: Path) -> None:
    ids, prompt = tuple(range(9, 29)), 4
    weights = latent_weights(folder)
    states = [naive(state, weights) for state in plain_states(folder, ids)]
    mean = np.mean(states[prompt:], axis=0)
    encoder = TorchEncoder.from_pretrained(folder, choices=SAID)
    assert encoder.recipe.attention is Attention.BIDIRECTIONAL
    assert encoder.recipe.latent_heads == HEADS
    found = encoder.run(pad([Tokens(ids=ids, counted=prompt)], pad_id=0))[0]
    np.testing.assert_allclose(found, mean / np.linalg.norm(mean), atol=1e-4)
    encoder.close()


@pytest.mark.slow
def test_the_graph_holds_the_latent_attention_on_either_padding_side(
    tmp_path: Path, folder: Path
) -> None:
    encoder = TorchEncoder.from_pretrained(folder, choices=SAID)
    assert export(folder, tmp_path / "bundle", choices=SAID).passed
    session = Session(tmp_path / "bundle" / "onnx" / "model.onnx", "CPUExecutionProvider")
    lengths = [1, 7, LONGEST, 20]
    rows = [Tokens(ids=tuple(range(9, 9 + length)), counted=length // 3) for length in lengths]
    expected = np.concatenate([encoder.run(pad([row], pad_id=0)) for row in rows])
    for left in (False, True):
        found = session.run(pad(rows, pad_id=0, left=left))
        assert (found * expected).sum(axis=1).min() > 0.99999
    encoder.close()


def test_the_row_of_nv_embed_leaves_the_instruction_out_and_ends_with_eos(folder: Path) -> None:
    recipe = resolve(ModelFiles(folder=folder, base="nvidia/NV-Embed-v2", revision="0"))
    assert (recipe.latent_heads, recipe.span, recipe.eos) == (8, PooledTokens.TEXT, "</s>")
    assert recipe.query_prompt.template.endswith("\nQuery: {text}")
    assert recipe.prompt(Role.PASSAGE).template == "{text}"


def test_another_pooling_keeps_the_latent_attention(folder: Path) -> None:
    encoder = TorchEncoder.from_pretrained(folder, choices=SAID)
    assert encoder.model.pooled_by(Pooling.LAST).latent is encoder.model.latent
    encoder.close()


@pytest.mark.parametrize("heads", [5, 7])
def test_heads_that_do_not_divide_the_width_are_refused(folder: Path, heads: int) -> None:
    said = Choices(pooling=Pooling.MEAN, latent_heads=heads)
    with pytest.raises(RecipeError, match=f"12 is no multiple of {heads} heads"):
        TorchEncoder.from_pretrained(folder, choices=said)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    folder = save_nv_embed(tmp_path)
    stored = load_file(folder / "model.safetensors")
    del stored["latent_attention_model.latents"]
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RecipeError, match=r"lacks the tensor latent_attention_model\.latents"):
        TorchEncoder.from_pretrained(find_model(folder), choices=SAID)
