"""Audits of collections that were filled on purpose as they should not be, and as they should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models

from decant.embedders import (
    HashEncoder,
    PooledTokens,
    Pooling,
    Prompt,
    Role,
    StoreError,
    TorchEncoder,
)
from decant.integrations.qdrant import (
    AuditReport,
    AuditSettings,
    Collection,
    Record,
    Store,
    Verdict,
    audit,
)
from filled_collections import TEXTS, Fill, passages, tiny

Vectors = NDArray[np.float32]


def only_way(report: AuditReport) -> str:
    """Return the one way in which all vectors were made."""
    assert report.verdict is Verdict.OTHER_RECIPE, report.summary
    assert not report.passed
    (share,) = report.shares
    assert share.share == 1.0
    assert share.made is not None
    return share.made


def test_vectors_of_the_recipe_pass(local: Store, model: TorchEncoder, fill: Fill) -> None:
    fill(passages(model, TEXTS))
    report = audit(local, "notes", model)
    assert report.passed
    assert report.verdict is Verdict.PASSED
    assert report.compared == report.drawn == report.points == len(TEXTS)
    assert report.least_cosine > 0.99999
    (share,) = report.shares
    # Wilson's bound for none of 40, from a table.
    assert 1 - share.low == pytest.approx(0.0876, abs=1e-4)
    assert "at most 8.8% of the collection are others" in report.summary


@pytest.mark.parametrize("pooling", [Pooling.FIRST, Pooling.LAST, Pooling.MAX])
def test_another_pooling_is_named(
    local: Store, model: TorchEncoder, fill: Fill, pooling: Pooling
) -> None:
    fill(passages(model, TEXTS, pooling=pooling))
    assert only_way(audit(local, "notes", model)) == f"pooling '{pooling.value}'"


def test_a_prompt_that_is_not_pooled_is_named(
    local: Store, model: TorchEncoder, fill: Fill
) -> None:
    fill(passages(model, TEXTS, span=PooledTokens.TEXT))
    assert "tokens of the prompt not pooled" in only_way(audit(local, "notes", model))


def test_the_query_prompt_on_passages_is_named(
    local: Store, model: TorchEncoder, fill: Fill
) -> None:
    fill(model.encode(TEXTS, role=Role.QUERY).dense)
    assert only_way(audit(local, "notes", model)) == "the query prompt on passages"


def test_a_missing_prompt_is_named(local: Store, model: TorchEncoder, fill: Fill) -> None:
    fill(passages(model, TEXTS, passage_prompt=Prompt()))
    assert only_way(audit(local, "notes", model)) == "no prompt"


def test_a_missing_eos_is_named(local: Store, decoder: TorchEncoder, fill: Fill) -> None:
    fill(passages(decoder, TEXTS, eos=None))
    assert only_way(audit(local, "notes", decoder)).startswith("no EOS")
    assert not audit(local, "notes", decoder).passed


def test_texts_that_were_cut_later_are_named(local: Store, model: TorchEncoder, fill: Fill) -> None:
    texts = [f"{text} a b c d e f g h i j k l m n o p q r s t u v w x y z" for text in TEXTS]
    fill(passages(model, texts, max_tokens=64), texts=texts)
    with model.with_recipe(replace(model.recipe, max_tokens=40)) as shorter:
        assert only_way(audit(local, "notes", shorter)) == "texts cut to 64 tokens"


def test_two_mistakes_at_once_are_named(local: Store, model: TorchEncoder, fill: Fill) -> None:
    fill(passages(model, TEXTS, passage_prompt=Prompt(), pooling=Pooling.FIRST))
    assert only_way(audit(local, "notes", model)) == "no prompt, and pooling 'first'"


def test_another_model_of_the_same_width_is_none_of_these(
    local: Store, model: TorchEncoder, fill: Fill, tmp_path: Path
) -> None:
    with tiny(tmp_path / "other", seed=7) as other:
        fill(passages(other, TEXTS))
    report = audit(local, "notes", model)
    assert report.verdict is Verdict.UNKNOWN
    assert [share.made for share in report.shares] == [None]
    assert "another model" in report.summary


def test_half_of_a_collection_without_the_right_prompt_is_a_mixture(
    local: Store, model: TorchEncoder, fill: Fill
) -> None:
    half = len(TEXTS) // 2
    wrong = model.encode(TEXTS[half:], role=Role.QUERY).dense
    fill(np.concatenate([passages(model, TEXTS[:half]), wrong]))
    report = audit(local, "notes", model)
    assert report.verdict is Verdict.MIXTURE
    found = {share.made: share for share in report.shares}
    assert found.keys() == {"as the recipe says", "the query prompt on passages"}
    for share in found.values():
        assert share.share == 0.5
        assert share.low < 0.5 < share.high


def test_one_point_of_another_model_is_found_and_shown(
    local: Store, model: TorchEncoder, fill: Fill, client: QdrantClient
) -> None:
    vectors = passages(model, TEXTS).copy()
    vectors[3] = vectors[3][::-1]
    fill(vectors)
    report = audit(local, "notes", model)
    assert report.verdict is Verdict.MIXTURE
    unexplained = next(share for share in report.shares if share.made is None)
    assert unexplained.points == 1
    (point,) = client.retrieve("notes", [unexplained.examples[0]])
    assert point.payload is not None
    assert point.payload["page_content"] == TEXTS[3]


def test_fewer_values_are_named_with_their_number(
    local: Store, model: TorchEncoder, fill: Fill
) -> None:
    fill(passages(model, TEXTS)[:, :16])
    assert "the first 16 of 32 values" in only_way(audit(local, "notes", model))


def test_vectors_that_were_not_normalised_show_where_the_distance_keeps_them(
    local: Store, model: TorchEncoder, fill: Fill
) -> None:
    fill(passages(model, TEXTS, normalize=False), distance=models.Distance.DOT)
    assert only_way(audit(local, "notes", model)) == "not normalised"


def test_cosine_hides_the_length_and_the_report_says_so(
    local: Store, model: TorchEncoder, fill: Fill
) -> None:
    fill(passages(model, TEXTS, normalize=False))
    report = audit(local, "notes", model)
    assert report.passed
    assert any("normalised before is not seen" in note for note in report.notes)


def test_the_same_seed_draws_the_same_points(local: Store, model: TorchEncoder, fill: Fill) -> None:
    half = len(TEXTS) // 2
    fill(np.concatenate([passages(model, TEXTS[:half]), passages(model, TEXTS[half:])[:, ::-1]]))
    settings = AuditSettings(sample=12, seed=5)
    first, second = (audit(local, "notes", model, settings=settings) for _ in range(2))
    assert first == second
    assert first.compared == 12
    others = {
        audit(local, "notes", model, settings=AuditSettings(sample=12, seed=n)).shares
        for n in range(4)
    }
    assert len(others) > 1


def test_points_without_a_text_or_a_vector_are_counted_and_left_out(
    local: Store, model: TorchEncoder, fill: Fill, client: QdrantClient
) -> None:
    fill(passages(model, TEXTS))
    client.upsert(
        "notes",
        [
            models.PointStruct(id=1, vector=[0.5] * 32, payload={"other": 1}),
            models.PointStruct(id=2, vector=[0.5] * 32, payload={"page_content": "  "}),
            models.PointStruct(id=3, vector={}, payload={"page_content": "a cat"}),
        ],
    )
    report = audit(local, "notes", model)
    assert report.passed
    assert (report.textless, report.vectorless, report.compared) == (2, 1, len(TEXTS))


def test_what_an_encoder_cannot_try_is_said(local: Store, fill: Fill) -> None:
    encoder = HashEncoder(
        32, query_prompt=Prompt(prefix=QUERY), passage_prompt=Prompt(prefix="passage: ")
    )
    fill(encoder.encode(TEXTS, role=Role.QUERY).dense)
    report = audit(local, "notes", encoder)
    assert only_way(report) == "the query prompt on passages"
    assert any("HashEncoder" in line for line in report.untried)


QUERY = "query: "


def test_a_collection_of_decants_own_is_audited_too(local: Store, model: TorchEncoder) -> None:
    docs = Collection.create(local, "docs", model)
    docs.add([Record(text=text) for text in TEXTS])
    assert audit(local, "docs", model).passed


def test_an_audit_writes_nothing(
    local: Store, model: TorchEncoder, fill: Fill, client: QdrantClient
) -> None:
    fill(passages(model, TEXTS))
    before = client.scroll("notes", limit=100, with_vectors=True), client.get_collection("notes")
    audit(local, "notes", model)
    after = client.scroll("notes", limit=100, with_vectors=True), client.get_collection("notes")
    assert before == after


def test_a_folder_an_unknown_name_and_an_empty_collection_are_refused(
    local: Store, edge: Store, model: TorchEncoder, client: QdrantClient
) -> None:
    with pytest.raises(StoreError, match="no other program fills a folder"):
        audit(edge, "notes", model)
    with pytest.raises(
        StoreError, match=r"there is no collection 'notes' .* it holds no collection"
    ):
        audit(local, "notes", model)
    client.create_collection("notes", models.VectorParams(size=32, distance=models.Distance.COSINE))
    with pytest.raises(StoreError, match="holds 0 points"):
        audit(local, "notes", model)


def test_one_vector_of_several_is_chosen_by_its_width_or_named(
    local: Store, model: TorchEncoder, client: QdrantClient
) -> None:
    params = models.VectorParams(size=32, distance=models.Distance.COSINE)
    client.create_collection("notes", {"a": params, "b": params})
    (row,) = passages(model, ["a cat"])
    vectors = {"a": row.tolist(), "b": row[::-1].tolist()}
    client.upsert("notes", [models.PointStruct(id=1, vector=vectors, payload={"text": "a cat"})])
    with pytest.raises(StoreError, match="it has 'a' \\(32 wide\\), 'b' \\(32 wide\\)"):
        audit(local, "notes", model)
    assert audit(local, "notes", model, settings=AuditSettings(vector="a")).passed
    assert not audit(local, "notes", model, settings=AuditSettings(vector="b")).passed
