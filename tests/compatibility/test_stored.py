"""What earlier versions wrote opens, verifies, indexes and searches as it did.

``stored.tar.xz`` holds two bundles (a BERT with prompts in float32 and float16, a Llama with the
strategy ``promptreps``), an Edge store with a collection of each, and what was found in them. It
was made at commit 6fe8de4, before the packages were divided into wings, and is never made again: a
new format gets an archive of its own. ``recipes.json`` holds recipes of that time with their
digests.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decant.embedders import Recipe, Role, load
from decant.export import verify
from decant.integrations.qdrant import Collection, Document, Fusion, connect

HERE = Path(__file__).parent
DOCUMENTS = [
    Document(source=f"{name}.txt", text=text, root="notes", metadata={"n": number})
    for number, (name, text) in enumerate(
        {
            "rivers": "The river runs to the sea. " * 30,
            "hills": "Hills are green in spring. " * 20,
            "towns": "A town by the river.",
        }.items()
    )
]
QUERY = "green hills"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored")
    with tarfile.open(HERE / "stored.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def _expected(stored: Path, name: str) -> dict[str, Any]:
    held: dict[str, dict[str, Any]] = json.loads((stored / "expected.json").read_text())
    return held[name]


@pytest.mark.parametrize("name", ["dense", "hybrid"])
def test_a_bundle_gives_the_vectors_that_it_gave(stored: Path, name: str) -> None:
    expected = _expected(stored, name)
    with load(stored / name) as encoder:
        assert encoder.recipe.digest() == expected["digest"]
        found = encoder.encode([QUERY], role=Role.QUERY).dense[0]
    # Another processor may round otherwise.
    assert found @ np.array(expected["vector"], np.float32) > 0.999999


@pytest.mark.parametrize("name", ["dense", "hybrid"])
def test_a_bundle_is_certified_anew(stored: Path, name: str) -> None:
    certificate = verify(stored / name)
    assert certificate.entries
    assert all(entry.passed for entry in certificate.entries)


@pytest.mark.parametrize("name", ["dense", "hybrid"])
def test_a_collection_finds_what_it_found_and_embeds_nothing_again(stored: Path, name: str) -> None:
    expected = _expected(stored, name)
    with load(stored / name) as encoder, connect(stored / "store") as store:
        collection = Collection.open(store, name, encoder)
        assert collection.count() == expected["count"]
        # Written when hybrid searches were fused by Qdrant, by ranks with k = 60, and when equal
        # scores, which the chunks of repeated sentences have, came in any order.
        fusion = Fusion.rrf() if collection.has_sparse else None
        hits = collection.search(QUERY, limit=4, fusion=fusion)
        assert [hit.source for hit in hits] == [source for _, source, _ in expected["hits"]]
        ids = [identity for identity, *_ in expected["hits"]]
        assert [passage.id for passage in collection.get(ids)] == ids
        if not collection.has_sparse:
            scores = [score for *_, score in expected["hits"]]
            np.testing.assert_allclose([hit.score for hit in hits], scores, atol=1e-5)
        report = collection.index(DOCUMENTS)
        assert (report.unchanged, report.embedded, report.deleted) == (len(DOCUMENTS), 0, 0)
        assert collection.check().findings == ()


def test_recipes_keep_their_digests() -> None:
    written: list[dict[str, Any]] = json.loads((HERE / "recipes.json").read_text())
    found = {
        item["name"]: Recipe.from_json(json.dumps(item["recipe"])).digest() for item in written
    }
    assert found == {item["name"]: item["digest"] for item in written}
    assert len(set(found.values())) == len(written) >= 10
