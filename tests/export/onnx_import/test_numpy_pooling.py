"""The plain reference of sealed graphs, against PyTorch's own pooling, layers and normalisation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from decant.embedders import Activation, Attention, Pooling, Recipe
from decant.embedders.pytorch.pooling import pool
from decant.export.onnx_import.dense_weights import Layer
from decant.export.onnx_import.numpy_pooling import plain_vector

FUNCTIONS = {
    Activation.IDENTITY: torch.nn.Identity(),
    Activation.TANH: torch.nn.Tanh(),
    Activation.RELU: torch.nn.ReLU(),
    Activation.GELU: torch.nn.GELU(),
}
RECIPE = Recipe(
    base="m", attention=Attention.BIDIRECTIONAL, pooling=Pooling.MEAN, max_tokens=8, normalize=False
)
STATES = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)


@pytest.mark.parametrize("pooling", Pooling)
@pytest.mark.parametrize("count", [1, 5])
def test_plain_pooling_is_torchs(pooling: Pooling, count: int) -> None:
    states = torch.from_numpy(STATES[:count])
    expected = pool(states[None], torch.ones((1, count), dtype=torch.int64), pooling)[0]
    found = plain_vector(STATES[:count], recipe=RECIPE, pooling=pooling, head=())
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("activation", Activation)
def test_plain_layers_are_torchs(activation: Activation) -> None:
    linear = torch.nn.Linear(6, 4)
    layer = Layer(
        weight=linear.weight.detach().numpy(),
        bias=linear.bias.detach().numpy(),
        activation=activation,
    )
    with torch.inference_mode():
        expected = FUNCTIONS[activation](linear(torch.from_numpy(STATES[0])))
    found = plain_vector(STATES[:1], recipe=RECIPE, pooling=Pooling.MEAN, head=[layer])
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)
