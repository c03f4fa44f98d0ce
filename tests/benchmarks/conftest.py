"""What the tests of the benchmarks share: the scripts' folder on the path, texts, a tiny model."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from models import LONGEST, SPECIALS, save_sentence_transformer, write_json
from repository import ROOT

# Where Python itself puts it when a script in it is started.
sys.path.insert(0, str(ROOT / "benchmarks"))


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
