"""What a collection lost or has too much of is found by ``check`` and put right by ``index``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import (
    CheckReport,
    Chunking,
    Collection,
    Document,
    Field,
    FieldIn,
    Finding,
    Flaw,
    IndexReport,
    Point,
    Record,
    Select,
    Store,
    check_collection,
)
from decant.integrations.qdrant.stores.point_ids import DocumentKey
from decant.integrations.qdrant.stores.protocol import each
from threads import in_thread

SMALL = Chunking(max_tokens=8)
ALL = FieldIn(Field.KIND, ["chunk", "record", "document"])


def text(number: int, parts: Iterable[int] = range(3)) -> str:
    return "\n\n".join(f"part {part} of the document {number} is here" for part in parts)


def documents(root: str | None = "r") -> list[Document]:
    return [Document(source=f"{n}", text=text(n), root=root) for n in range(8)]


def points(collection: Collection, source: str, *, kind: str = "chunk") -> list[Point]:
    """Return the points of a source, whole, in their order in it."""
    pages = each(collection.store, "docs", ALL, Select(dense=True))
    found = [p for page in pages for p in page if p.payload["source"] == source]
    found = [point for point in found if point.payload["kind"] == kind]
    return sorted(found, key=lambda point: (int(str(point.payload.get("start", 0))), point.id))


def everything(collection: Collection) -> dict[str, object]:
    return {
        point.id: (point.payload, None if point.dense is None else point.dense.tolist())
        for page in each(collection.store, "docs", ALL, Select(dense=True))
        for point in page
    }


@pytest.fixture
def filled(docs: Collection) -> Collection:
    """Return a collection with eight documents of three chunks, and a record."""
    docs.index(documents(), chunking=SMALL)
    docs.add([Record(id="1", text="a record", source="records")])
    return docs


def lose(collection: Collection) -> None:
    chunks = points(collection, "3")
    collection.store.delete("docs", [chunks[0].id, chunks[2].id])


def lose_all(collection: Collection) -> None:
    collection.store.delete("docs", [point.id for point in points(collection, "3")])


def add_one(collection: Collection) -> None:
    (point, *_) = points(collection, "4")
    other = {**point.payload, "source": "3", "chunk": 7}
    collection.store.upsert("docs", [replace(point, id=str(_id(1)), payload=other)])


def replace_one(collection: Collection) -> None:
    add_one(collection)
    collection.store.delete("docs", [points(collection, "3")[1].id])


def move_one(collection: Collection) -> None:
    point = points(collection, "3")[1]
    collection.store.set_fields("docs", [Point(id=point.id, payload={"start": 9_999})])


def open_marker(collection: Collection) -> None:
    (marker,) = points(collection, "3", kind="document")
    fields: Any = {"state": "changing", "digest": "", "chunks": 0}
    collection.store.set_fields("docs", [Point(id=marker.id, payload=fields)])


def lose_marker(collection: Collection) -> None:
    collection.store.delete("docs", [DocumentKey("r", "3").marker_id])


def alter(collection: Collection) -> None:
    point = points(collection, "3")[1]
    collection.store.set_fields("docs", [Point(id=point.id, payload={"text": "other words"})])


def lose_vector(collection: Collection) -> None:
    point = points(collection, "3")[1]
    collection.store.upsert("docs", [replace(point, dense=None)])


def zero_vector(collection: Collection) -> None:
    point = points(collection, "3")[1]
    collection.store.upsert("docs", [replace(point, dense=np.zeros(16, np.float32))])


DAMAGES: list[tuple[Callable[[Collection], None], dict[str, int], Flaw]] = [
    (lose, {"missing": 2}, Flaw.MISSING),
    (lose_all, {"missing": 3}, Flaw.MISSING),
    (add_one, {"surplus": 1}, Flaw.SURPLUS),
    (replace_one, {"replaced": 1}, Flaw.REPLACED),
    (move_one, {"replaced": 1}, Flaw.REPLACED),
    (open_marker, {"interrupted": 1}, Flaw.INTERRUPTED),
    (lose_marker, {"orphaned": 3}, Flaw.ORPHANED),
    (alter, {"altered": 1}, Flaw.ALTERED),
    (lose_vector, {"unsearchable": 1}, Flaw.UNSEARCHABLE),
    (zero_vector, {"unsearchable": 1}, Flaw.UNSEARCHABLE),
]
COUNTS = [
    "missing", "surplus", "replaced", "interrupted", "orphaned", "altered", "unsearchable",
]  # fmt: skip


@pytest.fixture(params=DAMAGES, ids=lambda damage: damage[0].__name__)
def damage(request: pytest.FixtureRequest) -> tuple[Callable[[Collection], None], Any, Flaw]:
    found: tuple[Callable[[Collection], None], Any, Flaw] = request.param
    return found


def test_a_sound_collection_has_no_findings(filled: Collection) -> None:
    report = filled.check()
    assert report == CheckReport(documents=8, chunks=24, records=1)
    assert report.is_sound


def test_each_kind_of_damage_is_found_and_named(
    filled: Collection, damage: tuple[Callable[[Collection], None], Any, Flaw]
) -> None:
    harm, expected, flaw = damage
    harm(filled)
    before = everything(filled)
    report = filled.check()
    assert {name: getattr(report, name) for name in COUNTS} == dict.fromkeys(COUNTS, 0) | expected
    (finding,) = report.findings
    assert (finding.flaw, finding.source, finding.root) == (flaw, "3", "r")
    assert f"{flaw}: " in str(finding)
    assert not report.is_sound
    assert everything(filled) == before, "checking changes nothing"


def test_verifying_repairs_each_kind_of_damage(
    filled: Collection,
    damage: tuple[Callable[[Collection], None], Any, Flaw],
    embedded: list[str],
) -> None:
    before = everything(filled)
    embedded.clear()
    harm, _, flaw = damage
    harm(filled)
    report = filled.index(documents(), chunking=SMALL, verify=True)
    assert filled.check().is_sound
    assert everything(filled).keys() == before.keys()
    assert report.documents == 8
    assert report.unchanged == 7
    was_open = flaw in (Flaw.INTERRUPTED, Flaw.ORPHANED)
    assert report.repaired == (0 if was_open else 1)
    assert len(embedded) <= 3, "only what is gone is embedded"
    assert filled.index(documents(), chunking=SMALL, verify=True) == IndexReport(unchanged=8)


@pytest.mark.parametrize("harm", [lose, lose_all, add_one])
def test_an_ordinary_run_notices_lost_and_surplus_chunks_and_the_next_one_repairs_them(
    filled: Collection, harm: Callable[[Collection], None]
) -> None:
    harm(filled)
    report = filled.index(documents(), chunking=SMALL)
    assert (report.unchanged, report.damaged) == (8, 1)
    report = filled.index(documents(), chunking=SMALL)
    assert (report.unchanged, report.changed, report.damaged) == (7, 1, 0)
    assert filled.check().is_sound


def test_an_ordinary_run_deletes_chunks_of_no_document(filled: Collection) -> None:
    lose_marker(filled)
    report = filled.index(documents()[4:], chunking=SMALL)
    assert (report.removed, report.deleted) == (3, 12)
    assert filled.check().is_sound


def test_documents_without_a_root_are_repaired_by_verifying(docs: Collection) -> None:
    docs.index(documents(root=None), chunking=SMALL)
    point = points(docs, "3")[1]
    docs.store.delete("docs", [point.id])
    assert docs.index(documents(root=None), chunking=SMALL) == IndexReport(unchanged=8)
    (finding,) = docs.check().findings
    assert finding == Finding(flaw=Flaw.MISSING, root=None, source="3", expected=3, found=2)
    report = docs.index(documents(root=None), chunking=SMALL, verify=True)
    assert (report.repaired, report.embedded) == (1, 1)
    assert docs.check().is_sound


def test_markers_without_a_checksum_are_checked_by_their_number(filled: Collection) -> None:
    (marker,) = points(filled, "3", kind="document")
    old = {name: value for name, value in marker.payload.items() if name != "checksum"}
    filled.store.upsert("docs", [Point(id=marker.id, payload=old)])
    assert filled.check().is_sound
    assert filled.index(documents(), chunking=SMALL) == IndexReport(unchanged=8)
    assert filled.index(documents(), chunking=SMALL, verify=True) == IndexReport(unchanged=8)
    lose(filled)
    assert filled.check().missing == 2


def test_a_marker_with_the_wrong_number_is_not_believed(filled: Collection) -> None:
    (marker,) = points(filled, "3", kind="document")
    filled.store.set_fields("docs", [Point(id=marker.id, payload={"chunks": 5})])
    report = filled.index(documents(), chunking=SMALL, verify=True)
    assert (report.unchanged, report.repaired, report.embedded) == (7, 1, 0)
    assert filled.check().is_sound


def test_records_are_checked_too(filled: Collection) -> None:
    (record,) = points(filled, "records", kind="record")
    filled.store.set_fields("docs", [Point(id=record.id, payload={"text": "other"})])
    filled.add([Record(id="2", text="another", source="records")])
    second = next(p for p in points(filled, "records", kind="record") if p.id != record.id)
    filled.store.upsert("docs", [replace(second, dense=None)])
    report = filled.check()
    assert (report.records, report.altered, report.unsearchable) == (2, 1, 1)
    assert {finding.id for finding in report.findings} == {"1", "2"}


def test_findings_are_bounded_and_counts_are_not(filled: Collection) -> None:
    for number in range(8):
        filled.store.delete("docs", [points(filled, f"{number}")[0].id])
    report = filled.check(most_findings=3)
    assert (len(report.findings), report.missing) == (3, 8)


def test_the_same_source_in_many_roots_is_counted_once(docs: Collection) -> None:
    for root in ("r", "s", "t"):
        docs.index([Document(source="a", text=text(1), root=root)], chunking=SMALL)
    assert docs.check() == CheckReport(documents=3, chunks=9, records=0)
    docs.store.delete("docs", [points(docs, "a")[0].id])
    assert docs.check().missing == 1


def test_what_a_run_has_under_way_is_no_finding(store: Store) -> None:
    class Checking(HashEncoder):
        """Checks the collection while it embeds."""

        reports: list[CheckReport]

        def stream(self, *args: Any, **options: Any) -> Any:
            thread = in_thread(lambda: self.reports.append(check_collection(store, "docs")))
            thread.join(20)
            yield from super().stream(*args, **options)

    encoder = Checking(16)
    encoder.reports = []
    collection = Collection.create(store, "docs", encoder)
    many = [Document(source=f"{n}", text=text(n, range(100)), root="r") for n in range(6)]
    collection.index(many, chunking=SMALL)
    collection.index([replace(item, text=text(99)) for item in many], chunking=SMALL)
    assert len(encoder.reports) >= 2
    assert all(report.is_sound for report in encoder.reports)


def test_a_vector_that_is_not_finite_is_found(filled: Collection) -> None:
    """Engines refuse NaN, so a store is asked that gives it back as damage would."""

    class Damaged:
        def __getattr__(self, name: str) -> object:
            return getattr(filled.store, name)

        def scroll(self, *args: Any, **options: Any) -> Any:
            page = filled.store.scroll(*args, **options)
            return replace(page, points=[self._spoil(point) for point in page.points])

        def _spoil(self, point: Point) -> Point:
            if point.dense is None or point.payload.get("source") != "3":
                return point
            return replace(point, dense=np.full(16, np.nan, np.float32))

    report = check_collection(Damaged(), "docs")  # type: ignore[arg-type]
    assert report.unsearchable == 3


def test_a_collection_that_is_not_there_is_an_error(store: Store) -> None:
    with pytest.raises(StoreError, match="no collection 'docs'"):
        check_collection(store, "docs")


async def test_coroutines_check_and_verify_too(filled: Collection) -> None:
    lose(filled)
    assert (await filled.acheck()).missing == 2
    report = await filled.aindex(documents(), chunking=SMALL, verify=True)
    assert report.repaired == 1
    assert (await filled.acheck()).is_sound


def _id(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012}"
