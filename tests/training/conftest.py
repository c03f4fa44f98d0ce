"""Seeded small models and data that training tests share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models import save_language_model, save_sentence_transformer

WORDS = ("the cat", "a hat", "what then", "white heat", "in the end", "that winter", "a whale")


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a seeded two-layer BERT with mean pooling and prompts."""
    return save_sentence_transformer(
        tmp_path_factory.mktemp("models") / "tiny-bert",
        "bert",
        prompts={"query": "query: ", "document": "text: "},
    )


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a seeded two-layer Llama with a head of its own."""
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    return save_language_model(folder, "llama", layers=2, longest=64)


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 28 pairs as JSON lines."""
    path = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    rows = [
        {"query": f"{word} {number}", "positive": f"{number} {word} again", "score": number}
        for number in range(4)
        for word in WORDS
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path
