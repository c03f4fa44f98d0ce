"""A migration makes what indexing anew would have made, in the same store and in another one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from decant.embedders import HashEncoder, Precision, Role, StoreError, Vectors
from decant.integrations.qdrant import (
    Collection,
    CollectionMovedError,
    FieldType,
    Layout,
    MigrationProgress,
    PayloadIndex,
    Record,
    Storage,
    Store,
    drop_replaced,
    migrate,
    rollback_migration,
    summarize,
)
from decant.integrations.qdrant.points.golden import GOLDEN_TEXT
from migration_scene import (
    DOCUMENTS,
    NEW,
    OLD,
    SETTINGS,
    SMALL,
    Precise,
    contents,
    documents,
    fill,
    payloads,
    records,
    without_grace,
)


def fresh(store: Store, encoder: HashEncoder = NEW) -> Collection:
    return fill(Collection.create(store, "fresh", encoder, settings=SETTINGS))


def test_the_vectors_are_those_that_the_new_encoder_gives(notes: Collection, store: Store) -> None:
    before = contents(store, "docs")
    migration = migrate(store, "docs", NEW)
    migration.run()
    migration.cut_over()
    after = contents(store, "docs")
    assert payloads(after) == payloads(before)
    for identity, (payload, vector) in contents(store, fresh(store).name).items():
        if payload["kind"] != "document":  # type: ignore[index]
            assert after[identity] == (payload, vector)
    assert any(vector is None for _, vector in after.values()), "blank texts have none"


def test_the_name_opens_with_the_new_encoder_and_finds_the_same_texts(
    notes: Collection, store: Store
) -> None:
    migration = migrate(store, "docs", NEW)
    migration.run()
    assert Collection.open(store, "docs", OLD).count() == notes.count()
    migration.cut_over()
    docs = Collection.open(store, "docs", NEW)
    assert docs.name == "docs"
    assert docs.info().name == "docs"
    assert docs.search("the record 7 of the year 7", limit=1)[0].id == "record-7"
    assert summarize(store, "docs").alias_of == migration.target
    assert store.aliases.all() == {"docs": migration.target}
    assert store.aliases.indexed(migration.target) == (
        PayloadIndex(key="number", type=FieldType.INTEGER),
    )
    assert migrate(store, "docs", NEW).is_done


def test_what_is_indexed_next_is_unchanged_in_text_and_embeds_nothing(
    notes: Collection, store: Store
) -> None:
    encoder = Precise(Precision.INT8, 24)
    migration = migrate(store, "docs", encoder)
    migration.run()
    migration.cut_over()
    docs = Collection.open(store, "docs", encoder)
    encoder.texts.clear()
    before = payloads(contents(store, "docs")).keys()
    docs.index(documents(*range(DOCUMENTS)), chunking=SMALL)
    assert encoder.texts == []
    assert payloads(contents(store, "docs")).keys() == before
    assert docs.check().is_sound


def test_a_text_is_embedded_once_although_it_repeats_and_the_process_changes(
    notes: Collection, store: Store
) -> None:
    encoder = Precise(Precision.FP32, 24)
    migrate(store, "docs", encoder).run()
    seen = list(encoder.texts)
    stored = {str(one.text) for one in notes.each() if one.text.strip()}
    assert len(seen) - seen.count(GOLDEN_TEXT) == len(stored)
    notes.add([Record(id="again", text=next(iter(stored))), Record(id="more", text="new words")])
    migration = migrate(store, "docs", encoder)  # as another process would
    migration.run()
    migration.cut_over()
    assert [text for text in encoder.texts[len(seen) :] if text != GOLDEN_TEXT] == ["new words"]


def test_another_layout_alone_copies_the_vectors(
    store: Store, request: pytest.FixtureRequest
) -> None:
    is_local = request.node.callspec.params["store"] == "local"  # which compresses nothing
    layout = Layout(storage=Storage.FULL if is_local else Storage.INT8)
    encoder = Precise(Precision.FP32)
    fill(Collection.create(without_grace(store), "docs", encoder))
    before = contents(store, "docs")
    encoder.texts.clear()
    migration = migrate(store, "docs", encoder, layout=layout)
    done = migration.run()
    migration.cut_over()
    assert done.embedded == 0
    assert set(encoder.texts) <= {GOLDEN_TEXT}
    after = contents(store, "docs")
    assert payloads(after) == payloads(before)
    for identity, (_, vector) in before.items():
        assert after[identity][1] == (vector if vector is None else pytest.approx(vector, abs=1e-6))


def test_another_precision_is_embedded_anew(store: Store) -> None:
    fill(Collection.create(without_grace(store), "docs", Precise(Precision.FP32)))
    encoder = Precise(Precision.INT8)
    migration = migrate(store, "docs", encoder)
    assert migration.run().embedded > 0
    migration.cut_over()
    assert [one.precision for one in Collection.open(store, "docs", encoder).info().filled_by] == [
        "int8"
    ]


def test_progress_counts_points_texts_and_tokens(notes: Collection, store: Store) -> None:
    seen: list[MigrationProgress] = []
    done = migrate(store, "docs", NEW).run(seen.append)
    assert seen[-1].compared == seen[-1].total == len(contents(store, "docs"))
    assert done.embedded == len({one.text for one in notes.each() if one.text.strip()})
    assert done.tokens >= done.embedded
    assert done.tokens_per_second > 0
    assert seen[-1].seconds_left == 0


def test_the_overlap_is_whole_with_the_same_vectors_and_small_with_others(store: Store) -> None:
    encoder = Precise(Precision.FP32)
    docs = Collection.create(without_grace(store), "docs", encoder)
    docs.add(records(*range(1, 40)))
    same = migrate(store, "docs", encoder, layout=Layout(storage=Storage.FULL))
    same.run()
    assert same.overlap(limit=5, sample=20).least == 1.0
    assert same.overlap(["the year 3"], old_encoder=encoder).mean == 1.0
    rollback_migration(store, "docs")
    other = migrate(store, "docs", NEW)
    other.run()
    report = other.overlap(["the year 3", "topic t4"], old_encoder=encoder, limit=10)
    assert report.queries == 2
    assert 0.0 <= report.least <= report.mean < 1.0
    assert report.least_query in {"the year 3", "topic t4"}


def test_a_second_migration_while_one_is_under_way_is_refused(
    notes: Collection, store: Store
) -> None:
    first = migrate(store, "docs", NEW)
    with pytest.raises(StoreError, match=f"already migrated to {first.target!r}"):
        migrate(store, "docs", HashEncoder(40))


class TestAfterTheCutOver:
    @pytest.fixture
    def moved(self, notes: Collection, store: Store) -> str:
        migration = migrate(store, "docs", NEW)
        migration.run()
        migration.cut_over()
        return migration.target

    def test_what_has_the_old_one_open_searches_it_and_cannot_write(
        self, moved: str, notes: Collection
    ) -> None:
        assert notes.search("the record 7 of the year 7", limit=1)[0].id == "record-7"
        before = notes.count()
        for change in (
            lambda: notes.add(records(100)),
            lambda: notes.index(documents(1, salt=2)),
            lambda: notes.delete(["record-1"]),
            notes.clear,
        ):
            with pytest.raises(CollectionMovedError, match=f"{moved!r} takes its place"):
                change()
        assert notes.count() == before

    def test_rolling_back_gives_the_old_vectors_and_takes_writes(
        self, moved: str, notes: Collection, store: Store
    ) -> None:
        new = Collection.open(store, "docs", NEW)
        done = rollback_migration(store, "docs")
        assert (done.name, done.abandoned, done.was_cut_over) == ("docs", moved, True)
        notes.add(records(100))
        assert Collection.open(store, "docs", OLD).count() == notes.count()
        with pytest.raises(CollectionMovedError):
            new.add(records(101))

    def test_with_the_old_encoder_rolling_back_keeps_what_was_written_since(
        self, moved: str, notes: Collection, store: Store
    ) -> None:
        new = Collection.open(store, "docs", NEW)
        new.add(records(100))
        new.delete(["record-1"])
        new.index(documents(*range(20), salt=4), chunking=SMALL)
        wanted = payloads(contents(store, "docs"))
        rollback_migration(store, "docs", old_encoder=OLD)
        assert payloads(contents(store, "docs")) == wanted
        assert notes.search("the record 100 of the year 1", limit=1)[0].id == "record-100"

    def test_it_can_be_migrated_again_after_that(
        self, moved: str, notes: Collection, store: Store
    ) -> None:
        rollback_migration(store, "docs")
        notes.add(records(100))
        again = migrate(store, "docs", NEW)
        assert again.target == moved
        assert again.run().embedded == 1
        again.cut_over()
        assert Collection.open(store, "docs", NEW).get(["record-100"])

    def test_the_old_vectors_are_kept_for_a_time_and_then_dropped(
        self, moved: str, notes: Collection, store: Store
    ) -> None:
        held = notes.count()
        with pytest.raises(StoreError, match="are kept until"):
            drop_replaced(store, "docs")
        assert drop_replaced(store, "docs", keep=timedelta(0)) == ["docs"]
        assert store.names() == ["docs", moved]
        with pytest.raises(StoreError, match="open"):
            notes.search("anything")
        with pytest.raises(StoreError, match="no old vectors to drop"):
            drop_replaced(store, "docs", keep=timedelta(0))
        with pytest.raises(StoreError, match="no migration that could be rolled back"):
            rollback_migration(store, "docs")
        assert Collection.open(store, "docs", NEW).count() == held

    def test_dropping_the_new_one_gives_the_name_back(
        self, moved: str, notes: Collection, store: Store
    ) -> None:
        with pytest.raises(StoreError, match="'docs' is an alias"):
            store.drop("docs")
        store.drop(moved)
        assert store.names() == ["docs"]
        notes = Collection.open(store, "docs", OLD)
        assert notes.add(records(100)) == ["record-100"]

    def test_a_chain_of_migrations_keeps_the_name_and_drops_all_that_went_before(
        self, moved: str, notes: Collection, store: Store
    ) -> None:
        wanted = payloads(contents(store, "docs"))
        for dim in (32, 40):
            migration = migrate(store, "docs", HashEncoder(dim))
            migration.run()
            migration.cut_over()
        assert len(drop_replaced(store, "docs", keep=timedelta(0))) == 3
        assert store.names() == ["docs", migration.target]
        assert payloads(contents(store, "docs")) == wanted
        store.drop(migration.target)
        assert store.names() == []


def test_rolling_back_before_the_cut_over_drops_what_was_built(
    notes: Collection, store: Store
) -> None:
    migration = migrate(store, "docs", NEW)
    migration.run()
    done = rollback_migration(store, "docs")
    assert (done.name, done.was_cut_over) == ("docs", False)
    assert store.names() == ["docs"]
    assert store.aliases.note("docs") is None
    notes.add(records(100))


@pytest.mark.parametrize("engine", ["local", "server"])
def test_from_a_folder_to_a_server_and_back(
    engine: str, edge: Store, request: pytest.FixtureRequest
) -> None:
    remote = without_grace(request.getfixturevalue(engine))
    encoder = Precise(Precision.FP32)
    notes = fill(Collection.create(edge, "docs", encoder, settings=SETTINGS))
    wanted = payloads(contents(edge, "docs"))
    migration = migrate(edge, "docs", encoder, to=remote)
    assert migration.run().embedded == 0
    migration.cut_over()
    assert payloads(contents(remote, "docs")) == wanted
    there = Collection.open(remote, "docs", encoder)
    assert there.search("the record 7 of the year 7", limit=1)[0].id == "record-7"
    with pytest.raises(CollectionMovedError):
        notes.add(records(100))
    with pytest.raises(StoreError, match="--to-store"):
        rollback_migration(edge, "docs")
    assert rollback_migration(edge, "docs", to=remote).was_cut_over
    notes.add(records(100))
    assert "docs" not in remote.names()
    again = migrate(edge, "docs", encoder, to=remote)
    again.run()
    again.cut_over()
    assert Collection.open(remote, "docs", encoder).get(["record-100"])
    assert migrate(edge, "docs", encoder, to=remote).is_done
    assert drop_replaced(edge, "docs", keep=timedelta(0)) == ["docs"]
    assert edge.names() == []


def test_an_encoder_that_fails_at_the_cut_over_leaves_the_old_one_open(
    notes: Collection, store: Store
) -> None:
    class Failing(HashEncoder):
        is_broken = False

        def encode(self, texts: Iterable[str], *, role: Role, **options: Any) -> Vectors:
            if self.is_broken:
                raise StoreError("the power is out")
            return super().encode(texts, role=role, **options)

    encoder = Failing(24)
    migration = migrate(store, "docs", encoder)
    migration.run()
    encoder.is_broken = True
    notes.add(records(100))
    with pytest.raises(StoreError, match="the power is out"):
        migration.cut_over()
    notes.add(records(101))
    encoder.is_broken = False
    migration.cut_over()
    assert Collection.open(store, "docs", encoder).get(["record-100", "record-101"])
