"""A run in torch ends at the deepest layer that is read, and gives the same states."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from decant.embedders import Attention, Choices, LayerMix, Pooling, Role, TorchEncoder
from decant.embedders.pytorch import PooledModel
from models import DECODERS, ENCODERS, save_language_model, save_model

IDS = torch.tensor([[1, 30, 41, 17, 52], [0, 0, 1, 77, 90]])
MASK = (IDS > 0).to(torch.int64)
READ = {
    "static": (Choices(layer=0), 0),
    "the layer before the last": (Choices(layer=-2), 1),
    "a mix of early ones": (Choices(mix=LayerMix(layers=(1, 0))), 1),
}


def model(folder: Path, said: Choices, family: str) -> PooledModel:
    ways = Attention.BIDIRECTIONAL if family in ENCODERS else Attention.CAUSAL
    choices = said.over(Choices(attention=ways, pooling=Pooling.MEAN))
    return TorchEncoder.from_pretrained(folder, choices=choices).model


def layers_run(pooled: PooledModel) -> tuple[torch.Tensor, int]:
    """Return the vectors, and how many layers gave states for them."""
    ran: list[int] = []
    layers = pooled.early[0] if pooled.early else ()
    hooks = [one.register_forward_hook(lambda *_: ran.append(1)) for one in layers]
    with torch.inference_mode():
        vectors = pooled(IDS, MASK)
    for hook in hooks:
        hook.remove()
    assert isinstance(vectors, torch.Tensor)
    return vectors, len(ran)


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("family", [*DECODERS, *ENCODERS])
def test_no_layer_runs_that_nobody_reads(tmp_path: Path, family: str, read: str) -> None:
    said, deepest = READ[read]
    pooled = model(save_model(tmp_path / "model", family), said, family)
    assert pooled.early is not None
    early, ran = layers_run(pooled)
    assert ran == deepest
    pooled.early = None
    whole, _ = layers_run(pooled)
    assert torch.equal(early, whole)


@pytest.mark.parametrize("said", [Choices(), Choices(layer=2), Choices(mix=LayerMix.parse("all"))])
def test_a_model_whose_last_layer_is_read_runs_as_a_whole(tmp_path: Path, said: Choices) -> None:
    assert model(save_model(tmp_path / "model", "llama"), said, "llama").early is None


@pytest.mark.parametrize("name", ["contrastive", "token-prepending", "pretended-cot"])
def test_prompted_strategies_end_early_too(tmp_path: Path, name: str) -> None:
    folder = save_language_model(tmp_path / "model", "llama")
    with TorchEncoder.from_pretrained(folder, strategy=name) as encoder:
        assert encoder.model.early is not None
        found = encoder.encode(["the wind"], role=Role.QUERY).dense
        last = encoder.model.early[0][-1]
        last.register_forward_hook(lambda *_: pytest.fail("the last layer ran"))
        assert (encoder.encode(["the wind"], role=Role.QUERY).dense == found).all()
