"""``decant info``, ``decant doctor STORE``, and the log as lines of JSON."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.embedders import HashEncoder
from decant.integrations.qdrant import Collection, Record, connect
from qdrant_double import QdrantDouble, reached


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a store with a collection of one record."""
    with connect(tmp_path / "index") as store:
        docs = Collection.create(store, "docs", HashEncoder(16))
        docs.add([Record(id="a", text="a cat sat")])
    return tmp_path / "index"


def test_info_shows_a_collection_in_a_folder(decant: Decant, folder: Path) -> None:
    ran = decant("info", "docs", "--store", folder)
    assert ran.code == 0
    for said in ("1 passage", "16 wide, 64 bytes each", "fp32 on HashEncoder", "green", "are free"):
        assert said in ran.out


def test_info_as_json_has_the_state_of_a_server(decant: Decant) -> None:
    with QdrantDouble() as double:
        with reached(double) as store:
            Collection.create(store, "docs", HashEncoder(16)).add([Record(id="a", text="x")])
        double.asked.clear()
        found = decant("info", "docs", "--store", double.url, "--json").json
        written = [it for it in double.asked if it.method in ("PUT", "PATCH", "DELETE")]
    state = found["state"]
    assert isinstance(state, dict)
    assert found["passages"] == 1
    assert state["server_version"] == "1.19.0"
    assert state["replicas"] == [{"shard": 0, "peer": 1, "state": "Active", "points": 3}]
    assert not written


def test_info_of_a_collection_that_is_not_there_names_those_that_are(
    decant: Decant, folder: Path
) -> None:
    ran = decant("info", "notes", "--store", folder)
    assert ran.code != 0
    assert "it holds 'docs'" in ran.err


def test_the_doctor_takes_a_store_as_its_argument_and_as_an_option(
    decant: Decant, folder: Path
) -> None:
    as_argument, as_option = decant("doctor", folder), decant("doctor", "--store", folder)
    assert as_argument.code == as_option.code == 0
    for ran in (as_argument, as_option):
        assert "docs: precisions" in ran.out
        assert "docs: disk" in ran.out
    with QdrantDouble() as double:
        assert "Qdrant 1.19.0" in decant("doctor", double.url).out
    assert decant("doctor", folder, "--store", folder).code == Exit.INPUT


def test_the_doctor_takes_a_bundle_in_a_folder_for_a_bundle(
    decant: Decant, tiny_bundle: Path
) -> None:
    assert "certificate on CPUExecutionProvider" in decant("doctor", tiny_bundle).out


def test_the_log_of_an_index_is_lines_of_json_without_texts(
    decant: Decant, tiny_bundle: Path, notes: Path
) -> None:
    ran = decant("index", tiny_bundle, notes, "--log-format", "json", "--json")
    lines = [json.loads(line) for line in ran.err.splitlines()]
    (event,) = [line for line in lines if line.get("event") == "index"]
    assert event["added"] == 3
    assert event["level"] == "info"
    assert any(line["message"].endswith("fp32") for line in lines)
    assert "yeast" not in ran.err
    assert ran.json["documents"] == 3
    log = logging.getLogger("decant")
    assert not log.handlers
    assert log.level == logging.NOTSET


def test_errors_are_lines_of_json_too(decant: Decant, tiny_bundle: Path) -> None:
    ran = decant("index", tiny_bundle, "missing", "--log-format", "json")
    assert ran.code != 0
    line = json.loads(ran.err.splitlines()[-1])
    assert line["level"] == "error"
    assert "missing does not exist" in line["message"]


def test_another_format_of_the_log_is_refused(decant: Decant, tiny_bundle: Path) -> None:
    assert decant("index", tiny_bundle, ".", "--log-format", "xml").code == Exit.INPUT
