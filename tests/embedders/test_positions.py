"""Positions count tokens, not columns, and rotary angles do not depend on neighbours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from decant.embedders import Choices, Pooling, RecipeError, TorchEncoder
from decant.export.tracing import trace
from models import DECODERS, ENCODERS, LONGEST, save_sentence_transformer, write_json

LONGROPE = {
    "rope_type": "longrope",
    "short_factor": [1.0, 1.1, 1.2, 1.3],
    "long_factor": [2.0, 3.0, 4.0, 5.0],
    "original_max_position_embeddings": LONGEST,
}
DYNAMIC = {"rope_type": "dynamic", "factor": 2.0}


def stretched(folder: Path, rope: dict[str, object]) -> Path:
    """A decoder whose angles change with the longest text of a batch, beyond ``LONGEST``."""
    save_sentence_transformer(folder, "phi3" if rope is LONGROPE else "llama", pooling="lasttoken")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["rope_parameters"] = {**config["rope_parameters"], **rope}
    if rope is LONGROPE:
        config["max_position_embeddings"] = 4 * LONGEST
        config["original_max_position_embeddings"] = LONGEST
    write_json(folder / "config.json", config)
    return folder


@pytest.mark.parametrize("family", [*DECODERS, *ENCODERS])
def test_left_padding_changes_no_state(tmp_path: Path, family: str) -> None:
    pooling = "lasttoken" if family in DECODERS else "mean"
    folder = save_sentence_transformer(tmp_path, family, pooling=pooling)
    encoder = TorchEncoder.from_pretrained(folder)
    ids = torch.arange(10, 19)[None]
    alone = encoder.model.states(ids, torch.ones_like(ids))[0][0]
    padded = torch.nn.functional.pad(ids, (5, 0))
    mask = torch.nn.functional.pad(torch.ones_like(ids), (5, 0))
    torch.testing.assert_close(encoder.model.states(padded, mask)[0][0][:, 5:], alone)
    encoder.close()


@pytest.mark.parametrize("padding", [0, 1, 3])
def test_positions_of_roberta_begin_after_its_padding_token(tmp_path: Path, padding: int) -> None:
    folder = save_sentence_transformer(tmp_path, "roberta")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    write_json(folder / "config.json", {**config, "pad_token_id": padding})
    encoder = TorchEncoder.from_pretrained(folder, choices=Choices(max_tokens=32))
    ids = torch.arange(10, 19)[None]
    theirs = encoder.model.backbone(input_ids=ids).last_hidden_state
    ours = encoder.model.states(ids, torch.ones_like(ids))[0][0]
    torch.testing.assert_close(ours, theirs)
    encoder.close()


def test_a_configuration_that_transformers_refuses_is_a_recipe_error(tmp_path: Path) -> None:
    folder = save_sentence_transformer(tmp_path, "phi3", pooling="lasttoken")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["rope_parameters"] = {**config["rope_parameters"], **DYNAMIC}
    write_json(folder / "config.json", config)
    with pytest.raises(RecipeError, match="does not load as a Transformers model"):
        TorchEncoder.from_pretrained(folder)


@pytest.mark.parametrize("rope", [LONGROPE, DYNAMIC], ids=["longrope", "dynamic"])
def test_angles_that_change_with_a_batch_are_refused_beyond_their_limit(
    tmp_path: Path, rope: dict[str, object]
) -> None:
    folder = stretched(tmp_path, rope)
    with pytest.raises(RecipeError, match=f"pass max_tokens={LONGEST} or less, got 65"):
        TorchEncoder.from_pretrained(folder, choices=Choices(max_tokens=LONGEST + 1))


@pytest.mark.parametrize(
    "rope",
    [LONGROPE, pytest.param(DYNAMIC, marks=pytest.mark.slow)],
    ids=["longrope", "dynamic"],
)
def test_angles_that_change_with_a_batch_are_traced_as_those_of_short_texts(
    tmp_path: Path, rope: dict[str, object]
) -> None:
    folder = stretched(tmp_path / "model", rope)
    said = Choices(max_tokens=LONGEST, pooling=Pooling.LAST)
    encoder = TorchEncoder.from_pretrained(folder, choices=said)
    ids = torch.arange(10, 19)[None]
    ours = encoder.model.states(ids, torch.ones_like(ids))[0][0]
    rotary = encoder.model.backbone.get_submodule("rotary_emb")
    vars(rotary)["rope_type"] = rope["rope_type"]  # as Transformers left it
    torch.testing.assert_close(encoder.model.backbone(input_ids=ids).last_hidden_state, ours)
    vars(rotary)["rope_type"] = "default"
    trace(encoder.model, tmp_path / "model.onnx")
    encoder.close()
