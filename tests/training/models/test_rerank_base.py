"""The folder of a trained reranker: decant and sentence-transformers give its scores."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder
from transformers import AutoModelForCausalLM

from decant.embedders import (
    PairFormat,
    RecipeError,
    RerankChoices,
    ScoreActivation,
    TorchReranker,
    load_reranker,
)
from decant.export import export
from decant.training import Lora, RerankBase, TrainingError, open_rerank_base
from decant.training.models.cross_encoder_files import chat_template_of
from rerank_models import (
    INSTRUCTION,
    NO,
    TEMPLATE,
    YES,
    save_causal_reranker,
    save_cross_encoder,
    save_pair_encoder,
)

QUERY = "where is the white whale"
TEXTS = ["a whale", "the white hat in that winter", "what then", "the sea " * 90]
CAUSAL = RerankChoices(
    pair_template=TEMPLATE, instruction=INSTRUCTION, true_token=YES, false_token=NO
)


def moved(opened: RerankBase) -> NDArray[np.float32]:
    """Change every weight that is trained, and return the scores."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for one in opened.base.model.parameters():
            if one.requires_grad:
                one.add_(0.05 * torch.randn(one.shape, generator=generator))
    with opened.base.eval_encoder() as encoder:
        return opened.reranker(encoder).score(QUERY, TEXTS, raw=True)


def theirs(folder: Path) -> NDArray[np.float32]:
    """Return the raw scores of sentence-transformers."""
    model = CrossEncoder(str(folder), device="cpu")
    pairs = [(QUERY, text) for text in TEXTS]
    return np.asarray(model.predict(pairs, activation_fn=torch.nn.Identity(), batch_size=2))


def ours(folder: Path) -> NDArray[np.float32]:
    with TorchReranker.from_pretrained(folder) as made:
        return made.score(QUERY, TEXTS, raw=True)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a BERT without a classifier."""
    return save_pair_encoder(tmp_path_factory.mktemp("models") / "encoder")


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Llama with a head of its own."""
    return save_causal_reranker(tmp_path_factory.mktemp("models") / "llama", longest=128)


def test_an_encoder_becomes_a_cross_encoder_with_equal_scores_everywhere(
    encoder: Path, tmp_path: Path
) -> None:
    opened = open_rerank_base(encoder, seed=3)
    expected = moved(opened)
    folder = tmp_path / "reranker"
    folder.mkdir()
    opened.write(folder)
    assert np.ptp(expected) > 1e-3
    assert np.abs(theirs(folder) - expected).max() < 1e-5
    assert np.abs(ours(folder) - expected).max() < 1e-5
    held = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert held["architectures"] == ["BertForSequenceClassification"]
    assert len(held["id2label"]) == 1
    with TorchReranker.from_pretrained(folder) as made:
        assert made.recipe.activation is ScoreActivation.IDENTITY
        assert made.recipe.max_tokens == opened.recipe.max_tokens


@pytest.mark.slow
def test_what_is_written_exports_with_a_certificate(encoder: Path, tmp_path: Path) -> None:
    opened = open_rerank_base(encoder)
    expected = moved(opened)
    (tmp_path / "reranker").mkdir()
    opened.write(tmp_path / "reranker")
    certificate = export(tmp_path / "reranker", tmp_path / "bundle")
    assert certificate.passed
    with load_reranker(tmp_path / "bundle") as served:
        assert np.abs(served.score(QUERY, TEXTS, raw=True) - expected).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    "family", ["roberta", "electra", "deberta-v2", "distilbert", "albert", "modernbert"]
)
def test_other_families_get_a_classifier_that_everyone_reads(tmp_path: Path, family: str) -> None:
    opened = open_rerank_base(save_pair_encoder(tmp_path / "encoder", family))
    expected = moved(opened)
    (tmp_path / "reranker").mkdir()
    opened.write(tmp_path / "reranker")
    assert np.abs(theirs(tmp_path / "reranker") - expected).max() < 1e-4
    assert np.abs(ours(tmp_path / "reranker") - expected).max() < 1e-4


@pytest.mark.parametrize("lora", [None, Lora(rank=2)])
def test_a_language_model_keeps_template_instruction_and_labels(
    causal: Path, tmp_path: Path, lora: Lora | None
) -> None:
    opened = open_rerank_base(causal, choices=CAUSAL, lora=lora)
    expected = moved(opened)
    folder = tmp_path / "reranker"
    folder.mkdir()
    opened.write(folder)
    assert np.ptp(expected) > 1e-3
    assert np.abs(ours(folder) - expected).max() < 1e-4
    assert np.abs(theirs(folder) - expected).max() < 1e-4
    with TorchReranker.from_pretrained(folder) as made:
        assert made.recipe.pair == opened.recipe.pair
        assert made.recipe.tokens == opened.recipe.tokens


def test_a_tied_head_and_its_embeddings_stay(causal: Path, tmp_path: Path) -> None:
    untied = open_rerank_base(causal, choices=CAUSAL)
    assert untied.whole.get_input_embeddings().weight.requires_grad
    assert not any(one.requires_grad for one in untied.base.model.head.parameters())
    config = untied.whole.config
    config.tie_word_embeddings = True
    folder = Path(shutil.copytree(causal, tmp_path / "tied"))
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tied = open_rerank_base(folder, choices=CAUSAL)
    assert not tied.whole.get_input_embeddings().weight.requires_grad
    assert any(one.requires_grad for one in tied.base.model.parameters())


def test_a_chat_template_renders_what_the_pair_says() -> None:
    from jinja2 import Environment

    pair = PairFormat(template='say "{instruction}"\n é:{query}{text}\\', instruction="it")
    turns = [
        {"role": "system", "content": "this"},
        {"role": "query", "content": "q {text}"},
        {"role": "document", "content": "d"},
    ]
    made = Environment(trim_blocks=True, lstrip_blocks=True).from_string(
        chat_template_of(pair, start="<s>")
    )
    prompt = pair.prompt("q {text}", "this")
    assert made.render(messages=turns) == f"<s>{prompt.prefix}d{prompt.suffix}"


def test_training_cuts_pairs_and_the_recipe_keeps_its_length(encoder: Path) -> None:
    opened = open_rerank_base(encoder, choices=RerankChoices(max_tokens=20))
    assert opened.max_tokens == 20
    assert opened.recipe.max_tokens > 20
    (row,) = opened.tokens(QUERY, TEXTS[-1:])
    assert row.width <= 20
    assert opened.length(QUERY, TEXTS[-1])[1] == 20


def test_the_seed_gives_the_new_classifier(encoder: Path) -> None:
    first, again, other = (
        open_rerank_base(encoder, seed=seed).whole.state_dict()["classifier.weight"]
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_bases_that_cannot_be_trained_are_refused_by_name(causal: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="--true-token"):
        open_rerank_base(causal)
    with pytest.raises(RecipeError, match=r"without the template"):
        open_rerank_base(causal, choices=replace(CAUSAL, pair_template=None, instruction=None))
    several = save_cross_encoder(tmp_path / "nli", "bert", labels=3)
    with pytest.raises(TrainingError, match="has 3 outputs"):
        open_rerank_base(several, choices=RerankChoices(label="1"))
