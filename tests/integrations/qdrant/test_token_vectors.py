"""Collections that keep vectors of tokens, and searches that order their hits by them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from decant.embedders import (
    HashEncoder,
    HashReranker,
    Output,
    Role,
    StoreError,
    TorchEncoder,
    Vectors,
    max_sim,
    pool_tokens,
)
from decant.integrations.qdrant import (
    MMR,
    Chunking,
    Collection,
    CollectionMetadata,
    CollectionSettings,
    Document,
    Field,
    FieldIn,
    Group,
    Hit,
    Late,
    Layout,
    Point,
    Record,
    SearchMode,
    SearchOptions,
    Select,
    Storage,
    Store,
    TokenVectors,
    Words,
    dump,
    migrate,
    restore,
)
from decant.integrations.qdrant.stores.point_ids import record_id
from decant.integrations.qdrant.stores.protocol import each
from late_models import save_bge_m3

ENCODER = HashEncoder(16, tokens=True)
KEPT = CollectionSettings(token_vectors=TokenVectors())
LATE = SearchOptions(late=Late())
QUERY = "w1 of x2 and y3"
TEXTS = [f"w{n % 5} of x{n % 7} and y{n % 11} here" for n in range(60)]


def rounded(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors.astype(np.float16).astype(np.float32)


def token_vectors(text: str, role: Role = Role.PASSAGE) -> NDArray[np.float32]:
    """Return the token vectors of a text as they are stored."""
    found = ENCODER.encode([text], role=role, outputs=[Output.TOKEN_EMBEDDINGS]).token_embeddings
    assert found is not None
    return rounded(found[0])


def naive(text: str, query: str = QUERY) -> float:
    """Return MaxSim by two loops."""
    rows: list[list[float]] = token_vectors(query, Role.QUERY).tolist()
    others: list[list[float]] = token_vectors(text).tolist()
    return sum(
        max(sum(a * b for a, b in zip(row, other, strict=True)) for other in others) for row in rows
    )


def stored(collection: Collection, identity: str) -> NDArray[np.float32]:
    """Return the token vectors of a record as the engine has them."""
    name = collection.info().name
    fetch = Select(fields=("id",), token_vectors=True)
    (point,) = collection.store.retrieve(name, [record_id(identity)], fetch)
    assert point.token_vectors is not None
    return point.token_vectors


@pytest.fixture
def texts(store: Store) -> Collection:
    """Return a collection of records with token vectors and words."""
    settings = CollectionSettings(token_vectors=TokenVectors(), words=Words())
    made = Collection.create(store, "texts", ENCODER, settings=settings)
    made.add([Record(id=str(n), text=text) for n, text in enumerate(TEXTS)])
    return made


@pytest.fixture(scope="module")
def three_heads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchEncoder]:
    """Return a tiny model with BGE-M3's heads."""
    folder = save_bge_m3(tmp_path_factory.mktemp("m3") / "model")
    with TorchEncoder.from_pretrained(folder, strategy="bge-m3") as made:
        yield made


def is_by_max_sim(hits: list[Hit]) -> bool:
    """Return whether hits have the scores of the loops, in their order."""
    scores = [hit.score for hit in hits]
    wrong = max(abs(hit.score - naive(hit.text)) for hit in hits)
    return wrong < 1e-5 and scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("mode", [SearchMode.DENSE, SearchMode.WORDS, SearchMode.HYBRID])
def test_the_best_of_every_mode_are_ordered_as_two_loops_order_them(
    texts: Collection, mode: SearchMode
) -> None:
    hits = texts.search(QUERY, limit=20, mode=mode, options=LATE)
    assert len(hits) == 20
    assert is_by_max_sim(hits)
    every = sorted((naive(text) for text in TEXTS), reverse=True)
    assert [hit.score for hit in hits] == pytest.approx(every[:20], abs=1e-5)
    late = [branch for hit in hits for branch in hit.branches if branch.name == "late"]
    assert [branch.rank for branch in late] == [*range(1, 21)]


