"""Corpora: where texts come from, and what lengths the drawn chunks have."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.corpus import Corpus, Cutter, draw, load_corpus
from decant.embedders import HashEncoder, TextError


@pytest.fixture
def corpus(tiny_data: Path) -> Corpus:
    """Return the texts of the tiny data folder."""
    return load_corpus(tiny_data)


@pytest.fixture
def cutter() -> Cutter:
    """Return a cutter for mixtures of at most 40 tokens."""
    return Cutter(HashEncoder().tokenizer, longest=40)


def test_the_peps_are_the_corpus_where_there_are_some(corpus: Corpus) -> None:
    assert corpus.name == "PEPs"
    assert len(corpus.texts) == 8


def test_without_data_the_docstrings_are_the_corpus(tmp_path: Path) -> None:
    corpus = load_corpus(tmp_path)
    assert "docstrings" in corpus.name
    assert "Popen" in {text.name: text.text for text in corpus.texts}["subprocess.txt"]


def test_documents_are_drawn_by_the_seed(corpus: Corpus) -> None:
    assert draw(corpus, 3, seed=1) == draw(corpus, 3, seed=1)
    assert any(draw(corpus, 3, seed=1) != draw(corpus, 3, seed=seed) for seed in range(2, 6))
    assert len(draw(corpus, 100, seed=1)) == 8


def test_chunks_hold_the_text_in_pieces_of_the_limit(corpus: Corpus, cutter: Cutter) -> None:
    text = corpus.texts[0].text
    chunks = cutter.cut(text, 20)
    assert max(cutter.tokens(chunks)) <= 20
    assert "".join("".join(chunks).split()) == "".join(text.split())


def test_a_mixture_has_all_lengths_and_about_the_tokens(corpus: Corpus, cutter: Cutter) -> None:
    texts = cutter.mixed(corpus, 400, seed=0)
    lengths = cutter.tokens(texts)
    assert 400 <= sum(lengths) < 400 + 4 * 40
    assert max(lengths) <= 40
    assert len(set(lengths)) > 2
    assert texts == cutter.mixed(corpus, 400, seed=0)


def test_chunks_near_a_length_are_a_little_under_it(corpus: Corpus, cutter: Cutter) -> None:
    lengths = cutter.tokens(cutter.near(corpus, 32, 300, seed=0))
    assert min(lengths) >= 24
    assert max(lengths) <= 32


def test_too_small_a_corpus_is_named(corpus: Corpus, cutter: Cutter) -> None:
    with pytest.raises(TextError, match="1000000 were asked for"):
        cutter.mixed(corpus, 1_000_000, seed=0)
