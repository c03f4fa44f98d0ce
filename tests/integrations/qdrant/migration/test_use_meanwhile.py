"""While a collection is migrated, and migrated back, others search it and write to it."""

from __future__ import annotations

import pytest

from decant.embedders import CollectionMismatch, HashEncoder, Role
from decant.integrations.qdrant import (
    Collection,
    CollectionFollower,
    Store,
    migrate,
    rollback_migration,
)
from migration_scene import (
    NEW,
    OLD,
    SMALL,
    contents,
    documents,
    payloads,
    records,
    throughout,
)

QUERY = "the record 7 of the year 7"


def test_searches_never_fail_and_have_the_vectors_of_one_model(
    notes: Collection, store: Store
) -> None:
    follower = CollectionFollower(store, "docs", [OLD, NEW])
    seen: set[int] = set()

    def search(_: int) -> None:
        collection = follower.current()
        hits = collection.search(QUERY, limit=10, with_vectors=True)
        assert len(hits) == 10
        assert hits[0].id == "record-7"
        widths = {len(hit.vector) for hit in hits if hit.vector is not None}
        assert widths == {collection.encoder.dim}
        for hit in hits:
            made = collection.encoder.encode([hit.text], role=Role.PASSAGE).dense[0]
            assert hit.vector == pytest.approx(made, abs=1e-5)
        seen.update(widths)

    def search_the_old(_: int) -> None:
        hits = notes.search(QUERY, limit=3, with_vectors=True)
        assert {len(hit.vector) for hit in hits if hit.vector is not None} == {OLD.dim}

    with throughout(search) as wait, throughout(search_the_old):
        migration = migrate(store, "docs", NEW)
        wait()
        migration.run()
        wait()
        migration.cut_over()
        wait()
        rollback_migration(store, "docs")
        wait()
    assert seen == {OLD.dim, NEW.dim}


def test_what_is_written_meanwhile_is_all_there(notes: Collection, store: Store) -> None:
    follower = CollectionFollower(store, "docs", [OLD, NEW])
    written: set[str] = set()

    def write(number: int) -> None:
        added = follower.write(lambda docs: docs.add(records(1_000 + number)))
        written.update(added)
        if number % 3 == 0:
            gone = f"record-{1_000 + number // 2}"
            follower.write(lambda docs: docs.delete([gone]))
            written.discard(gone)
        if number % 4 == 0:
            some = documents(number % 30, salt=number)
            follower.write(lambda docs: docs.index(some, chunking=SMALL))

    with throughout(write, least=2) as wait:
        migration = migrate(store, "docs", NEW)
        wait()
        migration.run()
        wait()
        migration.cut_over()
        wait()
        rollback_migration(store, "docs", old_encoder=OLD)
        wait()
    docs = Collection.open(store, "docs", OLD)
    held = {str(item["id"]) for item in payloads(contents(store, "docs")).values() if "id" in item}  # type: ignore[operator, index]
    assert {one for one in held if one.startswith("record-1") and len(one) == 11} == written
    assert docs.check().is_sound
    assert all(
        vector is None or len(vector) == OLD.dim  # type: ignore[arg-type]
        for _, vector in contents(store, "docs").values()
    )


def test_a_follower_says_whose_encoder_is_missing(notes: Collection, store: Store) -> None:
    follower = CollectionFollower(store, "docs", [OLD, HashEncoder(40)])
    assert follower.current().encoder is OLD
    migration = migrate(store, "docs", NEW)
    migration.run()
    migration.cut_over()
    with pytest.raises(CollectionMismatch, match=f"means {migration.target!r} by now"):
        follower.current()
