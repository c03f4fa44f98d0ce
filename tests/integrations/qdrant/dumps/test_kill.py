"""A restoring process that is killed with -9: what it left opens for nobody, and is completed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
from qdrant_client import QdrantClient, models

from decant.embedders import Role, StoreError
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Store,
    Tenants,
    TenantStore,
    Words,
    connect,
    dump,
    restore,
)
from dump_scene import ENCODER, assert_same_points, fill, held_points, made

SUPPORT = Path(__file__).parents[3] / "support"
CHILD = Path(__file__).with_name("kill_child.py")


def killed(file: Path, index: Path, how: str) -> None:
    """Restore in another process, which is killed after three blocks."""
    paths = [str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])]
    child = subprocess.Popen(
        [sys.executable, str(CHILD), str(file), str(index), how],
        stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    assert child.stdout is not None
    with child.stdout as said:
        assert [said.readline() for _ in range(3)] == ["10\n", "20\n", "30\n"]
        child.kill()
    assert child.wait(30) != 0


def test_what_a_killed_restore_left_is_completed(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decant.integrations.qdrant.dumps.dump._BLOCK_POINTS", 10)
    file, index = scratch / "docs.dump", scratch / "other"
    with connect(scratch / "index") as store:
        made(store)
        wanted = held_points(store, "docs")
        dump(store, "docs", file)
    killed(file, index, "edge")
    with connect(index) as store:
        with pytest.raises(StoreError, match="is being restored from a dump"):
            Collection.open(store, "copy", ENCODER)
        report = restore(file, store, "copy")
        assert report.written <= len(wanted) - 30
        assert_same_points(held_points(store, "copy"), wanted)
        assert len(Collection.open(store, "copy", ENCODER).search("the year", limit=5)) == 5


@pytest.mark.slow
def test_what_a_killed_restore_of_a_tenant_left_is_completed(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decant.integrations.qdrant.dumps.dump._BLOCK_POINTS", 10)
    file, index = scratch / "acme.dump", scratch / "index"
    settings = CollectionSettings(tenants=Tenants(), words=Words())
    with connect(index) as store:
        docs = Collection.create(store, "docs", ENCODER, settings=settings)
        fill(docs.tenant("acme"))
        wanted = held_points(cast("Store", TenantStore.of(store, "docs", "acme")), "docs")
        dump(store, "docs", file, tenant="acme")
    killed(file, index, "tenant")
    with connect(index) as store:
        docs = Collection.open(store, "docs", ENCODER)
        assert docs.tenant_names() == ["acme"]
        assert docs.tenant("copy").count() == 0
        report = restore(file, store, "docs", tenant="copy")
        assert 0 < report.written <= len(wanted) - 30
        view = cast("Store", TenantStore.of(store, "docs", "copy"))
        assert_same_points(held_points(view, "docs"), wanted)


@pytest.mark.slow
def test_what_a_killed_restore_of_an_adopted_collection_left_is_completed(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decant.integrations.qdrant.dumps.dump._BLOCK_POINTS", 10)
    file, index = scratch / "notes.dump", scratch / "local"
    client = QdrantClient(":memory:")
    client.create_collection("notes", models.VectorParams(size=16, distance=models.Distance.DOT))
    texts = [f"the text {number}" for number in range(80)]
    rows = ENCODER.encode(texts, role=Role.PASSAGE).dense.tolist()
    points = [
        models.PointStruct(id=number, vector=row, payload={"page_content": text, "n": number / 7})
        for number, (row, text) in enumerate(zip(rows, texts, strict=True))
    ]
    client.upsert("notes", points)
    with connect(client) as store:
        Collection.adopt(store, "notes", ENCODER)
        dump(store, "notes", file)
    killed(file, index, "local")
    other = QdrantClient(path=str(index))
    with connect(other) as store:
        with pytest.raises(StoreError, match="is being restored from a dump"):
            Collection.open(store, "copy", ENCODER)
        assert 0 < restore(file, store, "copy").written <= len(texts) - 30
        held = [one.scroll(name, limit=99, with_vectors=True)[0]
                for one, name in ((other, "copy"), (client, "notes"))]  # fmt: skip
        assert held[0] == held[1]
        assert Collection.open(store, "copy", ENCODER).count() == len(texts)
    other.close()
    client.close()