def test_pages_of_blocks_make_up_one_long_page(texts: Collection) -> None:
    options = SearchOptions(late=Late(candidates=7))
    whole = [hit.id for hit in texts.search(QUERY, limit=30, options=options)]
    pages = [texts.search(QUERY, limit=5, offset=5 * n, options=options) for n in range(6)]
    assert [hit.id for page in pages for hit in page] == whole
    first = texts.search(QUERY, limit=7)
    assert {hit.id for hit in first} == {*whole[:7]}


async def test_coroutines_and_batches_find_the_same(texts: Collection) -> None:
    hits = [hit.id for hit in texts.search(QUERY, options=LATE)]
    assert [hit.id for hit in await texts.asearch(QUERY, options=LATE)] == hits
    other, again = texts.search_many(["y3", QUERY], options=LATE)
    assert [hit.id for hit in again] == hits
    assert [hit.id for hit in other] != hits


def test_vectors_of_a_query_are_compared_if_they_hold_those_of_tokens(texts: Collection) -> None:
    outputs = [Output.TOKEN_EMBEDDINGS]
    vectors = ENCODER.encode([QUERY], role=Role.QUERY, outputs=outputs)
    hits = texts.search_vector(vectors, options=LATE)
    assert is_by_max_sim(hits)
    with pytest.raises(StoreError, match="the query has none"):
        texts.search_vector(vectors.dense[0], options=LATE)


def test_thresholds_groups_and_variety_follow_it(texts: Collection) -> None:
    least = 3.0
    bounded = SearchOptions(late=Late(), score_threshold={"late": least})
    hits = texts.search(QUERY, limit=60, options=bounded)
    assert len(hits) == sum(naive(text) >= least for text in TEXTS)
    grouped = SearchOptions(late=Late(), distinct=True, group=Group())
    assert is_by_max_sim(texts.search(QUERY, options=grouped))
    assert len(texts.search(QUERY, options=SearchOptions(late=Late(), mmr=MMR()))) == 10
    with pytest.raises(StoreError, match="'late'"):
        texts.search(QUERY, options=SearchOptions(score_threshold={"late": 1.0}))


def test_a_reranker_orders_what_it_left(texts: Collection) -> None:
    hits = texts.search(QUERY, limit=5, options=LATE, rerank=HashReranker(), candidates=10)
    best = {hit.id for hit in texts.search(QUERY, limit=10, options=LATE)}
    assert {hit.id for hit in hits} <= best
    for rank, hit in enumerate(hits, 1):
        (late,) = (branch for branch in hit.branches if branch.name == "late")
        assert late.score == pytest.approx(naive(hit.text), abs=1e-5)
        assert (hit.branches[-1].name, hit.branches[-1].rank) == ("rerank", rank)


def test_hits_without_token_vectors_come_last(texts: Collection) -> None:
    dense = ENCODER.encode([QUERY], role=Role.PASSAGE).dense
    texts.add([Record(id="bare", text=QUERY)], vectors=dense)
    hits = texts.search(QUERY, limit=61, mode=SearchMode.DENSE, options=LATE)
    assert hits[-1].id == "bare"
    assert hits[-1].score == -len(token_vectors(QUERY))
    assert [branch.name for branch in hits[-1].branches] == ["dense"]


def test_given_token_vectors_are_stored(texts: Collection) -> None:
    rows = np.eye(3, 16, dtype=np.float32)
    dense = ENCODER.encode(["given"], role=Role.PASSAGE).dense
    texts.add(
        [Record(id="own", text="given")], vectors=Vectors(dense=dense, token_embeddings=(rows,))
    )
    np.testing.assert_array_equal(stored(texts, "own"), rows)
    wide = Vectors(dense=dense, token_embeddings=(np.eye(17, dtype=np.float32),))
    with pytest.raises(StoreError, match="record 'own' have shape"):
        texts.add([Record(id="own", text="given")], vectors=wide)


def test_indexed_chunks_have_them_also_when_documents_move(store: Store) -> None:
    made = Collection.create(store, "notes", ENCODER, settings=KEPT)
    text = "\n\n".join(f"part {part} of it all" for part in range(4))
    small = Chunking(max_tokens=8)
    assert made.index([Document(source="a", root="r", text=text)], chunking=small).embedded > 1
    moved = made.index([Document(source="b", root="r", text=text)], chunking=small)
    assert moved.embedded == 0
    hits = made.search("part 2", limit=4, options=LATE)
    assert [hit.score for hit in hits] == pytest.approx(
        [naive(hit.text, "part 2") for hit in hits], abs=1e-5
    )


