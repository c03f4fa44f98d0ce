"""The reference reranker equals sentence-transformers' CrossEncoder, family by family."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder

from contracts.reranker import PASSAGES, QUERY, RerankerContract
from decant.embedders import (
    Pooling,
    RecipeError,
    RerankChoices,
    Reranker,
    ScoreActivation,
    TorchReranker,
)
from rerank_models import save_causal_reranker, save_cross_encoder, save_logit_score

from .conftest import Made

CHAT = (
    "<s>{% for turn in messages %}{% if turn['role'] == 'system' %}judge {{ turn['content'] }}:"
    "{% elif turn['role'] == 'query' %}<query>{{ turn['content'] }}"
    "{% elif turn['role'] == 'document' %} text {{ turn['content'] }}{% endif %}{% endfor %} in a"
)
TEXTS = [*PASSAGES, "the sea " * 90]


class TestOfAPair(RerankerContract):
    @pytest.fixture
    def reranker(self, cross_encoder: Made) -> Iterator[Reranker]:
        with TorchReranker.from_pretrained(cross_encoder.folder) as made:
            yield made


class TestOfATemplate(RerankerContract):
    @pytest.fixture
    def reranker(self, causal: Made) -> Iterator[Reranker]:
        with TorchReranker.from_pretrained(causal.folder, choices=causal.choices) as made:
            yield made


def theirs(folder: Path, *, raw: bool = True) -> NDArray[np.float32]:
    """Return the scores of sentence-transformers, (N,) or (N, outputs)."""
    activation = torch.nn.Identity() if raw else None
    model = CrossEncoder(str(folder), device="cpu")
    pairs = [(QUERY, text) for text in TEXTS]
    found = model.predict(pairs, activation_fn=activation, batch_size=3)
    return np.asarray(found, np.float32)


def ours(
    folder: Path, choices: RerankChoices | None = None, *, raw: bool = True
) -> NDArray[np.float32]:
    with TorchReranker.from_pretrained(folder, choices=choices) as made:
        return made.score(QUERY, TEXTS, raw=raw)


def test_a_cross_encoder_equals_sentence_transformers(cross_encoder: Made) -> None:
    assert np.abs(ours(cross_encoder.folder) - theirs(cross_encoder.folder)).max() < 1e-4
    finished = ours(cross_encoder.folder, raw=False)
    assert np.abs(finished - theirs(cross_encoder.folder, raw=False)).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    "family",
    ["roberta", "xlm-roberta", "electra", "deberta", "deberta-v2", "distilbert", "albert", "mpnet",
     "camembert", "modernbert"],
)  # fmt: skip
def test_other_families_equal_sentence_transformers(tmp_path: Path, family: str) -> None:
    folder = save_cross_encoder(tmp_path / family, family)
    assert np.abs(ours(folder) - theirs(folder)).max() < 1e-4


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_modernbert_is_pooled_as_its_configuration_says(tmp_path: Path, pooling: str) -> None:
    folder = save_cross_encoder(tmp_path / "m", "modernbert", classifier_pooling=pooling)
    assert np.abs(ours(folder) - theirs(folder)).max() < 1e-4


def test_one_of_several_labels_is_the_score(tmp_path: Path) -> None:
    folder = save_cross_encoder(tmp_path / "nli", "bert", labels=3)
    expected = theirs(folder)
    second = ours(folder, RerankChoices(label="LABEL_1"))
    assert np.abs(second - expected[:, 1]).max() < 1e-4
    apart = ours(folder, RerankChoices(label="2", against="0"), raw=False)
    assert np.abs(apart - (expected[:, 2] - expected[:, 0])).max() < 1e-4


@pytest.mark.parametrize("prompt", [None, "which is a river"])
def test_a_logit_score_equals_sentence_transformers(tmp_path: Path, prompt: str | None) -> None:
    folder = save_logit_score(tmp_path, chat_template=CHAT, prompt=prompt)
    assert np.abs(ours(folder) - theirs(folder)).max() < 1e-4
    assert np.abs(ours(folder, raw=False) - theirs(folder, raw=False)).max() < 1e-4


@pytest.mark.parametrize("scores", [True, False])
def test_capped_logits_and_trained_rows_equal_the_whole_model(
    tmp_path: Path, *, scores: bool
) -> None:
    """Loading itself compares a pair with the whole model, and would refuse."""
    folder = save_causal_reranker(tmp_path / "g", "gemma2", scores=scores, longest=128)
    choices = RerankChoices(pair_template="<query>{query} is {text} a")
    if not scores:
        choices = replace(choices, true_token="a", false_token="w")
    assert np.ptp(ours(folder, choices)) > 1e-3


def test_a_pooling_that_is_not_the_models_is_refused(cross_encoder: Made) -> None:
    with pytest.raises(RecipeError, match="not known to decant"):
        ours(cross_encoder.folder, RerankChoices(pooling=Pooling.MEAN))


def test_label_tokens_that_are_none_are_refused_with_what_is_read_instead(
    causal: Made,
) -> None:
    choices = RerankChoices(pair_template="{query} {text}", true_token="yes indeed")
    with pytest.raises(RecipeError, match=r"'yes indeed' is no token.*\['y', 'e'"):
        ours(causal.folder, choices)


def test_an_activation_may_be_named(cross_encoder: Made) -> None:
    choices = RerankChoices(activation=ScoreActivation.IDENTITY)
    raw = ours(cross_encoder.folder)
    assert np.array_equal(ours(cross_encoder.folder, choices, raw=False), raw)
