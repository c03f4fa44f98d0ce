"""Collections that keep the states of appended tokens beside each vector, on both engines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from decant.embedders import (
    HashEncoder,
    Output,
    RecipeError,
    Role,
    StoreError,
    TorchEncoder,
    Vectors,
)
from decant.integrations.qdrant import (
    Chunking,
    Collection,
    CollectionMetadata,
    CollectionSettings,
    Document,
    Point,
    Record,
    SearchMode,
    Store,
)
from decant.integrations.qdrant.stores.point_size import batches
from models import save_compressing

KEPT = CollectionSettings(soft_tokens=True)
SMALL = Chunking(max_tokens=16)
TEXTS = {"cat": "a cat sat", "dog": "the dog sat here", "rain": "rain"}
ID = "00000000-0000-0000-0000-00000000000"


@pytest.fixture(scope="module")
def appending(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchEncoder]:
    """Return an encoder that reads two appended tokens, through two layers."""
    folder = tmp_path_factory.mktemp("states") / "model"
    save_compressing(folder, read=2, widths=(24, 40))
    with TorchEncoder.from_pretrained(folder) as encoder:
        yield encoder


@pytest.fixture
def beasts(store: Store, appending: TorchEncoder) -> Collection:
    made = Collection.create(store, "beasts", appending, settings=KEPT)
    made.add([Record(id=name, text=text) for name, text in TEXTS.items()])
    return made


def expected(encoder: TorchEncoder, *texts: str) -> Vectors:
    return encoder.encode(texts, role=Role.PASSAGE, outputs=[Output.SOFT_TOKENS])


def test_a_hit_has_the_states_that_the_encoder_gave(
    beasts: Collection, appending: TorchEncoder
) -> None:
    hits = beasts.search("a cat", limit=3)
    assert len(hits) == 3
    states = beasts.soft_tokens(hits)
    assert states.dtype == np.float32
    fresh = expected(appending, *(hit.text for hit in hits)).soft_tokens
    assert fresh is not None
    np.testing.assert_allclose(states, fresh, atol=2e-5)
    assert not np.allclose(np.linalg.norm(states, axis=2), 1, atol=1e-3)


def test_states_come_by_id_in_the_order_asked_for(beasts: Collection) -> None:
    one, two, again = beasts.soft_tokens(["rain", "cat", "rain"])
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - two).max() > 1e-3
    np.testing.assert_array_equal(beasts.soft_tokens(beasts.get(["cat"]))[0], two)
    assert beasts.soft_tokens([]).shape == (0, 2, 24)


@pytest.mark.parametrize("wrong", ["cat", b"cat", {"cat": 1}, None, [3]])
def test_a_string_where_several_are_wanted_is_refused(beasts: Collection, wrong: object) -> None:
    with pytest.raises(StoreError, match=r"a list of ids is wanted|ids are strings"):
        beasts.soft_tokens(wrong)  # type: ignore[arg-type]


async def test_states_come_in_a_coroutine_too(beasts: Collection) -> None:
    np.testing.assert_array_equal(await beasts.asoft_tokens(["cat"]), beasts.soft_tokens(["cat"]))


def test_what_has_no_states_is_named(beasts: Collection, appending: TorchEncoder) -> None:
    with pytest.raises(StoreError, match=r"passage 'nobody'.*is not there"):
        beasts.soft_tokens(["cat", "nobody"])
    vectors = expected(appending, "given")
    beasts.add([Record(id="with", text="given")], vectors=vectors)
    beasts.add([Record(id="bare", text="given")], vectors=vectors.dense)
    assert beasts.soft_tokens(["with"]).shape == (1, 2, 24)
    with pytest.raises(StoreError, match=r"passage 'bare'.*its vector was given"):
        beasts.soft_tokens(["bare"])


def test_indexed_chunks_keep_them_when_documents_move(
    store: Store, appending: TorchEncoder
) -> None:
    made = Collection.create(store, "notes", appending, settings=KEPT)
    text = "\n\n".join(f"part {part} of it all" for part in range(4))
    assert made.index([Document(source="a", root="r", text=text)], chunking=SMALL).embedded > 1
    moved = made.index([Document(source="b", root="r", text=text)], chunking=SMALL)
    assert (moved.embedded, moved.removed) == (0, 1)
    chunks = list(made.each())
    fresh = expected(appending, *(chunk.text for chunk in chunks)).soft_tokens
    assert fresh is not None
    np.testing.assert_allclose(made.soft_tokens(chunks), fresh, atol=2e-5)


def test_a_collection_opened_again_still_has_them(
    beasts: Collection, appending: TorchEncoder
) -> None:
    again = Collection.open(beasts.store, "beasts", appending)
    assert again.has_soft_tokens
    assert again.info().soft_tokens
    np.testing.assert_array_equal(again.soft_tokens(["cat"]), beasts.soft_tokens(["cat"]))
    assert Collection.open_or_create(beasts.store, "beasts", appending, settings=KEPT).count() == 3


def test_building_the_index_leaves_them_as_they_are(beasts: Collection) -> None:
    before = beasts.soft_tokens(["cat", "dog"])
    beasts.optimize()
    np.testing.assert_array_equal(beasts.soft_tokens(["cat", "dog"]), before)


def test_without_the_setting_there_are_none(store: Store, appending: TorchEncoder) -> None:
    plain = Collection.create(store, "plain", appending)
    plain.add([Record(id="a", text="a")])
    assert not plain.has_soft_tokens
    with pytest.raises(StoreError, match="keeps no states; make it with"):
        plain.soft_tokens(["a"])
    with pytest.raises(StoreError, match="soft tokens were given"):
        plain.add([Record(text="a")], vectors=expected(appending, "a"))
    with pytest.raises(StoreError, match="made without states and cannot get them"):
        Collection.open_or_create(store, "plain", appending, settings=KEPT)


def test_an_encoder_without_them_cannot_fill_such_a_collection(store: Store) -> None:
    with pytest.raises(RecipeError, match="appends no tokens"):
        Collection.create(store, "docs", HashEncoder(8), settings=KEPT)
    assert store.names() == []


def test_states_that_cannot_be_stored_are_refused(
    beasts: Collection, appending: TorchEncoder
) -> None:
    vectors = expected(appending, "a", "b")
    assert vectors.soft_tokens is not None
    records = [Record(id="x", text="a"), Record(id="y", text="b")]
    broken = vectors.soft_tokens.copy()
    broken[1, 0, 3] = np.nan
    with pytest.raises(StoreError, match="the soft tokens of record 'y' are not finite"):
        beasts.add(records, vectors=replace(vectors, soft_tokens=broken))
    with pytest.raises(StoreError, match=r"shape \(2, 2, 24\), got \(2, 1, 24\)"):
        beasts.add(records, vectors=replace(vectors, soft_tokens=vectors.soft_tokens[:, :1]))
    assert beasts.count() == 3


def test_searches_are_as_they_were(beasts: Collection, appending: TorchEncoder) -> None:
    plain = Collection.create(beasts.store, "plain", appending)
    plain.add([Record(id=name, text=text) for name, text in TEXTS.items()])
    for collection in (beasts, plain):
        hits = collection.search("sat", limit=3, mode=SearchMode.DENSE, with_vectors=True)
        assert all(hit.vector is not None and hit.vector.shape == (40,) for hit in hits)
    one, other = (c.search("sat", limit=3) for c in (beasts, plain))
    assert [hit.id for hit in one] == [hit.id for hit in other]


def test_a_card_has_the_oldest_format_that_says_it_all(appending: TorchEncoder) -> None:
    assert '"format": 1' in CollectionMetadata.of(appending).to_json()
    card = CollectionMetadata.of(appending, CollectionSettings(soft_tokens=True))
    held = json.loads(card.to_json())
    assert (held["format"], held["states"], held["sparse"]) == (3, 24, False)
    assert CollectionMetadata.from_json(card.to_json(), where="x") == card


def test_points_with_large_states_go_in_small_batches() -> None:
    states = np.zeros((10, 4096), np.float32)
    points = [Point(id=f"{ID}{number}", payload={}, soft_tokens=states) for number in range(9)]
    bare = [replace(point, soft_tokens=None) for point in points]
    assert [len(part) for part in batches(points * 6, 128)] == [15, 15, 15, 9]
    assert [len(part) for part in batches(bare, 128)] == [9]
