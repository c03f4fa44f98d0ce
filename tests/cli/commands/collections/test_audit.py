"""``decant audit``: whether a bundle's model filled a collection of another program."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrant_client import QdrantClient, models

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.embedders import Role, load
from decant.integrations.qdrant import Collection, connect
from qdrant_double import QdrantDouble

TEXTS = ["a cat sat", "a dog ran", "rain fell on the harbour", "the ferry leaves at seven"]


@pytest.fixture
def double() -> Iterator[QdrantDouble]:
    with QdrantDouble() as double:
        yield double


def fill(double: QdrantDouble, bundle: Path, *, backwards: bool = False) -> None:
    """Make a collection of the bundle's vectors, all or but for one."""
    with load(bundle, provider="cpu", precision="fp32") as encoder:
        rows = encoder.encode(TEXTS, role=Role.PASSAGE).dense
    if backwards:
        rows[0] = rows[0][::-1]
    client = QdrantClient(url=double.url, check_compatibility=False)
    params = models.VectorParams(size=rows.shape[1], distance=models.Distance.COSINE)
    client.create_collection("notes", params)
    points = [
        models.PointStruct(id=number, vector=row.tolist(), payload={"page_content": text})
        for number, (text, row) in enumerate(zip(TEXTS, rows, strict=True))
    ]
    client.upsert("notes", points)
    client.close()


def test_a_collection_of_the_bundle_passes_and_is_adopted_where_asked_for(
    decant: Decant, double: QdrantDouble, tiny_bundle: Path
) -> None:
    fill(double, tiny_bundle)
    arguments = ("audit", double.url, "notes", "--bundle", tiny_bundle)
    ran = decant(*arguments)
    assert ran.code == Exit.OK, ran.err
    assert ran.out.startswith("passed: all 4 compared vectors")
    assert not double.engine.held["notes"].config.get("metadata")
    assert decant(*arguments, "--adopt").code == Exit.OK
    with connect(double.url) as store, load(tiny_bundle, provider="cpu") as encoder:
        assert Collection.open(store, "notes", encoder).count() == 4


def test_others_are_a_finding_as_json_too(
    decant: Decant, double: QdrantDouble, tiny_bundle: Path
) -> None:
    fill(double, tiny_bundle, backwards=True)
    ran = decant("audit", double.url, "notes", "--bundle", tiny_bundle, "--json", "--adopt")
    assert ran.code == Exit.FINDING
    report = json.loads(ran.out)["report"]
    assert report["verdict"] == "mixture"
    assert {share["made"]: share["points"] for share in report["shares"]} == {
        "as the recipe says": 3,
        None: 1,
    }
    assert not double.engine.held["notes"].config.get("metadata")


def test_a_folder_and_an_unknown_collection_are_refused(
    decant: Decant, double: QdrantDouble, tiny_bundle: Path
) -> None:
    bundle = ("--bundle", tiny_bundle)
    assert decant("audit", double.url, "none", *bundle).code == Exit.INPUT
    ran = decant("audit", "./index", "none", *bundle)
    assert ran.code == Exit.INPUT
    assert "no other program fills a folder" in ran.err.replace("\n", " ")
