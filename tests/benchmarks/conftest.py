"""What the tests of the benchmarks share: texts, a tiny model, models with drawn weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from bench.gpu.shapes import Family, save_seeded
from models import LONGEST, SPECIALS, save_sentence_transformer, write_json
from tiny_shapes import TINY


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with a few texts where the PEPs would be."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "corpus" / "peps").mkdir(parents=True)
    for number in range(8):
        lines = [
            f"Ferry {number * 40 + hour} leaves the island at {hour} and is back by dusk."
            for hour in range(40)
        ]
        file = folder / "corpus" / "peps" / f"ferry-{number}.txt"
        file.write_text("\n\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a sentence-transformers folder with two layers of width 32."""
    folder = save_sentence_transformer(tmp_path_factory.mktemp("tiny") / "model", "bert")
    # Without a name transformers takes BERT's own WordPiece and not the file's tokenizer.
    settings = {
        "model_max_length": LONGEST,
        "pad_token": SPECIALS[0],
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    write_json(folder / "tokenizer_config.json", settings)
    return folder


def unless_quick(family: Family) -> object:
    """Return a parameter that only `make test-slow` runs if its tests take long."""
    return pytest.param(family, marks=[] if family is Family.BERT else [pytest.mark.slow])


@pytest.fixture(scope="module", params=[unless_quick(one) for one in Family])
def family(request: pytest.FixtureRequest) -> Family:
    """Return each architecture in turn."""
    return Family(request.param)


@pytest.fixture(scope="module")
def seeded(family: Family, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with drawn weights, two layers of width 32."""
    folder = tmp_path_factory.mktemp(family) / "model"
    save_seeded(folder, tiny_model, TINY[family], seed=3)
    # Drawn with 0.02 every text gives nearly the same vector; spread them, so that cosines tell.
    model = AutoModel.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() > 1:
                weights.mul_(12)
    model.save_pretrained(folder)
    (folder / "model.safetensors.index.json").unlink(missing_ok=True)  # of the shards before
    return folder