def test_passages_that_lost_them_are_found_and_indexing_makes_those_of_chunks_anew(
    store: Store,
) -> None:
    made = Collection.create(store, "notes", ENCODER, settings=KEPT)
    text = "\n\n".join(f"part {part} of it all" for part in range(4))
    documents, small = [Document(source="a", root="r", text=text)], Chunking(max_tokens=8)
    chunks = made.index(documents, chunking=small).embedded
    made.add([Record(id="1", text="a record"), Record(id="blank", text=" ")])
    assert made.check().is_sound, "a blank text has no vector at all"
    passages = FieldIn(Field.KIND, ["chunk", "record"])
    whole = [p for page in each(made.store, "notes", passages, Select(dense=True)) for p in page]
    harmed = [p for p in whole if p.payload["text"] in ("part 2 of it all", "a record")]
    made.store.upsert("notes", harmed)  # without what was not read
    report = made.check()
    assert (report.incomplete, report.chunks, report.records) == (2, chunks, 2)
    assert {str(one) for one in report.findings} == {
        f"incomplete: passage {p.payload['id']} of {p.payload['source']}"
        + (" of r" if p.payload["kind"] == "chunk" else "")
        for p in harmed
    }
    repair = made.index(documents, chunking=small, verify=True)
    assert (repair.repaired, repair.embedded) == (1, 1)
    assert made.check().incomplete == 1
    made.add([Record(id="1", text="a record")])
    assert made.check().is_sound
    hits = made.search("part 2", limit=6, options=LATE)
    assert min(hit.score for hit in hits) > -len(token_vectors("part 2", Role.QUERY))


def test_pooled_ones_are_the_means_of_clusters(store: Store) -> None:
    settings = CollectionSettings(token_vectors=TokenVectors(pool_to=3))
    made = Collection.create(store, "pooled", ENCODER, settings=settings)
    made.add([Record(id="a", text=TEXTS[0])])
    outputs = [Output.TOKEN_EMBEDDINGS]
    whole = ENCODER.encode([TEXTS[0]], role=Role.PASSAGE, outputs=outputs).token_embeddings
    assert whole is not None
    expected = rounded(pool_tokens(whole[0], 3))
    np.testing.assert_array_equal(stored(made, "a"), expected)
    (hit,) = made.search(QUERY, options=LATE)
    query = token_vectors(QUERY, Role.QUERY)
    assert hit.score == pytest.approx(max_sim(query, expected), abs=1e-5)


def test_a_collection_opened_again_has_them_and_no_other_settings(texts: Collection) -> None:
    again = Collection.open(texts.store, "texts", ENCODER)
    assert again.has_token_vectors
    held = again.info().token_vectors
    assert held is not None
    assert (held.dim, held.pool_to) == (16, None)
    assert Collection.open_or_create(texts.store, "texts", ENCODER, settings=KEPT).count() == 60
    other = CollectionSettings(token_vectors=TokenVectors(pool_to=4))
    with pytest.raises(StoreError, match="was made with"):
        Collection.open_or_create(texts.store, "texts", ENCODER, settings=other)


def test_collections_and_encoders_without_them_say_so(store: Store) -> None:
    plain = Collection.create(store, "plain", HashEncoder(16))
    assert not plain.has_token_vectors
    with pytest.raises(StoreError, match="has no token vectors"):
        plain.search(QUERY, options=LATE)
    outputs = [Output.TOKEN_EMBEDDINGS]
    with pytest.raises(StoreError, match="keeps none"):
        plain.add(
            [Record(text="a")], vectors=ENCODER.encode(["a"], role=Role.PASSAGE, outputs=outputs)
        )
    with pytest.raises(StoreError, match="no late interaction"):
        Collection.create(store, "none", HashEncoder(16), settings=KEPT)
    with pytest.raises(StoreError, match="at least 1"):
        TokenVectors(pool_to=0)


