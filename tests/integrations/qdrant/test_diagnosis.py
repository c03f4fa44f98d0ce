"""What ``diagnose_store`` finds on a server and in a folder, and that it changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.embedders import HashEncoder, StoreError
from decant.embedders.doctor import Diagnosis, Finding, Health
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    FieldType,
    PayloadIndex,
    Record,
    Store,
    Words,
    connect,
    diagnose_store,
)
from qdrant_double import Fault, Progress, QdrantDouble, reached

YEAR = CollectionSettings(indexed=(PayloadIndex(key="year", type=FieldType.INTEGER),))


@pytest.fixture
def filled(double: QdrantDouble) -> QdrantDouble:
    """Return a double with a collection of one record."""
    with reached(double) as store:
        fill(store)
    return double


@pytest.fixture
def reading(filled: QdrantDouble) -> Iterator[Store]:
    """Return a connection that may only read."""
    filled.asked.clear()
    with connect(filled.url, read_only=True) as store:
        yield store
    written = [it for it in filled.asked if it.method != "GET" and not it.path.endswith("scroll")]
    assert not written


def fill(store: Store) -> None:
    docs = Collection.create(store, "docs", HashEncoder(16), settings=YEAR)
    # A record, a note of what filled the collection, and one with the golden vectors.
    docs.add([Record(id="a", text="a cat sat", metadata={"year": 1})])


def named(diagnosis: Diagnosis, name: str) -> Finding:
    (found,) = [item for item in diagnosis.findings if item.name == name]
    return found


def test_a_sound_server_has_only_good_findings(reading: Store) -> None:
    diagnosis = diagnose_store(reading)
    assert {item.health for item in diagnosis.findings} == {Health.GOOD}
    assert named(diagnosis, "server").detail == f"Qdrant 1.19.0 at {reading.place}"
    assert "3 points" in named(diagnosis, "docs").detail
    assert named(diagnosis, "docs: vectors").detail == "16 wide, as the recipe says"
    assert named(diagnosis, "docs: payload indexes").detail == "all 5 are there"


def test_missing_indexes_are_named_and_not_made(filled: QdrantDouble, reading: Store) -> None:
    held = filled.engine.held["docs"].indexes
    del held["root"], held["metadata.year"]
    found = named(diagnose_store(reading), "docs: payload indexes")
    assert found.health is Health.PROBLEM
    assert found.detail == "missing: root (keyword), metadata.year (integer); filters are slower"
    assert "`decant check`" in found.advice
    assert "root" not in held
    filled.limit("docs", max_payload_index_count=3)
    diagnosis = diagnose_store(reading)
    assert "raise max_payload_index_count=3" in named(diagnosis, "docs: payload indexes").advice
    assert "3 of at most 3" in named(diagnosis, "docs: max_payload_index_count").detail


def test_an_index_of_another_type_is_named(filled: QdrantDouble, reading: Store) -> None:
    filled.engine.held["docs"].indexes["metadata.year"] = "keyword"
    found = named(diagnose_store(reading), "docs: payload indexes")
    assert found.health is Health.PROBLEM
    assert found.detail == "metadata.year is indexed as keyword, not as integer"


@pytest.mark.parametrize(
    ("progress", "health", "said"),
    [
        (Progress(status="yellow", indexed=7), Health.NOTE, "yellow: .*; 7 vectors of 3 points"),
        (Progress(status="grey"), Health.PROBLEM, "grey: the optimizers wait"),
        (Progress(status="red"), Health.PROBLEM, "red: an operation failed"),
        (
            Progress(optimizer_status={"error": "no room"}),
            Health.PROBLEM,
            "the optimizers failed: no room",
        ),
    ],
)
def test_the_status_is_named(
    filled: QdrantDouble, reading: Store, progress: Progress, health: Health, said: str
) -> None:
    filled.engine.held["docs"].progress.clear()
    filled.engine.held["docs"].progress.append(progress)
    found = named(diagnose_store(reading), "docs: status")
    assert found.health is health
    assert re.match(said, found.detail)
    assert found.advice


def test_other_vectors_than_the_recipes_are_a_problem(filled: QdrantDouble, reading: Store) -> None:
    vectors = filled.engine.held["docs"].config["vectors"]
    vectors["dense"] = {"size": 24, "distance": "Cosine"}
    found = named(diagnose_store(reading), "docs: vectors")
    assert found.health is Health.PROBLEM
    assert found.detail == "'dense' is 24 wide, and the recipe's vectors are 16"
    vectors["dense"] = {"size": 16, "distance": "Dot"}
    assert "compared by Dot" in named(diagnose_store(reading), "docs: vectors").detail
    del vectors["dense"]
    vectors["other"] = {"size": 16, "distance": "Dot"}
    assert named(diagnose_store(reading), "docs: vectors").detail == "the vector 'dense' is missing"


def test_missing_sparse_vectors_are_a_problem(double: QdrantDouble) -> None:
    settings = CollectionSettings(words=Words())
    with reached(double) as store:
        Collection.create(store, "both", HashEncoder(16, sparse=True), settings=settings)
        assert diagnose_store(store).problems == ()
        double.engine.held["both"].config["sparse_vectors"] = {}
        found = named(diagnose_store(store), "both: vectors")
        words = named(diagnose_store(store), "both: words")
    assert found.detail == "the vector 'sparse' is missing"
    assert "cannot score" in words.detail


def test_collections_of_others_are_named(filled: QdrantDouble) -> None:
    client = QdrantClient(url=filled.url, check_compatibility=False)
    size = models.VectorParams(size=4, distance=models.Distance.DOT)
    client.create_collection("theirs", vectors_config={"v": size})
    client.close()
    with connect(filled.url, read_only=True) as store:
        assert named(diagnose_store(store), "theirs").health is Health.NOTE
        (server, found) = diagnose_store(store, "theirs").findings
        assert (server.name, found.name, found.health) == ("server", "theirs", Health.PROBLEM)
        assert [it.name for it in diagnose_store(store, "docs").findings][:2] == ["server", "docs"]
        with pytest.raises(StoreError, match=r"no collection 'none' in .*'docs', 'theirs'"):
            diagnose_store(store, "none")


def test_a_refused_collection_hides_no_other_and_a_lost_server_ends_it(
    filled: QdrantDouble, reading: Store
) -> None:
    filled.faults.extend([None, None, Fault(status=403, said="Forbidden: not this one")])
    found = named(diagnose_store(reading), "docs")
    assert found.health is Health.PROBLEM
    assert "not this one" in found.detail
    with reached(filled) as store:
        filled.faults.extend([None, None, *[Fault(status=None)] * 3])
        with pytest.raises(StoreError, match=r"looking at 'docs' at .* failed after 3 attempts"):
            diagnose_store(store)


def test_damaged_metadata_hide_no_other_collection(filled: QdrantDouble, reading: Store) -> None:
    held = filled.engine.held
    held["broken"] = held["docs"].__class__(
        {**held["docs"].config, "metadata": {"decant": "{"}}, held["docs"].strict
    )
    filled.engine.client.create_collection("broken", vectors_config={})
    diagnosis = diagnose_store(reading)
    assert named(diagnosis, "broken").health is Health.PROBLEM
    assert named(diagnosis, "docs").health is Health.GOOD


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"unindexed_filtering_retrieve": False}, "need a payload index; indexed of it: year"),
        ({"max_query_limit": 100}, "100 points a request"),
        ({"upsert_max_batchsize": 50}, "50 points a write, where decant sends up to 128"),
        ({"condition_max_size": 10}, "10 values a condition"),
        ({"filter_max_conditions": 3}, "3 conditions a filter"),
        ({"search_max_batchsize": 1}, "1 searches a request"),
        ({"search_allow_exact": False}, "counting reads all ids"),
        ({"read_rate_limit": 5}, "5 a minute"),
        ({"write_rate_limit": 5}, "5 a minute"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_limits_that_bind_are_notes(
    filled: QdrantDouble, reading: Store, limits: dict[str, Any], said: str
) -> None:
    filled.limit("docs", **limits)
    diagnosis = diagnose_store(reading)
    found = named(diagnosis, f"docs: {next(iter(limits))}")
    assert found.health is Health.NOTE
    assert said in found.detail
    assert diagnosis.problems == ()


def test_a_full_collection_is_a_problem_and_wide_limits_are_none(
    filled: QdrantDouble, reading: Store
) -> None:
    filled.limit("docs", max_points_count=1, max_query_limit=5_000)
    (found,) = diagnose_store(reading).problems
    assert found.name == "docs: max_points_count"
    assert found.advice == "raise max_points_count in the collection's strict mode"
    filled.limit("docs", max_points_count=1_000, max_query_limit=5_000)
    strict = named(diagnose_store(reading), "docs: strict mode")
    assert strict.detail == "on, and no limit of it binds"


def test_the_clients_local_mode_is_examined(local: Store) -> None:
    assert named(diagnose_store(local), "collections").detail == "there are none"
    fill(local)
    assert diagnose_store(local).problems == ()


def test_a_folder_is_examined(tmp_path: Path) -> None:
    with connect(tmp_path / "index") as store:
        assert named(diagnose_store(store), "collections").health is Health.NOTE
        fill(store)
        Collection.create(store, "lost", HashEncoder(16))
    (tmp_path / "index" / "lost" / "collection.json").write_text("{")
    with connect(tmp_path / "index", read_only=True) as store:
        diagnosis = diagnose_store(store)
        assert "1 passages" in named(diagnosis, "docs").detail
        assert [item.name for item in diagnosis.problems] == ["lost"]
        with pytest.raises(StoreError, match="no collection 'none'"):
            diagnose_store(store, "none")


class TestCommand:
    @pytest.fixture
    def decant(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Decant:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COLUMNS", "80")
        return Decant()

    def test_a_problem_is_told_by_the_exit_code(self, decant: Decant, filled: QdrantDouble) -> None:
        assert decant("doctor", "--store", filled.url).code == Exit.OK
        del filled.engine.held["docs"].indexes["root"]
        ran = decant("doctor", "--store", filled.url, "--collection", "docs")
        assert ran.code == Exit.FINDING
        assert "missing: root (keyword)" in " ".join(ran.out.split())
        found = decant("doctor", "--store", filled.url, "--json").json
        assert found["problems"] == 1
        assert "root" not in filled.engine.held["docs"].indexes

    def test_what_goes_with_a_store_alone_is_refused(self, decant: Decant) -> None:
        for options in (("--collection", "docs"), ("--grpc",), ("--ca", "ca.pem")):
            ran = decant("doctor", *options)
            assert ran.code == Exit.INPUT
            assert "needs --store" in ran.err
        assert decant("doctor", "bundle", "--store", "index").code == Exit.INPUT
        assert decant("doctor", "--store", "index", "--collection", "none").code == Exit.INPUT
