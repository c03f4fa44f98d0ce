"""SmolLM2-135M-Instruct says yes or no as sentence-transformers' LogitScore reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.cross_encoder.modules import LogitScore

from decant.embedders import TorchReranker, find_model
from gguf_files import smollm2_file

_CHAT = (
    "{% for turn in messages %}{% if turn['role'] == 'query' %}<|im_start|>user\nDoes the passage "
    "answer the query? Say yes or no.\nQuery: {{ turn['content'] }}\n"
    "{% elif turn['role'] == 'document' %}Passage: {{ turn['content'] }}<|im_end|>\n"
    "<|im_start|>assistant\n{% endif %}{% endfor %}"
)
_QUERIES = ("What is the capital of France?", "why does bread rise", "how do vaccines work")
_PASSAGES = (
    "Paris is the capital of France.",
    "Bread rises because yeast turns sugar into carbon dioxide.",
    "Vaccines train the immune system without causing the disease.",
    "The harbour is quiet in winter. " * 60,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the model as sentence-transformers writes it."""
    home = tmp_path_factory.mktemp("smollm2")
    plain = find_model(smollm2_file()).folder
    inner = Transformer(str(plain), transformer_task="text-generation")
    words: Any = inner.tokenizer
    words.chat_template = _CHAT
    labels = [words.convert_tokens_to_ids(label) for label in ("yes", "no")]
    CrossEncoder(modules=[inner, LogitScore(*labels)], device="cpu").save(str(home / "scored"))
    return home / "scored"


@pytest.mark.slow
def test_smollm2_equals_sentence_transformers(folder: Path) -> None:
    pairs = [(query, text) for query in _QUERIES for text in _PASSAGES]
    model = CrossEncoder(str(folder), device="cpu")
    expected = np.asarray(model.predict(pairs, activation_fn=torch.nn.Identity(), batch_size=4))
    with TorchReranker.from_pretrained(folder) as reranker:
        found = reranker.score_pairs(pairs, raw=True)
    assert np.ptp(expected) > 0.5
    assert np.abs(found - expected).max() < 1e-4
