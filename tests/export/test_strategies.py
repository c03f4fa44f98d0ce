"""Every strategy against a naive one written apart, in torch and in its certified graph."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from decant.embedders import (
    Attention,
    Choices,
    Encoder,
    Output,
    RecipeError,
    Role,
    SparseHead,
    SparseVectors,
    TorchEncoder,
    load,
    strategies,
)
from decant.embedders.pytorch.sparse_head import LexicalHead
from decant.embedders.tokens import pad
from decant.export import export
from models import save_language_model
from naive_strategies import COT, EXAMPLE, KNOWLEDGE, ONE_WORD, Naive

TEXTS = ["a", "the ferry leaves at seven", 'what is "the wind"?', "the of", "what the wind " * 9]
GOLDEN = Path(__file__).with_name("golden_strategies.json")
META = json.loads(
    files("decant.embedders.sources").joinpath("meta_eol.json").read_text(encoding="utf-8")
)

Way = Callable[[Naive, str], object]
DENSE: dict[str, Way] = {
    "prompt-eol": lambda naive, text: naive.prompted(ONE_WORD, text, -1),
    "pretended-cot": lambda naive, text: naive.prompted(COT, text, -2),
    "knowledge": lambda naive, text: naive.prompted(KNOWLEDGE, text, -2),
    "prompt-eol-icl": lambda naive, text: naive.prompted(EXAMPLE + ONE_WORD, text, -1),
    "meta-eol": lambda naive, text: naive.meta(META, text),
    "echo": lambda naive, text: naive.echo(text, last=False),
    "echo-last": lambda naive, text: naive.echo(text, last=True),
    # Scaled from 32 layers to 4: 7 to 1, at least 2; 27 to 3; 4 to 1.
    "token-prepending": lambda naive, text: naive.prepended(text, 1, 2, 3),
    "contrastive": lambda naive, text: naive.contrastive(text, 1, 0.5, 3),
    "promptreps": lambda naive, text: naive.reps(text, 128)[0],
    "content-mean": lambda naive, text: naive.states(naive.plain(f" {text}"))[-1][1:-1].mean(0),
    "penultimate": lambda naive, text: naive.states(naive.plain(f" {text}"))[-2][1:-1].mean(0),
    "static": lambda naive, text: naive.states(naive.plain(f" {text}"))[0][1:-1].mean(0),
    "last": lambda naive, text: naive.states(naive.plain(text))[-1][-1],
    "late-interaction": lambda naive, text: naive.states(naive.plain(text))[-1].mean(0),
}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_language_model(tmp_path_factory.mktemp("llama") / "model", "llama")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_language_model(tmp_path_factory.mktemp("bert") / "model", "bert")


@pytest.fixture(scope="module")
def everything(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle that gives dense and sparse vectors and token states."""
    bundle = tmp_path_factory.mktemp("everything") / "bundle"
    choices = Choices(token_embeddings=True, max_tokens=256)
    (entry,) = export(llama, bundle, strategy="promptreps", choices=choices).entries
    assert entry.worst_cosine >= 0.99999
    assert {"sparse vectors", "token states"} <= {check.name for check in entry.checks}
    return bundle


def unit(vectors: Sequence[object]) -> NDArray[np.float32]:
    rows = np.stack([np.asarray(vector, np.float32) for vector in vectors])
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def dense(encoder: Encoder) -> NDArray[np.float32]:
    return encoder.encode(TEXTS, role=Role.PASSAGE).dense


def entries(vectors: SparseVectors | None) -> list[dict[int, float]]:
    assert vectors is not None
    return [dict(zip(ids.tolist(), weights.tolist(), strict=True)) for ids, weights in vectors]


