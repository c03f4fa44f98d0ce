"""The production reranker: the contract, the reference's scores, and what it refuses."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contracts.reranker import PASSAGES, QUERY, RerankerContract
from decant.embedders import (
    Bundle,
    BundleError,
    OnnxReranker,
    ParityError,
    ProviderError,
    Reranker,
    TextError,
    TorchReranker,
    load,
    load_reranker,
)
from decant.embedders.encoding import DENSE
from decant.embedders.tokens import PairTokenizer, TokenBatch, pad

from .conftest import Made


@pytest.fixture(params=["cross_encoder", "causal"])
def made(request: pytest.FixtureRequest) -> Made:
    found: Made = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def opened(made: Made) -> Iterator[OnnxReranker]:
    with load_reranker(made.bundle) as reranker:
        yield reranker


class TestOfAPair(RerankerContract):
    @pytest.fixture
    def reranker(self, cross_encoder: Made) -> Iterator[Reranker]:
        with load_reranker(cross_encoder.bundle) as opened:
            yield opened


class TestOfATemplate(RerankerContract):
    @pytest.fixture
    def reranker(self, causal: Made) -> Iterator[Reranker]:
        with load_reranker(causal.bundle) as opened:
            yield opened


def test_scores_are_those_of_pytorch(made: Made, opened: OnnxReranker) -> None:
    with TorchReranker.from_pretrained(made.folder, choices=made.choices) as reference:
        expected = reference.score(QUERY, PASSAGES, raw=True)
    assert np.abs(opened.score(QUERY, PASSAGES, raw=True) - expected).max() < 1e-4


@pytest.mark.parametrize("left", [False, True])
def test_the_padding_side_changes_no_score(opened: OnnxReranker, left: bool) -> None:
    tokenizer = opened.encoder.text_tokenizer
    assert isinstance(tokenizer, PairTokenizer)
    rows = tokenizer.pairs([(QUERY, text) for text in PASSAGES])
    batch = pad(rows, pad_id=0, left=left, width=max(row.width for row in rows) + 2)
    (found,) = opened.encoder.run_batch(batch, [DENSE], alone=True)
    assert (
        np.abs(np.asarray(found, np.float32)[:, 0] - opened.score(QUERY, PASSAGES, raw=True)).max()
        < 1e-4
    )


def test_an_instruction_takes_the_place_of_the_recipes(causal: Made) -> None:
    with load_reranker(causal.bundle) as reranker:
        own = reranker.recipe.pair.instruction
        same = reranker.score(QUERY, PASSAGES, instruction=own)
        assert np.abs(same - reranker.score(QUERY, PASSAGES)).max() < 1e-4
        other = reranker.score(QUERY, PASSAGES, instruction="which is a report")
        assert np.abs(same - other).max() > 1e-3


def test_what_stands_before_the_passages_of_a_query_runs_once(
    causal: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []

    def counted(run: Callable[..., object]) -> Callable[..., object]:
        def counting(batch: TokenBatch, names: object) -> object:
            ran.append(batch.input_ids.size)
            return run(batch, names)

        return counting

    texts = ["a river", "a stone", "a boats", "a hills"] * 8
    with load_reranker(causal.bundle) as reranker:
        tokenizer = reranker.encoder.text_tokenizer
        assert isinstance(tokenizer, PairTokenizer)
        rows = tokenizer.pairs([(QUERY, text) for text in texts])
        alone = np.concatenate([reranker.score(QUERY, [text]) for text in texts[:4]])
        encoder = reranker.encoder
        for session in {encoder._alone, encoder._session_for_many()}:
            monkeypatch.setattr(session, "outputs_of", counted(session.outputs_of))
        scores = reranker.score(QUERY, texts)
    whole = sum(row.width for row in rows)
    behind = sum(row.width - row.prompt for row in rows)
    assert 0 < sum(ran) <= behind + 2 * rows[0].prompt < whole / 2
    assert np.abs(scores[:4] - alone).max() < 1e-4


def test_a_reranker_of_another_process_scores_equally(opened: OnnxReranker) -> None:
    with pickle.loads(pickle.dumps(opened)) as copy:
        assert copy.recipe == opened.recipe
        assert np.array_equal(copy.score(QUERY, PASSAGES), opened.score(QUERY, PASSAGES))


def test_after_closing_nothing_is_scored(made: Made) -> None:
    reranker = load_reranker(made.bundle)
    reranker.close()
    with pytest.raises(ProviderError, match="closed"):
        reranker.score(QUERY, PASSAGES)


def test_a_query_that_leaves_no_room_is_refused(opened: OnnxReranker) -> None:
    with pytest.raises(TextError, match="leaves no room for a passage"):
        opened.score("river " * 200, ["a hill"])


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["ab"], "pair 0 is no pair"),
        ([("q", "t"), ("q",)], "pair 1 is no pair"),
        ([("q", "t"), ("", "t")], "pair 1, the query"),
        ([("q", "t"), ("q", "")], "text 1 is empty"),
    ],
)
def test_what_is_no_pair_is_refused_by_its_number(
    opened: OnnxReranker, pairs: list[tuple[str, str]], message: str
) -> None:
    with pytest.raises(TextError, match=message):
        opened.score_pairs(pairs)


def test_load_says_that_a_bundle_holds_a_reranker(made: Made) -> None:
    with pytest.raises(BundleError, match=r"is a reranker.*load_reranker"):
        load(made.bundle)


def test_older_decants_refuse_its_format(made: Made) -> None:
    assert Bundle.open(made.bundle).manifest.format == 2


@pytest.fixture
def copied(cross_encoder: Made, tmp_path: Path) -> Path:
    return Path(shutil.copytree(cross_encoder.bundle, tmp_path / "copy"))


def _edit(path: Path, change: Callable[[dict[str, object]], None]) -> None:
    held = json.loads(path.read_text(encoding="utf-8"))
    change(held)
    path.write_text(json.dumps(held), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda held: held.pop("reranker"), "do not go together"),
        (lambda held: held.update(format=1), "do not go together"),
        (lambda held: held.update(format=3), "upgrade decant"),
        (lambda held: held["recipe"].update(max_tokens=9), "not that of its reranker"),
        (lambda held: held["reranker"].update(activation="identity"), "was edited"),
        (lambda held: held["golden"][0].update(query="another"), "tokenizers"),
        (lambda held: held["golden"][0].update(ids=[1]), "tokenizers"),
    ],
)
def test_an_edited_manifest_is_refused(
    copied: Path, change: Callable[[dict[str, object]], None], message: str
) -> None:
    _edit(copied / "decant.json", change)
    with pytest.raises(BundleError, match=message):
        load_reranker(copied)


@pytest.mark.parametrize(
    ("figure", "value"),
    [("worst_difference", 0.1), ("company", 0.1), ("kendall_tau", 2.0), ("not_finite", 1)],
)
def test_a_certificate_whose_figures_miss_their_gates_is_refused(
    copied: Path, figure: str, value: float
) -> None:
    _edit(copied / "certificate.json", lambda held: held["scores"][0].update({figure: value}))  # type: ignore[index]
    with pytest.raises(ParityError, match="failed its certificate"):
        load_reranker(copied)
    load_reranker(copied, allow_uncertified=True).close()


def test_without_a_certificate_it_does_not_open(copied: Path) -> None:
    _edit(copied / "certificate.json", lambda held: held.update(scores=[]))
    with pytest.raises(ParityError, match="not certified"):
        load_reranker(copied)


def test_an_altered_recipe_gives_another_digest(cross_encoder: Made) -> None:
    recipe = Bundle.open(cross_encoder.bundle).manifest.reranker
    assert recipe is not None
    assert replace(recipe, model=replace(recipe.model, max_tokens=9)).digest() != recipe.digest()


def test_tokens_are_those_that_run_and_a_query_counts_once_where_it_is_computed_once(
    made: Made, opened: OnnxReranker
) -> None:
    pairs = [*((QUERY, text) for text in PASSAGES[:4]), ("stone", "a hill")]
    tokenizer = opened.encoder.text_tokenizer
    assert isinstance(tokenizer, PairTokenizer)
    rows = tokenizer.pairs(pairs)
    counts = opened.count_tokens(pairs)
    assert opened.reads_queries_once is (made.choices is not None)
    whole = tokenizer.pairs(pairs, max_tokens=10_000)
    assert opened.pair_lengths(pairs) == tuple(row.width for row in whole)
    behind = [row.prompt if opened.reads_queries_once else 0 for row in rows]
    behind[0] = behind[4] = 0
    assert counts == tuple(row.width - shared for row, shared in zip(rows, behind, strict=True))
    most = opened.recipe.max_tokens
    assert opened.count_tokens([(QUERY, "stone " * most)]) == (most,)
    assert opened.pair_lengths([(QUERY, "stone " * most)])[0] > most


def test_the_beginning_of_a_passage_has_the_tokens_that_are_asked_for(opened: OnnxReranker) -> None:
    texts = ["a hill", "the river runs to the sea, " * 3]
    short, cut = opened.cut_texts(texts, tokens=9)
    assert short == "a hill"
    assert texts[1].startswith(cut)
    bare = opened.encoder.text_tokenizer.bare
    assert len(bare.encode(cut, add_special_tokens=False).ids) == 9
