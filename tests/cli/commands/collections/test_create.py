"""``decant create`` and ``decant serve --store``: collections whose server asks decant."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.embedders import HashEncoder, load
from decant.integrations.qdrant import (
    Collection,
    Record,
    ServerInference,
    check_served_collections,
    connect,
)
from decant.integrations.qdrant.points.golden import read_golden_vectors
from qdrant_double import QdrantDouble, ServiceAnswer, reached


@pytest.fixture
def double() -> Iterator[QdrantDouble]:
    with QdrantDouble() as double:
        yield double


@contextmanager
def serving(decant: Decant, double: QdrantDouble, *arguments: object) -> Iterator[str]:
    """Serve in a process of its own, which the double asks; yield what was said at the start."""
    command = decant.command("serve", *arguments, "--port", 0, "--provider", "cpu")
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ}
    ) as process:
        try:
            assert process.stderr is not None
            said = ""
            while "listening" not in said and (line := process.stderr.readline()):
                said += line
            found = re.search(r"listening at http://127\.0\.0\.1:(\d+)", said)
            assert found is not None, said
            double.inference = lambda body: _ask(int(found[1]), body)
            yield said
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        finally:
            process.kill()


def _ask(port: int, body: Any) -> ServiceAnswer:
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("POST", "/infer", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return ServiceAnswer(status=answer.status, body=answer.read())


def test_a_made_collection_is_used_without_its_model_while_decant_serves_it(
    decant: Decant, double: QdrantDouble, tiny_bundle: Path
) -> None:
    ran = decant(
        "create", double.url, "notes", "--model", tiny_bundle, "--words", "english",
        "--payload-index", "year:integer", "--provider", "cpu",
    )  # fmt: skip
    assert ran.code == Exit.OK, ran.err
    assert "made the collection 'notes' in http://127.0.0.1" in ran.out
    with reached(double) as store, load(tiny_bundle, provider="cpu") as encoder:
        older = Collection.create(store, "older", encoder)
        other = Collection.create(store, "other", HashEncoder(8))
        assert read_golden_vectors(store, older.name) == ()
        with serving(decant, double, tiny_bundle, "--store", double.url) as said:
            assert "collection 'notes' at http://127.0.0.1" in said
            assert re.search(r"'notes' at \S+ is served by tiny\n", said)
            assert re.search(r"'older' at \S+ is served by tiny; its golden vectors were add", said)
            assert re.search(rf"'{other.name}' at .*no model here has its recipe", said, re.DOTALL)
            notes = Collection.open(store, "notes", ServerInference("tiny"))
            notes.add([Record(id="a", text="The ferry leaves at seven."), Record(text="Bread.")])
            assert notes.has_words
            (hit,) = notes.search("ferry", limit=1)
            assert hit.id == "a"
            (expected,) = Collection.open(store, "notes", encoder).search("ferry", limit=1)
            assert expected.id == hit.id
            assert expected.score == pytest.approx(hit.score, abs=1e-4)
            Collection.open(store, "older", ServerInference("tiny")).add([Record(text="Rain.")])


def test_a_collection_is_made_once_and_shown_as_json(
    decant: Decant, double: QdrantDouble, tiny_bundle: Path
) -> None:
    arguments = ("create", double.url, "notes", "--model", tiny_bundle, "--provider", "cpu")
    ran = decant(*arguments, "--json")
    with load(tiny_bundle, provider="cpu") as encoder:
        assert ran.json == {
            "store": double.url,
            "collection": "notes",
            "model": encoder.recipe.base,
            "digest": encoder.recipe.digest(),
            "dim": encoder.dim,
        }
    again = decant(*arguments)
    assert again.code != Exit.OK
    assert "already exists" in again.err


def test_a_collection_in_a_folder_needs_no_golden_vectors(
    decant: Decant, tmp_path: Path, tiny_bundle: Path
) -> None:
    ran = decant("create", "index", "notes", "--model", tiny_bundle, "--provider", "cpu")
    assert ran.code == Exit.OK, ran.err
    with connect(tmp_path / "index") as store:
        assert store.names() == ["notes"]
        assert read_golden_vectors(store, "notes") == ()


def test_only_a_server_asks_for_vectors(decant: Decant, tmp_path: Path) -> None:
    ran = decant("serve", tmp_path, "--store", "index")
    assert ran.code == Exit.INPUT
    assert "only a Qdrant server asks for vectors" in " ".join(ran.err.split())


def test_golden_vectors_of_another_graph_are_named(double: QdrantDouble) -> None:
    class Drifted(HashEncoder):
        """Has the recipe of a HashEncoder, and gives other vectors."""

        def encode(self, texts: Any, **options: Any) -> Any:
            return super().encode([f"drifted {text}" for text in texts], **options)

    with reached(double) as store:
        Collection.create(store, "docs", HashEncoder(8)).add([Record(text="a")])
        (found,) = check_served_collections(store, {"hash": Drifted(8)})
        assert found.model == "hash"
        assert found.problem is not None
        assert "made by another graph" in found.problem
        (found,) = check_served_collections(store, {"hash": HashEncoder(8)})
        assert (found.model, found.problem, found.golden_added) == ("hash", None, False)