def assert_same_entries(found: list[dict[int, float]], expected: list[dict[int, float]]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        np.testing.assert_allclose(list(one.values()), [other[key] for key in one], atol=2e-5)


@pytest.mark.parametrize("name", DENSE)
def test_torch_gives_what_the_naive_reference_gives(llama: Path, name: str) -> None:
    naive = Naive(llama)
    expected = unit([DENSE[name](naive, text) for text in TEXTS])
    with TorchEncoder.from_pretrained(llama, strategy=name) as encoder:
        np.testing.assert_allclose(dense(encoder), expected, atol=1e-5)


# An export takes long; the fixture `everything` does one of them in every run.
@pytest.mark.slow
@pytest.mark.parametrize("name", DENSE)
def test_the_graph_agrees_with_torch_whatever_the_padding(
    llama: Path, tmp_path: Path, name: str
) -> None:
    (entry,) = export(llama, tmp_path / "bundle", strategy=name).entries
    assert entry.worst_cosine >= 0.99999
    padded = {check.name for check in entry.checks if check.cases}
    assert {"right padding", "left padding", "one by one", "long beside short, left"} <= padded
    with (
        TorchEncoder.from_pretrained(llama, strategy=name) as torch,
        load(tmp_path / "bundle") as onnx,
    ):
        assert (dense(torch) * dense(onnx)).sum(axis=1).min() >= 0.99999
        assert onnx.recipe == torch.recipe


@pytest.mark.parametrize("name", DENSE)
def test_vectors_are_those_of_the_golden_file(llama: Path, name: str) -> None:
    golden = np.array(json.loads(GOLDEN.read_text(encoding="utf-8"))[name], np.float32)
    with TorchEncoder.from_pretrained(llama, strategy=name) as encoder:
        np.testing.assert_allclose(dense(encoder)[:, : golden.shape[1]], golden, atol=1e-5)


def sparse(encoder: Encoder) -> list[dict[int, float]]:
    found = encoder.encode(TEXTS, role=Role.PASSAGE, outputs=[Output.SPARSE]).sparse
    assert found is not None
    for indices, values in found:
        assert (np.diff(indices) > 0).all()
        assert (values > 0).all()
    return entries(found)


def test_promptreps_weighs_the_texts_own_words(llama: Path, everything: Path) -> None:
    naive = Naive(llama)
    expected = [naive.reps(text, 128)[1] for text in TEXTS]
    assert 0 < len(expected[3]) <= 10, "a text of stop words keeps its ten heaviest"
    with TorchEncoder.from_pretrained(llama, strategy="promptreps") as encoder:
        assert_same_entries(sparse(encoder), expected)
    with load(everything) as encoder:
        assert_same_entries(sparse(encoder), expected)


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_splade_takes_the_largest_logit_of_every_token(
    family: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(family)
    naive = Naive(folder, masked=family == "bert")
    expected = [naive.splade(text, 256) for text in TEXTS]
    with TorchEncoder.from_pretrained(folder, strategy="splade") as encoder:
        assert_same_entries(sparse(encoder), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "strategy"), [("bert", "splade"), ("llama", "splade"), ("llama", "lens")]
)
def test_sparse_heads_export(
    family: str, strategy: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = request.getfixturevalue(family)
    assert export(folder, tmp_path / "bundle", strategy=strategy).passed
    with TorchEncoder.from_pretrained(folder, strategy=strategy) as encoder:
        expected = sparse(encoder)
    with load(tmp_path / "bundle") as encoder:
        assert_same_entries(sparse(encoder), expected)


@pytest.mark.parametrize("passes", [5, None])
def test_lens_weighs_clusters_of_the_vocabulary(llama: Path, passes: int | None) -> None:
    """Recipes without passes keep the centres that they had before there were any."""
    naive = Naive(llama)
    clusters = naive.tokenizer.get_vocab_size() // 4
    sparse_head = SparseHead(clusters=clusters, passes=passes)
    choices = None if passes else Choices(sparse_head=sparse_head)
    with TorchEncoder.from_pretrained(llama, strategy="lens", choices=choices) as encoder:
        found = sparse(encoder)
        assert encoder.recipe.sparse_head == sparse_head
        head = encoder.model.lexical
        assert isinstance(head, LexicalHead)
        centres = head.rows.numpy()
    if passes is None:
        np.testing.assert_allclose(centres, naive.old_centres(clusters), atol=1e-6)
    for row, text in zip(found, TEXTS, strict=True):
        whole = np.zeros(clusters)
        whole[list(row)] = list(row.values())
        np.testing.assert_allclose(whole, naive.lens(text, centres), atol=2e-5)


def test_all_outputs_of_one_pass_are_those_of_separate_passes(everything: Path) -> None:
    with load(everything) as encoder:
        whole = encoder.encode(
            TEXTS, role=Role.PASSAGE, outputs=[Output.SPARSE, Output.TOKEN_EMBEDDINGS]
        )
        only = encoder.encode(TEXTS, role=Role.PASSAGE, outputs=[Output.SPARSE])
        states = encoder.encode(TEXTS, role=Role.PASSAGE, outputs=[Output.TOKEN_EMBEDDINGS])
        assert np.array_equal(whole.dense, dense(encoder))
        assert whole.sparse is not None
        assert only.sparse is not None
        assert np.array_equal(whole.sparse.values, only.sparse.values)
        assert np.array_equal(whole.sparse.indices, only.sparse.indices)
        assert whole.token_embeddings is not None
        assert states.token_embeddings is not None
        for one, other in zip(whole.token_embeddings, states.token_embeddings, strict=True):
            assert np.array_equal(one, other)
        np.testing.assert_allclose(
            unit([item[-1] for item in whole.token_embeddings]), whole.dense, atol=1e-5
        )
        batch = pad(encoder._tokenizer(TEXTS, role=Role.PASSAGE), pad_id=0, left=True)
        (left,) = encoder._alone.outputs_of(batch, ["token_embeddings"])
        for states_of, mask, expected in zip(
            left, batch.attention_mask, whole.token_embeddings, strict=True
        ):
            np.testing.assert_allclose(states_of[mask > 0], expected, atol=2e-4)


def test_a_strategy_for_causal_models_is_refused_for_others(bert: Path) -> None:
    with pytest.raises(RecipeError, match="'prompt-eol' is for causal models"):
        TorchEncoder.from_pretrained(bert, strategy="prompt-eol")
    with pytest.raises(RecipeError, match="no strategy is called 'prompt'; known are mean"):
        TorchEncoder.from_pretrained(bert, strategy="prompt")


def test_first_is_refused_for_causal_models(llama: Path) -> None:
    with pytest.raises(RecipeError, match="gives every text the same vector"):
        TorchEncoder.from_pretrained(llama, strategy="first")


def test_what_the_user_says_wins_over_a_strategy(llama: Path) -> None:
    choices = Choices(layer=-3, max_tokens=200)
    with TorchEncoder.from_pretrained(llama, strategy="knowledge", choices=choices) as encoder:
        assert (encoder.recipe.layer, encoder.recipe.max_tokens) == (-3, 200)
        assert encoder.recipe.attention is Attention.CAUSAL


def test_every_strategy_has_a_purpose_and_a_source() -> None:
    known = strategies()
    assert set(DENSE) < set(known)
    for name, strategy in known.items():
        assert strategy.name == name
        assert strategy.purpose
        assert strategy.source


def test_a_strategy_comes_from_a_file(llama: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(
        '{"name": "mine", "purpose": "a test", "choices": {"pooling": "max", "layer": 1}}'
    )
    with TorchEncoder.from_pretrained(llama, strategy=str(file)) as encoder:
        assert encoder.recipe.layer == 1
    file.write_text('{"name": "mine", "purpose": "a test", "choices": {"poling": "max"}}')
    with pytest.raises(RecipeError, match="unknown key 'poling'"):
        TorchEncoder.from_pretrained(llama, strategy=str(file))
    with pytest.raises(RecipeError, match="does not exist"):
        TorchEncoder.from_pretrained(llama, strategy=str(tmp_path / "none.json"))