def test_metadata_have_a_format_of_their_own_only_with_them() -> None:
    plain = json.loads(CollectionMetadata.of(ENCODER).to_json())
    card = CollectionMetadata.of(ENCODER, KEPT)
    text = card.to_json()
    assert (plain["format"], json.loads(text)["format"]) == (1, 9)
    assert CollectionMetadata.from_json(text, where="here") == card


@pytest.mark.parametrize("target", ["edge", "local", "server"])
def test_a_dump_has_them_to_the_bit(
    edge: Store, tmp_path: Path, target: str, request: pytest.FixtureRequest
) -> None:
    settings = CollectionSettings(token_vectors=TokenVectors(pool_to=4))
    made = Collection.create(edge, "texts", ENCODER, settings=settings)
    made.add([Record(id=str(n), text=text) for n, text in enumerate(TEXTS[:10])])
    dump(edge, "texts", tmp_path / "texts.dump")
    there: Store = request.getfixturevalue(target)
    restore(tmp_path / "texts.dump", there, "again")
    again = Collection.open(there, "again", ENCODER)
    assert again.info().token_vectors == made.info().token_vectors
    np.testing.assert_array_equal(stored(again, "3"), stored(made, "3"))


@pytest.mark.parametrize(
    "engine", ["edge", "local", pytest.param("server", marks=pytest.mark.slow)]
)
def test_a_migration_keeps_them(engine: str, request: pytest.FixtureRequest) -> None:
    store: Store = request.getfixturevalue(engine)
    made = Collection.create(store, "texts", ENCODER, settings=KEPT)
    made.add([Record(id=str(n), text=text) for n, text in enumerate(TEXTS[:10])])
    wider = HashEncoder(24, tokens=True)
    migration = migrate(store, "texts", wider)
    migration.run()
    migration.cut_over()
    moved = Collection.open(store, "texts", wider)
    held = moved.info().token_vectors
    assert held is not None
    assert held.dim == 24
    hits = moved.search(QUERY, options=LATE)
    assert len(hits) == 10
    assert {branch.name for hit in hits for branch in hit.branches} == {"dense", "late"}


def test_another_layout_leaves_them_as_they_are(edge: Store) -> None:
    made = Collection.create(edge, "texts", ENCODER, settings=KEPT)
    made.add([Record(id=str(n), text=text) for n, text in enumerate(TEXTS)])
    before = stored(made, "5")
    made.relayout(Layout(storage=Storage.INT8))
    made.optimize()
    np.testing.assert_array_equal(stored(made, "5"), before)
    assert is_by_max_sim(made.search(QUERY, options=LATE))


def test_the_three_heads_of_bge_m3_are_one_point(store: Store, three_heads: TorchEncoder) -> None:
    settings = CollectionSettings(token_vectors=TokenVectors(), words=Words())
    made = Collection.create(store, "three", three_heads, settings=settings)
    texts = ["the wind and the rain", "a cat sat", "what is the time"]
    made.add([Record(id=text, text=text) for text in texts])
    hits = made.search("the cat", options=LATE)
    assert {branch.name for hit in hits for branch in hit.branches} >= {"dense", "sparse", "late"}
    fetch = Select(fields=("id",), dense=True, sparse=True, token_vectors=True)
    points = made.store.retrieve("three", [record_id(text) for text in texts], fetch)
    outputs = [Output.SPARSE, Output.TOKEN_EMBEDDINGS]
    for point in points:
        text = str(point.payload["id"])
        found = three_heads.encode([text], role=Role.PASSAGE, outputs=outputs)
        assert found.sparse is not None
        assert found.token_embeddings is not None
        assert point.dense is not None
        assert point.sparse is not None
        assert point.token_vectors is not None
        np.testing.assert_allclose(point.dense, found.dense[0], atol=1e-5)
        np.testing.assert_array_equal(point.sparse.indices, found.sparse[0][0])
        np.testing.assert_allclose(point.token_vectors, found.token_embeddings[0], atol=1e-3)


def test_a_point_counts_with_its_token_vectors_in_the_size_of_a_request() -> None:
    from decant.integrations.qdrant.stores.point_size import PointSizes

    bare = Point(id=record_id("a"), payload={})
    full = Point(id=record_id("a"), payload={}, token_vectors=np.ones((10, 16), np.float32))
    assert PointSizes().of(full) > PointSizes().of(bare) + 10 * 16
