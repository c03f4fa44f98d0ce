"""The adapter for mteb: what it tells and refuses, and real tasks that must give our own numbers.

``make test-mteb`` installs mteb and runs this file; elsewhere all of it but one test is skipped.
Tasks are made here from local files; nothing is loaded from the hub.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decant.embedders import HashEncoder, MissingExtra, OnnxEncoder, Precision, Role
from decant.evaluation import (
    Bootstrap,
    Embedder,
    EvaluationError,
    MtebEncoder,
    Retrieval,
    RetrievalSet,
    ScoredPairs,
    Sts,
    Unembeddable,
    read_beir,
    read_sts,
)
from written_vectors import Partial, Written

TEXTS = st.lists(st.text("abc xyz", min_size=1).filter(str.strip), min_size=1, max_size=20)
FEW = Bootstrap(resamples=2)


@pytest.fixture(scope="module")
def mteb() -> Any:
    """Return mteb, or skip."""
    return pytest.importorskip("mteb", reason="mteb is not installed; run `make test-mteb`")


def described(mteb: Any, name: str, kind: str) -> Any:
    """Return the metadata of a task that is made here."""
    return mteb.TaskMetadata(
        name=name,
        description="Made from local files.",
        dataset={"path": "local", "revision": "none"},
        type=kind,
        category="t2t",
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score={"STS": "cosine_spearman", "Retrieval": "ndcg_at_10"}[kind],
    )


def sts_scores(mteb: Any, model: MtebEncoder, pairs: ScoredPairs) -> dict[str, float]:
    """Return what ``mteb.evaluate`` says of a model on our pairs."""
    from datasets import Dataset, DatasetDict
    from mteb.abstasks.sts import AbsTaskSTS

    class Local(AbsTaskSTS):  # type: ignore[misc,unused-ignore]
        metadata = described(mteb, "LocalSts", "STS")

        def load_data(self, *arguments: Any, **named: Any) -> None:
            columns = {
                "sentence1": list(pairs.first),
                "sentence2": list(pairs.second),
                "score": list(pairs.scores),
            }
            self.dataset = cast("Any", DatasetDict({"test": Dataset.from_dict(columns)}))
            self.data_loaded = True

    return _scores(mteb, model, Local())


def retrieval_scores(mteb: Any, model: MtebEncoder, data: RetrievalSet) -> dict[str, float]:
    """Return what ``mteb.evaluate`` says of a model on our retrieval set."""
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval

    def table(texts: Sequence[tuple[str, str]]) -> Any:
        return Dataset.from_list([{"id": key, "text": text} for key, text in texts])

    class Local(AbsTaskRetrieval):  # type: ignore[misc,unused-ignore]
        metadata = described(mteb, "LocalRetrieval", "Retrieval")

        def load_data(self, *arguments: Any, **named: Any) -> None:
            split: Any = {
                "corpus": table(list(data.documents.items())),
                "queries": table(list(data.queries.items())),
                "relevant_docs": {query: data.relevant(query) for query in data.judgements},
                "top_ranked": None,
            }
            self.dataset = {"default": {"test": split}}
            self.data_loaded = True

    return _scores(mteb, model, Local())


def _scores(mteb: Any, model: MtebEncoder, task: Any) -> dict[str, float]:
    found = mteb.evaluate(model, task, cache=None, co2_tracker=False, show_progress_bar=False)
    (result,) = found.task_results
    scores: dict[str, float] = result.scores["test"][0]
    return scores


def encoded(model: MtebEncoder, batches: Any, **more: Any) -> Any:
    """Call ``encode`` as mteb does; of a task's metadata it reads the name alone."""
    task: Any = SimpleNamespace(name="Made")
    return model.encode(batches, task_metadata=task, hf_split="test", hf_subset="default", **more)


def test_without_mteb_the_pip_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mteb", None)
    with pytest.raises(MissingExtra, match=r"pip install 'decant-qdrant\[mteb\]'"):
        MtebEncoder(HashEncoder(dim=4))


def test_the_metadata_name_the_recipe(mteb: Any) -> None:
    encoder = HashEncoder(dim=8)
    meta: Any = MtebEncoder(encoder).mteb_model_meta
    assert meta.name == f"decant/{encoder.recipe.base}"
    assert meta.revision == encoder.recipe.digest()
    assert (meta.embed_dim, meta.max_tokens) == (8, encoder.recipe.max_tokens)
    assert meta.similarity_fn_name.value == "cosine"
    assert meta.experiment_kwargs is None
    assert MtebEncoder(encoder, name="us/hash").mteb_model_meta.name == "us/hash"


def test_what_changes_scores_beside_the_recipe_stands_in_the_experiment(mteb: Any) -> None:
    class Eight(HashEncoder):
        @property
        def precision(self) -> Precision:
            return Precision.INT8

    meta = MtebEncoder(
        Eight(dim=8), untyped=Role.PASSAGE, unembeddable=Unembeddable.ZERO
    ).mteb_model_meta
    assert meta.experiment_kwargs == {
        "precision": "int8",
        "untyped": "passage",
        "unembeddable": "zero",
    }


def test_it_is_an_encoder_to_mteb_and_no_search_engine(mteb: Any) -> None:
    model = MtebEncoder(HashEncoder(dim=4))
    assert isinstance(model, mteb.EncoderProtocol)
    assert not isinstance(model, mteb.SearchProtocol)


