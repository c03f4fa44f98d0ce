"""Two rerankers for this folder's tests: a cross-encoder and a causal one, each with its bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from decant.embedders import RerankChoices
from decant.export import export
from rerank_models import (
    INSTRUCTION,
    NO,
    TEMPLATE,
    YES,
    save_causal_reranker,
    save_cross_encoder,
)

CAUSAL = RerankChoices(
    pair_template=TEMPLATE,
    instruction=INSTRUCTION,
    true_token=YES,
    false_token=NO,
    max_tokens=96,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A model's folder, the choices of its recipe, and its bundle."""

    folder: Path
    choices: RerankChoices | None
    bundle: Path


@pytest.fixture(scope="session")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return a BERT that classifies pairs."""
    home = tmp_path_factory.mktemp("cross-encoder")
    folder = save_cross_encoder(home / "bert", "bert")
    export(folder, home / "bundle")
    return Made(folder=folder, choices=None, bundle=home / "bundle")


@pytest.fixture(scope="session")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return a Llama whose score is read from two label tokens."""
    home = tmp_path_factory.mktemp("causal")
    folder = save_causal_reranker(home / "llama", longest=128)
    export(folder, home / "bundle", choices=CAUSAL)
    return Made(folder=folder, choices=CAUSAL, bundle=home / "bundle")
