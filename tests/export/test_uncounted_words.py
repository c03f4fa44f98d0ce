"""A padding token that stands in a text as a word: the vector is that of the model's own code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import AutoModel

from decant.embedders import OnnxEncoder, Role, load
from decant.embedders.files import REFERENCE
from decant.export import export, import_onnx
from decant.export.certify.reference import Reference
from foreign_graphs import traced
from models import save_sentence_transformer, write_json

TAKES = ("input_ids", "attention_mask", "position_ids")
TEXTS = (
    "How to use the <pad> token?",
    "<pad>",
    "<pad><pad> what the winds want",
    "at the end <pad>",
    "no such word",
)


def own_vectors(folder: Path) -> NDArray[np.float32]:
    """Return what Transformers' model gives of each text alone, told no positions: means."""
    words = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = AutoModel.from_pretrained(folder).eval()
    rows = []
    for text in TEXTS:
        ids = torch.tensor([words.encode(text).ids])
        with torch.inference_mode():
            states = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        rows.append(torch.nn.functional.normalize(states.mean(1), dim=-1).numpy())
    return np.concatenate(rows)


def holding_padding(folder: Path, family: str) -> Path:
    """Write a model whose padding token is ``<pad>``, as the real ones' is."""
    save_sentence_transformer(folder, family)
    stored = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary, added = stored["model"]["vocab"], stored["added_tokens"]
    vocabulary["<pad>"], vocabulary["<s>"] = 1, 0  # RoBERTa's and MPNet's own
    for token in added:
        token["id"] = vocabulary[token["content"]]
    special = stored["post_processor"]["special_tokens"]
    special["<pad>"]["ids"], special["<s>"]["ids"] = [1], [0]
    stored["added_tokens"] = sorted(added, key=lambda token: int(token["id"]))
    write_json(folder / "tokenizer.json", stored)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    write_json(folder / "config.json", {**config, "pad_token_id": 1})
    return folder


def check(encoder: OnnxEncoder, expected: NDArray[np.float32]) -> None:
    alone = [encoder.encode([text], role=Role.QUERY).dense for text in TEXTS]
    together = encoder.encode([*TEXTS, "long " * 20], role=Role.QUERY).dense[: len(TEXTS)]
    for found in (np.concatenate(alone), together):
        assert (found * expected).sum(axis=1).min() > 0.99999
    reference = Reference.read(encoder.bundle.folder / REFERENCE)
    assert any("<pad>" in text for text in reference.texts)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["mpnet", "roberta"])
def test_an_exported_graph_counts_it_as_the_model_does(tmp_path: Path, family: str) -> None:
    folder = holding_padding(tmp_path / "tiny", family)
    export(folder, tmp_path / "bundle")
    with load(tmp_path / "bundle", provider="cpu") as encoder:
        check(encoder, own_vectors(folder))


def test_a_sealed_graph_that_is_told_positions_counts_it_so(tmp_path: Path) -> None:
    folder = holding_padding(tmp_path / "tiny", "roberta")
    graph = traced(folder, tmp_path / "model.onnx", TAKES)
    import_onnx(graph, folder, tmp_path / "bundle")
    with load(tmp_path / "bundle", provider="cpu") as encoder:
        check(encoder, own_vectors(folder))