@given(texts=TEXTS, size=st.integers(1, 7))
def test_batches_make_no_difference(mteb: Any, texts: list[str], size: int) -> None:
    encoder = HashEncoder(dim=8)
    batches = [{"text": texts[at : at + size]} for at in range(0, len(texts), size)]
    found = encoded(MtebEncoder(encoder), batches, batch_size=size, show_progress_bar=False)
    np.testing.assert_array_equal(found, encoder.encode(texts, role=Role.QUERY).dense)


@pytest.mark.parametrize(
    ("kind", "untyped", "role"),
    [
        ("query", Role.PASSAGE, Role.QUERY),
        ("document", Role.QUERY, Role.PASSAGE),
        (None, Role.QUERY, Role.QUERY),
        (None, Role.PASSAGE, Role.PASSAGE),
    ],
)
def test_prompt_types_become_roles(mteb: Any, kind: str | None, untyped: Role, role: Role) -> None:
    written = Written({"a": (1, 0)})
    model = MtebEncoder(written, meta=meta_of(mteb), untyped=untyped)
    encoded(model, [{"text": ["a"]}], prompt_type=kind and mteb.types.PromptType(kind))
    assert written.asked == [("a", role)]


def meta_of(mteb: Any) -> Any:
    """Return metadata for an embedder that has no recipe."""
    return MtebEncoder(HashEncoder(dim=2), name="made/written").mteb_model_meta


def test_an_embedder_without_a_recipe_needs_metadata_and_one_with_both_is_refused(
    mteb: Any,
) -> None:
    written = Written({"a": (1, 0)})
    with pytest.raises(EvaluationError, match="Written has no recipe to name it by; pass meta="):
        MtebEncoder(written)
    with pytest.raises(EvaluationError, match="both a name"):
        MtebEncoder(written, name="a/b", meta=meta_of(mteb))


@pytest.mark.parametrize(
    ("batches", "more", "complaint"),
    [
        ([{"image": [1]}], {}, "Made: batch 0 holds image and no text"),
        ([{"text": ["a"]}, {"text": [3]}], {}, "batch 1 holds a int where a text should be"),
        ([], {}, "none of 0 texts"),
        ([{"text": ["a", " "]}], {}, r"1 of 2 texts are blank or unknown, the first is number 1"),
        ([{"text": ["a", "b"]}], {}, r"1 of 2 texts .* 'b'"),
        ([{"text": ["zero"]}], {}, "Made: 1 of 1 vectors have no direction"),
        ([{"text": ["nan", "a"]}], {}, "1 of 2 vectors have no direction, the first is number 0"),
        ([{"text": ["a"]}], {"precision": "int8"}, "mteb asks for precision"),
    ],
)
def test_what_would_give_wrong_scores_is_refused(
    mteb: Any, batches: Any, more: dict[str, str], complaint: str
) -> None:
    known: Embedder = Partial({"a": (1, 0), "zero": (0, 0), "nan": (np.nan, 1)})
    model = MtebEncoder(known, meta=meta_of(mteb))
    with pytest.raises(EvaluationError, match=complaint):
        encoded(model, batches, **more)


def test_unknown_texts_are_zeros_where_asked_and_are_counted(mteb: Any) -> None:
    model = MtebEncoder(Partial({"a": (1, 0)}), meta=meta_of(mteb), unembeddable=Unembeddable.ZERO)
    found = encoded(model, [{"text": ["b", "a"]}, {"text": [" "]}])
    assert found.tolist() == [[0, 0], [1, 0], [0, 0]]
    assert model.zeros == 2


def test_mteb_scores_sts_as_we_do(mteb: Any, data: Path) -> None:
    pairs = read_sts(data / "sts" / "stsb_en.dev.tsv")
    encoder = HashEncoder(dim=256)
    (ours,) = Sts(name="sts", sets=(pairs,), bootstrap=FEW).score(encoder)
    theirs = sts_scores(mteb, MtebEncoder(encoder), pairs)
    assert theirs["cosine_spearman"] == pytest.approx(ours.score.value, abs=1e-6)
    assert theirs["spearman"] == pytest.approx(ours.score.value, abs=1e-6)


@pytest.mark.slow
def test_mteb_scores_a_real_model_as_we_do(mteb: Any, minilm: OnnxEncoder, data: Path) -> None:
    model = MtebEncoder(minilm)
    assert model.mteb_model_meta.name == "sentence-transformers/all-MiniLM-L6-v2"
    pairs = read_sts(data / "sts" / "stsb_en.dev.tsv")
    (ours,) = Sts(name="sts", sets=(pairs,), bootstrap=FEW).score(minilm)
    theirs = sts_scores(mteb, model, pairs)
    assert theirs["cosine_spearman"] == pytest.approx(ours.score.value, abs=1e-6)
    assert ours.score.value > 0.8
    cranfield = read_beir(data / "retrieval" / "cranfield")
    ndcg, recall, *_ = Retrieval(data=cranfield, bootstrap=FEW).score(minilm)
    found = retrieval_scores(mteb, model, cranfield)
    assert found["ndcg_at_10"] == pytest.approx(ndcg.score.value, abs=1e-4)
    assert found["recall_at_100"] == pytest.approx(recall.score.value, abs=1e-4)
    assert ndcg.score.value > 0.3
